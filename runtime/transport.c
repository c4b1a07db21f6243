// The segment seen from one stage. Counters only grow, and each has one writer, so a plain store
// publishes a message; the sleepers beside it tell whether somebody must be woken. Both sides
// use sequentially consistent order there: either the writer sees the sleeper or the sleeper sees the
// new value before it sleeps.
#include "runtime/transport.h"

#include "runtime/wait.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// Layout
// -----------------------------------------------------------------------------------------

static uint64_t edge_bytes(const rt_edge *e)
{
    return segment_edge_bytes(e->n_consumers, e->slots, e->bytes);
}

uint64_t rt__segment_bytes(const rt_program *program)
{
    uint64_t bytes = segment_edges_begin(program->n_stages);
    for (int i = 0; i < program->n_edges; i++)
        bytes += edge_bytes(&program->edges[i]);
    return bytes;
}

int rt__segment_new(const rt_program *program)
{
    uint64_t bytes = rt__segment_bytes(program);
    SegmentHeader header = {.magic = SEGMENT_MAGIC,
                            .abi = SEGMENT_ABI,
                            .n_stages = (uint32_t)program->n_stages,
                            .n_edges = (uint32_t)program->n_edges,
                            .bytes = bytes};
    int fd = memfd_create("stagecc-job", MFD_CLOEXEC);
    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)bytes) ||
        write(fd, &header, sizeof header) != (ssize_t)sizeof header) {
        close(fd);
        return -1;
    }
    return fd;
}

static void find_edges(rt_stage *s)
{
    const rt_program *p = s->program;
    uint8_t *at = (uint8_t *)s->segment + segment_edges_begin(p->n_stages);
    for (int i = 0; i < p->n_edges; i++) {
        const rt_edge *e = &p->edges[i];
        rt__edge *to = &s->edges[i];
        to->published = (SegmentCounter *)at;
        to->released = to->published + 1;
        to->slots = at + segment_edge_slots(e->n_consumers);
        to->slot_bytes = segment_slot_bytes(e->bytes);
        for (int c = 0; c < e->n_consumers; c++)
            if (e->consumers[c] == p->stage)
                to->mine = &to->released[c];
        at += edge_bytes(e);
    }
}

// The header is the launcher's word for word, or the programs were not made for this job.
static int check_header(rt_stage *s, uint64_t bytes)
{
    const SegmentHeader *h = s->segment;
    const rt_program *p = s->program;
    if (h->magic != SEGMENT_MAGIC || h->abi != SEGMENT_ABI)
        return rt_fail(s, RT_E_INPUT,
                       "the launcher's job memory is of another version of stagecc: build the "
                       "programs again");
    if (h->n_stages != (uint32_t)p->n_stages || h->n_edges != (uint32_t)p->n_edges ||
        h->bytes != bytes)
        return rt_fail(s, RT_E_INPUT,
                       "this program and plan.json disagree about the job's memory: build the "
                       "programs again");
    return 0;
}

static uint64_t hash_text(const char *text)
{
    uint64_t h = 0xcbf29ce484222325u; // FNV-1a
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * 0x100000001b3u;
    return h | 1; // never 0
}

// The first program writes its plan's hash, all others compare.
static int check_plan(rt_stage *s)
{
    uint64_t mine = hash_text(s->program->plan_hash), first = 0;
    if (atomic_compare_exchange_strong(&s->segment->plan_hash, &first, mine) || first == mine)
        return 0;
    return rt_fail(s, RT_E_INPUT,
                   "stage %d was built from another plan than the stages beside it: build all "
                   "programs again",
                   s->program->stage);
}

static int map(rt_stage *s, int fd)
{
    uint64_t bytes = rt__segment_bytes(s->program);
    struct stat st;
    if (fstat(fd, &st))
        return rt_fail(s, RT_E_ENVIRONMENT, "the job's memory (descriptor %d): %s", fd,
                       strerror(errno));
    if ((uint64_t)st.st_size != bytes)
        return rt_fail(s, RT_E_INPUT,
                       "the job's memory has %" PRId64 " bytes, this program expects %" PRIu64
                       ": build the programs again",
                       (int64_t)st.st_size, bytes);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return rt_fail(s, RT_E_MEMORY, "cannot map the job's memory of %" PRIu64 " bytes: %s",
                       bytes, strerror(errno));
    s->segment = memory;
    s->segment_bytes = bytes;
    s->statuses = (SegmentStatus *)(s->segment + 1);
    s->status = &s->statuses[s->program->stage];
    return check_header(s, bytes);
}

int rt__transport_open(rt_stage *s, int fd)
{
    const rt_program *p = s->program;
    s->edges = calloc((size_t)p->n_edges + 1, sizeof *s->edges);
    s->peer_fds = calloc((size_t)p->n_stages, sizeof *s->peer_fds);
    if (!s->edges || !s->peer_fds)
        return rt_fail(s, RT_E_MEMORY, "no memory for a table of %d edges", p->n_edges);
    for (int i = 0; i < p->n_stages; i++)
        s->peer_fds[i] = -1;
    int error = map(s, fd);
    if (!error)
        error = check_plan(s);
    if (error)
        return error;
    find_edges(s);
    atomic_store(&s->status->opcode, -1);
    atomic_store(&s->status->layer, -1);
    atomic_store(&s->status->pid, (int32_t)getpid());
    return 0;
}

