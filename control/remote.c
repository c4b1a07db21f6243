// Every command is a process group of its own, so that all of it can be ended; whatever it started on
// another host ends by its own time limit (`timeout` in the script), since ssh tells it nothing.
#include "control/remote.h"

#include "base/diag.h"
#include "base/vec.h"
#include "control/hostfile.h"
#include "control/progress.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOOK_MS = 50, GRACE_MS = 3000, AGAIN_MS = 500 };

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

void remote_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

// Commands
// --------------------------------------------------------------------------------------

typedef VEC(const char *) Words;

static bool in_slurm(void)
{
    const char *job = getenv("SLURM_JOB_ID"), *shell = getenv("STAGECC_SSH");
    return job && *job && !(shell && *shell);
}

const char *remote_shell(void)
{
    const char *shell = getenv("STAGECC_SSH");
    return shell && *shell ? shell : in_slurm() ? "srun" : "ssh";
}

static void push_all(Arena *a, Words *w, const char *const *words)
{
    for (; *words; words++)
        vec_push(a, w, *words);
}

// NULL-terminated. ssh gives its command to the login shell there, which may be any: hence one quoted
// word for a shell that is known.
static const char *const *words_of(Arena *a, const char *host, const char *script)
{
    // No question, and an end to waiting for a host that is down or goes away.
    static const char *const options[] = {"-T",
                                          "-o",
                                          "BatchMode=yes",
                                          "-o",
                                          "ConnectTimeout=10",
                                          "-o",
                                          "ServerAliveInterval=5",
                                          "-o",
                                          "ServerAliveCountMax=3",
                                          "--",
                                          NULL};
    // A step of the allocation beside others, on all that it has of that node.
    static const char *const srun[] = {
        "srun",         "--quiet",         "--nodes=1", "--ntasks=1",   "--overlap",
        "--overcommit", "--cpu-bind=none", "--mem=0",   "--unbuffered", NULL};
    Words w = {0};
    CHECK(!strpbrk(script, "'\n"), "control", "a script with quotes: %s", script);
    if (host_is_local(host)) {
        push_all(a, &w, (const char *const[]){"sh", "-c", script, NULL});
    } else if (in_slurm()) {
        push_all(a, &w, srun);
        vec_push(a, &w, arena_printf(a, "--nodelist=%s", host));
        push_all(a, &w, (const char *const[]){"sh", "-c", script, NULL});
    } else {
        vec_push(a, &w, remote_shell());
        push_all(a, &w, options);
        vec_push(a, &w, host);
        vec_push(a, &w, arena_printf(a, "exec sh -c '%s'", script));
    }
    vec_push(a, &w, NULL);
    return w.items;
}

// Processes
// -------------------------------------------------------------------------------------

