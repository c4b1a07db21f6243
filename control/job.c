#include "control/job.h"

#include "plan/walk.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

uint64_t job_memory_bytes(const Plan *plan)
{
    uint64_t bytes = segment_edges_begin(plan->n_ranks);
    for (int i = 0; i < plan->n_edges; i++) {
        const PlanEdge *e = &plan->edges[i];
        bytes += segment_edge_bytes(e->n_consumers, e->slots, e->bytes);
    }
    return bytes;
}

int job_memory_init(JobMemory *m, const Plan *plan)
{
    uint64_t bytes = job_memory_bytes(plan);
    *m = (JobMemory){.fd = memfd_create("stagecc-job", MFD_CLOEXEC), .bytes = bytes};
    if (m->fd < 0)
        return -1;
    void *memory = ftruncate(m->fd, (off_t)bytes)
                       ? MAP_FAILED
                       : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
    if (memory == MAP_FAILED) {
        close(m->fd);
        return -1;
    }
    m->header = memory;
    m->header->magic = SEGMENT_MAGIC;
    m->header->abi = SEGMENT_ABI;
    m->header->n_ranks = (uint32_t)plan->n_ranks;
    m->header->n_edges = (uint32_t)plan->n_edges;
    m->header->bytes = bytes;
    atomic_store(&m->header->last, UINT64_MAX);
    atomic_store(&m->header->may_begin.value, UINT64_MAX);
    atomic_store(&m->header->may_update.value, UINT64_MAX);
    char hash[24];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)plan_hash(plan));
    atomic_store(&m->header->plan_hash, segment_plan_number(hash));
    m->statuses = segment_statuses(m->header);
    return 0;
}

void job_memory_release(JobMemory *m)
{
    munmap(m->header, m->bytes);
    close(m->fd);
}

void job_supervise(JobMemory *m, uint64_t begin, uint64_t update)
{
    m->header->supervised = 1;
    atomic_store(&m->header->may_begin.value, begin);
    atomic_store(&m->header->may_update.value, update);
}

void job_gate(JobMemory *m, bool closed)
{
    atomic_store(&m->header->gate, closed);
}

void job_end_behind(JobMemory *m, uint64_t step)
{
    atomic_store(&m->header->last, step);
}

void job_allow(JobMemory *m, uint64_t begin, uint64_t update)
{
    segment_counter_raise(&m->header->may_begin, begin);
    segment_counter_raise(&m->header->may_update, update);
}

void job_stop(JobMemory *m)
{
    atomic_fetch_or(&m->header->rounds, SEGMENT_STOP);
}

void job_abort(JobMemory *m, int rank, int status)
{
    uint32_t nobody = 0;
    if (atomic_compare_exchange_strong(&m->header->abort_rank, &nobody, (uint32_t)rank + 1))
        atomic_store(&m->header->abort, (uint32_t)status);
}

const char *job_doing(const SegmentStatus *s, const Plan *plan, char *text, int size)
{
    int opcode = atomic_load(&s->opcode), edge = atomic_load(&s->edge);
    bool message = opcode >= 0 && opcode <= RT_RELEASE && edge >= 0 && edge < plan->n_edges;
    if (!atomic_load(&s->pid))
        snprintf(text, (size_t)size, "before it had started");
    else if (atomic_load(&s->waiting) == SEGMENT_WAITS_FOR_MASTER)
        snprintf(text, (size_t)size, "waiting for the master, %" PRId64 " steps done",
                 atomic_load(&s->step));
    else if (opcode < 0 || opcode >= RT_N_OPCODES)
        snprintf(text, (size_t)size, "between steps, %" PRId64 " done", atomic_load(&s->step));
    else
        snprintf(text, (size_t)size, "in %s%s%s of micro-batch %d, step %" PRId64,
                 opcode_name[opcode], message ? " " : "", message ? plan->edges[edge].name : "",
                 atomic_load(&s->mb), atomic_load(&s->step) + 1);
    return text;
}
