// Micro-batch mb is that of replica mb % m in a stage of m replicas. So where stages of 2 and 3 replicas meet,
// the same two ranks share every sixth micro-batch, and a tensor that crosses them is dealt out to six
// edges: as many as the least common multiple of its stages' replicas says.
#include "plan/schedule.h"

#include "base/diag.h"

int common_multiple(int a, int b)
{
    CHECK(a > 0 && b > 0, "deal", "stages of %d and %d replicas", a, b);
    int divisor = a;
    for (int rest = b; rest;) {
        int next = divisor % rest;
        divisor = rest;
        rest = next;
    }
    return a / divisor * b;
}

// Where it is no less than the micro-batches, every edge has one message and nothing else matters.
static int stride_of(const Plan *p, const PlanEdge *whole)
{
    int stride = 1;
    for (int s = 0; s < p->n_stages && stride < p->options.micro_batches; s++)
        if (whole->touch[s])
            stride = common_multiple(stride, p->stages[s].replicas);
    return stride;
}

static int rank_of(const Plan *p, int stage, int mb)
{
    return p->stages[stage].first_rank + mb % p->stages[stage].replicas;
}

// Ranks are numbered stage by stage, so consumers stay in ascending order.
static PlanEdge share_of(Arena *a, const Plan *p, const PlanEdge *whole, int first, int stride)
{
    PlanEdge e = *whole;
    e.first = first;
    e.stride = stride;
    e.per_step = schedule_share((int)p->options.micro_batches, stride, first);
    e.producer = rank_of(p, whole->producer, first);
    e.n_consumers = 0;
    e.consumers = arena_array(a, int, p->n_stages);
    e.touch = arena_array(a, uint32_t, p->n_ranks);
    for (int s = 0; s < p->n_stages; s++) {
        int rank = rank_of(p, s, first);
        if (!whole->touch[s])
            continue;
        e.touch[rank] = whole->touch[s];
        if (rank != e.producer)
            e.consumers[e.n_consumers++] = rank;
    }
    return e;
}

void edge_deal(Arena *a, const Plan *p, const PlanEdge *whole, EdgeList *out)
{
    int stride = stride_of(p, whole);
    for (int first = 0; first < stride && first < p->options.micro_batches; first++)
        vec_push(a, out, share_of(a, p, whole, first, stride));
}

// What edge_deal made the edges from.
static PlanEdge whole_of(Arena *scratch, const Plan *p, const PlanEdge *e)
{
    PlanEdge whole = *e;
    whole.producer = p->ranks[e->producer].stage;
    whole.touch = arena_array(scratch, uint32_t, p->n_stages);
    for (int r = 0; r < p->n_ranks; r++)
        whole.touch[p->ranks[r].stage] |= e->touch[r];
    return whole;
}

void edges_deal_again(Arena *a, Arena *scratch, Plan *p)
{
    EdgeList edges = {0};
    for (int i = 0; i < p->n_edges; i++) {
        const PlanEdge *e = &p->edges[i];
        PlanEdge whole = whole_of(scratch, p, e);
        if (e->node < 0)
            vec_push(a, &edges, *e);
        else if (e->first == 0)
            edge_deal(a, p, &whole, &edges);
    }
    p->edges = edges.items;
    p->n_edges = edges.n;
}
