// A worker's loop: frames, ends and reports of programs, signals and time become events of the core; what it wants done
// is done here or by the other files. Work that takes long (files, states) goes on a piece at a time, so that a beat is
// never late.
#include "control/worker/worker.h"

#include "base/diag.h"
#include "base/text.h"
#include "control/interface.h"
#include "control/progress.h"
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

enum { IDLE_MS = 200, BUSY_MS = 10, FRAMES_AT_ONCE = 64, LINGER_MS = 500 };
#define RETRY_NS (SECOND_NS / 2)
#define FINISH_NS (5 * SECOND_NS) // for programs to end behind the last step

void agent_say(const Agent *g, const char *format, ...)
{
    va_list ap;
    if (g->options->quiet)
        return;
    va_start(ap, format);
    fprintf(stderr, "stagecc: worker %s: ", g->options->name);
    vfprintf(stderr, format, ap);
    fputc('\n', stderr);
    va_end(ap);
}

int64_t agent_now(void)
{
    return progress_now_ns();
}

int agent_next(const Agent *g, int rank)
{
    const Worker *w = &g->core;
    bool mine = g->run.epoch && g->run.epoch == w->epoch.number &&
                epoch_has(&w->epoch, w->number, w->config.has.incarnation);
    for (uint32_t i = (uint32_t)(rank + 1); mine && i < w->epoch.n_ranks; i++)
        if (w->epoch.ranks[i].worker == w->number)
            return (int)i;
    return -1;
}

// What the core wants
// ---------------------------------------------------------------------------------------

bool agent_tell_master(Agent *g, const Message *m)
{
    size_t bytes = message_put(g->frame, sizeof g->frame, m);
    return bytes && net_send(g->master, NULL, g->frame, bytes);
}

static void say(Agent *g, const WorkerAction *a)
{
    Message m = {.id = a->id};
    char text[256];
    if (a->id == MESSAGE_HELLO) {
        m.hello = a->hello;
        m.rest = text;
        m.rest_bytes =
            (size_t)snprintf(text, sizeof text, "{\"name\": \"%s\", \"peer\": \"%s\"}",
                             g->options->name, net_endpoint(g->listen));
    }
    if (a->id == MESSAGE_BEAT)
        m.beat = a->beat;
    if (a->id == MESSAGE_ENDED) {
        m.ended = a->ended;
        m.rest = g->run.programs[a->ended.rank].error;
    }
    if (a->id == MESSAGE_CANNOT) {
        m.cannot = a->cannot;
        m.rest = g->run.programs[a->cannot.rank].error;
    }
    if (m.rest && !m.rest_bytes)
        m.rest_bytes = strlen(m.rest);
    if (agent_tell_master(g, &m) || a->id == MESSAGE_HELLO)
        return;
    m.rest_bytes = 0; // its report was cut in the middle of a character
    agent_tell_master(g, &m);
}

// Programs that have done all steps are about to end: they may, while the others are waited for.
static void leave(Agent *g)
{
    g->left = true;
    g->leaves_ns = agent_now();
    if (!g->finishes)
        programs_end(g);
}

static void perform(Agent *g, const WorkerAction *a)
{
    switch (a->kind) {
    case WORKER_SEND: say(g, a); return;
    case WORKER_PREPARE: prepare_begin(g, a->rank); return;
    case WORKER_LIMIT: programs_limit(g, a->begin, a->update); return;
    case WORKER_COPY: copies_offer(g, a); return;
    case WORKER_END:
        if (!g->finishes)
            programs_end(g);
        return;
    case WORKER_LEAVE: leave(g); return;
    }
}

static void tell_story(const Agent *g, WorkerPhase before)
{
    const Worker *w = &g->core;
    int mine = 0, first = -1;
    for (int rank = agent_next(g, -1); rank >= 0; rank = agent_next(g, rank)) {
        first = mine++ ? first : rank;
    }
    if (w->phase == before || !mine)
        return;
    int stage = g->run.opened ? g->run.plan->ranks[first].stage : first;
    if (w->phase == WORKER_RUNNING)
        agent_say(g, "epoch %" PRIu64 ": %s %d%s of %s goes on behind step %" PRIu64,
                  w->epoch.number, mine > 1 ? "stages from" : "stage", stage,
                  mine > 1 ? " on" : "", g->run.start.model, w->epoch.step);
    if (w->phase == WORKER_STOPPED && !g->finishes)
        agent_say(g, "epoch %" PRIu64 " is over, step %" PRIu64 " is committed", g->run.epoch,
                  w->committed);
}

