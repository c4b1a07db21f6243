// The hosts of `stagecc launch`. A worker is tied to the pipe through which its key went to it: it ends when that ends,
// whatever becomes of this process, of ssh or of the network between.
#include "driver/launch.h"

#include "base/text.h"
#include "control/interface.h"
#include "control/keys.h"
#include "driver/bundle.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef STAGECC_ZMQ
#include "control/message.h"

enum {
    GIVE_UP_S = 900, // a network that is cut in the middle says nothing to anybody
    LEAVE_S = 8,     // for workers to end by themselves
    END_S = 10       // for those that were told to
};

// Names
// ------------------------------------------------------------------------------------------------

static bool is_taken(const Launcher *l, int n, const char *name)
{
    bool taken = !strcmp(name, "master");
    for (int i = 0; i < n; i++)
        taken |= !strcmp(l->stations[i].name, name);
    return taken;
}

// "me@h2" is called h2: what files may be called.
static const char *name_of(Launcher *l, int i)
{
    const char *at = strrchr(l->hosts->items[i].name, '@');
    char *name = arena_strdup(l->arena, at ? at + 1 : l->hosts->items[i].name);
    while (*name && strchr("._-:%", *name))
        name++;
    for (char *p = name; *p; p++)
        if (strchr(":%@", *p))
            *p = '-';
    if (strlen(name) > KEY_NAME - 4)
        name[KEY_NAME - 4] = 0;
    const char *own = *name ? name : "host";
    for (int k = 2; is_taken(l, i, own); k++)
        own = arena_printf(l->arena, "%s-%d", *name ? name : "host", k);
    return own;
}

// A directory has its own backend; then the master says it.
static bool is_for(const Launcher *l, const Host *h)
{
    struct stat s;
    const char *backend = l->args->backend;
    bool cuda = backend && !strcmp(backend, "cuda");
    return h->cuda == cuda || (!backend && !stat(l->args->operand, &s) && S_ISDIR(s.st_mode));
}

static bool fits(const Launcher *l, const Host *h)
{
    if (h->cuda != l->hosts->items[0].cuda)
        error_at(h->loc,
                 "%s has device=%s, %s device=%s: all programs of a job are of one kind",
                 h->name, h->cuda ? "cuda" : "cpu", l->hosts->items[0].name,
                 h->cuda ? "cpu" : "cuda");
    else if (!is_for(l, h))
        error_at(h->loc,
                 h->cuda
                     ? "%s has device=cuda, for programs of --backend cuda: say that, too"
                     : "%s has device=cpu, and --backend cuda is for hosts with device=cuda",
                 h->name);
    else if (h->slots > MOST_RANKS)
        error_at(h->loc, "%s: a worker has at most %d slots", h->name, MOST_RANKS);
    else
        return true;
    return false;
}

int stations_name(Launcher *l)
{
    bool good = l->hosts->n <= MOST_WORKERS;
    l->stations = arena_array(l->arena, Station, l->hosts->n);
    if (!good)
        error_at(NO_LOC, "%d hosts are more than a master has workers: %d", l->hosts->n,
                 MOST_WORKERS);
    for (int i = 0; good && i < l->hosts->n; i++) {
        const Host *h = &l->hosts->items[i];
        const char *name = name_of(l, i);
        good = fits(l, h);
        l->stations[i] = (Station){.host = h,
                                   .name = name,
                                   .key = arena_printf(l->arena, "%s/%s.key", l->keys, name),
                                   .local = host_is_local(h->name),
                                   .remote = {.in_fd = -1, .out_fd = -1, .err_fd = -1}};
    }
    return good ? EXIT_DONE : EXIT_INPUT;
}

// Addresses
// ------------------------------------------------------------------------------------------------

// Of this machine, as the host reaches it. NULL: reported.
static const char *address_for(Launcher *l, const Station *s)
{
    char text[64];
    if (s->local)
        return "127.0.0.1";
    const char *there = remote_address(l->arena, s->host->name);
    if (!interface_address(NULL, there, text, sizeof text)) {
        error_at(s->host->loc,
                 "%s: no address of this machine leads to %s; is that its name? --listen says "
                 "where the master listens",
                 s->host->name, there);
        return NULL;
    }
    return arena_printf(l->arena, strchr(text, ':') ? "[%s]" : "%s", text);
}

const char *stations_listen(Launcher *l)
{
    const char *found = NULL, *by = NULL;
    for (int i = 0; i < l->hosts->n; i++) {
        const Station *s = &l->stations[i];
        const char *address = s->local ? NULL : address_for(l, s);
        if (!s->local && !address)
            return NULL;
        if (found && address && strcmp(found, address) != 0) {
            error_at(s->host->loc,
                     "%s reaches this machine at %s, %s at %s: --listen 0.0.0.0 listens at "
                     "all of its addresses",
                     s->host->name, address, by, found);
            return NULL;
        }
        if (!found && address) {
            found = address;
            by = s->host->name;
        }
    }
    return found ? found : "127.0.0.1";
}

