#include "control/child.h"

#include "plan/simulate.h"
#include "plan/walk.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

const char *launch_program(Arena *a, const char *dir, int stage)
{
    return arena_printf(a, "%s/stage%d", dir, stage);
}

int launch_cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set))
        return 1;
    return CPU_COUNT(&set);
}

int launch_here(const Launch *l)
{
    int n = 0;
    for (int i = 0; i < l->plan->n_ranks; i++)
        n += !l->here || l->here[i];
    return n;
}

bool launch_may_spin(const Launch *l)
{
    return launch_here(l) * l->plan->options.threads <= launch_cores();
}

static void set_number(const char *name, int value)
{
    char text[16];
    snprintf(text, sizeof text, "%d", value);
    setenv(name, text, 1);
}

// OpenMP's threads spin by default while they wait for work; where there are more of them than cores
// that takes the cores from those who work. Whoever has set a policy keeps it.
static void set_environment(const Launch *l, int rank, int job_fd, int report_fd)
{
    bool spin = launch_may_spin(l);
    set_number("STAGECC_REPLICA", l->plan->ranks[rank].replica);
    set_number("STAGECC_JOB_FD", job_fd);
    set_number("STAGECC_REPORT_FD", report_fd);
    if (l->cards && l->cards[rank] >= 0)
        set_number("STAGECC_CARD", l->cards[rank]);
    setenv("STAGECC_SPIN", spin ? "1" : "0", 0);
    set_number("OMP_NUM_THREADS", (int)l->plan->options.threads);
    setenv("OMP_DYNAMIC", "false", 1);
    if (!spin)
        setenv("OMP_WAIT_POLICY", "passive", 0);
}

// In the child: dies with the launcher, keeps two descriptors, has no signal blocked.
static _Noreturn void become(const Launch *l, const JobMemory *m, const Child *c,
                             const char *const *argv, int report_fd, pid_t launcher)
{
    sigset_t none;
    sigemptyset(&none);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != launcher)
        _exit(127); // it was gone before
    int job_fd = fcntl(m->fd, F_DUPFD, 3);
    fcntl(report_fd, F_SETFD, 0);
    set_environment(l, c->rank, job_fd, report_fd);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execv(argv[0], (char *const *)(uintptr_t)argv);
    fprintf(stderr, "stagecc: cannot start %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

// "stage1", or "stage1.0" of a replica, behind a prefix.
static const char *of_rank(Arena *a, const Launch *l, int rank, const char *prefix)
{
    const PlanRank *r = &l->plan->ranks[rank];
    return l->plan->stages[r->stage].replicas > 1
               ? arena_printf(a, "%sstage%d.%d", prefix, r->stage, r->replica)
               : arena_printf(a, "%sstage%d", prefix, r->stage);
}

const char *launch_trace(Arena *a, const Launch *l, int rank)
{
    return of_rank(a, l, rank, arena_printf(a, "%s.", l->trace));
}

const char *launch_state(Arena *a, const Launch *l, int rank)
{
    if (l->states)
        return arena_printf(a, "/proc/self/fd/%d", l->states[rank]);
    return l->state ? of_rank(a, l, rank, arena_printf(a, "%s/", l->state)) : NULL;
}

const char *launch_at_least(Arena *a, const Launch *l, int rank)
{
    const PlanStage *s = &l->plan->stages[l->plan->ranks[rank].stage];
    const char *all = NULL;
    for (int i = 0; i < RT_N_OPCODES; i++) {
        double seconds = l->rehearse * plan_instruction_seconds(s, (rt_opcode)i);
        if (seconds > 0)
            all = arena_printf(a, "%s%s%s=%.9f", all ? all : "", all ? "," : "", opcode_name[i],
                               seconds);
    }
    return all;
}

static const char *const *arguments(const Launch *l, int rank, Arena *a)
{
    const char **argv = arena_array(a, const char *, l->n_options + 8);
    int n = 0;
    argv[n++] = launch_program(a, l->dir, l->plan->ranks[rank].stage);
    for (int i = 0; i < l->n_options; i++)
        argv[n++] = l->options[i];
    if (l->trace) {
        argv[n++] = "--trace";
        argv[n++] = launch_trace(a, l, rank);
    }
    const char *state = launch_state(a, l, rank);
    if (state) {
        argv[n++] = "--state";
        argv[n++] = state;
    }
    const char *at_least = launch_at_least(a, l, rank);
    if (at_least) {
        argv[n++] = "--at-least";
        argv[n++] = at_least;
    }
    return argv;
}

int child_start(Child *c, const Launch *l, const JobMemory *m, int rank, Arena *a)
{
    int pipe_fd[2];
    pid_t launcher = getpid();
    *c = (Child){.rank = rank, .pid_fd = -1, .report_fd = -1};
    c->line = arena_alloc(a, CHILD_LINE);
    const char *const *argv = arguments(l, rank, a);
    if (pipe2(pipe_fd, O_CLOEXEC))
        return -1;
    c->pid = fork();
    if (c->pid == 0)
        become(l, m, c, argv, pipe_fd[1], launcher);
    close(pipe_fd[1]);
    c->report_fd = pipe_fd[0];
    if (c->pid < 0)
        return -1;
    fcntl(c->report_fd, F_SETFL, O_NONBLOCK);
    c->pid_fd = (int)syscall(SYS_pidfd_open, c->pid, 0);
    if (c->pid_fd >= 0)
        return 0;
    kill(c->pid, SIGKILL);
    waitpid(c->pid, &c->wait_status, 0);
    return -1;
}

static void split(Child *c, void (*line)(void *, int, const char *), void *user)
{
    char *begin = c->line, *end;
    while ((end = memchr(begin, '\n', (size_t)(c->line + c->n - begin)))) {
        *end = 0;
        line(user, c->rank, begin);
        begin = end + 1;
    }
    c->n -= (int)(begin - c->line);
    memmove(c->line, begin, (size_t)c->n);
    if (c->n == CHILD_LINE)
        c->n = 0; // no program of ours writes such a line
}

void child_read(Child *c, void (*line)(void *user, int rank, const char *text), void *user)
{
    for (;;) {
        ssize_t n = read(c->report_fd, c->line + c->n, (size_t)(CHILD_LINE - c->n));
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (n <= 0) {
            close(c->report_fd);
            c->report_fd = -1;
            return;
        }
        c->n += (int)n;
        split(c, line, user);
    }
}

void child_collect(Child *c)
{
    while (waitpid(c->pid, &c->wait_status, 0) < 0 && errno == EINTR)
        continue;
    close(c->pid_fd);
    c->pid_fd = -1;
}

void child_kill(Child *c)
{
    if (c->pid_fd < 0)
        return;
    c->killed = true;
    kill(c->pid, SIGKILL);
}

void child_release(Child *c)
{
    if (c->pid > 0 && c->pid_fd >= 0) {
        child_kill(c);
        child_collect(c);
    }
    if (c->report_fd >= 0)
        close(c->report_fd);
    c->report_fd = -1;
}
