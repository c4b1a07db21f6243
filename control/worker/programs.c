// Programs that run: how they start, what they report, how they end.
#include "control/worker/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TIMED_STEPS = 3, LAST_MS = 5000 };
#define TIMED_NS SECOND_NS // at least
#define TIMED_MOST_NS (2 * SECOND_NS)
#define LOOK_NS (SECOND_NS / 4)
#define STANDS_NS SECOND_NS

// Start
// ---------------------------------------------------------------------------------------

bool program_start(Run *r, uint32_t rank)
{
    Program *p = &r->programs[rank];
    int fd = p->image->fd;
    int *states =
        arena_copy(&r->arena, r->launch.states, sizeof(int) * (size_t)r->plan->n_ranks);
    states[rank] = fd;
    Launch launch = r->launch;
    launch.states = states;
    fcntl(fd, F_SETFD, 0); // this one alone is inherited
    int failed = child_start(&p->child, &launch, &r->memory, (int)rank, &r->arena);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (failed)
        p->child.pid_fd = -1;
    p->timed_step = r->of.step;
    p->timed_ns = agent_now();
    return !failed;
}

void programs_limit(Agent *g, const WorkerAction *limit)
{
    if (!g->run.opened)
        return;
    job_end_behind(&g->run.memory, limit->last);
    job_allow(&g->run.memory, limit->begin, limit->update);
}

// Reports
// ---------------------------------------------------------------------------------------

static void tell_report(Agent *g, uint64_t epoch, uint32_t rank, const char *line)
{
    agent_tell_master(g, &(Message){.id = MESSAGE_REPORT,
                                    .report = {.epoch = epoch, .rank = rank},
                                    .rest = line,
                                    .rest_bytes = strlen(line)});
}

void programs_say_again(Agent *g)
{
    for (int i = 0; i < g->n_kept; i++)
        tell_report(g, g->kept[i].epoch, g->kept[i].rank, g->kept[i].line);
}

void programs_forget(Agent *g)
{
    for (int i = 0; i < g->n_kept; i++)
        free(g->kept[i].line);
    g->n_kept = 0;
}

// The newest ones, oldest first.
static void keep(Agent *g, uint32_t rank, const char *line)
{
    if (g->n_kept == KEPT_STEPS) {
        free(g->kept[0].line);
        memmove(g->kept, g->kept + 1, (KEPT_STEPS - 1) * sizeof *g->kept);
        g->n_kept--;
    }
    g->kept[g->n_kept++] = (Kept){g->run.of.number, rank, strdup(line)};
}

// How long it computed in the steps since it was last told.
static void tell_times(Agent *g, uint32_t rank, uint64_t step)
{
    Program *p = &g->run.programs[rank];
    int64_t now_ns = agent_now();
    uint64_t busy = (uint64_t)atomic_load(&g->run.memory.statuses[rank].busy_ns);
    int64_t passed_ns = now_ns - p->timed_ns;
    bool few = step < p->timed_step + TIMED_STEPS || passed_ns < TIMED_NS;
    if (few && passed_ns < TIMED_MOST_NS)
        return;
    agent_tell_master(g, &(Message){.id = MESSAGE_TIMES,
                                    .times = {.epoch = g->run.of.number,
                                              .first_step = p->timed_step + 1,
                                              .last_step = step,
                                              .busy_ns = busy - p->timed_busy_ns,
                                              .rank = rank}});
    p->timed_step = step;
    p->timed_busy_ns = busy;
    p->timed_ns = now_ns;
}

static void on_ready(Agent *g, uint32_t rank)
{
    Program *p = &g->run.programs[rank];
    if (p->phase != PROGRAM_STARTED)
        return;
    p->phase = PROGRAM_READY;
    agent_take(
        g, &(WorkerEvent){.kind = WORKER_PREPARED, .epoch = g->run.of.number, .rank = rank});
}

