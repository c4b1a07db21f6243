// Messages between two stages of different hosts, over one device of this machine: how many bytes a
// second go one way, and half of a round trip (median). Both sides sleep where they wait.
//   network BYTES ROUNDS SLOTS [NAMESPACE NAMESPACE]         UCX_NET_DEVICES=lo, say
// SLOTS: messages that may be on their way. Network namespaces (`ip netns`): one for each side.
// Prints one JSON object. bench/network.py sets it beside ucx_perftest.
#include "bench/pair.h"

#include "runtime/segment.h"
#include "runtime/transport.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static SegmentHeader *memory[2]; // of each host
static int fd[2];

static void check(int error, const rt_stage *s)
{
    if (!error)
        return;
    fprintf(stderr, "network: %s\n", s->message);
    exit(1);
}

static void enter(const char *namespace)
{
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int ns = open(path, O_RDONLY | O_CLOEXEC);
    if (ns < 0 || setns(ns, CLONE_NEWNET)) {
        perror(path);
        exit(1);
    }
    close(ns);
}

static void make_hosts(void)
{
    rt_program p = pair_program(0);
    for (int i = 0; i < 2; i++) {
        fd[i] = rt__segment_new(&p);
        memory[i] =
            mmap(NULL, rt__segment_bytes(&p), PROT_READ | PROT_WRITE, MAP_SHARED, fd[i], 0);
        memory[i]->job = 1;
        memory[i]->n_hosts = 2;
        segment_statuses(memory[i])[1].host = 1;
    }
}

// What the launcher does: each host learns the other's address.
static void open_stage(rt_stage *s, const rt_program *p)
{
    rt__stage_init(s, p, 0);
    check(rt__transport_open(s, fd[p->stage]), s);
    int other = 1 - p->stage;
    const SegmentAddress *from = &segment_addresses(memory[other])[other];
    SegmentAddress *to = &segment_addresses(memory[p->stage])[other];
    while (!atomic_load(&from->bytes))
        usleep(1000);
    memcpy(to->data, from->data, sizeof to->data);
    atomic_store(&to->bytes, atomic_load(&from->bytes));
}

static void give(rt_stage *s, int edge)
{
    check(rt__acquire(s, edge, 0), s);
    check(rt__send(s, edge, 0), s);
}

static void take(rt_stage *s, int edge)
{
    check(rt__recv(s, edge, 0), s);
    check(rt__release(s, edge, 0), s);
}

// A round trip a round; then rounds one way, with an answer behind the last.
static void second_stage(int rounds)
{
    rt_program p = pair_program(1);
    rt_stage s;
    open_stage(&s, &p);
    for (s.run_step = 0; s.run_step < (uint64_t)rounds; s.run_step++) {
        take(&s, 0);
        give(&s, 1);
    }
    for (; s.run_step < 2 * (uint64_t)rounds; s.run_step++)
        take(&s, 0);
    s.run_step = (uint64_t)rounds;
    give(&s, 1);
    for (int i = 0; i < 200; i++, usleep(1000)) // the answer is under way
        rt__progress(&s);
    rt__transport_close(&s);
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void first_stage(int rounds, double *round_trip_s, double *one_way_s)
{
    int64_t *ns = calloc((size_t)rounds, sizeof *ns);
    rt_program p = pair_program(0);
    rt_stage s;
    open_stage(&s, &p);
    give(&s, 0);
    take(&s, 1); // connected
    s.run_step = 1;
    for (; s.run_step < (uint64_t)rounds; s.run_step++) {
        int64_t begin = rt__now_ns();
        give(&s, 0);
        take(&s, 1);
        ns[s.run_step] = rt__now_ns() - begin;
    }
    qsort(ns + 1, (size_t)rounds - 1, sizeof *ns, compare);
    *round_trip_s = (double)ns[rounds / 2] * 1e-9;
    free(ns);
    int64_t middle = rt__now_ns();
    for (; s.run_step < 2 * (uint64_t)rounds; s.run_step++)
        give(&s, 0);
    s.run_step = (uint64_t)rounds;
    take(&s, 1);
    *one_way_s = (double)(rt__now_ns() - middle) * 1e-9 / rounds;
    rt__transport_close(&s);
}

int main(int argc, char **argv)
{
    int64_t bytes = argc > 1 ? atoll(argv[1]) : 1 << 20;
    int rounds = argc > 2 ? atoi(argv[2]) : 1000;
    int slots = argc > 3 ? atoi(argv[3]) : 4;
    if (bytes < 1 || rounds < 2 || slots < 1)
        return 1;
    double round_trip_s, one_way_s;
    pair_init(bytes, slots);
    make_hosts();
    pid_t pid = fork();
    if (argc > 5)
        enter(argv[pid ? 4 : 5]);
    if (pid == 0) {
        second_stage(rounds);
        _exit(0);
    }
    first_stage(rounds, &round_trip_s, &one_way_s);
    waitpid(pid, NULL, 0);
    printf("{\"bytes\": %lld, \"half_round_trip_us\": %.3f, \"bytes_per_s\": %.5g}\n",
           (long long)bytes, round_trip_s * 0.5e6, (double)bytes / one_way_s);
    return 0;
}
