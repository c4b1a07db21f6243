// A communicator of two ranks for each edge and consumer: messages of different edges never wait for each other, nor for
// one whom another consumer waits for. The devices wait for each other there; hosts do when communicators are made alone, all in
// the order of edges, so that no two wait for each other. A first byte is sent while one is made, so later messages wait for nobody
// (comm.h).
#include "runtime/cuda/card/nccl.h"

#ifdef STAGECC_NCCL

#include "runtime/cuda/card/card.h"
#include "runtime/cuda/card/comm.h"
#include "runtime/transport.h"
#include "runtime/wait.h"

#include <stdlib.h>
#include <string.h>

_Static_assert((int)RT__COMM_ID <= (int)sizeof((SegmentId *)NULL)->data, "it has its place");

enum { PRODUCER, CONSUMER, BOTH }; // ranks of a communicator

typedef struct Way { // from an edge's producer to one of its consumers; this rank is either
    int edge, consumer;
    rt__comm comm;
    cudaEvent_t *sent; // [slots], of the producer: behind the last send of each twin
    bool tried;        // it is there, and brings messages
} Way;

struct rt__ways {
    int n;
    Way of[]; // those of an edge follow each other, edges ascend
};

// Opening
// -----------------------------------------------------------------------------------------

static bool is_asked_for(void)
{
    const char *wish = getenv("STAGECC_NCCL");
    return wish && !strcmp(wish, "1");
}

static bool is_wanted(const rt_stage *s)
{
    return is_asked_for() && rt__card_of(s)->transfers && rt__comm_is_there();
}

void rt__ways_prepare(void)
{
    static const struct {
        const char *name, *value;
    } settings[] = {
        {"CUDA_DEVICE_MAX_CONNECTIONS", "32"}, // of 8, some have several streams
        {"CUDA_MODULE_LOADING", "EAGER"},      // else a kernel's first launch waits for all
    };
    for (size_t i = 0; i < sizeof settings / sizeof *settings && is_asked_for(); i++)
        setenv(settings[i].name, settings[i].value, 0);
}

int rt__ways_open(rt_stage *s)
{
    struct cudaDeviceProp properties;
    uint64_t number = 0;
    if (!is_wanted(s))
        return 0;
    int error = rt__comm_load(s);
    if (!error)
        error = rt__card_check(s, cudaGetDeviceProperties(&properties, rt__card_of(s)->number),
                               "know its device");
    if (error)
        return error;
    for (size_t i = 0; i < sizeof properties.uuid.bytes; i++)
        number = (number ^ (uint8_t)properties.uuid.bytes[i]) * 0x100000001b3u; // FNV
    atomic_store(&s->status->card, number | 1);
    return 0;
}

// All ranks that touch the edge say the same.
static bool is_direct(const rt_stage *s, int edge)
{
    const rt_edge *e = &s->program->edges[edge];
    const SegmentStatus *from = &s->statuses[e->producer];
    bool direct = s->edges[edge].twins;
    for (int c = 0; c < e->n_consumers && direct; c++) {
        const SegmentStatus *to = &s->statuses[e->consumers[c]];
        uint64_t card = atomic_load(&to->card), other = atomic_load(&from->card);
        direct = card && other && card != other;
    }
    return direct;
}

// Who is at the other end; -1: this rank is at neither.
static int peer_of(const rt_stage *s, const rt_edge *e, int consumer)
{
    if (e->producer == s->rank)
        return e->consumers[consumer];
    return e->consumers[consumer] == s->rank ? e->producer : -1;
}

static void find_ways(rt_stage *s, rt__ways *w)
{
    for (int i = 0; i < s->program->n_edges; i++) {
        const rt_edge *e = &s->program->edges[i];
        s->edges[i].direct = is_direct(s, i);
        for (int c = 0; s->edges[i].direct && c < e->n_consumers; c++)
            if (peer_of(s, e, c) >= 0)
                w->of[w->n++] = (Way){.edge = i,
                                      .consumer = c,
                                      .comm = {.name = e->name, .peer = peer_of(s, e, c)}};
    }
}

bool rt__ways_progress(rt_stage *s)
{
    const rt__card *c = rt__card_of(s);
    rt__ways *all = c ? c->ways : NULL;
    for (int i = 0; all && i < all->n && !s->error; i++)
        if (all->of[i].tried)
            rt__comm_look(s, &all->of[i].comm);
    return all;
}

// Messages
// -----------------------------------------------------------------------------------------

static int slot_of(const rt_stage *s, const rt__twin *t)
{
    return t->number - s->edges[t->edge].first_twin;
}

static void send(rt_stage *s, Way *w, const rt__twin *t, size_t bytes)
{
    if (!rt__comm_send(s, &w->comm, t->at, bytes, CONSUMER))
        rt__card_record(s, w->sent[slot_of(s, t)], w->comm.stream);
}

// The first way of an edge; the others come behind it.
static Way *first_way(const rt_stage *s, int edge)
{
    Way *w = rt__card_of(s)->ways->of;
    while (w->edge != edge)
        w++;
    return w;
}

