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

// Questions
// --------------------------------------------------------------------------------------

static int take_answer(Session *s, Question *q, Remote *r)
{
    RemoteEnd end = remote_wait(r, q->limit_s, false);
    if (end != REMOTE_ENDED || r->status)
        return remote_failed(s->arena, r, end, q->what);
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
    error_at(NO_LOC, "%s: %s gave `%s`", q->host, q->what,
             remote_last_line(s->arena, q->answer));
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
