// Between two stages of one host: the runtime's own transport, two processes a pair, as in training.
//   latency    from SEND to RECV where the receiver has gone to sleep, as one does that waits for work
//   bandwidth  from SEND until the receiver has read a large message in its place. That the producer
//              writes it is part of its computing: kernels write into the slot.
// All pairs run at once, so that they get what is left of the memory's bandwidth.
#include "runtime/links/links.h"
#include "runtime/machine.h"
#include "runtime/segment.h"
#include "runtime/transport.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BIG = 16 << 20,
    PIECE = 64 << 10, // stays in the cache: reading counts, not writing
    WARM = 4,
    SMALL_ROUNDS = 200,
    BIG_ROUNDS = 40,
    SLEEP_US = 1000,
    MAX_PAIRS = 1024
};

static const int to_1[] = {1}, to_0[] = {0};
static const rt_edge edges[] = {{"there", 0, to_1, 1, BIG, 2, 1, 1, 0, 0},
                                {"back", 1, to_0, 1, 64, 2, 1, 1, 0, 0}};

static rt_program program_of(int stage)
{
    return (rt_program){.abi = RT_ABI,
                        .plan_hash = "links",
                        .stage = stage,
                        .n_stages = 2,
                        .edges = edges,
                        .n_edges = 2,
                        .in_flight = 1};
}

static void check(int error, const rt_stage *s)
{
    if (error)
        links_fail("stage %d of the measured pair: %s", s->program->stage, s->message);
}

// Whoever wakes another tends to be put on its core; stages that compute are not.
static void pin(int index, int n)
{
    cpu_set_t all, mine;
    if (sched_getaffinity(0, sizeof all, &all) || CPU_COUNT(&all) < n)
        return;
    CPU_ZERO(&mine);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &all) && index-- == 0)
            CPU_SET(cpu, &mine);
    sched_setaffinity(0, sizeof mine, &mine);
}

static void produce(rt_stage *s, int rounds, size_t bytes)
{
    for (int i = 0; i < rounds; i++, s->run_step++) {
        check(rt__acquire(s, 0, 0), s);
        uint8_t *slot = rt_slot(s, 0, 0);
        if (bytes > sizeof(int64_t))
            memset(slot, i, bytes);
        else
            usleep(SLEEP_US);
        *(int64_t *)(void *)slot = rt__now_ns();
        check(rt__send(s, 0, 0), s);
        check(rt__recv(s, 1, 0), s);
        check(rt__release(s, 1, 0), s);
    }
}

static void consume(rt_stage *s, int rounds, size_t bytes, double *seconds)
{
    static uint8_t piece[PIECE];
    for (int i = 0; i < rounds; i++, s->run_step++) {
        check(rt__recv(s, 0, 0), s);
        const uint8_t *slot = rt_slot(s, 0, 0);
        int64_t sent = *(const int64_t *)(const void *)slot;
        for (size_t at = 0; bytes > sizeof sent && at < bytes; at += PIECE) {
            memcpy(piece, slot + at, PIECE);
            __asm__ volatile("" ::"r"(piece) : "memory"); // nobody reads it, and yet it is made
        }
        seconds[i] = (double)(rt__now_ns() - sent) * 1e-9;
        check(rt__release(s, 0, 0), s);
        check(rt__acquire(s, 1, 0), s);
        check(rt__send(s, 1, 0), s);
    }
}

// What a pair has measured, in memory that all processes share.
typedef struct Samples {
    double small[SMALL_ROUNDS + WARM], big[BIG_ROUNDS + WARM];
} Samples;

static void run_stage(int stage, int fd, int spin, Samples *samples)
{
    rt_program p = program_of(stage);
    rt_stage s;
    rt__stage_init(&s, &p, 0);
    check(rt__transport_open(&s, fd), &s);
    s.spin = spin;
    s.timeout_ns = INT64_C(20000000000);
    if (stage) {
        consume(&s, SMALL_ROUNDS + WARM, sizeof(int64_t), samples->small);
        consume(&s, BIG_ROUNDS + WARM, BIG, samples->big);
    } else {
        produce(&s, SMALL_ROUNDS + WARM, sizeof(int64_t));
        produce(&s, BIG_ROUNDS + WARM, BIG);
    }
    rt__transport_close(&s);
}

static void start_pair(int pair, int pairs, int spin, Samples *samples)
{
    rt_program p = program_of(0);
    int fd = rt__segment_new(&p);
    pid_t parent = getpid();
    if (fd < 0)
        links_fail("no shared memory for a message of %d MiB", BIG >> 20);
    for (int stage = 0; stage < 2; stage++) {
        pid_t pid = fork();
        if (pid < 0)
            links_fail("cannot start a process");
        if (pid)
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        pin(2 * pair + stage, 2 * pairs);
        run_stage(stage, fd, spin, samples);
        _exit(0);
    }
    close(fd);
}

static Figure middle(Samples *all, int pairs, int big)
{
    int n = big ? BIG_ROUNDS : SMALL_ROUNDS;
    double *together = calloc((size_t)pairs * (size_t)n, sizeof *together);
    if (!together)
        links_fail("out of memory");
    for (int i = 0; i < pairs; i++)
        memcpy(together + (size_t)i * (size_t)n, (big ? all[i].big : all[i].small) + WARM,
               (size_t)n * sizeof *together);
    Figure f = figure_of(together, pairs * n);
    free(together);
    return f;
}

void links_memory(int pairs, int spin)
{
    if (pairs < 1 || pairs > MAX_PAIRS)
        links_fail("from 1 to %d pairs can be measured", MAX_PAIRS);
    size_t bytes = sizeof(Samples) * (size_t)pairs;
    Samples *all = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        links_fail("out of memory");
    for (int i = 0; i < pairs; i++)
        start_pair(i, pairs, spin, &all[i]);
    for (int i = 0, status; i < 2 * pairs; i++)
        if (wait(&status) < 0 || status)
            links_fail("a process of the measured pairs ended early (status %d)", status);
    Figure small = middle(all, pairs, 0), big = middle(all, pairs, 1);
    links_print(small, BIG, big);
}
