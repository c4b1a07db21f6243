#include "control/hub.h"

#include "base/diag.h"
#include "base/text.h"
#include "control/host.h"
#include "control/merge.h"
#include "control/remote.h"
#include "control/verdict.h"
#include "control/wire.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define GRACE_NS (INT64_C(600) * 1000 * 1000)
#define SECOND_NS INT64_C(1000000000)

extern char **environ;

typedef struct Link { // to a host
    const HubPlace *place;
    Remote remote;
    Wire wire;
    int index, running; // programs
    bool open;
    int64_t heard_ns;
    uint64_t rounds;  // with SEGMENT_HOLD once it is held
    size_t err_shown; // bytes of its stderr
} Link;

typedef struct Run {
    const Hub *hub;
    Arena arena;
    Link *links; // [hub->n_places]
    Link *speaking;
    int running, signal_fd;
    SegmentStatus *statuses; // [n_ranks], as last heard
    bool holding, stopped, aborted;
    int64_t kill_at_ns, beat_ns;
    Verdict verdict;
} Run;

static int n_ranks(const Run *r)
{
    return r->hub->launch.plan->n_ranks;
}

static void tell(Run *r, const Link *except, WireKind kind, int rank, const void *data,
                 size_t bytes)
{
    for (int i = 0; i < r->hub->n_places; i++)
        if (r->links[i].open && &r->links[i] != except)
            wire_put(&r->links[i].wire, kind, rank, data, bytes);
}

// Ends
// -------------------------------------------------------------------------------------------

static void end_all(void *user, int rank, int status)
{
    Run *r = user;
    uint32_t failed = (uint32_t)status;
    if (!r->aborted)
        tell(r, NULL, WIRE_ABORT, rank, &failed, sizeof failed);
    r->aborted = true;
    if (!r->kill_at_ns)
        r->kill_at_ns = progress_now_ns() + GRACE_NS;
}

// All finish the step in which the first of them is: see runtime/signals.h.
static void hold(Run *r)
{
    uint64_t held = SEGMENT_HOLD;
    if (!r->holding)
        tell(r, NULL, WIRE_ROUNDS, 0, &held, sizeof held);
    r->holding = true;
}

static void stop_when_all_hold(Run *r)
{
    uint64_t most = 0;
    for (int i = 0; i < r->hub->n_places; i++) {
        uint64_t rounds = r->links[i].rounds;
        if (r->links[i].open && !(rounds & SEGMENT_HOLD))
            return;
        most = (rounds & SEGMENT_ROUND) > most ? rounds & SEGMENT_ROUND : most;
    }
    most |= SEGMENT_STOP;
    if (!r->stopped)
        tell(r, NULL, WIRE_ROUNDS, 0, &most, sizeof most);
    r->stopped = true;
}

