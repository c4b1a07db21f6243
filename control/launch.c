// The launcher is one poll loop over the reports and ends of all programs and over signals. Its rules:
//   a program fails     the others hear of it by the job's abort flag; who still runs GRACE later is
//                       killed; of all errors the one that came first and is no echo of another counts
//   a program is killed the same, and the launcher says what the program was doing
//   a signal comes      SEGMENT_STOP: all finish their step, save, and end; a second one kills
#include "control/launch.h"

#include "base/diag.h"
#include "base/text.h"
#include "control/child.h"
#include "control/merge.h"
#include "control/verdict.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define GRACE_NS (INT64_C(600) * 1000 * 1000)

typedef struct Job {
    const Launch *launch;
    Arena arena;
    JobMemory memory;
    Child *children; // [n_ranks]
    int running, signal_fd;
    int64_t kill_at_ns; // 0: nobody is to be killed
    Verdict verdict;
} Job;

// The others hear of it at once, and have GRACE to end.
static void end_all(void *job, int rank, int status)
{
    Job *j = job;
    job_abort(&j->memory, rank, status);
    if (!j->kill_at_ns)
        j->kill_at_ns = progress_now_ns() + GRACE_NS;
}

static void on_end(Job *j, Child *c)
{
    if (c->report_fd >= 0)
        child_read(c, verdict_line, &j->verdict);
    child_collect(c);
    j->running--;
    verdict_ended(&j->verdict, &(Ended){.rank = c->rank,
                                        .wait_status = c->wait_status,
                                        .pid = c->pid,
                                        .killed = c->killed});
}

static void kill_all(Job *j)
{
    for (int i = 0; i < j->launch->plan->n_ranks; i++)
        child_kill(&j->children[i]);
}

