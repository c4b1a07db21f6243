// stagecc launch: keys, workers on hosts, a master here. The master is a process of its own, which compiles, measures
// and plans; this one holds the workers and hands signals on. In this order: the master listens, then workers start;
// the master ends, then no worker is left.
#include "driver/launch.h"

#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef STAGECC_ZMQ

enum { LOOK_MS = 200, MOST_LIVES = 4, FIXED_FDS = 3 };

typedef struct MasterProcess {
    pid_t pid;
    int pid_fd;
    int status; // once it has ended
    bool killed;
} MasterProcess;

typedef struct Watch {
    Launcher *launcher;
    MasterProcess master;
    int signal_fd, signals, lives;
    struct pollfd *fds; // [FIXED_FDS + hosts]
} Watch;

// What is asked for
// ------------------------------------------------------------------------------------------------

static bool in_allocation(void)
{
    const char *job = getenv("SLURM_JOB_ID");
    return job && *job;
}

static int find_hosts(Launcher *l)
{
    const Args *args = l->args;
    if (args->hostfile)
        l->hosts = hostfile_read(l->arena, args->hostfile);
    else if (in_allocation())
        l->hosts = slurm_nodes(l);
    else
        error_at(NO_LOC,
                 "stagecc launch needs --hostfile FILE (docs/hosts.md), or --slurm; within "
                 "a Slurm allocation it takes its nodes");
    return l->hosts ? stations_name(l) : EXIT_INPUT;
}

static bool operands_good(const Args *args)
{
    if (args->names.n && !args->slurm)
        error_at(NO_LOC,
                 "stagecc launch takes one MODEL|GRAPH|DIR; only --slurm has a use for `%s`",
                 args->names.items[0]);
    else if (args->slurm && args->hostfile)
        error_at(NO_LOC, "--slurm takes nodes from Slurm: drop --hostfile");
    else if (args->nodes && !args->slurm)
        error_at(NO_LOC, "--nodes is for --slurm; a hostfile has its own number of hosts");
    else
        return true;
    return false;
}

static int read_arguments(Launcher *l)
{
    Args *args = l->args;
    if (!operands_good(args) || !master_asked_well(args))
        return EXIT_INPUT;
    l->journal = args->journal = args->journal ? args->journal : "journal";
    if (!args->key)
        args->key = arena_printf(l->arena, "%s/keys/master.key", l->journal);
    const char *slash = strrchr(args->key, '/');
    l->keys = slash ? arena_strndup(l->arena, args->key, (size_t)(slash - args->key)) : ".";
    if (str_ends(args->key, "/master.key"))
        return EXIT_DONE;
    error_at(NO_LOC, "--key is DIR/master.key, beside the workers' keys, not `%s`", args->key);
    return EXIT_INPUT;
}

int launch_journal(const Launcher *l)
{
    if (!dir_make(l->journal))
        return EXIT_DONE;
    error_at((Loc){l->journal, 0, 0}, "cannot make the directory: %s", strerror(errno));
    return EXIT_ENVIRONMENT;
}

static int settle(Launcher *l)
{
    Args *args = l->args;
    int status = find_hosts(l);
    if (!status && !args->workers)
        args->workers = arena_printf(l->arena, "1:%d", l->hosts->n);
    if (status || args->listen)
        return status;
    args->listen = stations_listen(l);
    if (args->listen && in_allocation()) // another job may have a master on this node
        args->listen = arena_printf(l->arena, "%s:0", args->listen);
    return args->listen ? EXIT_DONE : EXIT_ENVIRONMENT;
}

static int make_keys(Launcher *l)
{
    const char **names = arena_array(l->arena, const char *, l->hosts->n);
    int status = launch_journal(l);
    if (status)
        return status;
    for (int i = 0; i < l->hosts->n; i++)
        names[i] = l->stations[i].name;
    return keygen_missing(l->arena, l->keys, names, l->hosts->n);
}

static int print_all(const Launcher *l)
{
    printf("here: stagecc master %s --listen %s --workers %s --key %s --journal %s\n",
           l->args->operand, l->args->listen, l->args->workers, l->args->key, l->journal);
    stations_print(l);
    return EXIT_DONE;
}

// The master
// ------------------------------------------------------------------------------------------------

// In a process group of its own: a signal of the terminal comes to it once, from here.
static _Noreturn void become_master(Launcher *l, int listening_fd, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG,
          SIGKILL); // the workers go at the same moment; the journal stays whole
    if (getppid() != parent)
        _exit(EXIT_PEER);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    l->args->listening_fd = listening_fd;
    exit(command_master(l->arena, l->args));
}