static void on_signal(Run *r)
{
    struct signalfd_siginfo info;
    if (read(r->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (r->verdict.signals++ == 0) {
        hold(r);
        return;
    }
    verdict_error(&r->verdict, STOPPED, EXIT_INTERRUPTED, n_ranks(r), "stopped by two signals");
    tell(r, NULL, WIRE_KILL, 0, NULL, 0);
}

// What hosts say
// --------------------------------------------------------------------------------

static void on_trace(Run *r, int rank, const void *data, size_t bytes)
{
    if (!r->hub->launch.trace)
        return;
    FILE *f = fopen(launch_trace(&r->arena, &r->hub->launch, rank), "a");
    if (f) {
        fwrite(data, 1, bytes, f);
        fclose(f);
    }
}

static void on_ended(Run *r, Link *l, int rank, const WireEnded *e)
{
    l->running--;
    r->running--;
    verdict_ended(&r->verdict, &(Ended){.rank = rank,
                                        .wait_status = e->wait_status,
                                        .pid = e->pid,
                                        .killed = e->killed});
}

static void on_abort(Run *r, Link *l, int rank, uint32_t status)
{
    tell(r, l, WIRE_ABORT, rank, &status, sizeof status);
    r->aborted = true;
    if (!r->kill_at_ns)
        r->kill_at_ns = progress_now_ns() + GRACE_NS;
}

static void on_rounds(Run *r, Link *l, uint64_t rounds)
{
    l->rounds = rounds;
    if (rounds & SEGMENT_WANTED)
        hold(r);
    if (r->holding)
        stop_when_all_hold(r);
}

static void on_message(void *user, const WireHeader *h, const void *data)
{
    Run *r = user;
    Link *l = r->speaking;
    int rank = (int)h->rank;
    uint64_t number = 0;
    WireEnded ended = {0};
    memcpy(&number, data, h->bytes < sizeof number ? h->bytes : sizeof number);
    memcpy(&ended, data, h->bytes < sizeof ended ? h->bytes : sizeof ended);
    if (rank >= n_ranks(r) && h->kind != WIRE_ABORT)
        return;
    switch ((WireKind)h->kind) {
    case WIRE_STATUS:
        if (h->bytes == sizeof *r->statuses)
            memcpy(&r->statuses[rank], data, sizeof *r->statuses);
        tell(r, l, WIRE_STATUS, rank, data, h->bytes);
        return;
    case WIRE_ADDRESS:
    case WIRE_ID: tell(r, l, (WireKind)h->kind, rank, data, h->bytes); return;
    case WIRE_ROUNDS: on_rounds(r, l, number); return;
    case WIRE_ABORT: on_abort(r, l, rank, (uint32_t)number); return;
    case WIRE_REPORT:
        verdict_line(&r->verdict, rank, arena_strndup(&r->arena, data, h->bytes));
        return;
    case WIRE_ENDED: on_ended(r, l, rank, &ended); return;
    case WIRE_TRACE: on_trace(r, rank, data, h->bytes); return;
    case WIRE_BEAT:
    case WIRE_JOB:
    case WIRE_KILL: return;
    }
}

// Its programs' and its shell's words, under its name.
static void show_stderr(Link *l)
{
    const char *text = l->err_shown < l->remote.err.length ? l->remote.err.data : NULL;
    for (const char *end; text && (end = strchr(text + l->err_shown, '\n'));) {
        const char *begin = text + l->err_shown;
        fprintf(stderr, "%s: %.*s\n", l->place->host, (int)(end - begin), begin);
        l->err_shown = (size_t)(end - text) + 1;
    }
}

// The connection has ended before its programs did.
static void on_lost(Run *r, Link *l, const char *how)
{
    RemoteEnd end = remote_wait(&l->remote, 2, false);
    bool began = l->wire.greeted && l->running > 0;
    const char *said = remote_last_line(&r->arena, l->remote.err.data);
    const char *message = arena_printf(&r->arena, "%s: %s (%s)", l->place->host, how, said);
    r->running -= l->running;
    l->running = 0;
    l->open = false;
    int said_so = end == REMOTE_ENDED ? l->remote.status : EXIT_PEER;
    if (began || end != REMOTE_ENDED || r->verdict.weight == CAUSE) {
        bool known = said_so == EXIT_ENVIRONMENT || said_so == EXIT_NO_PLAN;
        verdict_error(&r->verdict, CAUSE, known ? said_so : EXIT_PEER, n_ranks(r), message);
        return;
    }
    int status = remote_failed(&r->arena, &l->remote, end, "starting its stages");
    l->err_shown = l->remote.err.length; // told
    verdict_error(&r->verdict, CAUSE, status, n_ranks(r), NULL);
}

// The loop
// ---------------------------------------------------------------------------------------

static void hear(Run *r, Link *l)
{
    r->speaking = l;
    l->heard_ns = progress_now_ns();
    bool open = wire_read(&l->wire, on_message, r);
    if (!open && l->open && l->running)
        on_lost(r, l, "the connection has ended");
    l->open &= open;
}

static void look_at_clock(Run *r)
{
    int64_t now = progress_now_ns();
    if (r->kill_at_ns && now >= r->kill_at_ns) {
        tell(r, NULL, WIRE_KILL, 0, NULL, 0);
        r->kill_at_ns = INT64_MAX;
    }
    if (now - r->beat_ns > HOST_BEAT_S * SECOND_NS) {
        tell(r, NULL, WIRE_BEAT, 0, NULL, 0);
        r->beat_ns = now;
    }
    for (int i = 0; i < r->hub->n_places; i++)
        if (r->links[i].open && now - r->links[i].heard_ns > HOST_SILENCE_S * SECOND_NS)
            on_lost(r, &r->links[i],
                    r->links[i].wire.greeted ? "nothing was heard of it for 15 s"
                                             : "it has not answered for 15 s");
}

enum { TO_READ, TO_WRITE, TO_READ_ERR, N_FDS, LOOK_MS = 200 };

static void listen_to(Link *l, struct pollfd *fds)
{
    if (l->open)
        wire_flush(&l->wire);
    bool writes = l->open && l->wire.out.length;
    fds[TO_READ] = (struct pollfd){.fd = l->open ? l->wire.in_fd : -1, .events = POLLIN};
    fds[TO_WRITE] = (struct pollfd){.fd = writes ? l->wire.out_fd : -1, .events = POLLOUT};
    fds[TO_READ_ERR] = (struct pollfd){.fd = l->remote.err_fd, .events = POLLIN};
}

static void take_from(Run *r, Link *l, const struct pollfd *fds)
{
    if (fds[TO_READ_ERR].revents) {
        remote_read_err(&l->remote);
        if (l->wire.greeted)
            show_stderr(l);
    }
    if (fds[TO_READ].revents)
        hear(r, l);
}

static void watch(Run *r)
{
    size_t n = (size_t)r->hub->n_places;
    struct pollfd *fds = arena_array(&r->arena, struct pollfd, n * N_FDS + 1);
    struct pollfd *signals = &fds[n * N_FDS];
    while (r->running) {
        for (size_t i = 0; i < n; i++)
            listen_to(&r->links[i], &fds[i * N_FDS]);
        *signals = (struct pollfd){.fd = r->signal_fd, .events = POLLIN};
        if (poll(fds, n * N_FDS + 1, LOOK_MS) < 0 && errno != EINTR)
            fatal("poll: %s", strerror(errno));
        for (size_t i = 0; i < n; i++)
            take_from(r, &r->links[i], &fds[i * N_FDS]);
        if (signals->revents)
            on_signal(r);
        look_at_clock(r);
    }
}

// Beginning
// -------------------------------------------------------------------------------------

// What programs read of the launcher's.
static json_t *environment(void)
{
    static const char *const begins[] = {"UCX_", "NCCL_", "STAGECC_TIMEOUT=", "STAGECC_NCCL="};
    json_t *all = json_object();
    for (char **e = environ; *e; e++) {
        const char *equals = strchr(*e, '=');
        bool read = false;
        for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
            read |= str_starts(*e, begins[i]);
        if (!read)
            continue;
        char *name = strndup(*e, (size_t)(equals - *e));
        json_object_set_new(all, name, json_string(equals + 1));
        free(name);
    }
    return all;
}

// Another host than this one, by the name under which it is reached; NULL: there is none.
static const char *towards(Run *r, int place)
{
    for (int i = 0; i < r->hub->n_places; i++)
        if (i != place && !host_is_local(r->hub->places[i].host))
            return remote_address(&r->arena, r->hub->places[i].host);
    return NULL;
}

static char *job_text(Run *r, int place, const char *number)
{
    const Launch *l = &r->hub->launch;
    char directory[4096] = "/";
    json_t *hosts = json_array(), *cards = json_array(), *options = json_array();
    for (int i = 0; i < n_ranks(r); i++) {
        json_array_append_new(hosts, json_integer(r->hub->place_of[i]));
        json_array_append_new(cards, json_integer(l->cards ? l->cards[i] : -1));
    }
    for (int i = 0; i < l->n_options; i++)
        json_array_append_new(options, json_string(l->options[i]));
    if (!getcwd(directory, sizeof directory))
        *directory = 0;
    json_t *job = json_pack(
        "{s:s, s:i, s:o, s:o, s:i, s:o, s:b, s:f, s:s?, s:s, s:o, s:s?}", "job", number, "host",
        place, "hosts", hosts, "cards", cards, "n_hosts", r->hub->n_places, "options", options,
        "trace", l->trace != NULL, "rehearse", l->rehearse, "state", l->state, "directory",
        directory, "environment", environment(), "towards", towards(r, place));
    char *text = json_dumps(job, JSON_COMPACT);
    json_decref(job);
    return text;
}

static void job_number(char number[17])
{
    uint64_t bits;
    if (getrandom(&bits, sizeof bits, 0) != (ssize_t)sizeof bits)
        fatal("no random numbers: %s", strerror(errno));
    snprintf(number, 17, "%016llx", (unsigned long long)bits);
}

static void start(Run *r)
{
    char number[17];
    job_number(number);
    for (int i = 0; i < r->hub->n_places && !r->verdict.status; i++) {
        Link *l = &r->links[i];
        *l = (Link){.place = &r->hub->places[i], .index = i};
        if (!remote_connect(&r->arena, &l->remote, l->place->host, l->place->script)) {
            verdict_error(&r->verdict, CAUSE, EXIT_ENVIRONMENT, n_ranks(r), strerror(errno));
            return;
        }
        wire_init(&l->wire, l->remote.out_fd, l->remote.in_fd, false);
        l->remote.out_fd = l->remote.in_fd = -1; // the wire's
        l->open = true;
        l->heard_ns = progress_now_ns();
        for (int k = 0; k < n_ranks(r); k++)
            l->running += r->hub->place_of[k] == i;
        r->running += l->running;
        char *text = job_text(r, i, number);
        wire_put(&l->wire, WIRE_JOB, 0, text, strlen(text));
        free(text);
    }
}

static void finish(Run *r)
{
    for (int i = 0; i < r->hub->n_places; i++) {
        wire_flush(&r->links[i].wire);
        wire_release(&r->links[i].wire); // its host ends by that
    }
    for (int i = 0; i < r->hub->n_places; i++) {
        if (r->links[i].remote.pid)
            remote_wait(&r->links[i].remote, 2, false);
        show_stderr(&r->links[i]);
        remote_end(&r->links[i].remote);
    }
    verdict_show(&r->verdict);
    if (merge_traces(&r->arena, &r->hub->launch)) {
        error_at((Loc){r->hub->launch.trace, 0, 0}, "cannot write the trace: %s",
                 strerror(errno));
        r->verdict.status = r->verdict.status ? r->verdict.status : EXIT_ENVIRONMENT;
    }
}

int hub_run(const Hub *hub)
{
    Run r = {.hub = hub};
    sigset_t watched, before;
    sigemptyset(&watched);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigprocmask(SIG_BLOCK, &watched, &before);
    signal(SIGPIPE, SIG_IGN);
    r.signal_fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    r.links = arena_array(&r.arena, Link, hub->n_places);
    r.statuses = arena_array(&r.arena, SegmentStatus, hub->launch.plan->n_ranks);
    r.verdict = (Verdict){.launch = &hub->launch,
                          .arena = &r.arena,
                          .statuses = r.statuses,
                          .end = end_all,
                          .user = &r};
    progress_init(&r.verdict.progress, hub->launch.quiet);
    start(&r);
    watch(&r);
    finish(&r);
    close(r.signal_fd);
    sigprocmask(SIG_SETMASK, &before, NULL);
    int status = r.verdict.status;
    arena_release(&r.arena);
    return status;
}
