#include "runtime/transport.h"

#include "runtime/device.h"
#include "runtime/image.h"
#include "runtime/segment.h"
#include "runtime/twins.h"
#include "runtime/wait.h"

#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

// The first that reaches a peer serves it.
static const rt_transport *const rows[] = {
    &rt__shm,
#ifdef STAGECC_UCX
    &rt__ucx,
#endif
    NULL,
};

// Opening
// ---------------------------------------------------------------------------------------

// Counters and slots of an edge lie here, as segment_edge_bytes says.
static void bind_edge(rt_stage *s, int edge, uint8_t *memory)
{
    const rt_edge *e = &s->program->edges[edge];
    rt__edge *to = &s->edges[edge];
    to->published = (SegmentCounter *)memory;
    to->released = to->published + 1;
    to->ids = segment_edge_ids(to->published, e->n_consumers);
    to->slots = memory + segment_edge_slots(e->n_consumers);
    to->slot_bytes = segment_slot_bytes(e->bytes);
    to->mine = NULL;
    for (int c = 0; c < e->n_consumers; c++)
        if (e->consumers[c] == s->rank)
            to->mine = &to->released[c];
}

static void find_edges(rt_stage *s)
{
    const rt_program *p = s->program;
    uint8_t *at = (uint8_t *)s->segment + segment_edges_begin(rt__n_ranks(p));
    for (int i = 0; i < p->n_edges; i++) {
        const rt_edge *e = &p->edges[i];
        bind_edge(s, i, at);
        at += segment_edge_bytes(e->n_consumers, e->slots, e->bytes);
    }
}

static int choose(rt_stage *s, int peer)
{
    char name[RT__RANK_NAME];
    for (int i = 0; rows[i]; i++)
        if (rows[i]->reaches(s, peer)) {
            s->peers[peer].by = rows[i];
            return 0;
        }
    return rt_fail(s, RT_E_ENVIRONMENT,
                   "%s runs on another host, and this stagecc was built without UCX: "
                   "apt-get install libucx-dev, then build stagecc and the programs again",
                   rt__rank_name(s->program, peer, name));
}

static int open_rows(rt_stage *s)
{
    int error = 0;
    for (int i = 0; rows[i] && !error; i++)
        error = rows[i]->open ? rows[i]->open(s) : 0;
    return error;
}

int rt__transport_open(rt_stage *s, int fd)
{
    const rt_program *p = s->program;
    s->edges = calloc((size_t)p->n_edges + 1, sizeof *s->edges);
    s->peers = calloc((size_t)rt__n_ranks(p), sizeof *s->peers);
    if (!s->edges || !s->peers)
        return rt_fail(s, RT_E_MEMORY, "no memory for a table of %d edges", p->n_edges);
    for (int i = 0; i < rt__n_ranks(p); i++)
        s->peers[i].pid_fd = -1;
    int error = rt__segment_open(s, fd);
    if (error)
        return error;
    find_edges(s);
    for (int i = 0; i < rt__n_ranks(p) && !error; i++)
        error = choose(s, i);
    return error ? error : open_rows(s);
}

void rt__transport_close(rt_stage *s)
{
    for (int i = 0; rows[i]; i++)
        if (rows[i]->close)
            rows[i]->close(s);
    rt__segment_close(s);
    for (int i = 0; s->peers && i < rt__n_ranks(s->program); i++)
        if (s->peers[i].pid_fd >= 0)
            close(s->peers[i].pid_fd);
    free(s->edges);
    free(s->peers);
    s->edges = NULL;
    s->peers = NULL;
}

// Messages
// ---------------------------------------------------------------------------------------

static uint64_t sequence(const rt_stage *s, int edge, int mb)
{
    const rt_edge *e = &s->program->edges[edge];
    const SegmentCounter *next =
        e->producer == s->rank ? s->edges[edge].published : s->edges[edge].mine;
    if (!e->per_step)
        return atomic_load_explicit(&next->value, memory_order_relaxed);
    uint64_t round = e->eval ? s->eval_batch : s->run_step;
    return round * (uint64_t)e->per_step + (uint64_t)(mb / e->stride) - s->edges[edge].left_out;
}

void rt__leave_out(rt_stage *s, int64_t micro_batches)
{
    const rt_program *p = s->program;
    for (int i = 0; i < p->n_edges && micro_batches < p->micro_batches; i++) {
        const rt_edge *e = &p->edges[i];
        int64_t sent = (micro_batches - e->first + e->stride - 1) /
                       e->stride; // first, first + stride, ...
        if (!e->eval && e->first >= 0)
            s->edges[i].left_out += (uint64_t)(e->per_step - (sent > 0 ? sent : 0));
    }
}

void *rt_slot(rt_stage *s, int edge, int mb)
{
    if (s->touched)
        s->touched[edge] = true;
    return rt__message(s, edge + mb % s->program->edges[edge].stride, mb);
}

