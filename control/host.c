#include "control/host.h"

#include "base/diag.h"
#include "base/text.h"
#include "control/child.h"
#include "control/interface.h"
#include "control/progress.h"
#include "control/shown.h"
#include "control/wire.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TICK_MS = 10, TRACE_PIECE = 1 << 16 };

typedef struct Agent {
    Arena arena;
    Launch launch;
    Wire wire;
    JobMemory memory; // header NULL: nothing to do yet
    Child *children;  // [n_ranks]
    Shown *shown;     // [n_ranks]
    bool *told;       // [shown_ids]
    bool abort_shown, wanted_shown;
    int status;
    int64_t heard_ns, beat_ns;
} Agent;

static int n_ranks(const Agent *g)
{
    return g->launch.plan->n_ranks;
}

// To the launcher
// --------------------------------------------------------------------------------

static void show_rank(Agent *g, int rank, int64_t ns)
{
    SegmentStatus now;
    Shown *s = &g->shown[rank];
    if (!g->memory.header)
        return;
    const SegmentAddress *address = &segment_addresses(g->memory.header)[rank];
    segment_status_read(&now, &g->memory.statuses[rank]);
    if (!s->address && atomic_load(&address->bytes)) {
        wire_put(&g->wire, WIRE_ADDRESS, rank, address, sizeof *address);
        s->address = true;
    }
    if (!shown_is_news(s, &now, ns))
        return;
    wire_put(&g->wire, WIRE_STATUS, rank, &now, sizeof now);
    memcpy(&s->status, &now, sizeof now);
    s->ns = ns;
}

static void show_id(void *user, int rank, const ShownId *id)
{
    Agent *g = user;
    wire_put(&g->wire, WIRE_ID, rank, id, sizeof *id);
}

static void show_rounds(Agent *g)
{
    uint64_t rounds = atomic_load(&g->memory.header->rounds);
    wire_put(&g->wire, WIRE_ROUNDS, 0, &rounds, sizeof rounds);
}

static void show_all(Agent *g)
{
    SegmentHeader *h = g->memory.header;
    int64_t ns = progress_now_ns();
    for (int i = 0; i < n_ranks(g); i++)
        if (g->launch.here[i])
            show_rank(g, i, ns);
    if (h)
        shown_new_ids(&g->memory, g->launch.plan, g->launch.here, g->told, show_id, g);
    if (h && !g->wanted_shown && atomic_load(&h->rounds) & SEGMENT_WANTED) {
        show_rounds(g);
        g->wanted_shown = true;
    }
    uint32_t failed = h ? atomic_load(&h->abort) : 0;
    if (failed && !g->abort_shown) {
        int rank = (int)atomic_load(&h->abort_rank) - 1;
        wire_put(&g->wire, WIRE_ABORT, rank, &failed, sizeof failed);
        g->abort_shown = true;
    }
    if (ns - g->beat_ns > HOST_BEAT_S * INT64_C(1000000000)) {
        wire_put(&g->wire, WIRE_BEAT, 0, NULL, 0);
        g->beat_ns = ns;
    }
}

static void on_line(void *user, int rank, const char *text)
{
    Agent *g = user;
    wire_put(&g->wire, WIRE_REPORT, rank, text, strlen(text));
}

static void send_trace(Agent *g, int rank)
{
    const char *path = launch_trace(&g->arena, &g->launch, rank);
    size_t size = 0;
    char *text = file_read(path, &size);
    for (size_t at = 0; text && at < size; at += TRACE_PIECE)
        wire_put(&g->wire, WIRE_TRACE, rank, text + at,
                 size - at < TRACE_PIECE ? size - at : TRACE_PIECE);
    free(text);
    unlink(path);
}

static void on_end(Agent *g, Child *c)
{
    if (c->report_fd >= 0)
        child_read(c, on_line, g);
    child_collect(c);
    show_rank(g, c->rank, progress_now_ns());
    if (g->launch.trace)
        send_trace(g, c->rank);
    WireEnded e = {.wait_status = c->wait_status, .pid = c->pid, .killed = c->killed};
    wire_put(&g->wire, WIRE_ENDED, c->rank, &e, sizeof e);
}

// From the launcher
// ------------------------------------------------------------------------------

static void set_environment(const json_t *job)
{
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(job, "environment"), name, value)
        setenv(name, json_string_value(value), 1);
    const char *towards = json_string_value(json_object_get(job, "towards"));
    char device[64];
    if (interface_of_job(towards, device, sizeof device))
        interface_use(device);
}