static int n_ways(const rt_stage *s, int edge)
{
    const rt_edge *e = &s->program->edges[edge];
    return e->producer == s->rank ? e->n_consumers : 1;
}

void rt__ways_send(rt_stage *s, const rt__twin *t, cudaEvent_t used)
{
    Way *w = first_way(s, t->edge);
    for (int i = 0; i < n_ways(s, t->edge) && !s->error; i++) {
        rt__card_follow(s, w[i].comm.stream, used);
        send(s, &w[i], t, t->bytes);
    }
}

void rt__ways_receive(rt_stage *s, const rt__twin *t, cudaEvent_t used, cudaEvent_t copied)
{
    Way *w = first_way(s, t->edge);
    if (used)
        rt__card_follow(s, w->comm.stream, used);
    if (rt__comm_receive(s, &w->comm, t->at, t->bytes, PRODUCER))
        return;
    rt__card_record(s, copied, w->comm.stream);
    rt__card_follow(s, rt__card_of(s)->work, copied);
}

void rt__ways_reuse(rt_stage *s, const rt__twin *t)
{
    const Way *w = first_way(s, t->edge);
    for (int i = 0; i < n_ways(s, t->edge); i++)
        rt__card_follow(s, rt__card_of(s)->work, w[i].sent[slot_of(s, t)]);
}

// Connecting
// ---------------------------------------------------------------------------------------

static SegmentId *id_of(const rt_stage *s, const Way *w)
{
    return &s->edges[w->edge].ids[w->consumer];
}

static bool sends(const rt_stage *s, const Way *w)
{
    return s->program->edges[w->edge].producer == s->rank;
}

static int show_id(rt_stage *s, Way *w)
{
    SegmentId *to = id_of(s, w);
    int error = rt__comm_make_id(s, &w->comm, to->data);
    if (!error)
        atomic_store(&to->there, 1);
    return error;
}

static bool is_there(rt_stage *s, void *id)
{
    (void)s;
    return atomic_load(&((SegmentId *)id)->there);
}

static int make_events(rt_stage *s, Way *w)
{
    int n = s->program->edges[w->edge].slots, error = 0;
    w->sent = calloc((size_t)n, sizeof(cudaEvent_t));
    if (!w->sent)
        return rt_fail(s, RT_E_MEMORY, "no memory for what it knows of messages");
    for (int i = 0; i < n && !error; i++)
        error = rt__card_make_event(s, &w->sent[i]);
    return error;
}

// A byte of a twin that nobody has written yet.
static int try_out(rt_stage *s, Way *w)
{
    const rt__edge *e = &s->edges[w->edge];
    const rt__twin first = {.edge = w->edge, .number = e->first_twin, .at = e->twins};
    if (sends(s, w))
        send(s, w, &first, 1);
    else
        rt__comm_receive(s, &w->comm, first.at, 1, PRODUCER);
    w->tried = !s->error;
    return (int)s->error;
}

static int connect_way(rt_stage *s, Way *w)
{
    int error = sends(s, w) ? make_events(s, w) : 0;
    if (!error)
        error = rt__wait_until(s, "an id of NCCL", is_there, id_of(s, w));
    if (!error)
        error = rt__comm_open(s, &w->comm, id_of(s, w)->data, BOTH,
                              sends(s, w) ? PRODUCER : CONSUMER);
    return error ? error : try_out(s, w);
}

int rt__ways_connect(rt_stage *s)
{
    int most = 0, error = 0;
    for (int i = 0; i < s->program->n_edges; i++)
        most += s->program->edges[i].n_consumers;
    rt__ways *all = calloc(1, sizeof *all + (size_t)most * sizeof *all->of);
    if (!all)
        return rt_fail(s, RT_E_MEMORY, "no memory for what it knows of messages");
    find_ways(s, all);
    if (!all->n) {
        free(all);
        return 0;
    }
    rt__card_of(s)->ways = all;
    for (int i = 0; i < all->n && !error; i++)
        error = sends(s, &all->of[i]) ? show_id(s, &all->of[i]) : 0;
    for (int i = 0; i < all->n && !error; i++)
        error = connect_way(s, &all->of[i]);
    return error;
}

void rt__ways_end(rt_stage *s)
{
    rt__ways *all = rt__card_of(s)->ways;
    for (int i = 0; all && i < all->n && !s->error; i++)
        cudaStreamSynchronize(all->of[i].comm.stream);
    if (!all)
        return;
    rt__comm_begin_group();
    for (int i = 0; i < all->n; i++) {
        rt__comm_abort(&all->of[i].comm);
        all->of[i].tried = false;
    }
    rt__comm_end_group();
}

static void close_way(const rt_stage *s, Way *w)
{
    rt__comm_close(&w->comm);
    for (int i = 0; w->sent && i < s->program->edges[w->edge].slots; i++)
        if (w->sent[i])
            cudaEventDestroy(w->sent[i]);
    free(w->sent);
}

void rt__ways_close(const rt_stage *s, rt__ways *made)
{
    for (int i = 0; made && i < made->n; i++)
        close_way(s, &made->of[i]);
    free(made);
}

#endif
