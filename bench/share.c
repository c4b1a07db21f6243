// Gives each of some groups of processes the same, fixed part of a core, whether or not the others want theirs: in
// turn, one of PARTS runs for a slice and all others are stopped (SIGSTOP, SIGCONT). A group that waits leaves its
// slice unused, so nobody runs faster because somebody else waits, as if each had a slower core of its own.
// More parts than groups: the rest of the time nobody runs. Processes keep to CORE. Runs until it is told to stop or
// its parent ends, or all processes have ended. As real time where that is permitted: else it may wake up late, and
// somebody gets more than his part.
//   share CORE SLICE_US PARTS PID[,PID...]...
#include "bench/pace.h"

#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

enum { MOST = 64 };

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    (void)number;
    stop = 1;
}

typedef struct Process {
    pid_t pid;
    int group;
} Process;

// Those that are still there.
static int tell(const Process *p, int n, int group)
{
    int alive = 0;
    for (int i = 0; i < n; i++)
        alive += !kill(p[i].pid, p[i].group == group ? SIGCONT : SIGSTOP);
    return alive;
}

static int read_groups(char **words, int n_words, Process *out)
{
    int n = 0;
    for (int g = 0; g < n_words; g++)
        for (char *word = strtok(words[g], ","); word && n < MOST; word = strtok(NULL, ","))
            out[n++] = (Process){(pid_t)atoi(word), g};
    return n;
}

int main(int argc, char **argv)
{
    Process processes[MOST];
    int n = argc > 4 ? read_groups(argv + 4, argc - 4, processes) : 0;
    if (!n) {
        fprintf(stderr, "share CORE SLICE_US PARTS PID[,PID...]...\n");
        return 1;
    }
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)atoi(argv[1]), &set);
    for (int i = 0; i < n; i++)
        sched_setaffinity(processes[i].pid, sizeof set, &set);
    signal(SIGTERM, on_signal);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){1}))
        perror("share: no real time, parts may be unequal");
    int64_t slice_ns = 1000 * (int64_t)atoi(argv[2]), begin = now_ns();
    for (int64_t turn = 1; !stop && tell(processes, n, (int)(turn % atoi(argv[3]))); turn++)
        sleep_until(begin + turn * slice_ns);
    for (int i = 0; i < n; i++)
        kill(processes[i].pid, SIGCONT);
    return 0;
}