static void on_saved(Agent *g, uint32_t rank, uint64_t step)
{
    tell_times(g, rank, step);
    agent_take(
        g, &(WorkerEvent){
               .kind = WORKER_SAVED, .epoch = g->run.of.number, .rank = rank, .step = step});
}

static void on_line(void *user, int rank, const char *line)
{
    Agent *g = user;
    Program *p = &g->run.programs[rank];
    json_t *json = json_loads(line, 0, NULL);
    const char *event = json_string_value(json_object_get(json, "event"));
    uint64_t step = (uint64_t)json_integer_value(json_object_get(json, "step"));
    bool for_me = event && (!strcmp(event, "ready") || !strcmp(event, "saved"));
    if (event && !strcmp(event, "error"))
        snprintf(p->error, sizeof p->error, "%s", line);
    if (event && !strcmp(event, "step"))
        keep(g, (uint32_t)rank, line);
    if (event && !for_me)
        tell_report(g, g->run.of.number, (uint32_t)rank, line);
    if (for_me && *event == 'r')
        on_ready(g, (uint32_t)rank);
    else if (for_me)
        on_saved(g, (uint32_t)rank, step);
    json_decref(json);
}

// Ends
// ---------------------------------------------------------------------------------------

bool programs_alive(const Agent *g)
{
    for (int rank = agent_next(g, -1); rank >= 0; rank = agent_next(g, rank))
        if (g->run.programs[rank].child.pid_fd >= 0)
            return true;
    return false;
}

void programs_stop(Agent *g, Run *r)
{
    for (int rank = 0; rank < MOST_RANKS; rank++) {
        Program *p = &r->programs[rank];
        Child *c = &p->child;
        if (c->pid_fd >= 0) {
            kill(c->pid, SIGKILL);
            g->dying[g->n_dying++] = (Dying){c->pid, c->pid_fd, p->image};
            p->image = NULL;
            c->pid_fd = -1;
        }
        if (c->report_fd >= 0)
            close(c->report_fd);
        c->report_fd = -1;
        prepare_stop(g, p);
    }
}

void programs_end(Agent *g)
{
    programs_stop(g, &g->run);
}

static void collect_dying(Agent *g)
{
    int n = 0;
    for (int i = 0; i < g->n_dying; i++) {
        Dying d = g->dying[i];
        if (waitpid(d.pid, NULL, WNOHANG) == 0) {
            g->dying[n++] = d;
            continue;
        }
        close(d.pid_fd);
        if (d.image)
            d.image->busy = false;
    }
    g->n_dying = n;
}

static void on_end(Agent *g, int rank)
{
    Program *p = &g->run.programs[rank];
    Child *c = &p->child;
    if (c->report_fd >= 0)
        child_read(c, on_line, g);
    if (c->pid_fd < 0)
        return; // by what it said
    child_collect(c);
    int status = WIFEXITED(c->wait_status) ? WEXITSTATUS(c->wait_status)
                                           : 128 + WTERMSIG(c->wait_status);
    p->image->busy = false;
    p->image = NULL;
    // It ends by itself behind the job's last step only.
    bool done = !status && p->phase == PROGRAM_READY && g->core.saved[rank] >= g->core.last;
    p->phase = PROGRAM_DONE;
    if (done)
        return;
    agent_say(g, "stage %d has ended with status %d", g->run.plan->ranks[rank].stage, status);
    agent_take(g, &(WorkerEvent){.kind = WORKER_ENDED,
                                 .epoch = g->run.of.number,
                                 .rank = (uint32_t)rank,
                                 .status = status});
}

// "T" or "t" behind the name: stopped by a signal or a debugger.
static bool stands(pid_t pid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    const char *behind = n > 0 ? strrchr(text, ')') : NULL;
    return behind && behind[1] && (behind[2] == 'T' || behind[2] == 't');
}

