#include "passes/tied.h"

const Node *tied_owner(const Node *n)
{
    if (n->op == OP_PARAM)
        return n;
    bool belongs = n->op == OP_ACCUMULATOR || n->phase == PHASE_UPDATE;
    return belongs && n->forward && n->forward->op == OP_PARAM ? n->forward : NULL;
}

bool tied_in(const Plan *p, const Values *v, const Node *n, int stage)
{
    const Node *param = tied_owner(n);
    Node **readers;
    bool used = false;
    for (int i = param ? value_readers(v, param, &readers) : 0; i-- > 0;) {
        if (readers[i]->phase == PHASE_UPDATE)
            continue;
        if (node_stage(p, readers[i]) == stage)
            return true;
        used = true;
    }
    return !used && node_stage(p, n) == stage;
}

static PlanEdge edge_of(Compile *c, const Plan *p, const Node *n)
{
    PlanEdge e = {.name = n->name,
                  .node = -1,
                  .producer = p->stages[node_stage(p, n)].first_rank,
                  .consumers = arena_array(c->perm, int, p->n_ranks),
                  .bytes = n->bytes,
                  .slots = 1,
                  .stride = 1,
                  .per_step = 1,
                  .touch = arena_array(c->perm, uint32_t, p->n_ranks)};
    e.touch[e.producer] = UINT32_C(1) << RT_SHARE_PUT;
    return e;
}

// From the first replica of the stage that has the use to all of the others that use the parameter.
static void share(Compile *c, const Values *v, Plan *p, const Node *n, EdgeList *edges)
{
    PlanEdge e = edge_of(c, p, n);
    for (int r = 0; r < p->n_ranks; r++) {
        int stage = p->ranks[r].stage;
        if (stage == node_stage(p, n) || !tied_in(p, v, n, stage))
            continue;
        e.consumers[e.n_consumers++] = r;
        e.touch[r] = UINT32_C(1) << RT_SHARE_GET;
    }
    if (!e.n_consumers)
        return;
    p->shares[p->n_shares++] = (PlanShare){edges->n, n->id};
    vec_push(c->perm, edges, e);
}

void tied_find(Compile *c, const Values *v, Plan *p, EdgeList *edges)
{
    const NodeList *nodes = &c->graph->nodes;
    p->shares = arena_array(c->perm, PlanShare, nodes->n);
    p->n_shares = 0;
    for (int i = 0; i < nodes->n; i++)
        if (nodes->items[i]->op == OP_ACCUMULATOR && tied_owner(nodes->items[i]))
            share(c, v, p, nodes->items[i], edges);
}
