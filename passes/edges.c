// Which tensors cross stages. One edge per root tensor that a stage other than its maker reads, with
// all its readers; forward and evaluation tensors go to later stages, gradients to earlier ones.
#include "passes/schedule.h"
#include "passes/values.h"

typedef VEC(PlanEdge) EdgeList;

static int stage_of(const Plan *p, const Node *n)
{
    return n->op == OP_INPUT ? 0 : plan_stage_of_unit(p, value_unit(n));
}

// Inputs are written by LOAD, everything else by the instruction of its phase.
static int writing(const Node *n)
{
    return 1 << (n->op == OP_INPUT ? RT_LOAD : phase_opcode(n->phase));
}

static void check_direction(const Node *n, const Node *reader, int from, int to)
{
    bool good = n->phase == PHASE_BACKWARD ? to < from : to > from;
    CHECK(good && !value_persistent(n) && reader->phase != PHASE_UPDATE, "partition",
          "%s of stage %d is read by %s in stage %d", n->name, from, reader->name, to);
}

static PlanEdge make_edge(Compile *c, const Plan *p, const Node *n, const uint16_t *touch)
{
    PlanEdge e = {.name = n->name,
                  .node = n->id,
                  .producer = stage_of(p, n),
                  .bytes = n->bytes,
                  .slots = 1,
                  .per_step = (int)p->options.micro_batches,
                  .eval = n->phase == PHASE_EVAL};
    e.consumers = arena_array(c->perm, int, p->n_stages);
    e.touch = arena_copy(c->perm, touch, sizeof *touch * (size_t)p->n_stages);
    for (int s = 0; s < p->n_stages; s++)
        if (touch[s] && s != e.producer)
            e.consumers[e.n_consumers++] = s;
    return e;
}

static void add_value(Compile *c, const Values *v, const Node *n, EdgeList *out)
{
    const Plan *p = c->plan;
    Node **readers;
    int from = stage_of(p, n), count = value_readers(v, n, &readers);
    uint16_t *touch = arena_array(c->scratch, uint16_t, p->n_stages);
    bool crosses = false;
    touch[from] = (uint16_t)writing(n);
    for (int i = 0; i < count; i++) {
        int to = stage_of(p, readers[i]);
        touch[to] = (uint16_t)(touch[to] | 1 << phase_opcode(readers[i]->phase));
        crosses |= to != from;
        if (to != from)
            check_direction(n, readers[i], from, to);
    }
    if (crosses)
        vec_push(c->perm, out, make_edge(c, p, n, touch));
}

// The vector of norm parts travels from stage to stage up to the last, which knows the norm then; the
// clip factor travels back down.
static void add_norm(Compile *c, int from, int to, EdgeList *out)
{
    const Plan *p = c->plan;
    bool up = from < to;
    int opcode = up ? RT_NORM_GATHER : RT_NORM_APPLY;
    PlanEdge e = {.name = arena_printf(c->perm, "norm %s %d-%d", up ? "up" : "down", from, to),
                  .node = -1,
                  .producer = from,
                  .n_consumers = 1,
                  .bytes = (up ? p->norm_parts : 1) * (int64_t)sizeof(double),
                  .slots = 1,
                  .per_step = 1};
    e.consumers = arena_copy(c->perm, &to, sizeof to);
    e.touch = arena_array(c->perm, uint16_t, p->n_stages);
    e.touch[from] = e.touch[to] = (uint16_t)(1 << opcode);
    if (up && to == p->n_stages - 1)
        e.touch[to] |= 1 << RT_NORM_APPLY;
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
        if (value_stored(n) && !value_internal(&v, n))
            add_value(c, &v, n, &edges);
    }
    p->norm_parts = p->options.clip_norm > 0 ? count_gradients(c->graph) : 0;
    for (int s = 0; p->norm_parts && s < p->n_stages - 1; s++) {
        add_norm(c, s, s + 1, &edges);
        add_norm(c, s + 1, s, &edges);
    }
    if (edges.n >= RT_NO_EDGE) {
        error_at((Loc){c->graph->file, 0, 0},
                 "%d tensors cross stages, %d can: use fewer stages", edges.n, RT_NO_EDGE - 1);
        c->no_plan = true;
        edges.n = 0;
    }
    p->edges = edges.items;
    p->n_edges = edges.n;
}