void programs_look(Agent *g, int64_t now_ns)
{
    if (now_ns - g->looked_ns < LOOK_NS)
        return;
    g->looked_ns = now_ns;
    for (int rank = agent_next(g, -1); rank >= 0; rank = agent_next(g, rank)) {
        Program *p = &g->run.programs[rank];
        if (p->child.pid_fd < 0 || !stands(p->child.pid)) {
            p->stands_ns = 0;
            continue;
        }
        if (!p->stands_ns)
            p->stands_ns = now_ns;
        if (now_ns - p->stands_ns <= STANDS_NS)
            continue;
        agent_say(g, "stage %d stands still: it is killed", g->run.plan->ranks[rank].stage);
        child_kill(&p->child);
    }
}

// Waiting
// ---------------------------------------------------------------------------------------

static int fds_of(const Agent *g, const Run *r, struct pollfd *fds, int n)
{
    for (int rank = agent_next_of(g, r, -1); rank >= 0; rank = agent_next_of(g, r, rank)) {
        const Program *p = &r->programs[rank];
        fds[n++] = (struct pollfd){.fd = p->child.report_fd, .events = POLLIN};
        fds[n++] = (struct pollfd){.fd = p->child.pid_fd, .events = POLLIN};
        fds[n++] = (struct pollfd){.fd = p->asked_fd, .events = POLLIN};
    }
    return n;
}

int programs_fds(Agent *g, struct pollfd *fds, int n)
{
    n = fds_of(g, &g->next, fds, fds_of(g, &g->run, fds, n));
    for (int i = 0; i < g->n_dying && n < MOST_FDS; i++)
        fds[n++] = (struct pollfd){.fd = g->dying[i].pid_fd, .events = POLLIN};
    return n;
}

// Of one that may come next: it says that it is warm, or why it will not be.
static void on_warm_line(void *user, int rank, const char *line)
{
    Agent *g = user;
    Program *p = &g->next.programs[rank];
    json_t *json = json_loads(line, 0, NULL);
    const char *event = json_string_value(json_object_get(json, "event"));
    const char *message = json_string_value(json_object_get(json, "message"));
    if (event && !strcmp(event, "warm") && p->phase == PROGRAM_STARTED) {
        image_touch(p->image);
        p->phase = PROGRAM_WARM;
    }
    if (event && !strcmp(event, "error"))
        snprintf(g->next.why, sizeof g->next.why, "%s", message ? message : "it failed");
    json_decref(json);
}

static void poll_next(Agent *g)
{
    Run *r = &g->next;
    for (int rank = agent_next_of(g, r, -1); rank >= 0; rank = agent_next_of(g, r, rank)) {
        Program *p = &r->programs[rank];
        struct pollfd end = {.fd = p->child.pid_fd, .events = POLLIN};
        if (p->child.report_fd >= 0)
            child_read(&p->child, on_warm_line, g);
        if (p->child.pid_fd < 0 || poll(&end, 1, 0) <= 0)
            continue;
        child_collect(&p->child);
        p->image->busy = false;
        p->image = NULL;
        p->phase = PROGRAM_DONE; // the master may have heard that it is warm
        if (!*r->why)
            snprintf(r->why, sizeof r->why, "its program of rank %d has ended", rank);
    }
}

void programs_poll(Agent *g)
{
    collect_dying(g);
    for (int rank = agent_next(g, -1); rank >= 0; rank = agent_next(g, rank)) {
        Child *c = &g->run.programs[rank].child;
        struct pollfd end = {.fd = c->pid_fd, .events = POLLIN};
        if (c->report_fd >= 0)
            child_read(c, on_line, g);
        if (c->pid_fd >= 0 && end.fd == c->pid_fd && poll(&end, 1, 0) > 0)
            on_end(g, rank);
    }
    poll_next(g);
}

void programs_wait(Agent *g)
{
    for (int i = 0; i < g->n_dying; i++) {
        struct pollfd end = {.fd = g->dying[i].pid_fd, .events = POLLIN};
        poll(&end, 1, LAST_MS); // one that hangs in the kernel is left to init
    }
    collect_dying(g);
}