static void read_options(Agent *g, const json_t *job)
{
    const json_t *options = json_object_get(job, "options");
    g->launch.n_options = (int)json_array_size(options);
    const char **words = arena_array(&g->arena, const char *, g->launch.n_options + 1);
    for (int i = 0; i < g->launch.n_options; i++)
        words[i] =
            arena_strdup(&g->arena, json_string_value(json_array_get(options, (size_t)i)));
    g->launch.options = words;
    const char *state = json_string_value(json_object_get(job, "state"));
    if (state)
        g->launch.state = arena_strdup(&g->arena, state);
    g->launch.rehearse = json_number_value(json_object_get(job, "rehearse"));
    const char *tmp = getenv("TMPDIR");
    if (json_is_true(json_object_get(job, "trace")))
        g->launch.trace =
            arena_printf(&g->arena, "%s/stagecc-trace-%s-%d", tmp && *tmp ? tmp : "/tmp",
                         json_string_value(json_object_get(job, "job")), (int)getpid());
}

static bool open_memory(Agent *g, const json_t *job)
{
    const json_t *hosts = json_object_get(job, "hosts"), *cards = json_object_get(job, "cards");
    int *card = arena_array(&g->arena, int, n_ranks(g)),
        host = (int)json_integer_value(json_object_get(job, "host"));
    if (job_memory_init(&g->memory, g->launch.plan)) {
        error_at(NO_LOC, "cannot make the job's memory: %s", strerror(errno));
        return false;
    }
    SegmentHeader *h = g->memory.header;
    h->job = strtoull(json_string_value(json_object_get(job, "job")), NULL, 16);
    h->n_hosts = (uint32_t)json_integer_value(json_object_get(job, "n_hosts"));
    for (int i = 0; i < n_ranks(g); i++) {
        g->memory.statuses[i].host =
            (int32_t)json_integer_value(json_array_get(hosts, (size_t)i));
        g->launch.here[i] = g->memory.statuses[i].host == host;
        card[i] = (int)json_integer_value(json_array_get(cards, (size_t)i));
        segment_status_read(&g->shown[i].status, &g->memory.statuses[i]);
    }
    g->launch.cards = card;
    return true;
}

static void on_job(Agent *g, const char *text, size_t bytes)
{
    json_t *job = json_loadb(text, bytes, 0, NULL);
    if (!job || g->memory.header || !json_is_string(json_object_get(job, "job"))) {
        json_decref(job);
        g->status = EXIT_BUG;
        return;
    }
    const char *directory = json_string_value(json_object_get(job, "directory"));
    set_environment(job);
    read_options(g, job);
    g->status = open_memory(g, job) ? EXIT_DONE : EXIT_ENVIRONMENT;
    if (!g->status && !launch_fits(&g->launch))
        g->status = EXIT_NO_PLAN;
    // Files are named as where stagecc was started; a host may lack that directory and need none.
    if (!g->status && (!directory || chdir(directory)))
        warning_at(NO_LOC, "%s is not here: relative names of files will not be found",
                   directory ? directory : "the directory");
    if (!g->status && g->launch.state && dir_make(g->launch.state)) {
        error_at((Loc){g->launch.state, 0, 0}, "cannot make the directory: %s",
                 strerror(errno));
        g->status = EXIT_ENVIRONMENT;
    }
    for (int i = 0; i < n_ranks(g) && !g->status; i++)
        if (g->launch.here[i] &&
            child_start(&g->children[i], &g->launch, &g->memory, i, &g->arena)) {
            char name[64];
            error_at(NO_LOC, "cannot start %s: %s",
                     plan_rank_name(g->launch.plan, i, name, sizeof name), strerror(errno));
            g->status = EXIT_ENVIRONMENT;
        }
    json_decref(job);
}

static void on_rounds(Agent *g, uint64_t rounds)
{
    if (rounds & SEGMENT_STOP)
        atomic_store(&g->memory.header->rounds, rounds);
    else
        atomic_fetch_or(&g->memory.header->rounds, SEGMENT_HOLD);
    if (!(rounds & SEGMENT_STOP))
        show_rounds(g);
}

static void kill_all(Agent *g)
{
    for (int i = 0; i < n_ranks(g); i++)
        child_kill(&g->children[i]);
}

