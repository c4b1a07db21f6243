// States between workers: copies of what programs of others own come here, and others get what they lack.
#include "control/worker/agent.h"

#include <stdlib.h>
#include <string.h>

// Offers
// ---------------------------------------------------------------------------------------

void copies_offer(Agent *g, const WorkerAction *a)
{
    peers_tell(g, g->core.epoch.ranks[a->rank].copier,
               &(Message){.id = MESSAGE_OFFER,
                          .offer = {.epoch = g->core.epoch.number,
                                    .step = a->step,
                                    .made = a->made,
                                    .rank = a->rank}});
}

static void stop(Incoming *in)
{
    if (in->copy) {
        in->copy->coming = false;
        in->copy->state.parts = 0;
    }
    transfer_release(&in->transfer);
    *in = (Incoming){0};
}

void copies_stop(Agent *g, bool all)
{
    for (int rank = 0; rank < MOST_RANKS; rank++)
        if (all || g->incoming[rank].epoch != g->core.epoch.number)
            stop(&g->incoming[rank]);
}

// Is all of it held already?
static bool has(const Agent *g, const Held *state)
{
    const Worker *w = &g->core;
    return !(state->parts & ~held_parts(w->held, w->n_held, state->step, state->made));
}

void copies_offered(Agent *g, uint16_t from, const Offer *o)
{
    if (!worker_takes_copy(&g->core, o->epoch, o->rank))
        return;
    const EpochRank *r = &g->core.epoch.ranks[o->rank];
    Incoming *in = &g->incoming[o->rank];
    const Held *now = &in->transfer.state;
    Held state = {o->step, o->made, r->owns};
    bool comes = in->epoch == o->epoch && now->step == o->step && now->made == o->made;
    if (r->worker != from || comes || has(g, &state))
        return;
    stop(in);
    in->epoch = o->epoch;
    transfer_begin(&in->transfer, from, &state, agent_now());
}

static void make_room(Agent *g, Incoming *in)
{
    Transfer *t = &in->transfer;
    in->copy = copy_new(&g->states, &t->state, t->tensors.generation_bytes);
    Wanted *wanted = in->copy ? calloc((size_t)t->tensors.n + 1, sizeof *wanted) : NULL;
    if (!wanted) {
        agent_say(g, "no memory for a copy of %llu bytes from worker %d",
                  (unsigned long long)t->tensors.generation_bytes, t->worker);
        stop(in);
        return;
    }
    for (int i = 0; i < t->tensors.n; i++) {
        const StateTensor *x = &t->tensors.items[i];
        wanted[i] = (Wanted){x->name, in->copy->data + x->at, x->bytes};
    }
    transfer_want(t, wanted, t->tensors.n);
}

static void arrive(Agent *g, uint32_t rank)
{
    Incoming *in = &g->incoming[rank];
    Transfer *t = &in->transfer;
    WorkerEvent e = {.kind = WORKER_ARRIVED,
                     .epoch = in->epoch,
                     .rank = rank,
                     .step = t->state.step,
                     .made = t->state.made};
    copy_settle(in->copy, &t->tensors, &t->beginning);
    in->copy = NULL;
    stop(in);
    agent_take(g, &e);
}

void copies_work(Agent *g, int64_t now_ns)
{
    streams_seen(g->streams);
    for (Parcel *p; (p = streams_back(g->streams, now_ns));)
        parcel_free(p);
    for (uint32_t rank = 0; rank < MOST_RANKS; rank++) {
        Incoming *in = &g->incoming[rank];
        if (in->transfer.phase == TRANSFER_NONE)
            continue;
        if (!worker_takes_copy(&g->core, in->epoch, rank)) {
            stop(in);
            continue;
        }
        transfer_run(&in->transfer, &g->line, now_ns);
        if (in->transfer.phase == TRANSFER_LISTED)
            make_room(g, in);
        if (in->transfer.phase == TRANSFER_MOVED)
            arrive(g, rank);
        else if (in->transfer.phase == TRANSFER_FAILED)
            stop(in); // it will be offered again
    }
}

// Room
// ---------------------------------------------------------------------------------------

// Two for each: one is held while the next one comes. Of what its own programs keep where they do not wait for copies.
int copies_to_come(const Agent *g, const Run *r, uint64_t bytes[MOST_COPIES])
{
    const Epoch *e = &r->of;
    int n = 0;
    for (uint32_t rank = 0; rank < e->n_ranks; rank++) {
        const EpochRank *k = &e->ranks[rank];
        int64_t state = r->plan->stages[r->plan->ranks[rank].stage].state_bytes;
        bool comes = k->copier == g->core.number && !epoch_runs(e, k->copier, k->owns);
        bool stays = k->worker == g->core.number && k->copier != NOBODY && e->copy_every > 1;
        for (int i = 0; i < GENERATIONS && (comes || stays) && state; i++)
            bytes[n++] = (uint64_t)state;
    }
    return n;
}

bool copies_make_room(Agent *g, const Run *r)
{
    uint64_t bytes[MOST_COPIES];
    return !r->opened || copies_ready(&g->states, bytes, copies_to_come(g, r, bytes));
}

// Streams
// ---------------------------------------------------------------------------------------

bool copies_take(Agent *g, uint16_t from, const Ticket *ticket)
{
    int64_t now_ns = agent_now();
    for (int rank = 0; rank < MOST_RANKS; rank++) {
        Program *p = &g->run.programs[rank];
        for (int i = 0; i < p->n_transfers; i++)
            if (transfer_take(&p->transfers[i], &g->line, from, ticket, now_ns))
                return true;
        if (transfer_take(&g->incoming[rank].transfer, &g->line, from, ticket, now_ns))
            return true;
    }
    return false;
}

static void ask(void *agent, uint16_t worker, const Fetch *fetch)
{
    peers_tell(agent, worker, &(Message){.id = MESSAGE_FETCH, .fetch = *fetch});
}

static Stream *open_stream(void *agent, uint16_t worker, const Ticket *ticket)
{
    Agent *g = agent;
    char host[NET_ENDPOINT];
    if (worker >= MOST_WORKERS || !agent_host_of(g->peers[worker].endpoint, host))
        return NULL;
    return stream_open(g->streams, host, (uint16_t)ticket->port, ticket->ticket);
}

void copies_init(Agent *g)
{
    g->line = (TransferLine){.ask = ask, .open = open_stream, .user = g};
}

void copies_again(Agent *g, uint16_t worker)
{
    for (int rank = 0; rank < MOST_RANKS; rank++) {
        Program *p = &g->run.programs[rank];
        for (int i = 0; i < p->n_transfers; i++)
            if (p->transfers[i].worker == worker)
                transfer_again(&p->transfers[i]);
        if (g->incoming[rank].transfer.worker == worker)
            transfer_again(&g->incoming[rank].transfer);
    }
}

void copies_fetched(Agent *g, const CurveKey key, const Fetch *fetch)
{
    Message m = {.id = MESSAGE_TICKET,
                 .ticket = transfer_answer(&g->states, g->streams, fetch, agent_now())};
    size_t bytes = message_put(g->frame, sizeof g->frame, &m);
    if (bytes)
        net_send(g->listen, key, g->frame, bytes);
}