// Where it listens at all addresses each host gets the one that it reaches.
static const char *endpoint_for(Launcher *l, const Station *s)
{
    static const char *const all[] = {"tcp://0.0.0.0:", "tcp://[::]:", "tcp://*:"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (str_starts(l->endpoint, all[i])) {
            const char *address = address_for(l, s);
            return address ? arena_printf(l->arena, "tcp://%s:%s", address,
                                          l->endpoint + strlen(all[i]))
                           : NULL;
        }
    return l->endpoint;
}

// What is copied
// ------------------------------------------------------------------------------------------------

// Stage programs come from the master; what they load does not. oneDNN brings what it loads itself.
static bool collect(Launcher *l, Bundle *b)
{
    const char *dnnl = STAGECC_DNNL_VERSION, *card = toolchain_find(l->arena).card;
    bool good = bundle_program(b, "stagecc", own_executable(l->arena));
    if (good && l->hosts->items[0].cuda && !access(card, X_OK))
        good = bundle_program(b, "stagecc-card", card);
    setenv("UCX_WARN_UNUSED_ENV_VARS", "n", 0);
    if (good && !bundle_loaded(b, "libzmq.so.5") && !diag_errors())
        error_at(NO_LOC, "ZeroMQ cannot be found: apt-get install libzmq5");
    if (good && !bundle_loaded(b, "libucp.so.0") && !diag_errors())
        warning_at(NO_LOC, "UCX is not here, so hosts need their own: apt-get install libucx0");
    if (good && *dnnl)
        bundle_loaded(b,
                      arena_printf(l->arena, "libdnnl.so.%.*s", (int)strcspn(dnnl, "."), dnnl));
    return good && !diag_errors();
}

static void tell_copied(void *user, const char *host, bool copied)
{
    (void)user;
    fprintf(stderr, "stagecc: %s: %s\n", host,
            copied ? "the worker is copied" : "has this worker already");
}

static bool all_local(const Launcher *l)
{
    for (int i = 0; i < l->hosts->n; i++)
        if (!l->stations[i].local)
            return false;
    return true;
}

int stations_copy(Launcher *l)
{
    Bundle b;
    if (all_local(l))
        return EXIT_DONE;
    bundle_begin(&b, l->arena, "the worker");
    bool good = collect(l, &b) &&
                bundle_close(&b, arena_printf(l->arena, "%s/worker.sha256", l->journal));
    int status = EXIT_ENVIRONMENT;
    if (good)
        status = bundle_copy(&b, l->hosts,
                             "LD_LIBRARY_PATH=\"$PWD/lib\" ./stagecc --version > /dev/null",
                             tell_copied, NULL);
    if (!status)
        l->place = bundle_place(&b);
    bundle_end(&b);
    return status;
}

// What is started
// ------------------------------------------------------------------------------------------------

static const char *options_of(const Launcher *l, const Station *s)
{
    const char *memory = "";
    if (s->host->memory_bytes)
        memory = arena_printf(l->arena, " --mem %lld",
                              (long long)s->host->memory_bytes * s->host->slots);
    return arena_printf(l->arena, "--master %s --slots %d%s%s --tied --give-up %d",
                        s->master ? s->master : "ADDRESS", s->host->slots,
                        s->host->cuda ? " --device cuda" : "", memory, GIVE_UP_S);
}

// Paths may hold anything, a script may not: it finds them in the environment.
static const char *local_script(const Launcher *l, const Station *s)
{
    char *dir = realpath(l->journal, NULL);
    setenv("STAGECC_LAUNCH_PROGRAM", own_executable(l->arena), 1);
    setenv("STAGECC_LAUNCH_KEY", s->key, 1);
    setenv("STAGECC_LAUNCH_DIR",
           arena_printf(l->arena, "%s/workers/%s", dir ? dir : l->journal, s->name), 1);
    free(dir);
    return arena_printf(l->arena,
                        "exec \"$STAGECC_LAUNCH_PROGRAM\" worker --key \"$STAGECC_LAUNCH_KEY\" "
                        "--dir \"$STAGECC_LAUNCH_DIR\" %s",
                        options_of(l, s));
}

// The key is the first thing that its standard input holds, and dd takes not a byte more.
static const char *remote_script(const Launcher *l, const Station *s, size_t key_bytes)
{
    return arena_printf(
        l->arena,
        "d=\"%s\"; k=\"${d%%/*}/keys\"; umask 077; mkdir -p \"$k\" && "
        "dd bs=1 count=%zu of=\"$k/%s.$$\" 2> /dev/null && mv \"$k/%s.$$\" \"$k/%s.key\" || exit 2; "
        "LD_LIBRARY_PATH=\"$d/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}\" "
        "exec \"$d/stagecc\" worker --key \"$k/%s.key\" %s",
        l->place, key_bytes, s->name, s->name, s->name, s->name, options_of(l, s));
}

void stations_print(const Launcher *l)
{
    for (int i = 0; i < l->hosts->n; i++) {
        const Station *s = &l->stations[i];
        if (!s->local)
            printf("%s: copy stagecc with its libraries and %s, by %s %s\n", s->host->name,
                   s->key, remote_shell(), s->host->name);
        printf("%s: stagecc worker --key %s.key %s\n", s->host->name, s->name,
               options_of(l, s));
    }
}

// The file's text; NULL: reported.
static char *read_key(const Station *s)
{
    Key k;
    int status = key_read(&k, s->key);
    key_wipe(&k);
    return status ? NULL : file_read(s->key, NULL);
}

static int start(Launcher *l, Station *s)
{
    char *key = read_key(s);
    size_t bytes = key ? strlen(key) : 0;
    if (!key)
        return EXIT_INPUT;
    const char *script = s->local ? local_script(l, s) : remote_script(l, s, bytes);
    bool good = remote_connect(l->arena, &s->remote, s->host->name, script);
    if (!good)
        error_at(NO_LOC, "cannot start a process for %s: %s", s->host->name, strerror(errno));
    // A pipe holds more than a key; who has ended already says why.
    if (good && !s->local && write(s->remote.in_fd, key, bytes) < 0 && errno != EPIPE)
        good = false;
    explicit_bzero(key, bytes);
    free(key);
    s->started = s->remote.pid > 0;
    return good ? EXIT_DONE : EXIT_ENVIRONMENT;
}

int stations_start(Launcher *l)
{
    int status = EXIT_DONE;
    for (int i = 0; i < l->hosts->n && !status; i++) {
        Station *s = &l->stations[i];
        s->master = endpoint_for(l, s);
        status = s->master ? start(l, s) : EXIT_ENVIRONMENT;
    }
    return status;
}

// What they say
// ------------------------------------------------------------------------------------------------

// Under the host's name; the worker's own is the same.
static void show_line(const Station *s, const char *line)
{
    char own[KEY_NAME + 32];
    snprintf(own, sizeof own, "stagecc: worker %s: ", s->name);
    fprintf(stderr, "%s: %s\n", s->host->name,
            str_starts(line, own) ? line + strlen(own) : line);
}

static void show(Station *s, bool all)
{
    Text *err = &s->remote.err;
    char *at = err->data;
    for (char *end; at && (end = strchr(at, '\n')); at = end + 1) {
        *end = 0;
        show_line(s, at);
    }
    size_t left = at ? strlen(at) : 0;
    if (left && all)
        show_line(s, at);
    if (at)
        memmove(err->data, at, left + 1);
    err->length = left;
}

static void on_end(Launcher *l, Station *s)
{
    char last[512] = "";
    if (s->remote.err.data)
        snprintf(last, sizeof last, "%s", remote_last_line(l->arena, s->remote.err.data));
    s->ended = true;
    show(s, true);
    if (s->remote.status == REMOTE_UNREACHABLE && !s->local)
        fprintf(stderr, "%s: the connection has ended: %s\n", s->host->name,
                *last ? last : "it gave no reason");
    else if (s->remote.status)
        fprintf(stderr, "%s: the worker has ended, status %d\n", s->host->name,
                s->remote.status);
}

static void look(Launcher *l, Station *s)
{
    if (!s->started || s->ended)
        return;
    if (remote_wait(&s->remote, 0, false) == REMOTE_ENDED)
        on_end(l, s);
    else
        show(s, false);
}

bool stations_look(Launcher *l)
{
    bool any = false; // runs, or has ended as it should: the master is about to
    for (int i = 0; i < l->hosts->n; i++) {
        Station *s = &l->stations[i];
        look(l, s);
        any |= !s->started || !s->ended || !s->remote.status;
    }
    return any;
}

int stations_fds(const Launcher *l, struct pollfd *fds, int n)
{
    for (int i = 0; i < l->hosts->n; i++)
        fds[n++] = (struct pollfd){.fd = l->stations[i].remote.err_fd, .events = POLLIN};
    return n;
}

// The end
// ------------------------------------------------------------------------------------------------

static void wait_for_all(Launcher *l, int seconds)
{
    bool any = true;
    for (int ms = 0; any && ms < seconds * 1000; ms += 20) {
        any = false;
        for (int i = 0; i < l->hosts->n; i++) {
            look(l, &l->stations[i]);
            any |= l->stations[i].started && !l->stations[i].ended;
        }
        if (any)
            usleep(20 * 1000);
    }
}

void stations_end(Launcher *l, bool patient)
{
    if (patient)
        wait_for_all(l, LEAVE_S);
    for (int i = 0; i < l->hosts->n; i++) {
        if (l->stations[i].remote.in_fd >= 0)
            close(l->stations[i].remote.in_fd);
        l->stations[i].remote.in_fd = -1;
    }
    wait_for_all(l, END_S);
    for (int i = 0; i < l->hosts->n; i++)
        remote_stop(&l->stations[i].remote);
    for (int i = 0; i < l->hosts->n; i++)
        remote_end(&l->stations[i].remote);
}
#endif