// Its end of a pipe in which it says where it listens; -1: reported.
static int start_master(Launcher *l, MasterProcess *m)
{
    int told[2];
    pid_t parent = getpid();
    fflush(NULL);
    if (pipe2(told, O_CLOEXEC))
        fatal("no pipe: %s", strerror(errno));
    m->pid = fork();
    if (m->pid < 0)
        fatal("cannot start the master: %s", strerror(errno));
    if (!m->pid)
        become_master(l, told[1], parent);
    close(told[1]);
    m->pid_fd = (int)syscall(SYS_pidfd_open, m->pid, 0);
    if (m->pid_fd < 0)
        fatal("cannot watch the master: %s", strerror(errno));
    return told[0];
}

static bool master_ended(MasterProcess *m)
{
    int status;
    if (!m->pid || waitpid(m->pid, &status, WNOHANG) != m->pid)
        return !m->pid;
    m->pid = 0;
    m->killed = WIFSIGNALED(status);
    m->status = m->killed ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    close(m->pid_fd);
    m->pid_fd = -1;
    return true;
}

// Watching
// ------------------------------------------------------------------------------------------------

static void on_signal(Watch *w)
{
    struct signalfd_siginfo info;
    if (read(w->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    w->signals++;
    if (w->master.pid)
        kill(w->master.pid, SIGTERM);
}

static void wait_a_little(Watch *w, int extra_fd)
{
    int n = 0;
    w->fds[n++] = (struct pollfd){.fd = w->signal_fd, .events = POLLIN};
    w->fds[n++] = (struct pollfd){.fd = w->master.pid_fd, .events = POLLIN};
    w->fds[n++] = (struct pollfd){.fd = extra_fd, .events = POLLIN};
    poll(w->fds, (nfds_t)stations_fds(w->launcher, w->fds, n), LOOK_MS);
    on_signal(w);
}

// Until it says where it listens: true. Before that it may measure for minutes, or end.
static bool hear_endpoint(Watch *w, int fd)
{
    char text[300] = "";
    size_t n = 0;
    ssize_t got = 1;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (got && n < sizeof text - 1 && !strchr(text, '\n')) {
        wait_a_little(w, fd);
        stations_look(w->launcher);
        got = read(fd, text + n, sizeof text - 1 - n);
        n += got > 0 ? (size_t)got : 0;
    }
    close(fd);
    char *end = strchr(text, '\n');
    if (!end)
        return false;
    *end = 0;
    w->launcher->endpoint = arena_strdup(w->launcher->arena, text);
    w->launcher->args->listen = w->launcher->endpoint; // of its next life, too
    return true;
}

// Workers that cannot even start end the job; those who have come by themselves wait for a master with its journal.
static void give_up(Watch *w)
{
    error_at(NO_LOC, "all workers have failed, see above");
    kill(w->master.pid, SIGTERM);
    while (!master_ended(&w->master)) {
        usleep(LOOK_MS * 1000);
        if (w->master.pid)
            kill(w->master.pid, SIGTERM); // the second one ends it at once
    }
    w->master.status = EXIT_PEER;
}

static void watch(Watch *w)
{
    while (!master_ended(&w->master)) {
        if (!stations_look(w->launcher)) {
            give_up(w);
            return;
        }
        wait_a_little(w, -1);
    }
}

static int run(Launcher *l)
{
    Watch w = {.launcher = l, .master.pid_fd = -1};
    sigset_t watched;
    int status = EXIT_DONE;
    sigemptyset(&watched);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigprocmask(SIG_BLOCK, &watched, NULL);
    w.signal_fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    w.fds = arena_array(l->arena, struct pollfd, l->hosts->n + FIXED_FDS);
    do {
        if (w.lives++)
            fprintf(stderr, "stagecc: the master was killed; another one goes on\n");
        bool listens = hear_endpoint(&w, start_master(l, &w.master));
        if (listens && w.lives == 1)
            status = stations_start(l);
        if (status)
            kill(w.master.pid, SIGKILL);
        watch(&w);
    } while (!status && w.master.killed && !w.signals && w.lives < MOST_LIVES);
    status = status ? status : w.master.status;
    bool told = !w.master.killed && (!w.master.status || w.master.status == EXIT_INTERRUPTED);
    stations_end(l, told && w.signals < 2);
    close(w.signal_fd);
    return status;
}

int command_launch(Arena *a, Args *args)
{
    Launcher l = {.arena = a, .args = args};
    int status = read_arguments(&l);
    if (!status && args->slurm)
        return slurm_submit(&l);
    if (!status)
        status = settle(&l);
    if (!status && args->dry_run)
        return print_all(&l);
    signal(SIGPIPE, SIG_IGN);
    if (!status)
        status = make_keys(&l);
    if (!status)
        status = stations_copy(&l);
    return status ? status : run(&l);
}

#else
int command_launch(Arena *a, Args *args)
{
    return command_master(a, args); // which says why it cannot
}
#endif
