#include "runtime/twins.h"

#include "runtime/device.h"
#include "runtime/segment.h"
#include "runtime/transport.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NAP_NS = 20 * 1000 };

typedef struct Ticket {
    int edge;
    uint64_t seq;
} Ticket;

// One who waits for another is no matter: nobody needs a slot for longer than a copy takes. A slot has one ticket at most.
typedef struct Queue {
    Ticket *tickets; // [rt__twins.n], the oldest first
    int n;
} Queue;

struct rt__twins {
    int n;
    uint64_t bytes;
    Queue sends, releases;
    bool busy; // publishing may wait for a connection, and whoever waits comes here
};

// Opening
// -----------------------------------------------------------------------------------------

static bool is_norm(const rt_stage *s, int edge)
{
    const rt_replica *own = s->own;
    return own && (edge == own->norm_up_in || edge == own->norm_up_out ||
                   edge == own->norm_down_in || edge == own->norm_down_out);
}

static bool is_of_the_host(const rt_stage *s, int edge)
{
    for (int i = 0; i < s->program->n_buckets; i++) {
        const rt_bucket *b = &s->program->buckets[i];
        bool tensors = b->kind == RT_GRADIENTS || b->kind == RT_STATISTICS;
        if (!tensors && edge >= b->first_edge && edge < b->first_edge + s->replicas)
            return true;
    }
    return !s->program->edges[edge].per_step || is_norm(s, edge);
}

static bool has_twins(const rt_stage *s, int edge)
{
    bool touched = s->program->edges[edge].producer == s->rank || s->edges[edge].mine;
    return touched && !is_of_the_host(s, edge);
}

static uint64_t bytes_of(const rt_stage *s, int edge)
{
    uint64_t slots = (uint64_t)s->program->edges[edge].slots;
    return segment_round_up(slots * s->edges[edge].slot_bytes, RT__TWIN_ALIGN);
}

int rt__twins_open(rt_stage *s)
{
    const rt_program *p = s->program;
    if (!s->device->apart || rt__n_ranks(p) < 2)
        return 0;
    struct rt__twins *t = s->twins = calloc(1, sizeof *t);
    for (int i = 0; t && i < p->n_edges; i++)
        if (has_twins(s, i)) {
            s->edges[i].first_twin = t->n;
            t->n += p->edges[i].slots;
            t->bytes += bytes_of(s, i);
        }
    if (t) {
        t->sends.tickets = calloc((size_t)t->n + 1, sizeof *t->sends.tickets);
        t->releases.tickets = calloc((size_t)t->n + 1, sizeof *t->releases.tickets);
    }
    bool good = t && t->sends.tickets && t->releases.tickets;
    return good ? 0 : rt_fail(s, RT_E_MEMORY, "no memory for what it knows of messages");
}

void rt__twins_close(rt_stage *s)
{
    if (s->twins) {
        free(s->twins->sends.tickets);
        free(s->twins->releases.tickets);
    }
    free(s->twins);
    s->twins = NULL;
}

uint64_t rt__twins_bytes(const rt_stage *s)
{
    return s->twins ? s->twins->bytes : 0;
}

int rt__twins_count(const rt_stage *s)
{
    return s->twins ? s->twins->n : 0;
}

void rt__twins_bind(rt_stage *s, uint8_t *memory)
{
    for (int i = 0; s->twins && i < s->program->n_edges; i++)
        if (has_twins(s, i)) {
            s->edges[i].twins = memory;
            memory += bytes_of(s, i);
        }
}

// Copies
// ------------------------------------------------------------------------------------------

static rt__twin twin_of(const rt_stage *s, int edge, uint64_t seq)
{
    const rt__edge *e = &s->edges[edge];
    uint64_t slot = seq % (uint64_t)s->program->edges[edge].slots, at = slot * e->slot_bytes;
    return (rt__twin){.edge = edge,
                      .number = e->first_twin + (int)slot,
                      .at = e->twins + at,
                      .slot = e->slots + at,
                      .bytes = (size_t)s->program->edges[edge].bytes};
}

int rt__twins_pull(rt_stage *s, int edge, uint64_t seq)
{
    rt__twin t = twin_of(s, edge, seq);
    s->device->pull(s, &t);
    return (int)s->error;
}

int rt__twins_acquire(rt_stage *s, int edge, uint64_t seq)
{
    rt__twin t = twin_of(s, edge, seq);
    s->device->reuse(s, &t);
    return (int)s->error;
}

static int add(rt_stage *s, Queue *q, int edge, uint64_t seq)
{
    if (s->error || s->edges[edge].direct)
        return (int)s->error;
    if (q->n == s->twins->n)
        return rt_fail(s, RT_E_BUG, "more messages of edge %s on their way than slots",
                       s->program->edges[edge].name);
    q->tickets[q->n++] = (Ticket){edge, seq};
    rt__twins_progress(s);
    return (int)s->error;
}

int rt__twins_send(rt_stage *s, int edge, uint64_t seq)
{
    rt__twin t = twin_of(s, edge, seq);
    s->device->push(s, &t);
    return add(s, &s->twins->sends, edge, seq);
}

int rt__twins_release(rt_stage *s, int edge, uint64_t seq)
{
    rt__twin t = twin_of(s, edge, seq);
    s->device->left(s, &t);
    return add(s, &s->twins->releases, edge, seq);
}

// Tickets
// -----------------------------------------------------------------------------------------

static void take(rt_stage *s, Queue *q, int tell(rt_stage *s, int edge, uint64_t seq))
{
    while (q->n && !s->error) {
        Ticket oldest = q->tickets[0];
        rt__twin t = twin_of(s, oldest.edge, oldest.seq);
        if (!s->device->moved(s, &t))
            return;
        memmove(q->tickets, q->tickets + 1, (size_t)--q->n * sizeof oldest);
        tell(s, oldest.edge, oldest.seq);
    }
}

void rt__twins_progress(rt_stage *s)
{
    struct rt__twins *t = s->twins;
    if (!t || t->busy)
        return;
    t->busy = true;
    take(s, &t->sends, rt__publish);
    take(s, &t->releases, rt__give_back);
    t->busy = false;
}

bool rt__twins_are_on_their_way(const rt_stage *s)
{
    return s->twins && (s->twins->sends.n || s->twins->releases.n);
}

// What they wait for is the device alone, which has all that it needs.
int rt__twins_finish(rt_stage *s)
{
    static const struct timespec nap = {0, NAP_NS};
    int error = (int)s->error;
    while (!error && rt__twins_are_on_their_way(s)) {
        rt__progress(s);
        error = rt__check_abort(s);
        if (!error && rt__twins_are_on_their_way(s))
            nanosleep(&nap, NULL);
        error = error ? error : (int)s->error;
    }
    return error;
}
