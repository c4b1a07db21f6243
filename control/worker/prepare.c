// Making a program ready: its files, then the state that the epoch begins with, in an image that it works in, then the
// program itself. Each step waits for something, and has a bound.
#include "control/worker/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define AT_ONCE (UINT64_C(64) << 20)
#define BOUND_NS                                                                               \
    (20 * SECOND_NS) // of an end that does not come, and of a program that is asked

static void enter(Program *p, ProgramPhase phase, int64_t now_ns)
{
    p->phase = phase;
    p->since_ns = now_ns;
}

void prepare_stop(Agent *g, Program *p)
{
    for (int i = 0; i < p->n_transfers; i++)
        transfer_release(&p->transfers[i]);
    free(p->transfers);
    p->transfers = NULL;
    p->n_transfers = 0;
    tensors_release(&p->tensors);
    if (p->asked > 0 && p->asked_fd >= 0) {
        kill(p->asked, SIGKILL);
        g->dying[g->n_dying++] = (Dying){p->asked, p->asked_fd, NULL};
        p->asked_fd = -1;
    }
    if (p->image && p->child.pid_fd < 0)
        p->image->busy = false;
    p->image = NULL;
    p->phase = PROGRAM_NONE;
}

static void fail(Agent *g, Run *r, int rank, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static void fail(Agent *g, Run *r, int rank, const char *format, ...)
{
    Program *p = &r->programs[rank];
    char why[AGENT_WHY];
    va_list ap;
    va_start(ap, format);
    vsnprintf(why, sizeof why, format, ap);
    va_end(ap);
    snprintf(p->error, sizeof p->error, "%s", why);
    p->phase = PROGRAM_DONE;
    if (r->warm) { // then it starts when it is time
        snprintf(r->why, sizeof r->why, "%s", why);
        return;
    }
    agent_say(g, "cannot make stage %d ready: %s",
              r->opened ? r->plan->ranks[rank].stage : rank, why);
    agent_take(g, &(WorkerEvent){.kind = WORKER_PREPARED,
                                 .epoch = r->of.number,
                                 .rank = (uint32_t)rank,
                                 .failed = true});
}

// Its tensors
// ---------------------------------------------------------------------------------------

static const char *program_name(Run *r, int rank)
{
    return arena_printf(&r->arena, "stage%d", r->plan->ranks[rank].stage);
}

// What this build of a program says of its tensors, as it was kept.
static const char *list_path(Agent *g, Run *r, int rank)
{
    const char *name = program_name(r, rank);
    char hex[SHA256_HEX + 1] = "";
    for (int i = 0; i < r->start.n_files; i++)
        if (!strcmp(r->start.files[i].name, name))
            sha256_text(r->start.files[i].hash, hex);
    return arena_printf(&r->arena, "%s/tensors-%s.json", g->files.plan, hex);
}

static _Noreturn void become(const char *program, const char *path)
{
    sigset_t none;
    sigemptyset(&none);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execl(program, program, "--tensors", path, (char *)NULL);
    _exit(127);
}

static bool ask_program(Agent *g, Run *r, int rank)
{
    Program *p = &r->programs[rank];
    const char *program = launch_program(&r->arena, g->files.plan, r->plan->ranks[rank].stage);
    const char *path = arena_printf(&r->arena, "%s.%d", list_path(g, r, rank), rank);
    p->asked = fork();
    if (!p->asked)
        become(program, path);
    p->asked_fd = p->asked < 0 ? -1 : (int)syscall(SYS_pidfd_open, p->asked, 0);
    return p->asked_fd >= 0;
}

static bool load_tensors(Agent *g, Run *r, int rank)
{
    Program *p = &r->programs[rank];
    char why[TENSORS_WHY];
    char *text = file_read(list_path(g, r, rank), NULL);
    if (!text)
        return false;
    if (!tensors_of_program(&p->tensors, text, r->parts, why))
        fail(g, r, rank, "%s", why);
    free(text);
    return true;
}

// It has said them, or ended otherwise.
static void on_asked(Agent *g, Run *r, int rank, int64_t now_ns)
{
    Program *p = &r->programs[rank];
    struct pollfd fd = {.fd = p->asked_fd, .events = POLLIN};
    const char *path = list_path(g, r, rank);
    int status = 0;
    if (poll(&fd, 1, 0) <= 0) {
        if (now_ns - p->since_ns > BOUND_NS)
            fail(g, r, rank, "the program has not said its tensors within %d s",
                 (int)(BOUND_NS / SECOND_NS));
        return;
    }
    waitpid(p->asked, &status, 0);
    close(p->asked_fd);
    p->asked_fd = -1;
    if (!WIFEXITED(status) || WEXITSTATUS(status) ||
        rename(arena_printf(&r->arena, "%s.%d", path, rank), path) || !load_tensors(g, r, rank))
        fail(g, r, rank, "the program does not say its tensors (--tensors, status %d)",
             WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

// The state
// ---------------------------------------------------------------------------------------

static uint8_t *place_of(const Program *p, const StateTensor *t)
{
    return image_generation(p->image->header, 0) + t->at;
}

static Transfer *transfer_from(Program *p, uint16_t worker)
{
    for (int i = 0; i < p->n_transfers; i++)
        if (p->transfers[i].worker == worker)
            return &p->transfers[i];
    Transfer *more = realloc(p->transfers, (size_t)(p->n_transfers + 1) * sizeof *p->transfers);
    if (!more)
        return NULL;
    p->transfers = more;
    more[p->n_transfers] = (Transfer){.worker = worker};
    return &more[p->n_transfers++];
}

static bool is_same(const StateTensor *a, const StateTensor *b)
{
    return a->bytes == b->bytes && !strcmp(a->layout, b->layout);
}

// From what is here, else noted for a transfer. false: it can be had from nowhere.
static bool get_tensor(Agent *g, Run *r, int rank, const StateTensor *t)
{
    Program *p = &r->programs[rank];
    const Epoch *e = &r->of;
    Found found;
    if (states_find(&g->states, e->step, e->made, t->name, &found) &&
        is_same(found.tensor, t)) {
        memcpy(place_of(p, t), found.data, t->bytes);
        p->beginning = found.beginning;
        p->begins = true;
        if (found_stays(&found))
            return true;
    }
    uint16_t source = e->source[t->part];
    Transfer *from =
        source < MOST_WORKERS && source != g->core.number ? transfer_from(p, source) : NULL;
    if (!from) {
        fail(g, r, rank, "nobody has %s of the state behind step %" PRIu64, t->name, e->step);
        return false;
    }
    from->state.parts |= UINT64_C(1) << t->part;
    p->lacks[t - p->image->tensors.items] = true;
    return true;
}

static void begin_transfers(Agent *g, Run *r, int rank, int64_t now_ns)
{
    Program *p = &r->programs[rank];
    const Epoch *e = &r->of;
    for (int i = 0; i < p->n_transfers; i++) {
        Held state = {e->step, e->made, p->transfers[i].state.parts};
        agent_say(g, "stage %d: gets its state behind step %" PRIu64 " from worker %d",
                  r->plan->ranks[rank].stage, e->step, p->transfers[i].worker);
        transfer_begin(&p->transfers[i], p->transfers[i].worker, &state, now_ns);
    }
}

static void start(Agent *g, Run *r, int rank, int64_t now_ns)
{
    Program *p = &r->programs[rank];
    p->image->parts = r->of.ranks[rank].runs;
    enter(p, PROGRAM_STARTED, now_ns);
    if (!program_start(r, (uint32_t)rank))
        fail(g, r, rank, "cannot start it: %s", strerror(errno));
}

// A program without tensors needs to know where data and random numbers are all the same: whoever has the state knows it.
static void get_beginning(Agent *g, Run *r, int rank, int64_t now_ns)
{
    Program *p = &r->programs[rank];
    const Epoch *e = &r->of;
    uint64_t runs = e->ranks[rank].runs;
    uint16_t source = runs ? e->source[__builtin_ctzll(runs)] : NOBODY;
    p->begins = states_beginning(&g->states, e->step, e->made, &p->beginning);
    Transfer *from = p->begins || source >= MOST_WORKERS || source == g->core.number
                         ? NULL
                         : transfer_from(p, source);
    if (from)
        from->state.parts = runs & -runs;
    begin_transfers(g, r, rank, now_ns);
}

// Into p->image, which is empty.
static void fill(Agent *g, Run *r, int rank, int64_t now_ns)
{
    Program *p = &r->programs[rank];
    p->image->parts = r->of.ranks[rank].runs;
    p->lacks = arena_array(&r->arena, bool, p->image->tensors.n);
    p->next = 0;
    p->begins = false;
    enter(p, PROGRAM_STATE, now_ns);
    if (!p->image->tensors.n)
        get_beginning(g, r, rank, now_ns);
}

// A program writes over all of its image but what it begins with. The committed state may be beside that: where there is no
// memory for a snapshot, it is with its copier alone.
static void keep_rest(Agent *g, Run *r, int rank, int64_t now_ns)
{
    Program *p = &r->programs[rank];
    const Epoch *e = &r->of;
    Held rest = image_rest(&g->states, p->image, &g->core, e->step);
    if (rest.parts && !g->snapshots[rank].told) {
        snapshots_begin(g, (uint32_t)rank, rest.step, rest.made);
        return;
    }
    image_reuse(p->image, e->step, e->made, e->number);
    start(g, r, rank, now_ns);
}

static void begin_state(Agent *g, Run *r, int rank, int64_t now_ns)
{
    Program *p = &r->programs[rank];
    const Epoch *e = &r->of;
    uint64_t plan = atomic_load(&r->memory.header->plan_hash);
    bool reuse = e->made && !r->warm;
    p->image = reuse ? image_with(&g->states, plan, (uint32_t)rank, e->step, e->made) : NULL;
    if (p->image) {
        p->image->busy = true;
        enter(p, PROGRAM_KEEPS, now_ns);
        return;
    }
    p->image = image_new(&g->states, plan, (uint32_t)rank, &p->tensors);
    if (!p->image) {
        fail(g, r, rank, "no memory for its state: %s", strerror(errno));
        return;
    }
    if (!e->made && !r->warm)
        image_reuse(p->image, e->step, 0, e->number); // it has none: the program makes it
    if (!e->made || r->warm)
        start(g, r, rank, now_ns);
    else
        fill(g, r, rank, now_ns);
}

// The program runs already, and waits for it.
static void begin_warm(Agent *g, Run *r, int rank, int64_t now_ns)
{
    Program *p = &r->programs[rank];
    const Epoch *e = &r->of;
    if (e->made) {
        fill(g, r, rank, now_ns);
        return;
    }
    image_reuse(p->image, e->step, 0, e->number);
    enter(p, PROGRAM_FILLED, now_ns);
}

void prepare_begin(Agent *g, uint32_t rank)
{
    if (g->run.programs[rank].phase == PROGRAM_WARM)
        begin_warm(g, &g->run, (int)rank, agent_now());
    else
        enter(&g->run.programs[rank], PROGRAM_FILES, agent_now());
}

// Of a large state a piece at a time: meanwhile beats are due.
static void look_here(Agent *g, Run *r, int rank, int64_t now_ns)
{
    Program *p = &r->programs[rank];
    const Tensors *all = &p->image->tensors;
    uint64_t bytes = 0;
    while (p->next < all->n && bytes < AT_ONCE) {
        const StateTensor *t = &all->items[p->next++];
        bytes += t->bytes;
        if (!get_tensor(g, r, rank, t))
            return;
    }
    if (p->next == all->n)
        begin_transfers(g, r, rank, now_ns);
}

// What the source lists is what is wanted of it, byte for byte.
static void want_listed(Agent *g, Run *r, int rank, Transfer *t)
{
    Program *p = &r->programs[rank];
    const Tensors *all = &p->image->tensors;
    const Epoch *e = &r->of;
    Wanted *wanted = calloc((size_t)all->n + 1, sizeof *wanted);
    int n = 0;
    for (int i = 0; i < all->n && wanted; i++) {
        const StateTensor *x = &all->items[i], *theirs = tensors_find(&t->tensors, x->name);
        if (!p->lacks[i] || e->source[x->part] != t->worker)
            continue;
        if (!theirs || !is_same(theirs, x)) {
            fail(g, r, rank, "worker %d has %s of %s", t->worker,
                 theirs ? "another layout or size" : "nothing", x->name);
            free(wanted);
            return;
        }
        wanted[n++] = (Wanted){x->name, place_of(p, x), x->bytes};
    }
    p->beginning = t->beginning;
    p->begins = true;
    transfer_want(t, wanted, n);
}

static void work_on_state(Agent *g, Run *r, int rank, int64_t now_ns)
{
    Program *p = &r->programs[rank];
    const Epoch *e = &r->of;
    int moved = 0;
    if (p->next < p->image->tensors.n) {
        look_here(g, r, rank, now_ns);
        return;
    }
    for (int i = 0; i < p->n_transfers; i++) {
        Transfer *t = &p->transfers[i];
        transfer_run(t, &g->line, now_ns);
        moved += t->phase == TRANSFER_MOVED;
        if (t->phase == TRANSFER_LISTED)
            want_listed(g, r, rank, t);
        else if (t->phase == TRANSFER_FAILED)
            fail(g, r, rank, "%s", t->why);
        if (p->phase != PROGRAM_STATE)
            return; // they are no more
    }
    if (moved < p->n_transfers)
        return;
    if (!p->begins) {
        fail(g, r, rank, "it has no state");
        return;
    }
    image_settle(p->image, e->step, e->made, e->number, &p->beginning);
    if (p->child.pid_fd >= 0)
        enter(p, PROGRAM_FILLED, now_ns);
    else
        start(g, r, rank, now_ns);
}

// Programs that waited for their states go on together: the gate is that of all.
static void open_gate(Agent *g, Run *r, int64_t now_ns)
{
    bool all = r->opened && !r->warm, some = false;
    for (int rank = agent_next_of(g, r, -1); rank >= 0; rank = agent_next_of(g, r, rank)) {
        some |= r->programs[rank].phase == PROGRAM_FILLED;
        all &= r->programs[rank].phase >= PROGRAM_FILLED;
    }
    if (!all || !some)
        return;
    for (int rank = agent_next_of(g, r, -1); rank >= 0; rank = agent_next_of(g, r, rank))
        if (r->programs[rank].phase == PROGRAM_FILLED)
            enter(&r->programs[rank], PROGRAM_STARTED, now_ns);
    job_gate(&r->memory, false);
}

// ------------------------------------------------------------------------------------------

static void get_files(Agent *g, Run *r, int rank, int64_t now_ns)
{
    Program *p = &r->programs[rank];
    bool sources =
        !*r->why && files_have(&g->files, "plan.json") & files_have(&g->files, "parts.json");
    if (sources)
        run_open(g, r);
    bool program = r->opened && files_have(&g->files, program_name(r, rank));
    const char *why = *r->why ? r->why : g->files.why;
    if (*why)
        fail(g, r, rank, "%s", why);
    else if (program && g->n_dying && !r->warm && now_ns - p->since_ns > BOUND_NS)
        fail(g, r, rank, "a program of the epoch before has not ended within %d s",
             (int)(BOUND_NS / SECOND_NS));
    if (*why || !program ||
        (g->n_dying && !r->warm)) // an image is free when its program is gone
        return;
    enter(p, PROGRAM_TENSORS, now_ns);
    if (!load_tensors(g, r, rank) && !ask_program(g, r, rank))
        fail(g, r, rank, "cannot start it: %s", strerror(errno));
}

void prepare_work(Agent *g, Run *r, int64_t now_ns)
{
    for (int rank = agent_next_of(g, r, -1); rank >= 0; rank = agent_next_of(g, r, rank)) {
        Program *p = &r->programs[rank];
        if (p->phase == PROGRAM_FILES)
            get_files(g, r, rank, now_ns);
        if (p->phase == PROGRAM_TENSORS && p->asked_fd >= 0)
            on_asked(g, r, rank, now_ns);
        if (p->phase == PROGRAM_TENSORS && p->asked_fd < 0)
            begin_state(g, r, rank, now_ns);
        if (p->phase == PROGRAM_KEEPS)
            keep_rest(g, r, rank, now_ns);
        if (p->phase == PROGRAM_STATE)
            work_on_state(g, r, rank, now_ns);
    }
    open_gate(g, r, now_ns);
}
