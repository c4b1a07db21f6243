// Which tensors cross stages. One edge per root tensor that a stage other than its maker reads, with
// all its readers; forward and evaluation tensors go to later stages, gradients to earlier ones.
#include "passes/tied.h"
#include "passes/values.h"

int node_stage(const Plan *p, const Node *n)
{
    return n->op == OP_INPUT ? 0 : plan_stage_of_unit(p, value_unit(n));
}

// Inputs are written by LOAD, everything else by the instruction of its phase.
static uint32_t writing(const Node *n)
{
    return UINT32_C(1) << (n->op == OP_INPUT ? RT_LOAD : phase_opcode(n->phase));
}

static void check_direction(const Node *n, const Node *reader, int from, int to)
{
    bool good = n->phase == PHASE_BACKWARD ? to < from : to > from;
    CHECK(good && !value_persistent(n) && reader->phase != PHASE_UPDATE, "partition",
          "%s of stage %d is read by %s in stage %d", n->name, from, reader->name, to);
}

static void add_value(Compile *c, const Values *v, const Node *n, EdgeList *out)
{
    const Plan *p = c->plan;
    Node **readers;
    int from = node_stage(p, n), count = value_readers(v, n, &readers);
    uint32_t *touch = arena_array(c->scratch, uint32_t, p->n_stages);
    bool crosses = false;
    touch[from] = writing(n);
    for (int i = 0; i < count; i++) {
        int to = node_stage(p, readers[i]);
        touch[to] |= UINT32_C(1) << phase_opcode(readers[i]->phase);
        crosses |= to != from;
        if (to != from)
            check_direction(n, readers[i], from, to);
    }
    PlanEdge whole = {.name = n->name,
                      .node = n->id,
                      .producer = from,
                      .bytes = n->bytes,
                      .slots = 1,
                      .eval = n->phase == PHASE_EVAL,
                      .touch = touch};
    if (crosses)
        edge_deal(c->perm, p, &whole, out);
}

static PlanEdge norm_edge(Compile *c, const char *name, int producer, int parts)
{
    return (PlanEdge){.name = name,
                      .node = -1,
                      .producer = producer,
                      .consumers = arena_array(c->perm, int, c->plan->n_ranks),
                      .bytes = parts * (int64_t)sizeof(double),
                      .slots = 1,
                      .stride = 1,
                      .per_step = 1,
                      .touch = arena_array(c->perm, uint32_t, c->plan->n_ranks)};
}

static void add_consumer(PlanEdge *e, int rank, rt_opcode opcode)
{
    e->consumers[e->n_consumers++] = rank;
    e->touch[rank] = e->touch[e->producer] = UINT32_C(1) << opcode;
}

// The vector of norm parts travels from stage to stage up to the last, which knows the norm then. All
// replicas of a stage have the same gradients, so the first one of each takes part.
static void add_norm_up(Compile *c, int stage, EdgeList *out)
{
    const Plan *p = c->plan;
    const char *name = arena_printf(c->perm, "norm up %d-%d", stage, stage + 1);
    PlanEdge e = norm_edge(c, name, p->stages[stage].first_rank, p->norm_parts);
    add_consumer(&e, p->stages[stage + 1].first_rank, RT_NORM_GATHER);
    vec_push(c->perm, out, e);
}

// Everyone else learns the clip factor from there.
static void add_norm_down(Compile *c, EdgeList *out)
{
    const Plan *p = c->plan;
    int from = p->stages[p->n_stages - 1].first_rank;
    PlanEdge e = norm_edge(c, "clip factor", from, 1);
    for (int rank = 0; rank < p->n_ranks; rank++)
        if (rank != from)
            add_consumer(&e, rank, RT_NORM_APPLY);
    if (e.n_consumers)
        vec_push(c->perm, out, e);
}

static int count_gradients(const Graph *g)
{
    int count = 0;
    for (int i = 0; i < g->nodes.n; i++)
        count += g->nodes.items[i]->op == OP_SGD || g->nodes.items[i]->op == OP_ADAM;
    return count;
}

void edges_find(Compile *c, Plan *p)
{
    Values v = values_of(c->scratch, c->graph);
    EdgeList edges = {0};
    for (int i = 0; i < c->graph->nodes.n; i++) {
        const Node *n = c->graph->nodes.items[i];
        if (value_stored(n) && !value_internal(&v, n) && !tied_owner(n))
            add_value(c, &v, n, &edges);
    }
    p->norm_parts = p->options.clip_norm > 0 ? count_gradients(c->graph) : 0;
    for (int s = 0; p->norm_parts && s < p->n_stages - 1; s++)
        add_norm_up(c, s, &edges);
    if (p->norm_parts)
        add_norm_down(c, &edges);
    buckets_find(c, p, &edges);
    tied_find(c, &v, p, &edges);
    rounds_find(c, p, &edges);
    if (edges.n >= RT_NO_EDGE) {
        error_at((Loc){c->graph->file, 0, 0},
                 "%d tensors cross stages, %d can: use fewer stages", edges.n, RT_NO_EDGE - 1);
        c->no_plan = true;
        edges.n = 0;
    }
    p->edges = edges.items;
    p->n_edges = edges.n;
}
