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
#include "control/progress.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define GRACE_NS (INT64_C(600) * 1000 * 1000)

// How much an error says: an echo is about another stage's end.
enum Rank { NOTHING, ECHO, STOPPED, CAUSE };

typedef struct Job {
    const Launch *launch;
    Arena arena;
    JobMemory memory;
    Child *children; // [n_stages]
    int running;
    Progress progress;
    int signal_fd, signals;
    int64_t kill_at_ns; // 0: nobody is to be killed
    // The error that counts
    enum Rank rank;
    int status, stage;
    const char *message;
} Job;

// The others hear of it at once, and have GRACE to end.
static void end_all(Job *j, int stage, int status)
{
    job_abort(&j->memory, stage, status);
    if (!j->kill_at_ns)
        j->kill_at_ns = progress_now_ns() + GRACE_NS;
}

static void take_error(Job *j, enum Rank rank, int status, int stage, const char *message)
{
    if (status != EXIT_INTERRUPTED) // then all end by themselves
        end_all(j, stage, status);
    if (rank <= j->rank)
        return;
    j->rank = rank;
    j->status = status;
    j->stage = stage;
    j->message = arena_strdup(&j->arena, message);
}

// Reports
// ----------------------------------------------------------------------------------------

static void on_error(Job *j, int stage, const json_t *event)
{
    const char *kind = json_string_value(json_object_get(event, "kind"));
    const char *message = json_string_value(json_object_get(event, "message"));
    int status = (int)json_integer_value(json_object_get(event, "status"));
    enum Rank rank = CAUSE;
    if (kind && !strcmp(kind, "peer"))
        rank = ECHO;
    else if (status == EXIT_INTERRUPTED)
        rank = STOPPED;
    take_error(j, rank, status, stage, message ? message : "it gave no reason");
}

static void on_line(void *user, int stage, const char *text)
{
    Job *j = user;
    json_t *event = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const char *name = json_string_value(json_object_get(event, "event"));
    if (name && !strcmp(name, "error")) {
        on_error(j, stage, event);
    } else if (name) {
        progress_event(&j->progress, event);
        if (j->launch->event)
            j->launch->event(j->launch->user, stage, event);
    }
    json_decref(event);
}

// Ends
// -------------------------------------------------------------------------------------------

static void on_signalled(Job *j, const Child *c)
{
    char doing[256], message[512];
    int number = WTERMSIG(c->wait_status);
    job_doing(&j->memory, j->launch->plan, c->stage, doing, sizeof doing);
    snprintf(message, sizeof message, "stage %d (process %d) was ended by signal %d (%s) %s",
             c->stage, (int)c->pid, number, strsignal(number), doing);
    take_error(j, CAUSE, EXIT_PEER, c->stage, message);
}

static void on_status(Job *j, const Child *c)
{
    char message[256];
    int status = WEXITSTATUS(c->wait_status);
    if (!status || (j->rank != NOTHING && j->stage == c->stage))
        return;
    if (status == 127) { // the shell's word for it, and the dynamic loader's
        snprintf(message, sizeof message,
                 "stage %d could not start: the loader's own message stands above", c->stage);
        take_error(j, CAUSE, EXIT_ENVIRONMENT, c->stage, message);
        return;
    }
    snprintf(message, sizeof message, "stage %d ended with status %d and gave no reason",
             c->stage, status);
    take_error(j, ECHO, status, c->stage, message);
}

static void on_end(Job *j, Child *c)
{
    if (c->report_fd >= 0)
        child_read(c, on_line, j);
    child_collect(c);
    j->running--;
    if (WIFSIGNALED(c->wait_status) && j->signals && WTERMSIG(c->wait_status) != SIGKILL) {
        end_all(j, c->stage, EXIT_INTERRUPTED); // it was too early or too late to end in order
        take_error(j, STOPPED, EXIT_INTERRUPTED, c->stage, "stopped by a signal");
    } else if (WIFSIGNALED(c->wait_status) && !c->killed)
        on_signalled(j, c);
    else if (WIFEXITED(c->wait_status))
        on_status(j, c);
}

