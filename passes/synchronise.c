// Synchronised batch norm. A round is one micro-batch of every replica of a stage, the last one of a step
// perhaps of fewer. With --batch-norm synchronised its micro-batches are normalised as one: the replicas
// add up the sums that a norm, and its gradient, takes over its own micro-batch (runtime/round.c). That
// happens within forward and backward, behind the partition, so streams, memory and units know nothing of
// it. Nodes bear the number of replicas; dgamma and dbeta stay a replica's own, as all gradients do until
// the end of the step, so a gradient whose dx nobody reads asks nobody. Evaluation has its running statistics.
//
// Each replica sends its sums to each other one, on an edge of two slots for every pair: they never wait
// for a slot, since who sends the next but one has heard of the one before.
#include "passes/schedule.h"
#include "passes/values.h"

#include <string.h>

static bool shares(const Values *v, const Node *n)
{
    Node **readers;
    if (n->phase == PHASE_EVAL)
        return false;
    return n->op == OP_BATCH_NORM || n->op == OP_RUNNING_UPDATE ||
           (n->op == OP_BATCH_NORM_GRAD && value_readers(v, n, &readers));
}

void pass_synchronise(Compile *c)
{
    Graph *g = c->graph;
    const Plan *p = c->plan;
    Values v = values_of(c->scratch, g);
    bool wanted = c->stages && p && p->n_stages && schedule_synchronises(c->options);
    for (int i = 0; i < g->nodes.n; i++) {
        Node *n = g->nodes.items[i];
        node_drop_attr(n, A_REPLICAS); // of a printed graph
        if (!wanted || !shares(&v, n))
            continue;
        int replicas = p->stages[node_stage(p, n)].replicas;
        if (replicas > 1)
            graph_set_attr(g, n, attr_int(A_REPLICAS, replicas));
    }
}

// The edges
// ---------------------------------------------------------------------------------------------

typedef struct Round {
    uint32_t passes; // in which a stage exchanges sums
    int64_t sums;    // at once, at most
} Round;

static Round round_of(const Graph *g, const Plan *p, int stage)
{
    Round r = {0};
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        if (node_int(n, A_REPLICAS) == 1 || n->op == OP_RUNNING_UPDATE ||
            node_stage(p, n) != stage)
            continue;
        r.passes |= UINT32_C(1) << phase_opcode(n->phase);
        r.sums = 2 * n->shape.dim[1] > r.sums ? 2 * n->shape.dim[1] : r.sums;
    }
    return r;
}

static PlanEdge round_edge(Compile *c, const PlanStage *s, Round r, int from, int to)
{
    PlanEdge e = {.name = arena_printf(c->perm, "batch norm of stage %d", s->id),
                  .node = -1,
                  .producer = from,
                  .consumers = arena_copy(c->perm, &to, sizeof to),
                  .n_consumers = 1,
                  .bytes = r.sums * (int64_t)sizeof(double),
                  .slots = 2,
                  .first = -1,
                  .stride = 1,
                  .touch = arena_array(c->perm, uint32_t, c->plan->n_ranks)};
    e.touch[from] = e.touch[to] = r.passes;
    return e;
}

void rounds_find(Compile *c, Plan *p, EdgeList *edges)
{
    for (int i = 0; i < p->n_stages; i++) {
        const PlanStage *s = &p->stages[i];
        Round r = round_of(c->graph, p, i);
        int first = s->first_rank, end = first + s->replicas;
        for (int from = first; r.passes && from < end; from++)
            for (int to = first; to < end; to++)
                if (to != from)
                    vec_push(c->perm, edges, round_edge(c, s, r, from, to));
    }
}
