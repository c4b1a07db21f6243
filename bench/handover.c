// How long a message takes from one stage's SEND to the other's RECV, between two processes:
//   spinning   the receiver waits already and has a core of its own      goal: median < 5 us
//   sleeping   it has given up spinning and sleeps on the futex          goal: median < 60 us
// Prints one JSON object with medians and 99th percentiles in microseconds.
//   handover [ROUNDS]
#include "bench/pair.h"

#include "runtime/segment.h"
#include "runtime/transport.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WARM = 100, SPIN_GAP_US = 20, SLEEP_GAP_US = 1000 };

static void check(int error, const rt_stage *s)
{
    if (!error)
        return;
    fprintf(stderr, "handover: %s\n", s->message);
    exit(1);
}

static void pause_us(int us)
{
    if (us >= SLEEP_GAP_US) {
        usleep((useconds_t)us);
        return;
    }
    for (int64_t end = rt__now_ns() + us * 1000; rt__now_ns() < end;)
        continue;
}

// A core of its own for each side, where there are two: the scheduler likes to keep a pair that wakes
// each other on one.
static void pin(int side)
{
    static cpu_set_t all;
    cpu_set_t mine;
    if (!CPU_COUNT(&all))
        sched_getaffinity(0, sizeof all, &all);
    if (CPU_COUNT(&all) < 2)
        return;
    CPU_ZERO(&mine);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && side-- == 0)
            CPU_SET(cpu, &mine);
    sched_setaffinity(0, sizeof mine, &mine);
}

static void open_stage(rt_stage *s, const rt_program *p, int fd, bool spin)
{
    rt__stage_init(s, p, 0);
    check(rt__transport_open(s, fd), s);
    s->spin = spin;
}

static void produce(int fd, int rounds, bool spin)
{
    rt_program p = pair_program(0);
    rt_stage s;
    open_stage(&s, &p, fd, spin);
    for (s.run_step = 0; s.run_step < (uint64_t)rounds; s.run_step++) {
        check(rt__acquire(&s, 0, 0), &s);
        pause_us(spin ? SPIN_GAP_US : SLEEP_GAP_US);
        *(int64_t *)rt_slot(&s, 0, 0) = rt__now_ns();
        check(rt__send(&s, 0, 0), &s);
        check(rt__recv(&s, 1, 0), &s);
        check(rt__release(&s, 1, 0), &s);
    }
    rt__transport_close(&s);
}

static void consume(int fd, int rounds, bool spin, double *us)
{
    rt_program p = pair_program(1);
    rt_stage s;
    open_stage(&s, &p, fd, spin);
    for (s.run_step = 0; s.run_step < (uint64_t)rounds; s.run_step++) {
        check(rt__recv(&s, 0, 0), &s);
        int64_t now = rt__now_ns();
        us[s.run_step] = (double)(now - *(int64_t *)rt_slot(&s, 0, 0)) * 1e-3;
        check(rt__release(&s, 0, 0), &s);
        check(rt__acquire(&s, 1, 0), &s);
        check(rt__send(&s, 1, 0), &s);
    }
    rt__transport_close(&s);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(int rounds, bool spin, double *us)
{
    rt_program p = pair_program(0);
    int fd = rt__segment_new(&p);
    pid_t pid = fork();
    if (pid == 0) {
        pin(1);
        produce(fd, rounds, spin);
        _exit(0);
    }
    consume(fd, rounds, spin, us);
    waitpid(pid, NULL, 0);
    close(fd);
    qsort(us + WARM, (size_t)(rounds - WARM), sizeof *us, compare);
}

static double quantile(const double *us, int rounds, double q)
{
    return us[WARM + (int)(q * (rounds - WARM - 1))];
}

int main(int argc, char **argv)
{
    pin(0);
    pair_init(
        64,
        1); // the message carries the time at which it was sent; the answer says that it was read
    int rounds = WARM + (argc > 1 ? atoi(argv[1]) : 3000);
    double *us = calloc((size_t)rounds, sizeof *us);
    if (!us || rounds <= WARM)
        return 1;
    static const char *const names[] = {"sleeping", "spinning"};
    putchar('{');
    for (int spin = 1; spin >= 0; spin--) {
        measure(rounds, spin, us);
        printf("\"%s_us\": %.3f, \"%s_p99_us\": %.3f%s", names[spin], quantile(us, rounds, 0.5),
               names[spin], quantile(us, rounds, 0.99), spin ? ", " : "}\n");
    }
    free(us);
    return 0;
}