static void kill_all(Job *j)
{
    for (int i = 0; i < j->launch->plan->n_stages; i++)
        child_kill(&j->children[i]);
}

static void on_signal(Job *j)
{
    struct signalfd_siginfo info;
    if (read(j->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (j->signals++ == 0) {
        job_stop(&j->memory);
        return;
    }
    take_error(j, STOPPED, EXIT_INTERRUPTED, j->launch->plan->n_stages,
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
    int n = j->launch->plan->n_stages;
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
                child_read(&j->children[i], on_line, j);
            if (fds[2 + 2 * i].revents)
                on_end(j, &j->children[i]);
        }
    }
}

static void start_all(Job *j)
{
    for (int i = 0; i < j->launch->plan->n_stages; i++) {
        char message[512];
        if (!child_start(&j->children[i], j->launch, &j->memory, i, &j->arena)) {
            j->running++;
            continue;
        }
        snprintf(message, sizeof message, "cannot start stage %d: %s", i, strerror(errno));
        take_error(j, CAUSE, EXIT_ENVIRONMENT, i, message);
        return;
    }
}

static void show_error(Job *j)
{
    progress_end_line(&j->progress);
    if (j->rank == NOTHING)
        return;
    if (j->status == EXIT_INTERRUPTED)
        fprintf(stderr, "stagecc: %s\n", j->message);
    else
        error_at(NO_LOC, "%s", j->message);
    if (!j->launch->event)
        return;
    json_t *event = json_pack("{s:s, s:i, s:i, s:s}", "event", "error", "status", j->status,
                              "stage", j->stage, "message", j->message);
    j->launch->event(j->launch->user, j->stage, event);
    json_decref(event);
}

static void join_traces(Job *j)
{
    const char *file = j->launch->trace;
    if (!file || !merge_traces(file, j->launch->plan->n_stages))
        return;
    error_at((Loc){file, 0, 0}, "cannot write the trace: %s", strerror(errno));
    if (!j->status)
        j->status = EXIT_ENVIRONMENT;
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
    show_error(j);
    join_traces(j);
    close(j->signal_fd);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

// Bytes that this machine can still give; UINT64_MAX where it does not say.
static uint64_t free_memory(void)
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

// All stages together: each of them looks at its own part alone.
static bool fits(const Plan *plan)
{
    uint64_t bytes = 0, available = free_memory();
    char needed[32], there[32];
    for (int i = 0; i < plan->n_stages; i++)
        bytes += (uint64_t)plan_stage_bytes(&plan->stages[i]);
    if (bytes <= available)
        return true;
    error_at(NO_LOC,
             "the %d stage%s need %s, this machine has %s free: use more micro-batches or a "
             "smaller batch",
             plan->n_stages, plan->n_stages > 1 ? "s" : "", human_bytes(needed, (int64_t)bytes),
             human_bytes(there, (int64_t)available));
    return false;
}

int launch_run(const Launch *l)
{
    Job j = {.launch = l};
    if (!fits(l->plan))
        return EXIT_NO_PLAN;
    // A limit of file sizes counts for the job's memory: an error, no death.
    signal(SIGXFSZ, SIG_IGN);
    if (job_memory_init(&j.memory, l->plan)) {
        error_at(NO_LOC, "cannot make the job's memory of %llu bytes: %s",
                 (unsigned long long)job_memory_bytes(l->plan), strerror(errno));
        return EXIT_ENVIRONMENT;
    }
    j.children = arena_array(&j.arena, Child, l->plan->n_stages);
    for (int i = 0; i < l->plan->n_stages; i++)
        j.children[i] = (Child){.stage = i, .pid_fd = -1, .report_fd = -1};
    progress_init(&j.progress, l->quiet);
    run(&j);
    for (int i = 0; i < l->plan->n_stages; i++)
        child_release(&j.children[i]);
    int status = j.status;
    job_memory_release(&j.memory);
    arena_release(&j.arena);
    return status;
}
