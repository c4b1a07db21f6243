// Three stages as threads of one process, on one or several hosts. Each host has its own job memory, and a
// thread here does what the launcher does there: it brings statuses and the abort flag from each to all others.
#ifndef STAGECC_TESTS_JOB_H
#define STAGECC_TESTS_JOB_H

#include "runtime/segment.h"
#include "runtime/transport.h"
#include "runtime/wait.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STAGES = 3, MOST_EDGES = 4 };

// How the stages of a test reach each other.
typedef struct Placement {
    const char *name;
    int host[STAGES]; // of each, rising from 0
} Placement;

// Those that every transport is tested with; NULL behind the last one.
static inline Placement *job_placement(int i)
{
    static Placement all[] = {
        {"shm: one host", {0, 0, 0}},
#ifdef STAGECC_UCX
        {"ucx: a host for each", {0, 1, 2}},
        {"ucx and shm: two hosts", {0, 1, 1}},
#endif
    };
    return i < (int)(sizeof all / sizeof *all) ? &all[i] : NULL;
}

typedef struct Part {
    rt_program program;
    rt_stage stage;
    int fd, error;
    unsigned naps; // sleeps now and then, so that both sides wait
    void *user;
    pthread_t thread;
} Part;

typedef struct TestJob {
    const Placement *placement;
    Part part[STAGES];
    SegmentHeader *memory[STAGES]; // of each host
    size_t bytes;
    _Atomic bool done;
    pthread_t launcher;
} TestJob;

static inline void job_tell(SegmentHeader *from, SegmentHeader *to, int stage)
{
    SegmentStatus copy, *status = &segment_statuses(to)[stage];
    const SegmentAddress *address = &segment_addresses(from)[stage];
    SegmentAddress *seen = &segment_addresses(to)[stage];
    if (!atomic_load(&seen->bytes) && atomic_load(&address->bytes)) {
        memcpy(seen->data, address->data, sizeof seen->data);
        atomic_store(&seen->bytes, atomic_load(&address->bytes));
    }
    segment_status_read(&copy, &segment_statuses(from)[stage]);
    if (segment_status_write(status, &copy))
        segment_counter_wake(&status->barrier);
    uint32_t nobody = 0, who = atomic_load(&from->abort_rank);
    if (who && atomic_compare_exchange_strong(&to->abort_rank, &nobody, who))
        atomic_store(&to->abort, atomic_load(&from->abort));
}

static inline void *job_mirror(void *user)
{
    TestJob *j = user;
    for (; !atomic_load(&j->done); usleep(1000))
        for (int from = 0; from < STAGES; from++)
            for (int to = 0; to < STAGES; to++)
                if (j->placement->host[from] != j->placement->host[to])
                    job_tell(j->memory[from], j->memory[to], from);
    return NULL;
}

static inline void job_part(Part *p, const rt_program *program, int stage)
{
    p->program = *program;
    p->program.stage = stage;
    rt__stage_init(&p->stage, &p->program, 0);
}

static inline bool job_apart(const TestJob *j)
{
    return j->placement->host[STAGES - 1] > 0;
}

// All memory, with nobody in it yet.
static inline TestJob *job_new(const Placement *placement, const rt_program *program)
{
    TestJob *j = calloc(1, sizeof *j);
    j->placement = placement;
    j->bytes = rt__segment_bytes(program);
    for (int i = 0; i < STAGES; i++) {
        job_part(&j->part[i], program, i);
        bool own = i == 0 || placement->host[i] != placement->host[i - 1];
        int fd = own ? rt__segment_new(program) : dup(j->part[i - 1].fd);
        j->part[i].fd = fd;
        j->memory[i] = mmap(NULL, j->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        j->memory[i]->job = 4711;
        j->memory[i]->n_hosts = (uint32_t)placement->host[STAGES - 1] + 1;
        for (int k = 0; k < STAGES; k++)
            segment_statuses(j->memory[i])[k].host = placement->host[k];
    }
    return j;
}

// Everyone's address has come to the host of this stage.
static inline bool job_knows_all(const TestJob *j, int stage)
{
    const SegmentAddress *addresses = segment_addresses(j->memory[stage]);
    for (int k = 0; k < STAGES && job_apart(j); k++)
        if (!atomic_load(&addresses[k].bytes))
            return false;
    return true;
}

static inline void job_launcher(TestJob *j)
{
    if (job_apart(j))
        pthread_create(&j->launcher, NULL, job_mirror, j);
    for (int i = 0; i < STAGES; i++)
        while (!job_knows_all(j, i))
            usleep(1000);
}

static inline TestJob *job_open(const Placement *placement, const rt_program *program)
{
    TestJob *j = job_new(placement, program);
    for (int i = 0; i < STAGES; i++)
        if (rt__transport_open(&j->part[i].stage, j->part[i].fd))
            abort();
    job_launcher(j);
    return j;
}

static inline void *job_leave(void *part)
{
    rt__transport_close(&((Part *)part)->stage);
    return NULL;
}

// All at once, as processes do: some wait for what others say at their end.
static inline void job_close(TestJob *j)
{
    for (int i = 0; i < STAGES; i++)
        pthread_create(&j->part[i].thread, NULL, job_leave, &j->part[i]);
    for (int i = 0; i < STAGES; i++)
        pthread_join(j->part[i].thread, NULL);
    atomic_store(&j->done, true);
    if (j->launcher)
        pthread_join(j->launcher, NULL);
    for (int i = 0; i < STAGES; i++) {
        munmap(j->memory[i], j->bytes);
        close(j->part[i].fd);
    }
    free(j);
}

#endif
