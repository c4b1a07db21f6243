// A worker's loop: frames, ends and reports of programs, signals and time become events of the core; what it wants done
// is done here or by the other files. Work that takes long (files, states) goes on a piece at a time, so that a beat is
// never late.
#include "control/worker/worker.h"

#include "base/diag.h"
#include "base/text.h"
#include "base/utf8.h"
#include "control/interface.h"
#include "control/progress.h"
#include "control/timeline.h"
#include "control/worker/agent.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    LINE = 1024,
    IDLE_MS = 200,
    SHARED_MS = 50,
    BUSY_MS = 10,
    FRAMES_AT_ONCE = 64,
    LINGER_MS = 500
};
#define RETRY_NS (SECOND_NS / 2)
#define TELL_NS (2 * SECOND_NS)
#define ALONE_NS (5 * SECOND_NS)
#define FINISH_NS (5 * SECOND_NS) // for programs to end behind the last step
#define KEEP_NS                                                                                \
    (10 * SECOND_NS) // blocks that nothing lies in, of a worker that has no programs

void agent_say(const Agent *g, const char *format, ...)
{
    char said[LINE];
    va_list ap;
    if (g->options->quiet)
        return;
    va_start(ap, format);
    vsnprintf(said, sizeof said, format, ap);
    va_end(ap);
    // Others' words are in it.
    fprintf(stderr, "stagecc: worker %s: %s\n", g->options->name, utf8_printable(said));
}

int64_t agent_now(void)
{
    return progress_now_ns();
}

int agent_next(const Agent *g, int rank)
{
    return g->run.of.number == g->core.epoch.number ? agent_next_of(g, &g->run, rank) : -1;
}

int agent_next_of(const Agent *g, const Run *r, int rank)
{
    const Worker *w = &g->core;
    bool mine = r->of.number && epoch_has(&r->of, w->number, w->config.has.incarnation);
    for (uint32_t i = (uint32_t)(rank + 1); mine && i < r->of.n_ranks; i++)
        if (r->of.ranks[i].worker == w->number)
            return (int)i;
    return -1;
}

bool agent_host_of(const char *endpoint, char host[NET_ENDPOINT])
{
    const char *begin = str_starts(endpoint, "tcp://") ? endpoint + 6 : endpoint;
    const char *end = strrchr(begin, ':');
    if (!end || end == begin || end - begin >= NET_ENDPOINT)
        return false;
    bool brackets = *begin == '[' && end[-1] == ']';
    snprintf(host, NET_ENDPOINT, "%.*s", (int)(end - begin) - 2 * brackets, begin + brackets);
    return true;
}

// The loop
// ---------------------------------------------------------------------------------------

static int64_t half_beat(const Agent *g)
{
    return g->core.beat_ns / 2;
}

// What programs do is looked at for other hosts: often until they run, then seldom, since whoever looks takes a processor
// from one of them. What is urgent comes by a descriptor.
static int timeout_ms(const Agent *g)
{
    bool runs = g->core.phase == WORKER_RUNNING || g->core.phase == WORKER_STOPPED;
    int shared = g->run.n_hosts > 1 ? SHARED_MS : IDLE_MS;
    int most = runs && !g->next.of.number ? shared : BUSY_MS;
    int64_t left = (g->clock_ns + half_beat(g) - agent_now()) / 1000000;
    return left < 0 || g->keeps ? 0 : left < most ? (int)left : most;
}

static void stop(Agent *g, const char *why)
{
    agent_say(g, "%s", why);
    g->status = EXIT_INTERRUPTED;
    g->finishes = false;
    agent_leave(g);
}

static void on_signal(Agent *g)
{
    struct signalfd_siginfo info;
    if (read(g->signal_fd, &info, sizeof info) == (ssize_t)sizeof info)
        stop(g, "stopped by a signal");
}

// Whoever holds its standard input is gone: a connection that ends tells a process nothing else.
static void on_input(Agent *g, short events)
{
    char said[256];
    if (events && !g->left && read(STDIN_FILENO, said, sizeof said) <= 0)
        stop(g, "who has started it is gone");
}

static void hear(Agent *g)
{
    struct pollfd fds[MOST_FDS];
    NetEvent e;
    int input = g->options->tied && !g->left ? STDIN_FILENO : -1;
    fds[0] = (struct pollfd){.fd = g->signal_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = input, .events = POLLIN};
    fds[2] = (struct pollfd){.fd = streams_fd(g->streams), .events = POLLIN};
    net_wait(g->net, fds, programs_fds(g, fds, 3), timeout_ms(g));
    on_signal(g);
    on_input(g, fds[1].revents);
    programs_poll(g);
    for (int i = 0; i < FRAMES_AT_ONCE && net_take(g->net, &e); i++)
        agent_hear(g, &e);
}

static void get_files(Agent *g, int64_t now_ns)
{
    Want want;
    if (g->core.welcomed && files_want(&g->files, now_ns, &want))
        agent_tell_master(g, &(Message){.id = MESSAGE_WANT, .want = want});
}

// Of what takes longer than people like to wait in the dark.
static void tell_waits(Agent *g, int64_t now_ns)
{
    char got[32], bytes[32];
    const Files *f = &g->files;
    bool slow = f->fd >= 0 && now_ns - f->begun_ns > TELL_NS;
    if (now_ns - g->told_ns < TELL_NS)
        return;
    if (slow)
        agent_say(g, "getting programs from the master: %s of %s",
                  human_bytes(got, (int64_t)f->got), human_bytes(bytes, (int64_t)f->bytes));
    bool alone = !g->welcomed && !g->told_ns && now_ns - g->began_ns > ALONE_NS;
    if (alone)
        agent_say(
            g,
            "no answer of a master at %s: is it there, and does it list the key %s? It is "
            "tried again",
            g->options->master, g->options->key.public_key);
    if (slow || alone)
        g->told_ns = now_ns;
}

