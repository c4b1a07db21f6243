// Makes one core half as fast for everything else on it: takes it for every other half of a short period,
// at a real-time priority, which no program of ours has. So whatever runs there gets a duty cycle of a
// half, whatever it is (a stage, a profile, a wait that spins), and its process need not be known.
// Runs until it is killed, or its parent ends. Needs the right to SCHED_FIFO (root, or CAP_SYS_NICE).
//   slow CORE [PERIOD_US]      1000
#include "bench/pace.h"

#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

static int take(int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    struct sched_param first = {.sched_priority = 1};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (!sched_setaffinity(0, sizeof set, &set) && !sched_setscheduler(0, SCHED_FIFO, &first))
        return 0;
    perror("slow");
    return 1;
}

int main(int argc, char **argv)
{
    if (argc < 2 || take(atoi(argv[1])))
        return 1;
    int64_t period = 1000 * (int64_t)(argc > 2 ? atoi(argv[2]) : 1000);
    for (int64_t begin = now_ns();; begin += period) {
        while (now_ns() < begin + period / 2)
            continue;
        sleep_until(begin + period);
    }
}
