// Programs of ours on other hosts: nothing is installed there, nothing stays there.
#include "driver/devices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

const char *devices_token(Arena *a)
{
    unsigned char bytes[12];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        fatal("no random numbers: %s", strerror(errno));
    char *text = arena_alloc(a, 2 * sizeof bytes + 1);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return text;
}

// The directory has its name before it is made, so that it is removed whenever the end comes, and only
// when nobody is left to write into it. SIGHUP, which `timeout` passes on, ends a stage program at once
// (after SIGTERM it would finish its step); twice, since a process that is about to start misses one.
const char *devices_script(Arena *a, const char *before, const char *after)
{
    return arena_printf(
        a,
        "d=${TMPDIR:-/tmp}/stagecc-%s; p=; s=0; "
        "clean() { trap \"\" HUP INT TERM; rm -rf \"$d\"; }; "
        "stop() { trap \"\" HUP INT TERM; for i in 1 2; do kill -HUP $p $!; sleep 0.1; done "
        "2> /dev/null; wait; clean; exit 130; }; "
        "trap clean EXIT; trap stop HUP INT TERM; "
        "umask 077; mkdir \"$d\" && cat > \"$d/p\" && chmod 700 \"$d/p\" || exit 2; "
        "%s; for q in $p; do wait $q || s=$?; done; "
        "if [ $s -ne 0 ]; then cat \"$d\"/log* >&2 2> /dev/null; exit $s; fi%s%s",
        devices_token(a), before, *after ? "; " : "", after);
}

void devices_progress(const Session *s, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    if (!s->args->json) {
        vfprintf(stderr, format, ap);
        fputc('\n', stderr);
    }
    va_end(ap);
}

double devices_number(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

// Errors
// -----------------------------------------------------------------------------------------

// The last line that says something; programs of ours say there what went wrong.
static const char *last_line(Arena *a, const char *text)
{
    size_t end = text ? strlen(text) : 0;
    while (end && strchr(" \r\n", text[end - 1]))
        end--;
    size_t begin = end;
    while (begin && text[begin - 1] != '\n' && text[begin - 1] != '\r')
        begin--;
    return end ? arena_strndup(a, text + begin, end - begin) : "it gave no reason";
}

static int unreachable(const Remote *r, const char *what, const char *why)
{
    error_at(NO_LOC, "cannot reach %s by ssh (%s): %s", r->host, what, why);
    note_at(NO_LOC,
            "`%s %s true` must work without a question (an ssh key in "
            "~/.ssh/authorized_keys there)",
            remote_shell(), r->host);
    return EXIT_PEER;
}

static int cannot_start(const Remote *r, const char *why)
{
    if (str_starts(why, "cannot start ")) // here: ssh, or sh
        error_at(NO_LOC, "%s; apt-get install openssh-client, or set STAGECC_SSH", why);
    else if (strstr(why, "shared librar"))
        error_at(NO_LOC,
                 "%s: %s; apt-get install libdnnl2 libjansson4 libgomp1 there (Debian's names)",
                 r->host, why);
    else if (r->status == 126 || strstr(why, "xec format"))
        error_at(NO_LOC,
                 "%s: %s; programs of this host do not run there (another processor, or "
                 "TMPDIR where nothing may be executed)",
                 r->host, why);
    else
        error_at(NO_LOC, "%s: %s; is it installed there?", r->host, why);
    return EXIT_ENVIRONMENT;
}

int devices_failed(Session *s, const Remote *r, RemoteEnd end, const char *what)
{
    const char *why = last_line(s->arena, r->err.data);
    if (end == REMOTE_INTERRUPTED) {
        fputs("stagecc: interrupted\n", stderr);
        return EXIT_INTERRUPTED;
    }
    if (end == REMOTE_TIMEOUT || r->status == 124) {
        error_at(NO_LOC, "%s: %s has taken too long; is the host busy, or the model too large?",
                 r->host, what);
        return EXIT_PEER;
    }
    if (r->status == REMOTE_UNREACHABLE && !host_is_local(r->host))
        return unreachable(r, what, why);
    if (r->status == 126 || r->status == 127)
        return cannot_start(r, why);
    error_at(NO_LOC, "%s: %s failed: %s", r->host, what, why);
    return r->status == EXIT_ENVIRONMENT ? EXIT_ENVIRONMENT : EXIT_PEER;
}

// Questions
// --------------------------------------------------------------------------------------

static int take_answer(Session *s, Question *q, Remote *r)
{
    RemoteEnd end = remote_wait(r, q->limit_s, false);
    if (end != REMOTE_ENDED || r->status)
        return devices_failed(s, r, end, q->what);
    q->answer = arena_strdup(s->arena, r->out.data ? r->out.data : "");
    return EXIT_DONE;
}

int devices_ask(Session *s, Question *q, int n)
{
    Remote *r = arena_array(s->arena, Remote, n + 1);
    int status = EXIT_DONE, started = 0;
    for (; started < n && !status; started++) {
        Question *one = &q[started];
        if (!remote_start(s->arena, &r[started], one->host, one->script, one->input)) {
            error_at(NO_LOC, "cannot start a process for %s: %s", one->host, strerror(errno));
            status = EXIT_ENVIRONMENT;
        }
    }
    for (int i = 0; i < started && !status; i++)
        status = take_answer(s, &q[i], &r[i]);
    for (int i = 0; i < started; i++)
        remote_stop(&r[i]);
    for (int i = 0; i < started; i++)
        remote_end(&r[i]);
    return status;
}

// Hosts
// -----------------------------------------------------------------------------------------

static int read_host(const Session *s, const Question *q, HostFigures *f)
{
    json_error_t error;
    json_t *o = json_loads(q->answer, 0, &error);
    f->cores = (int)devices_number(o, "cores");
    f->free_cores = devices_number(o, "free_cores");
    f->memory_bytes = (int64_t)devices_number(o, "memory_bytes");
    json_decref(o);
    if (f->cores > 0)
        return EXIT_DONE;
    error_at(NO_LOC, "%s: %s gave `%s`", q->host, q->what, last_line(s->arena, q->answer));
    return EXIT_PEER;
}

int devices_hosts(Session *s)
{
    int n = s->hosts.n;
    Question *q = arena_array(s->arena, Question, n);
    devices_progress(s, "looking at %d host%s", n, n > 1 ? "s" : "");
    for (int i = 0; i < n; i++)
        q[i] = (Question){.host = s->hosts.items[i].name,
                          .script =
                              devices_script(s->arena, "timeout 20 \"$d/p\" host & p=$!", ""),
                          .input = s->links,
                          .what = "looking at its cores and memory",
                          .limit_s = 40};
    int status = devices_ask(s, q, n);
    for (int i = 0; i < n && !status; i++)
        status = read_host(s, &q[i], &s->figures[i]);
    return status;
}
