// Programs that the driver starts and waits for: compilers, measuring programs, Graphviz. Each is a process
// group of its own, so that what it has started ends with it: compilers are drivers themselves. While any
// run, SIGINT and SIGTERM end them all, and then stagecc, unless the command has a handler, which is called.
#include "driver/driver.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 1024, N_SIGNALS = 2 };
static const int signals[N_SIGNALS] = {SIGINT, SIGTERM};
static struct sigaction before[N_SIGNALS];
static pid_t running[MOST]; // changed while signals are held back
static int n_running;
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    int saved = errno;
    interrupted = true;
    for (int i = 0; i < n_running; i++)
        kill(-running[i], SIGTERM);
    for (int i = 0; i < N_SIGNALS; i++)
        if (signals[i] == number && before[i].sa_handler != SIG_DFL)
            before[i].sa_handler(number);
    errno = saved;
}

static void hold(sigset_t *old)
{
    sigset_t set;
    sigemptyset(&set);
    for (int i = 0; i < N_SIGNALS; i++)
        sigaddset(&set, signals[i]);
    sigprocmask(SIG_BLOCK, &set, old);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    interrupted = false;
    for (int i = 0; i < N_SIGNALS; i++) {
        sigaction(signals[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
}

static _Noreturn void become(const char *const *argv, const char *stdout_file, unsigned cpu_s,
                             const sigset_t *mask)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    for (int i = 0; i < N_SIGNALS; i++)
        if (before[i].sa_handler != SIG_IGN)
            signal(signals[i], SIG_DFL);
    sigprocmask(SIG_SETMASK, mask, NULL);
    if (stdout_file) {
        int fd = open(stdout_file, O_WRONLY | O_CREAT | O_TRUNC, 0666);
        if (fd < 0 || dup2(fd, STDOUT_FILENO) < 0)
            _exit(126);
    }
    struct rlimit limit = {cpu_s, cpu_s};
    if (cpu_s)
        setrlimit(RLIMIT_CPU, &limit);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    fprintf(stderr, "stagecc: cannot start %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

pid_t process_start(const char *const *argv, const char *stdout_file, unsigned cpu_s)
{
    sigset_t mask;
    hold(&mask);
    CHECK(n_running < MOST, "driver", "%d programs at once", MOST);
    if (!n_running)
        catch_signals();
    pid_t pid = fork();
    if (pid < 0)
        fatal("cannot start %s: %s", argv[0], strerror(errno));
    if (!pid)
        become(argv, stdout_file, cpu_s, &mask);
    setpgid(pid, pid); // whoever comes first
    running[n_running++] = pid;
    sigprocmask(SIG_SETMASK, &mask, NULL);
    return pid;
}

static int reap(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void leave_if_interrupted(void)
{
    bool handled = false;
    for (int i = 0; i < N_SIGNALS; i++)
        handled |= before[i].sa_handler != SIG_DFL && before[i].sa_handler != SIG_IGN;
    if (!interrupted || handled)
        return;
    for (int i = 0; i < n_running; i++)
        reap(running[i]);
    fprintf(stderr, "stagecc: interrupted\n");
    exit(EXIT_INTERRUPTED);
}

int process_wait(pid_t pid)
{
    int status = reap(pid), at = 0;
    sigset_t mask;
    hold(&mask);
    while (running[at] != pid)
        at++;
    running[at] = running[--n_running];
    leave_if_interrupted();
    status = interrupted ? EXIT_INTERRUPTED : status;
    for (int i = 0; i < N_SIGNALS && !n_running; i++)
        sigaction(signals[i], &before[i], NULL);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    return status;
}

int process_run(const char *const *argv, const char *stdout_file)
{
    return process_wait(process_start(argv, stdout_file, 0));
}

int process_run_all(const char *const *const *argv, int n, const char *stdout_file)
{
    Arena a = {0};
    pid_t *pids = arena_array(&a, pid_t, n);
    int status = 0;
    for (int i = 0; i < n; i++)
        pids[i] = process_start(argv[i], stdout_file, 0);
    for (int i = 0; i < n; i++) {
        int ended = process_wait(pids[i]);
        status = status ? status : ended;
    }
    arena_release(&a);
    return status;
}