void agent_take(Agent *g, const WorkerEvent *event)
{
    WorkerActions actions;
    WorkerPhase before = g->core.phase;
    uint64_t epoch = g->core.epoch.number;
    const Message *m = event->kind == WORKER_HEARD ? event->message : NULL;
    if (m && m->id == MESSAGE_LEAVE) {
        g->told_to_leave = true;
        g->finishes = !m->leave.drained;
    }
    worker_take(&g->core, event, agent_now(), &actions);
    tell_story(g, before);
    int first = 0;
    for (; first < actions.n && actions.list[first].kind == WORKER_END; first++)
        perform(g, &actions.list[first]); // those of the epoch before
    if (m && m->id == MESSAGE_START && g->core.epoch.number != epoch)
        run_adopt(g, m);
    for (int i = first; i < actions.n; i++)
        perform(g, &actions.list[i]);
}

// What comes
// ---------------------------------------------------------------------------------------

static void refuse_frame(Agent *g, const char *from, const char *why)
{
    if (g->bad == from)
        return;
    g->bad = from;
    agent_say(g, "what came from %s is not understood: %s", from, why);
}

static void on_master(Agent *g, const NetEvent *e)
{
    Message m;
    char why[MESSAGE_WHY];
    if (!message_check(e->frame, e->bytes, FROM_MASTER, &m, why)) {
        refuse_frame(g, "the master", why);
        return;
    }
    if (m.id == MESSAGE_PIECE) {
        files_take(&g->files, &m, agent_now());
        return;
    }
    if (m.id == MESSAGE_REFUSED)
        snprintf(g->last_words, sizeof g->last_words, "%.*s", (int)m.rest_bytes, m.rest);
    agent_take(g, &(WorkerEvent){.kind = WORKER_HEARD, .message = &m});
    if (m.id != MESSAGE_WELCOME)
        return;
    agent_say(g, g->welcomed ? "the master is there again" : "connected to %s as worker %u",
              g->options->master, m.welcome.worker);
    g->welcomed = true;
    programs_say_again(g);
}

static void on_peer(Agent *g, const NetEvent *e)
{
    Message m;
    char why[MESSAGE_WHY];
    int from = peers_of_key(g, e->key);
    if (from < 0)
        return;
    if (!message_check(e->frame, e->bytes, FROM_PEER, &m, why)) {
        refuse_frame(g, "another worker", why);
        return;
    }
    if (m.id == MESSAGE_STATUS || m.id == MESSAGE_ADDRESS)
        relay_take(g, (uint16_t)from, &m);
    if (m.id == MESSAGE_FETCH)
        copies_fetched(g, e->key, &m);
    if (m.id == MESSAGE_OFFER)
        copies_offered(g, (uint16_t)from, &m.offer);
    if (m.id == MESSAGE_TENSOR && e->socket != g->listen)
        copies_take(g, &m);
}

static void on_link(Agent *g, const NetEvent *e)
{
    bool up = e->kind == NET_UP;
    if (e->socket == g->master) {
        if (!up && g->core.welcomed)
            agent_say(g, "lost the master, going on");
        agent_take(g, &(WorkerEvent){.kind = up ? WORKER_CONNECTED : WORKER_CUT});
        return;
    }
    int peer = e->socket == g->listen ? -1 : peers_of_socket(g, e->socket);
    if (peer < 0)
        return;
    g->peers[peer].up = up;
    if (up) {
        relay_again(g);
        copies_again(g, (uint16_t)peer);
    }
}

static void on_event(Agent *g, const NetEvent *e)
{
    if (e->kind != NET_FRAME)
        on_link(g, e);
    else if (e->socket == g->master)
        on_master(g, e);
    else
        on_peer(g, e);
}

// The loop
// ---------------------------------------------------------------------------------------