static void on_message(void *user, const WireHeader *h, const void *data)
{
    Agent *g = user;
    uint64_t number = 0;
    int rank = (int)h->rank;
    bool other = g->memory.header && rank < n_ranks(g) && !g->launch.here[rank];
    memcpy(&number, data, h->bytes < sizeof number ? h->bytes : sizeof number);
    g->heard_ns = progress_now_ns();
    switch ((WireKind)h->kind) {
    case WIRE_JOB: on_job(g, data, h->bytes); return;
    case WIRE_STATUS:
        if (other && h->bytes == sizeof(SegmentStatus))
            shown_status(&g->memory, rank, data);
        return;
    case WIRE_ADDRESS:
        if (other && h->bytes == sizeof(SegmentAddress))
            shown_address(&g->memory, rank, data);
        return;
    case WIRE_ID:
        if (other && h->bytes == sizeof(ShownId))
            shown_id(&g->memory, g->launch.plan, rank, data);
        return;
    case WIRE_ROUNDS:
        if (g->memory.header)
            on_rounds(g, number);
        return;
    case WIRE_ABORT:
        g->abort_shown = true; // it is no news
        if (g->memory.header)
            job_abort(&g->memory, rank, (int)number);
        return;
    case WIRE_KILL: kill_all(g); return;
    case WIRE_BEAT:
    case WIRE_REPORT:
    case WIRE_ENDED:
    case WIRE_TRACE: return;
    }
}

// The loop
// ---------------------------------------------------------------------------------------

static bool launcher_lives(const Agent *g)
{
    return progress_now_ns() - g->heard_ns < HOST_SILENCE_S * INT64_C(1000000000);
}

static void poll_all(Agent *g, struct pollfd *fds)
{
    int n = n_ranks(g);
    fds[0] = (struct pollfd){.fd = g->wire.in_fd, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = g->wire.out.length ? g->wire.out_fd : -1, .events = POLLOUT};
    for (int i = 0; i < n; i++) {
        fds[2 + 2 * i] = (struct pollfd){.fd = g->children[i].report_fd, .events = POLLIN};
        fds[3 + 2 * i] = (struct pollfd){.fd = g->children[i].pid_fd, .events = POLLIN};
    }
    if (poll(fds, (nfds_t)n * 2 + 2, g->memory.header ? TICK_MS : HOST_BEAT_S * 1000) <= 0)
        return;
    for (int i = 0; i < n; i++) {
        if (fds[2 + 2 * i].revents)
            child_read(&g->children[i], on_line, g);
        if (fds[3 + 2 * i].revents)
            on_end(g, &g->children[i]);
    }
}

// Until the launcher is gone: it goes when it has heard of all ends.
static void serve(Agent *g)
{
    struct pollfd *fds = arena_array(&g->arena, struct pollfd, 2 * n_ranks(g) + 2);
    bool open = true;
    while (open && !g->status && launcher_lives(g)) {
        poll_all(g, fds);
        open = wire_read(&g->wire, on_message, g);
        show_all(g);
        open &= wire_flush(&g->wire);
    }
}

int host_run(const char *dir)
{
    Agent g = {.status = EXIT_DONE};
    const char *path = arena_printf(&g.arena, "%s/plan.json", dir);
    char *text = file_read(path, NULL);
    if (!text)
        error_at((Loc){path, 0, 0}, "cannot read the plan: %s", strerror(errno));
    const Plan *plan = text ? plan_from_json(&g.arena, path, text) : NULL;
    free(text);
    char *whole = plan ? realpath(dir, NULL) : NULL;
    if (!whole) {
        arena_release(&g.arena);
        return EXIT_INPUT;
    }
    int n = plan->n_ranks;
    g.launch = (Launch){.plan = plan, .dir = whole, .here = arena_array(&g.arena, bool, n)};
    g.children = arena_array(&g.arena, Child, n);
    for (int i = 0; i < n; i++)
        g.children[i] = (Child){.rank = i, .pid_fd = -1, .report_fd = -1};
    g.shown = arena_array(&g.arena, Shown, n);
    g.told = arena_array(&g.arena, bool, shown_ids(plan));
    g.heard_ns = progress_now_ns();
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    wire_init(&g.wire, STDIN_FILENO, STDOUT_FILENO, true);
    text_puts(&g.wire.out, WIRE_GREETING);
    wire_flush(&g.wire);
    serve(&g);
    for (int i = 0; i < n; i++)
        child_release(&g.children[i]);
    if (g.memory.header)
        job_memory_release(&g.memory);
    wire_release(&g.wire);
    free(whole);
    arena_release(&g.arena);
    return g.status;
}