static void work(Agent *g)
{
    int64_t now_ns = agent_now();
    if (now_ns - g->clock_ns >= half_beat(g)) {
        g->clock_ns = now_ns;
        agent_take(g, &(WorkerEvent){.kind = WORKER_CLOCK});
    }
    if (g->core.phase != WORKER_STOPPED || g->next.of.number)
        g->worked_ns = now_ns;
    // First of all: what another master's job has left is found by nobody. Blocks are kept from one epoch to the next.
    states_sweep(&g->states, &g->core, now_ns - g->worked_ns > KEEP_NS);
    peers_work(g, now_ns);
    get_files(g, now_ns);
    prepare_work(g, &g->run, now_ns);
    warm_work(g, now_ns);
    if (g->core.phase != WORKER_STOPPED)
        copies_make_room(g, &g->run);
    copies_work(g, now_ns);
    g->keeps = snapshots_work(g);
    relay_work(g, now_ns);
    programs_look(g, now_ns);
    timeline_work(g, now_ns);
    tell_waits(g, now_ns);
}

static bool is_over(const Agent *g)
{
    return g->left &&
           (!g->finishes || !programs_alive(g) || agent_now() - g->leaves_ns > FINISH_NS);
}

static int verdict(const Agent *g)
{
    if (g->status)
        return g->status;
    if (*g->last_words) {
        error_at(NO_LOC, "the master at %s: %s", g->options->master, g->last_words);
        return EXIT_ENVIRONMENT;
    }
    if (!g->told_to_leave) {
        error_at(NO_LOC, "no word of the master at %s for %.0f s", g->options->master,
                 g->options->orphan_s);
        return EXIT_PEER;
    }
    agent_say(g, g->finishes ? "the job is done" : "drained");
    return EXIT_DONE;
}

// Beginning and end
// ---------------------------------------------------------------------------------------

static bool admits(void *user, const CurveKey key)
{
    return peers_of_key(user, key) >= 0;
}

static bool open_sockets(Agent *g)
{
    char host[NET_ENDPOINT], address[NET_ENDPOINT - 16], endpoint[NET_ENDPOINT], device[64];
    const char *interface = g->options->interface;
    if (!agent_host_of(g->options->master, host)) {
        error_at(NO_LOC, "`%s` is no tcp://host:port", g->options->master);
        return false;
    }
    if (!interface_address(interface, host, address, sizeof address)) {
        error_at(NO_LOC, "no address of this machine leads to %s",
                 interface ? interface : host);
        return false;
    }
    // Messages between programs take the same way.
    if (interface_device(address, device, sizeof device))
        interface_use(device);
    snprintf(endpoint, sizeof endpoint, strchr(address, ':') ? "tcp://[%s]:*" : "tcp://%s:*",
             address);
    g->streams = streams_open(address);
    if (!g->streams) {
        error_at(NO_LOC, "cannot listen at %s: %s", address, strerror(errno));
        return false;
    }
    g->net = net_open(&g->options->key);
    g->listen = g->net ? net_listen(g->net, endpoint, admits, g) : NULL;
    g->master =
        g->listen ? net_connect(g->net, g->options->master, g->options->key.master) : NULL;
    return g->master;
}

static bool open_all(Agent *g, sigset_t *before)
{
    WorkerConfig config = {.has = g->options->has,
                           .retry_ns = RETRY_NS,
                           .orphan_ns = (int64_t)(g->options->orphan_s * 1e9)};
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigprocmask(SIG_BLOCK, &watched, before);
    g->signal_fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    while (!config.has.incarnation)
        if (getrandom(&config.has.incarnation, sizeof config.has.incarnation, 0) < 0)
            return false;
    g->began_ns = agent_now();
    g->clock = timeline_clock();
    worker_init(&g->core, &config, g->began_ns);
    run_close(g, &g->run);
    run_close(g, &g->next);
    copies_init(g);
    if (!files_init(&g->files, g->options->dir)) {
        bool taken = errno == EWOULDBLOCK;
        error_at((Loc){g->options->dir, 0, 0}, "cannot %s the directory%s%s",
                 taken ? "use" : "make", taken ? ": another worker does" : ": ",
                 taken ? "" : strerror(errno));
        return false;
    }
    return open_sockets(g);
}

static void close_all(Agent *g, const sigset_t *before)
{
    programs_end(g);
    warm_drop(g);
    programs_wait(g);
    copies_stop(g, true);
    run_close(g, &g->run);
    streams_close(g->streams);
    states_release(&g->states);
    files_release(&g->files);
    programs_forget(g);
    peers_close(g);
    net_close(g->net, LINGER_MS);
    close(g->signal_fd);
    sigprocmask(SIG_SETMASK, before, NULL);
}

int worker_run(const WorkerOptions *options)
{
    Agent *g = calloc(1, sizeof *g);
    sigset_t before;
    if (!g)
        fatal("out of memory");
    g->options = options;
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); // inherited by programs
    int status = EXIT_ENVIRONMENT;
    if (open_all(g, &before)) {
        while (!is_over(g)) {
            hear(g);
            work(g);
        }
        status = verdict(g);
    }
    close_all(g, &before);
    free(g);
    return status;
}
