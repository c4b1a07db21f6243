// Three streams and two events a twin: a push follows what makes the twin, and a pull what read it last, by the twin's
// event of the stage's work; what reads a twin follows its pull by the event behind the copy, which is also what the host asks for.
#include "runtime/cuda/card/edges.h"

#include "runtime/cuda/card/card.h"
#include "runtime/report.h"
#include "runtime/transport.h"
#include "runtime/twins.h"

#include <stdlib.h>

typedef struct Events {
    cudaEvent_t used;   // behind the work that made the twin, or read it
    cudaEvent_t copied; // behind its copy
    bool left;          // used is recorded: who pulls waits for it
} Events;

struct rt__transfers {
    cudaStream_t in, out;
    Events *twins; // [rt__twins_count]
    int n;
    bool *shared; // [n_edges]: the device knows its slots
};

// Opening
// ---------------------------------------------------------------------------------------

static size_t ring_bytes(const rt_stage *s, int edge)
{
    uint64_t slots = (uint64_t)s->program->edges[edge].slots;
    return segment_round_up(slots * s->edges[edge].slot_bytes, SEGMENT_PAGE);
}

// Those that copies go from or to. Copies of memory that the device does not know are right, too, but the host waits for them.
static void share_slots(rt_stage *s, rt__transfers *t)
{
    cudaError_t status = cudaSuccess;
    for (int i = 0; i < s->program->n_edges && !status; i++)
        if (s->edges[i].twins && !s->edges[i].direct) {
            status =
                cudaHostRegister(s->edges[i].slots, ring_bytes(s, i), cudaHostRegisterDefault);
            t->shared[i] = !status;
        }
    if (!status)
        return;
    (void)cudaGetLastError(); // nobody else shall find it
    rt__report_warning(s,
                       "the job's memory cannot be shared with the device: its messages hold "
                       "up the stage (is memory that may be locked limited? ulimit -l)");
}

static int make_events(rt_stage *s, Events *e)
{
    int error = rt__card_make_event(s, &e->used);
    return error ? error : rt__card_make_event(s, &e->copied);
}

int rt__transfers_open(rt_stage *s, rt__transfers **made)
{
    int n = rt__twins_count(s), error = 0;
    if (!n)
        return 0;
    rt__transfers *t = *made = calloc(1, sizeof *t);
    if (t)
        t->twins = calloc((size_t)n, sizeof *t->twins);
    if (t)
        t->shared = calloc((size_t)s->program->n_edges, sizeof *t->shared);
    if (!t || !t->twins || !t->shared)
        return rt_fail(s, RT_E_MEMORY, "no memory for what it knows of %d messages", n);
    error = rt__card_make_stream(s, &t->in);
    if (!error)
        error = rt__card_make_stream(s, &t->out);
    for (; t->n < n && !error; t->n++)
        error = make_events(s, &t->twins[t->n]);
    return error;
}

int rt__card_connect(rt_stage *s)
{
    rt__transfers *t = rt__card_of(s)->transfers;
    int error = rt__ways_connect(s);
    if (t && !error)
        share_slots(s, t);
    return error ? error : (int)s->error;
}

void rt__transfers_close(rt_stage *s, rt__transfers *made)
{
    if (!made)
        return;
    rt__card_close_stream(made->in);
    rt__card_close_stream(made->out);
    for (int i = 0; i < made->n; i++) {
        if (made->twins[i].used)
            cudaEventDestroy(made->twins[i].used);
        if (made->twins[i].copied)
            cudaEventDestroy(made->twins[i].copied);
    }
    for (int i = 0; made->shared && i < s->program->n_edges; i++)
        if (made->shared[i])
            cudaHostUnregister(s->edges[i].slots);
    free(made->shared);
    free(made->twins);
    free(made);
}

// Copies
// ------------------------------------------------------------------------------------------

void rt__card_record(rt_stage *s, cudaEvent_t event, cudaStream_t stream)
{
    rt__card_check(s, cudaEventRecord(event, stream), "record an event");
}

void rt__card_follow(rt_stage *s, cudaStream_t stream, cudaEvent_t event)
{
    rt__card_check(s, cudaStreamWaitEvent(stream, event, 0), "wait for an event");
}

static void copy(rt_stage *s, void *to, const void *from, size_t n, enum cudaMemcpyKind kind,
                 cudaStream_t stream)
{
    rt__card_check(s, cudaMemcpyAsync(to, from, n, kind, stream), "copy a message");
}

void rt__card_pull(rt_stage *s, const rt__twin *t)
{
    const rt__card *c = rt__card_of(s);
    const rt__transfers *all = c->transfers;
    const Events *e = &all->twins[t->number];
    if (s->edges[t->edge].direct) {
        rt__ways_receive(s, t, e->left ? e->used : NULL, e->copied);
        return;
    }
    if (e->left)
        rt__card_follow(s, all->in, e->used);
    copy(s, t->at, t->slot, t->bytes, cudaMemcpyHostToDevice, all->in);
    rt__card_record(s, e->copied, all->in);
    rt__card_follow(s, c->work, e->copied);
}

void rt__card_left(rt_stage *s, const rt__twin *t)
{
    const rt__card *c = rt__card_of(s);
    Events *e = &c->transfers->twins[t->number];
    rt__card_record(s, e->used, c->work);
    e->left = true;
}

void rt__card_push(rt_stage *s, const rt__twin *t)
{
    const rt__card *c = rt__card_of(s);
    const rt__transfers *all = c->transfers;
    const Events *e = &all->twins[t->number];
    rt__card_record(s, e->used, c->work);
    if (s->edges[t->edge].direct) {
        rt__ways_send(s, t, e->used);
        return;
    }
    rt__card_follow(s, all->out, e->used);
    copy(s, t->slot, t->at, t->bytes, cudaMemcpyDeviceToHost, all->out);
    rt__card_record(s, e->copied, all->out);
}

bool rt__card_moved(rt_stage *s, const rt__twin *t)
{
    return rt__card_reached(s, rt__card_of(s)->transfers->twins[t->number].copied);
}
