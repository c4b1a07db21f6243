#include "control/shown.h"

#include <string.h>

enum { IDLE_MS = 200 };

bool shown_is_news(const Shown *before, const SegmentStatus *now, int64_t ns)
{
    const SegmentStatus *old = &before->status;
    if (atomic_load(&now->barrier.value) != atomic_load(&old->barrier.value) ||
        atomic_load(&now->pid) != atomic_load(&old->pid) ||
        atomic_load(&now->suspect_step) != atomic_load(&old->suspect_step))
        return true;
    bool moved = atomic_load(&now->progress) != atomic_load(&old->progress) ||
                 atomic_load(&now->step) != atomic_load(&old->step);
    return moved && ns - before->ns > IDLE_MS * INT64_C(1000000);
}

void shown_status(JobMemory *m, int rank, const void *data)
{
    SegmentStatus copy, *to = &m->statuses[rank];
    memcpy(&copy, data, sizeof copy);
    copy.host = to->host; // the epoch says that
    if (segment_status_write(to, &copy))
        segment_counter_wake(&to->barrier);
}

void shown_address(JobMemory *m, int rank, const void *data)
{
    SegmentAddress *to = &segment_addresses(m->header)[rank];
    uint32_t bytes;
    memcpy(&bytes, data, sizeof bytes);
    memcpy(to->data, (const char *)data + offsetof(SegmentAddress, data), sizeof to->data);
    atomic_store(&to->bytes, bytes <= sizeof to->data ? bytes : 0);
}

// Ids of edges
// ----------------------------------------------------------------------------------------

static SegmentCounter *next_edge(SegmentCounter *at, const PlanEdge *e)
{
    return (SegmentCounter *)(void *)((char *)at +
                                      segment_edge_bytes(e->n_consumers, e->slots, e->bytes));
}

static SegmentCounter *edges_of(const JobMemory *m, const Plan *plan)
{
    return (SegmentCounter *)(void *)((char *)m->header + segment_edges_begin(plan->n_ranks));
}

void shown_id(JobMemory *m, const Plan *plan, int rank, const void *data)
{
    ShownId id;
    memcpy(&id, data, sizeof id);
    if (id.edge >= (uint32_t)plan->n_edges || plan->edges[id.edge].producer != rank ||
        id.consumer >= (uint32_t)plan->edges[id.edge].n_consumers)
        return;
    SegmentCounter *at = edges_of(m, plan);
    for (uint32_t i = 0; i < id.edge; i++)
        at = next_edge(at, &plan->edges[i]);
    SegmentId *to = &segment_edge_ids(at, plan->edges[id.edge].n_consumers)[id.consumer];
    if (atomic_load(&to->there))
        return;
    memcpy(to->data, id.data, sizeof to->data);
    atomic_store(&to->there, 1);
}

int shown_ids(const Plan *plan)
{
    int n = 0;
    for (int i = 0; i < plan->n_edges; i++)
        n += plan->edges[i].n_consumers;
    return n;
}

void shown_new_ids(const JobMemory *m, const Plan *plan, const bool *here, bool *told,
                   void tell(void *user, int rank, const ShownId *id), void *user)
{
    SegmentCounter *at = edges_of(m, plan);
    for (int i = 0; i < plan->n_edges; at = next_edge(at, &plan->edges[i++])) {
        const PlanEdge *e = &plan->edges[i];
        const SegmentId *ids = segment_edge_ids(at, e->n_consumers);
        for (int c = 0; c < e->n_consumers; c++, told++) {
            if (*told || !here[e->producer] || here[e->consumers[c]] ||
                !atomic_load(&ids[c].there))
                continue;
            ShownId id = {.edge = (uint32_t)i, .consumer = (uint32_t)c};
            memcpy(id.data, ids[c].data, sizeof id.data);
            tell(user, e->producer, &id);
            *told = true;
        }
    }
}