static int64_t half_beat(const Agent *g)
{
    return g->core.beat_ns / 2;
}

static int timeout_ms(const Agent *g)
{
    int most = g->core.phase == WORKER_PREPARING || g->run.n_hosts > 1 ? BUSY_MS : IDLE_MS;
    int64_t left = (g->clock_ns + half_beat(g) - agent_now()) / 1000000;
    return left < 0 ? 0 : left < most ? (int)left : most;
}

static void on_signal(Agent *g)
{
    struct signalfd_siginfo info;
    if (read(g->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    agent_say(g, "stopped by a signal");
    g->status = EXIT_INTERRUPTED;
    g->finishes = false;
    leave(g);
}

static void hear(Agent *g)
{
    struct pollfd fds[MOST_FDS];
    NetEvent e;
    fds[0] = (struct pollfd){.fd = g->signal_fd, .events = POLLIN};
    net_wait(g->net, fds, programs_fds(g, fds, 1), timeout_ms(g));
    on_signal(g);
    programs_poll(g);
    for (int i = 0; i < FRAMES_AT_ONCE && net_take(g->net, &e); i++)
        on_event(g, &e);
}

static void get_files(Agent *g, int64_t now_ns)
{
    Want want;
    if (g->core.welcomed && files_want(&g->files, now_ns, &want))
        agent_tell_master(g, &(Message){.id = MESSAGE_WANT, .want = want});
}

static void work(Agent *g)
{
    int64_t now_ns = agent_now();
    if (now_ns - g->clock_ns >= half_beat(g)) {
        g->clock_ns = now_ns;
        agent_take(g, &(WorkerEvent){.kind = WORKER_CLOCK});
    }
    get_files(g, now_ns);
    prepare_work(g, now_ns);
    copies_work(g, now_ns);
    relay_work(g, now_ns);
    programs_look(g, now_ns);
    states_sweep(&g->states, &g->core, g->core.phase == WORKER_STOPPED);
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

// "tcp://10.0.0.7:7070" or "tcp://[::1]:7070": what stands before the port.
static bool host_of(const char *endpoint, char host[NET_ENDPOINT])
{
    const char *begin = str_starts(endpoint, "tcp://") ? endpoint + 6 : endpoint;
    const char *end = strrchr(begin, ':');
    if (!end || end == begin || end - begin >= NET_ENDPOINT)
        return false;
    bool brackets = *begin == '[' && end[-1] == ']';
    snprintf(host, NET_ENDPOINT, "%.*s", (int)(end - begin) - 2 * brackets, begin + brackets);
    return true;
}

static bool open_sockets(Agent *g)
{
    char host[NET_ENDPOINT], address[NET_ENDPOINT - 16], endpoint[NET_ENDPOINT], device[64];
    const char *interface = g->options->interface;
    if (!host_of(g->options->master, host)) {
        error_at(NO_LOC, "`%s` is no tcp://host:port", g->options->master);
        return false;
    }
    if (!interface_address(interface, host, address, sizeof address)) {
        error_at(NO_LOC, "no address of this machine leads to %s",
                 interface ? interface : host);
        return false;
    }
    // Messages between programs take the same way.
    if (!getenv("UCX_NET_DEVICES") && interface_device(address, device, sizeof device))
        setenv("UCX_NET_DEVICES", device, 1);
    snprintf(endpoint, sizeof endpoint, strchr(address, ':') ? "tcp://[%s]:*" : "tcp://%s:*",
             address);
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
    worker_init(&g->core, &config, agent_now());
    run_close(g);
    g->line = (TransferLine){.ask = copies_ask, .user = g};
    if (!files_init(&g->files, g->options->dir)) {
        error_at((Loc){g->options->dir, 0, 0}, "cannot make the directory: %s",
                 strerror(errno));
        return false;
    }
    return open_sockets(g);
}

static void close_all(Agent *g, const sigset_t *before)
{
    programs_end(g);
    programs_wait(g);
    copies_stop(g, true);
    run_close(g);
    states_release(&g->states);
    files_release(&g->files);
    for (int i = 0; i < g->n_kept; i++)
        free(g->kept[i].line);
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