static void on_signal(Job *j)
{
    struct signalfd_siginfo info;
    if (read(j->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (j->verdict.signals++ == 0) {
        job_stop(&j->memory);
        return;
    }
    verdict_error(&j->verdict, STOPPED, EXIT_INTERRUPTED, j->launch->plan->n_ranks,
                  "stopped by two signals");
    kill_all(j);
}

// The loop
// ---------------------------------------------------------------------------------------

static int timeout_ms(const Job *j)
{
    if (!j->kill_at_ns)
        return -1;
    int64_t left = j->kill_at_ns - progress_now_ns();
    return left > 0 ? (int)(left / 1000000) + 1 : 0;
}

static void watch(Job *j)
{
    int n = j->launch->plan->n_ranks;
    nfds_t n_fds = (nfds_t)n * 2 + 1;
    struct pollfd *fds = arena_array(&j->arena, struct pollfd, n_fds);
    while (j->running) {
        fds[0] = (struct pollfd){.fd = j->signal_fd, .events = POLLIN};
        for (int i = 0; i < n; i++) {
            fds[1 + 2 * i] = (struct pollfd){.fd = j->children[i].report_fd, .events = POLLIN};
            fds[2 + 2 * i] = (struct pollfd){.fd = j->children[i].pid_fd, .events = POLLIN};
        }
        int ready = poll(fds, n_fds, timeout_ms(j));
        if (ready < 0 && errno != EINTR)
            fatal("poll: %s", strerror(errno));
        if (j->kill_at_ns && progress_now_ns() >= j->kill_at_ns)
            kill_all(j);
        if (ready <= 0)
            continue;
        if (fds[0].revents)
            on_signal(j);
        for (int i = 0; i < n; i++) {
            if (fds[1 + 2 * i].revents)
                child_read(&j->children[i], verdict_line, &j->verdict);
            if (fds[2 + 2 * i].revents)
                on_end(j, &j->children[i]);
        }
    }
}

static void start_all(Job *j)
{
    for (int i = 0; i < j->launch->plan->n_ranks; i++) {
        char message[512], name[64];
        if (!child_start(&j->children[i], j->launch, &j->memory, i, &j->arena)) {
            j->running++;
            continue;
        }
        snprintf(message, sizeof message, "cannot start %s: %s",
                 plan_rank_name(j->launch->plan, i, name, sizeof name), strerror(errno));
        verdict_error(&j->verdict, CAUSE, EXIT_ENVIRONMENT, i, message);
        return;
    }
}

static void join_traces(Job *j)
{
    if (!merge_traces(&j->arena, j->launch))
        return;
    error_at((Loc){j->launch->trace, 0, 0}, "cannot write the trace: %s", strerror(errno));
    if (!j->verdict.status)
        j->verdict.status = EXIT_ENVIRONMENT;
}

static void run(Job *j)
{
    sigset_t watched, before;
    sigemptyset(&watched);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigprocmask(SIG_BLOCK, &watched, &before);
    j->signal_fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    start_all(j);
    watch(j);
    verdict_show(&j->verdict);
    join_traces(j);
    close(j->signal_fd);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

uint64_t launch_free_memory(void)
{
    FILE *f = fopen("/proc/meminfo", "r");
    unsigned long long kib = 0;
    char line[256];
    while (f && !kib && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu", &kib) != 1)
            kib = 0;
    if (f)
        fclose(f);
    return kib ? kib * 1024 : UINT64_MAX;
}

// Of the host's memory: tensors of a stage on a CUDA device lie there, and its program looks whether they fit.
static uint64_t bytes_here(const Plan *p, const PlanStage *s)
{
    const char *backend = plan_backend(p, s);
    bool on_card = backend && !strcmp(backend, "cuda");
    return (uint64_t)(on_card ? s->edge_bytes : plan_stage_bytes(s));
}

// All ranks together: each of them looks at its own part alone.
bool launch_fits(const Launch *l)
{
    const Plan *p = l->plan;
    uint64_t bytes = 0, available = launch_free_memory();
    char needed[32], there[32];
    for (int i = 0; i < p->n_ranks; i++) {
        const PlanStage *s = &p->stages[p->ranks[i].stage];
        if (!l->here || l->here[i])
            bytes += bytes_here(p, s);
        if (l->restarts &&
            !l->state) // programs with one version of the weights work in one of the two
            bytes += (s->versions > 1 ? 2 : 1) * (uint64_t)s->persistent_bytes;
    }
    if (bytes <= available)
        return true;
    int n = launch_here(l);
    error_at(NO_LOC,
             "the %d %s%s need %s, this machine has %s free: use more micro-batches or a "
             "smaller batch",
             n, p->n_ranks > p->n_stages ? "program" : "stage", n > 1 ? "s" : "",
             human_bytes(needed, (int64_t)bytes), human_bytes(there, (int64_t)available));
    return false;
}

static int run_once(const Launch *l, int restarts_left, bool *again)
{
    Job j = {.launch = l};
    if (job_memory_init(&j.memory, l->plan)) {
        error_at(NO_LOC, "cannot make the job's memory of %llu bytes: %s",
                 (unsigned long long)job_memory_bytes(l->plan), strerror(errno));
        return EXIT_ENVIRONMENT;
    }
    j.children = arena_array(&j.arena, Child, l->plan->n_ranks);
    for (int i = 0; i < l->plan->n_ranks; i++)
        j.children[i] = (Child){.rank = i, .pid_fd = -1, .report_fd = -1};
    j.verdict = (Verdict){.launch = l,
                          .arena = &j.arena,
                          .statuses = j.memory.statuses,
                          .restarts_left = restarts_left,
                          .end = end_all,
                          .user = &j};
    progress_init(&j.verdict.progress, l->quiet);
    run(&j);
    for (int i = 0; i < l->plan->n_ranks; i++)
        child_release(&j.children[i]);
    int status = j.verdict.status;
    *again = verdict_restarts(&j.verdict);
    job_memory_release(&j.memory);
    arena_release(&j.arena);
    return status;
}

static int run_until_done(const Launch *l)
{
    bool again = false;
    int status, left = l->restarts;
    do
        status = run_once(l, left--, &again);
    while (again);
    return status;
}

// Memory of the launcher's own, which the programs of every start inherit.
static int run_on_own_states(const Launch *l)
{
    Arena a = {0};
    int *fds = arena_array(&a, int, l->plan->n_ranks), n = 0, status = EXIT_ENVIRONMENT;
    while (n < l->plan->n_ranks && (fds[n] = memfd_create("stagecc-state", 0)) >= 0)
        n++;
    Launch with_states = *l;
    with_states.states = fds;
    if (n == l->plan->n_ranks)
        status = run_until_done(&with_states);
    else
        error_at(NO_LOC, "cannot make memory for what programs go on from: %s",
                 strerror(errno));
    while (n-- > 0)
        close(fds[n]);
    arena_release(&a);
    return status;
}

int launch_run(const Launch *l)
{
    if (!launch_fits(l))
        return EXIT_NO_PLAN;
    // A limit of file sizes counts for the job's memory: an error, no death.
    signal(SIGXFSZ, SIG_IGN);
    if (l->state && dir_make(l->state)) {
        error_at((Loc){l->state, 0, 0}, "cannot make the directory: %s", strerror(errno));
        return EXIT_ENVIRONMENT;
    }
    return l->restarts && !l->state ? run_on_own_states(l) : run_until_done(l);
}
