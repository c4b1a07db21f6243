// The forward nodes again, as inference needs them: batch norm with its running statistics, no
// dropout, no effects. Inputs have twins of their own, because evaluation reads another data set;
// parameters, buffers and constants are shared. A graph that has eval nodes is left alone.
#include "passes/pass.h"

typedef struct Copier {
    Graph *g;
    Node **twin;    // by id of the forward node
    Node **running; // by id of a batch_norm: its running_update
    bool *needed;   // by id
    Arena *scratch;
} Copier;

static bool has_eval(const Graph *g)
{
    for (int i = 0; i < g->nodes.n; i++)
        if (g->nodes.items[i]->phase == PHASE_EVAL)
            return true;
    return false;
}

static void find_needed(Copier *c)
{
    for (int i = c->g->nodes.n; i-- > 0;) {
        const Node *n = c->g->nodes.items[i];
        if (n->phase != PHASE_FORWARD)
            continue;
        c->needed[i] |= n == c->g->loss || n == c->g->output;
        for (int k = 0; c->needed[i] && k < n->n_inputs; k++)
            c->needed[n->inputs[k]->id] = true;
    }
}

static void find_running(Copier *c)
{
    for (int i = 0; i < c->g->nodes.n; i++) {
        Node *n = c->g->nodes.items[i];
        if (n->op == OP_RUNNING_UPDATE && n->inputs[2]->op == OP_RESULT)
            c->running[n->inputs[2]->inputs[0]->id] = n;
    }
}

static Node *derive(Copier *c, Op op, Node *n, Node *const *inputs, int n_inputs)
{
    const char *name = arena_printf(c->g->arena, "%s.eval", n->name);
    return graph_derive(c->g, op, PHASE_EVAL, n, name,
                        (NodeArgs){inputs, n_inputs, n->attrs, n->n_attrs});
}

static Node *infer_batch_norm(Copier *c, Node *n, const Node *running)
{
    Node *inputs[] = {c->twin[n->inputs[0]->id], n->inputs[1], n->inputs[2], running->inputs[0],
                      running->inputs[1]};
    for (int i = 1; i <= 2; i++)
        inputs[i] = c->twin[inputs[i]->id];
    return derive(c, OP_BATCH_NORM_INFER, n, inputs, 5);
}

static Node *copy(Copier *c, Node *n)
{
    Node **inputs = arena_array(c->scratch, Node *, n->n_inputs);
    for (int i = 0; i < n->n_inputs; i++)
        inputs[i] = c->twin[n->inputs[i]->id];
    return derive(c, n->op, n, inputs, n->n_inputs);
}

static Node *twin_of(Copier *c, Node *n)
{
    const Node *running = c->running[n->op == OP_RESULT ? n->inputs[0]->id : n->id];
    if (n->op == OP_RESULT && running) // mean or variance of a batch norm
        return running->inputs[node_int(n, A_INDEX) - 1];
    if (node_is(n, 'L') && n->op != OP_INPUT && n->op != OP_RESULT)
        return n;
    if (n->op == OP_DROPOUT)
        return c->twin[n->inputs[0]->id];
    Node *twin = running ? infer_batch_norm(c, n, running) : copy(c, n);
    if (n->op == OP_ATTENTION) // with dropout inside
        graph_set_attr(c->g, twin, attr_real(A_RATE, 0));
    return twin;
}

// Dropout is its input, but the runtime finds predictions and loss by the node they derive from.
static void name_result(Copier *c, Node *n)
{
    Node *twin = n ? c->twin[n->id] : NULL;
    if (!twin || twin->forward == n)
        return;
    Attr shape = attr_shape(n->shape);
    const char *name = arena_printf(c->g->arena, "%s.eval", n->name);
    graph_derive(c->g, OP_RESHAPE, PHASE_EVAL, n, name, (NodeArgs){&twin, 1, &shape, 1});
}

void pass_eval(Compile *c)
{
    Graph *g = c->graph;
    if (has_eval(g))
        return;
    graph_renumber(g);
    int n = g->nodes.n;
    Copier copier = {g, arena_array(c->scratch, Node *, n), arena_array(c->scratch, Node *, n),
                     arena_array(c->scratch, bool, n), c->scratch};
    find_needed(&copier);
    find_running(&copier);
    for (int i = 0; i < n; i++)
        if (copier.needed[i] && !node_is(g->nodes.items[i], 'X'))
            copier.twin[i] = twin_of(&copier, g->nodes.items[i]);
    name_result(&copier, g->output);
    if (g->loss != g->output)
        name_result(&copier, g->loss);
}