void rt__transport_close(rt_stage *s)
{
    if (s->status)
        atomic_store(&s->status->pid, -1); // its end is no longer news
    for (int i = 0; s->peer_fds && i < s->program->n_stages; i++)
        if (s->peer_fds[i] >= 0)
            close(s->peer_fds[i]);
    if (s->segment)
        munmap(s->segment, s->segment_bytes);
    free(s->edges);
    free(s->peer_fds);
    s->edges = NULL;
    s->peer_fds = NULL;
    s->segment = NULL;
    s->status = s->statuses = NULL;
}

// Messages
// ---------------------------------------------------------------------------------------

static uint64_t sequence(const rt_stage *s, int edge, int mb)
{
    const rt_edge *e = &s->program->edges[edge];
    uint64_t round = e->eval ? s->eval_batch : s->run_step;
    return round * (uint64_t)e->per_step + (uint64_t)mb;
}

void *rt_slot(rt_stage *s, int edge, int mb)
{
    const rt__edge *e = &s->edges[edge];
    uint64_t slot = sequence(s, edge, mb) % (uint64_t)s->program->edges[edge].slots;
    return e->slots + slot * e->slot_bytes;
}

// This stage is the counter's only writer.
static int advance(rt_stage *s, SegmentCounter *c, uint64_t seq, const char *what, int edge)
{
    uint64_t before = atomic_load_explicit(&c->value, memory_order_relaxed);
    if (before != seq)
        return rt_fail(s, RT_E_BUG,
                       "%s of message %" PRIu64 " of edge %s, but message %" PRIu64
                       " comes first",
                       what, seq, s->program->edges[edge].name, before);
    atomic_store_explicit(&s->status->cpu, sched_getcpu() + 1, memory_order_relaxed);
    rt__counter_set(c, seq + 1);
    return 0;
}

int rt__acquire(rt_stage *s, int edge, int mb)
{
    const rt_edge *e = &s->program->edges[edge];
    uint64_t seq = sequence(s, edge, mb), slots = (uint64_t)e->slots;
    for (int c = 0; c < e->n_consumers && seq >= slots; c++) {
        rt__wait w = {&s->edges[edge].released[c], seq - slots + 1, e->consumers[c],
                      "a free slot of", e->name};
        int error = rt__wait_for(s, &w);
        if (error)
            return error;
    }
    return 0;
}

int rt__recv(rt_stage *s, int edge, int mb)
{
    const rt_edge *e = &s->program->edges[edge];
    rt__wait w = {s->edges[edge].published, sequence(s, edge, mb) + 1, e->producer,
                  "a message of", e->name};
    return rt__wait_for(s, &w);
}

int rt__send(rt_stage *s, int edge, int mb)
{
    return advance(s, s->edges[edge].published, sequence(s, edge, mb), "send", edge);
}

int rt__release(rt_stage *s, int edge, int mb)
{
    return advance(s, s->edges[edge].mine, sequence(s, edge, mb), "release", edge);
}

// All stages
// -------------------------------------------------------------------------------------

int rt__barrier(rt_stage *s, const char *what)
{
    uint64_t target = ++s->barriers;
    rt__counter_set(&s->status->barrier, target);
    int error = 0;
    for (int i = 0; i < s->program->n_stages && !error; i++) {
        rt__wait w = {&s->statuses[i].barrier, target, i, what, ""};
        error = rt__wait_for(s, &w);
    }
    return error;
}

void rt__abort(rt_stage *s)
{
    if (!s->segment || !s->error)
        return;
    uint32_t nobody = 0;
    if (atomic_compare_exchange_strong(&s->segment->abort_stage, &nobody,
                                       (uint32_t)s->program->stage + 1))
        atomic_store(&s->segment->abort, (uint32_t)rt_error_status(s->error));
}

int rt__check_abort(rt_stage *s)
{
    if (!atomic_load_explicit(&s->segment->abort, memory_order_acquire))
        return 0;
    unsigned who = atomic_load(&s->segment->abort_stage);
    if (who == s->segment->n_stages + 1)
        return rt_fail(s, RT_E_PEER, "the job was stopped by its launcher");
    return rt_fail(s, RT_E_PEER, "stage %u has failed", who - 1);
}

bool rt__begin_round(rt_stage *s, bool stop_wanted)
{
    _Atomic uint64_t *rounds = &s->segment->rounds;
    if (stop_wanted)
        atomic_fetch_or(rounds, SEGMENT_STOP);
    uint64_t next = s->rounds + 1, seen = atomic_load(rounds);
    while ((seen & ~SEGMENT_STOP) < next) {
        if (seen & SEGMENT_STOP)
            return false;
        if (atomic_compare_exchange_weak(rounds, &seen, next))
            break;
    }
    s->rounds = next;
    return true;
}