static _Noreturn void become(const char *const *argv, int in, const int out[2],
                             const int err[2], pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent || in < 0 || dup2(in, STDIN_FILENO) < 0 ||
        dup2(out[1], STDOUT_FILENO) < 0 || dup2(err[1], STDERR_FILENO) < 0)
        _exit(126);
    execvp(argv[0], (char *const *)(uintptr_t)argv);
    dprintf(STDERR_FILENO, "cannot start %s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

static void close_both(int fd[2])
{
    close(fd[0]);
    close(fd[1]);
}

static bool start(Arena *a, Remote *r, const char *host, const char *script, int in)
{
    int out[2], err[2];
    const char *const *argv = words_of(a, host, script);
    pid_t parent = getpid();
    *r = (Remote){.host = host, .in_fd = -1, .out_fd = -1, .err_fd = -1};
    if (pipe2(out, O_CLOEXEC))
        return false;
    if (pipe2(err, O_CLOEXEC)) {
        close_both(out);
        return false;
    }
    r->pid = fork();
    if (r->pid == 0)
        become(argv, in, out, err, parent);
    if (r->pid < 0) {
        close_both(out);
        close_both(err);
        r->pid = 0;
        return false;
    }
    setpgid(r->pid, r->pid); // whoever is first
    close(out[1]);
    close(err[1]);
    r->out_fd = out[0];
    r->err_fd = err[0];
    fcntl(r->out_fd, F_SETFL, O_NONBLOCK);
    fcntl(r->err_fd, F_SETFL, O_NONBLOCK);
    return true;
}

bool remote_start(Arena *a, Remote *r, const char *host, const char *script, const char *input)
{
    int in = open(input ? input : "/dev/null", O_RDONLY | O_CLOEXEC);
    bool good = in >= 0 && start(a, r, host, script, in);
    if (in >= 0)
        close(in);
    return good;
}

bool remote_connect(Arena *a, Remote *r, const char *host, const char *script)
{
    int in[2];
    if (pipe2(in, O_CLOEXEC))
        return false;
    bool good = start(a, r, host, script, in[0]);
    close(in[0]);
    if (good)
        r->in_fd = in[1];
    else
        close(in[1]);
    return good;
}

enum { MOST_OUTPUT = 16 << 20 }; // of a host that talks without end

static void drain(int *fd, Text *into)
{
    char buffer[4096];
    for (ssize_t n; *fd >= 0 && (n = read(*fd, buffer, sizeof buffer)) != 0;) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return; // nothing more at the moment
        if (into->length < MOST_OUTPUT)
            text_append(into, buffer, (size_t)n);
    }
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static bool has_ended(Remote *r)
{
    int status;
    if (!r->pid || waitpid(r->pid, &status, WNOHANG) != r->pid)
        return !r->pid;
    r->pid = 0;
    r->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
}

void remote_read_err(Remote *r)
{
    drain(&r->err_fd, &r->err);
}

RemoteEnd remote_wait(Remote *r, double seconds, bool first_line)
{
    int64_t end = progress_now_ns() + (int64_t)(seconds * 1e9);
    for (;;) {
        bool ended = has_ended(r); // before the last look at what it says
        drain(&r->out_fd, &r->out);
        drain(&r->err_fd, &r->err);
        if (ended)
            return REMOTE_ENDED;
        if (first_line && r->out.data && strchr(r->out.data, '\n'))
            return REMOTE_LINE;
        if (interrupted)
            return REMOTE_INTERRUPTED;
        if (progress_now_ns() >= end)
            return REMOTE_TIMEOUT;
        struct pollfd fds[] = {{.fd = r->out_fd, .events = POLLIN},
                               {.fd = r->err_fd, .events = POLLIN}};
        poll(fds, 2, LOOK_MS);
        if (r->out_fd < 0 && r->err_fd < 0)
            usleep(1000); // all is said, its end is near
    }
}

void remote_stop(const Remote *r)
{
    if (r->pid)
        kill(-r->pid, SIGTERM);
}

void remote_end(Remote *r)
{
    if (r->pid) {
        pid_t group = r->pid;
        for (int ms = 0; !has_ended(r) && ms < GRACE_MS; ms += 10) {
            if (ms % AGAIN_MS == 0) // a shell that starts a process may miss it
                remote_stop(r);
            usleep(10 * 1000);
        }
        kill(-group, SIGKILL);
        while (!has_ended(r))
            usleep(1000);
    }
    if (r->out_fd >= 0)
        close(r->out_fd);
    if (r->err_fd >= 0)
        close(r->err_fd);
    text_release(&r->out);
    text_release(&r->err);
    *r = (Remote){.host = r->host, .in_fd = -1, .out_fd = -1, .err_fd = -1};
}

// Addresses
// -------------------------------------------------------------------------------------

const char *remote_address(Arena *a, const char *host)
{
    const char *at = strrchr(host, '@'), *name = at ? at + 1 : host;
    char line[512];
    if (host_is_local(host) || in_slurm())
        return name;
    int out[2];
    if (pipe2(out, O_CLOEXEC))
        return name;
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out[1], STDOUT_FILENO);
        execlp(remote_shell(), remote_shell(), "-G", "--", host, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *f = fdopen(out[0], "r");
    while (f && fgets(line, sizeof line, f))
        if (str_starts(line, "hostname ")) {
            line[strcspn(line, "\r\n")] = 0;
            name = arena_strdup(a, line + strlen("hostname "));
        }
    if (f)
        fclose(f);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    return name;
}
