// The job's memory of each host has the statuses of all ranks: this worker says to the others what its own ranks do, and
// writes down what theirs do (control/shown.h).
#include "control/worker/agent.h"

#include <string.h>

// Whoever was not ready to hear something gets all of it again: often until all run, and now and then later.
#define AGAIN_STARTING_NS (SECOND_NS / 10)
#define AGAIN_NS SECOND_NS

static bool is_shared(const Agent *g)
{
    return g->run.opened && g->run.of.number == g->core.epoch.number && g->run.n_hosts > 1;
}

static void tell(Agent *g, uint16_t worker, MessageId id, uint32_t rank, const void *data,
                 size_t bytes)
{
    peers_tell(g, worker,
               &(Message){.id = id,
                          .status = {.epoch = g->run.of.number, .rank = rank},
                          .rest = data,
                          .rest_bytes = bytes});
}

static void tell_all(Agent *g, MessageId id, uint32_t rank, const void *data, size_t bytes)
{
    uint64_t workers = epoch_workers(&g->core.epoch);
    for (int w = 0; w < MOST_WORKERS; w++)
        if (workers >> w & 1 && w != (int)g->core.number)
            tell(g, (uint16_t)w, id, rank, data, bytes);
}

static void show(Agent *g, int rank, int64_t now_ns, bool all)
{
    Shown *s = &g->run.shown[rank];
    SegmentStatus now;
    const SegmentAddress *address = &segment_addresses(g->run.memory.header)[rank];
    bool reached = atomic_load(&address->bytes);
    segment_status_read(&now, &g->run.memory.statuses[rank]);
    if (reached && (all || !s->address))
        tell_all(g, MESSAGE_ADDRESS, (uint32_t)rank, address, sizeof *address);
    s->address |= reached;
    if (!all && !shown_is_news(s, &now, now_ns))
        return;
    tell_all(g, MESSAGE_STATUS, (uint32_t)rank, &now, sizeof now);
    memcpy(&s->status, &now, sizeof now);
    s->ns = now_ns;
}

static void tell_id(void *user, int rank, const ShownId *id)
{
    tell_all(user, MESSAGE_ID, (uint32_t)rank, id, sizeof *id);
}

static void show_ids(Agent *g, bool all)
{
    const Run *r = &g->run;
    if (all)
        memset(r->told, 0, (size_t)shown_ids(r->plan));
    shown_new_ids(&r->memory, r->plan, r->launch.here, r->told, tell_id, g);
}

void relay_work(Agent *g, int64_t now_ns)
{
    if (!is_shared(g))
        return;
    int64_t again = g->core.phase == WORKER_RUNNING ? AGAIN_NS : AGAIN_STARTING_NS;
    bool all = now_ns - g->run.shown_ns > again;
    if (all)
        g->run.shown_ns = now_ns;
    for (int rank = agent_next(g, -1); rank >= 0; rank = agent_next(g, rank))
        show(g, rank, now_ns, all);
    show_ids(g, all);
}

void relay_take(Agent *g, uint16_t from, const Message *m)
{
    uint32_t rank = m->status.rank;
    if (!is_shared(g) || m->status.epoch != g->run.of.number || rank >= g->core.epoch.n_ranks ||
        g->core.epoch.ranks[rank].worker != from)
        return;
    if (m->id == MESSAGE_STATUS && m->rest_bytes == sizeof(SegmentStatus))
        shown_status(&g->run.memory, (int)rank, m->rest);
    if (m->id == MESSAGE_ADDRESS && m->rest_bytes == sizeof(SegmentAddress))
        shown_address(&g->run.memory, (int)rank, m->rest);
    if (m->id == MESSAGE_ID && m->rest_bytes == sizeof(ShownId))
        shown_id(&g->run.memory, g->run.plan, (int)rank, m->rest);
}

void relay_again(Agent *g)
{
    g->run.shown_ns = 0;
}