static uint64_t offset(rt_stage *s, int edge, int mb)
{
    uint64_t slot = sequence(s, edge, mb) % (uint64_t)s->program->edges[edge].slots;
    return slot * s->edges[edge].slot_bytes;
}

void *rt__slot(rt_stage *s, int edge, int mb)
{
    return s->edges[edge].slots + offset(s, edge, mb);
}

void *rt__message(rt_stage *s, int edge, int mb)
{
    const rt__edge *e = &s->edges[edge];
    return (e->twins ? e->twins : e->slots) + offset(s, edge, mb);
}

// Counters only grow, and each has one writer, so a plain store publishes a message; the sleepers
// beside it tell whether somebody must be woken. Both sides use sequentially consistent order there:
// either the writer sees the sleeper or the sleeper sees the new value before it sleeps.
static int advance(rt_stage *s, SegmentCounter *c, uint64_t seq, const char *what, int edge)
{
    uint64_t before = atomic_load_explicit(&c->value, memory_order_relaxed);
    if (before != seq)
        return rt_fail(s, RT_E_BUG,
                       "%s of message %" PRIu64 " of edge %s, but message %" PRIu64
                       " comes first",
                       what, seq, s->program->edges[edge].name, before);
    atomic_store_explicit(&s->status->cpu, sched_getcpu() + 1, memory_order_relaxed);
    atomic_store(&c->value, seq + 1);
    return 0;
}

int rt__acquire(rt_stage *s, int edge, int mb)
{
    const rt_edge *e = &s->program->edges[edge];
    uint64_t seq = sequence(s, edge, mb), slots = (uint64_t)e->slots;
    if (s->edges[edge].direct)
        return rt__twins_acquire(s, edge, seq);
    for (int c = 0; c < e->n_consumers && seq >= slots; c++) {
        int peer = e->consumers[c];
        rt__wait w = {.counter = &s->edges[edge].released[c],
                      .target = seq - slots + 1,
                      .by = s->peers[peer].by,
                      .peer = peer,
                      .what = "a free slot of",
                      .name = e->name};
        int error = rt__wait_for(s, &w);
        if (error)
            return error;
    }
    return 0;
}

int rt__first_consumer(const rt_stage *s, int edge, int host)
{
    const rt_edge *e = &s->program->edges[edge];
    for (int c = 0; c < e->n_consumers; c++)
        if (s->statuses[e->consumers[c]].host == host)
            return e->consumers[c];
    return -1;
}

int rt__first_here(const rt_stage *s, int edge)
{
    return rt__first_consumer(s, edge, s->status->host);
}

// Who makes a message appear on this host: the producer, unless another consumer here is sent it for all.
static int bringer(const rt_stage *s, int edge)
{
    int producer = s->program->edges[edge].producer, first = rt__first_here(s, edge);
    bool remote = s->statuses[producer].host != s->status->host;
    return remote && first != s->rank ? first : producer;
}

int rt__recv(rt_stage *s, int edge, int mb)
{
    const rt_edge *e = &s->program->edges[edge];
    if (s->edges[edge].direct)
        return rt__twins_pull(s, edge, sequence(s, edge, mb));
    int from = bringer(s, edge);
    rt__wait w = {.counter = s->edges[edge].published,
                  .target = sequence(s, edge, mb) + 1,
                  .by = s->peers[from].by,
                  .peer = from,
                  .what = "a message of",
                  .name = e->name};
    int error = rt__wait_for(s, &w);
    return !error && s->edges[edge].twins ? rt__twins_pull(s, edge, w.target - 1) : error;
}

int rt__send(rt_stage *s, int edge, int mb)
{
    uint64_t seq = sequence(s, edge, mb);
    return s->edges[edge].twins ? rt__twins_send(s, edge, seq) : rt__publish(s, edge, seq);
}

int rt__publish(rt_stage *s, int edge, uint64_t seq)
{
    const rt_edge *e = &s->program->edges[edge];
    int error = advance(s, s->edges[edge].published, seq, "send", edge);
    for (int c = 0; c < e->n_consumers && !error; c++)
        error = s->peers[e->consumers[c]].by->send(s, edge, c, seq);
    return error;
}

int rt__release(rt_stage *s, int edge, int mb)
{
    uint64_t seq = sequence(s, edge, mb);
    return s->edges[edge].twins ? rt__twins_release(s, edge, seq) : rt__give_back(s, edge, seq);
}

int rt__give_back(rt_stage *s, int edge, uint64_t seq)
{
    const rt_edge *e = &s->program->edges[edge];
    int error = advance(s, s->edges[edge].mine, seq, "release", edge);
    return error ? error : s->peers[e->producer].by->release(s, edge, seq);
}

bool rt__progress(rt_stage *s)
{
    bool moves = false;
    rt__twins_progress(s);
    rt__image_progress(s);
    if (s->device->progress)
        moves = s->device->progress(s);
    for (int i = 0; rows[i]; i++)
        moves |= rows[i]->progress && rows[i]->progress(s);
    return moves;
}
