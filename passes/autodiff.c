// Reverse-mode differentiation on the graph (Griewank, Walther: "Evaluating Derivatives", 2008). One
// walk from the last forward node to the first: when a node is reached, all its users have been, so its
// gradient is complete, and its rule gives each input a contribution.
//
// A tensor's contributions are added one by one in the order in which they appear: from the last user
// to the first, and within one user in the order of its rule. Each `add` derives from the user whose
// contribution it adds, and so runs in that user's unit. A sum that travels between stages is then
// always a prefix of this one order, and no cut changes a bit.
//
// A parameter's contributions are not added here: every use has an `accumulator` (derived from the
// parameter) and an `accumulate` (derived from the user) right behind its gradient, so that the
// gradient's memory is free again at once.
#include "passes/gradients.h"

#include <string.h>

static GradientRule *const rules[N_OPS] = {
#define OP(ID, name, low, high, outputs, shape, gradient, ...) [OP_##ID] = gradient_##gradient,
#include "ir/ops.def"
};

bool gradient_wanted(const Gradient *d, int i)
{
    return d->active[d->node->inputs[i]->id];
}

Node *gradient_node(Gradient *d, const GradientNode *what)
{
    const char *name = arena_printf(d->g->arena, "d_%s", d->node->inputs[what->of]->name);
    int n = 0;
    while (n < GRADIENT_INPUTS && what->inputs[n])
        n++;
    return graph_derive(d->g, what->op, PHASE_BACKWARD, d->node, name,
                        (NodeArgs){what->inputs, n, what->attrs, what->n_attrs});
}

Node *gradient_output(Gradient *d, int i)
{
    Node **known = &d->results[d->node->id][i];
    if (!*known) {
        Attr index = attr_int(A_INDEX, i);
        const char *name = arena_printf(d->g->arena, "%s.%d", d->node->name, i);
        *known = graph_add(d->g, OP_RESULT, d->node->layer, d->node->loc, name,
                           (NodeArgs){&d->node, 1, &index, 1});
    }
    return *known;
}

static void accumulate(Gradient *d, Node *param, Node *contribution)
{
    Graph *g = d->g;
    Attr type[] = {attr_shape(param->shape), attr_string(A_DTYPE, dtype_name(param->dtype))};
    Node *inputs[] = {graph_derive(g, OP_ACCUMULATOR, PHASE_BACKWARD, param,
                                   arena_printf(g->arena, "%s.grad", param->name),
                                   (NodeArgs){.attrs = type, .n_attrs = 2}),
                      contribution};
    graph_derive(g, OP_ACCUMULATE, PHASE_BACKWARD, d->node,
                 arena_printf(g->arena, "%s.accumulate", param->name),
                 (NodeArgs){.inputs = inputs, .n_inputs = 2});
}

void gradient_give(Gradient *d, int i, Node *contribution)
{
    Node *to = d->node->inputs[i], **sum = &d->sum[to->id];
    if (to->op == OP_PARAM) {
        accumulate(d, to, contribution);
        return;
    }
    Node *inputs[] = {*sum, contribution};
    const char *name = arena_printf(d->g->arena, "d_%s.sum", to->name);
    *sum = *sum ? graph_derive(d->g, OP_ADD, PHASE_BACKWARD, d->node, name,
                               (NodeArgs){.inputs = inputs, .n_inputs = 2})
                : contribution;
}

static bool is_float(DType t)
{
    return t == F32 || t == F64 || t == BF16;
}

static void find_active(Gradient *d)
{
    for (int i = 0; i < d->g->nodes.n; i++) {
        const Node *n = d->g->nodes.items[i];
        bool active = n->op == OP_PARAM;
        for (int k = 0; k < n->n_inputs; k++)
            active |= d->active[n->inputs[k]->id];
        d->active[i] =
            active && n->phase == PHASE_FORWARD && is_float(n->dtype) && !node_is(n, 'X');
        if (n->op == OP_RESULT && n->phase == PHASE_FORWARD)
            d->results[n->inputs[0]->id][node_int(n, A_INDEX)] = d->g->nodes.items[i];
    }
}

// The loss of a step is the mean over its samples, of which every micro-batch has as many but the last ones of
// an epoch.
static Node *seed(const Compile *c)
{
    Graph *g = c->graph;
    Attr attrs[] = {attr_shape((Shape){0}), attr_string(A_DTYPE, dtype_name(g->loss->dtype)),
                    attr_real(A_VALUE, 1.0 / (double)c->options->micro_batches)};
    return graph_derive(g, OP_SHARE, PHASE_BACKWARD, NULL, "seed",
                        (NodeArgs){.attrs = attrs, .n_attrs = 3});
}

static void walk(Gradient *d, int n_forward)
{
    for (int i = n_forward; i-- > 0;) {
        Node *n = d->g->nodes.items[i];
        d->node = n;
        d->dy = d->sum[n->id];
        if (d->dy)
            rules[n->op](d);
    }
}

// Outputs that only backward nodes read were appended last; they belong behind their nodes.
static void settle_results(Graph *g, Arena *scratch, int n_old)
{
    int n = g->nodes.n, at = 0;
    Node **old = arena_copy(scratch, g->nodes.items, sizeof(Node *) * (size_t)n);
    int *next = arena_array(scratch, int, n), *first = arena_array(scratch, int, n);
    graph_renumber(g);
    for (int i = n; i-- > n_old;) { // chains, by node
        bool late = old[i]->op == OP_RESULT && old[i]->phase == PHASE_FORWARD;
        if (!late)
            continue;
        next[i] = first[old[i]->inputs[0]->id];
        first[old[i]->inputs[0]->id] = i;
    }
    for (int i = 0; i < n; i++) {
        bool late = i >= n_old && old[i]->op == OP_RESULT && old[i]->phase == PHASE_FORWARD;
        if (late)
            continue;
        g->nodes.items[at++] = old[i];
        for (int k = first[i]; k; k = next[k])
            g->nodes.items[at++] = old[k];
    }
    graph_renumber(g);
}

static bool has_backward(const Graph *g)
{
    for (int i = 0; i < g->nodes.n; i++)
        if (g->nodes.items[i]->phase == PHASE_BACKWARD)
            return true;
    return false;
}

void pass_autodiff(Compile *c)
{
    Graph *g = c->graph;
    if (!g->loss || has_backward(g))
        return;
    graph_renumber(g);
    int n = g->nodes.n;
    Gradient d = {.g = g,
                  .active = arena_array(c->scratch, bool, n),
                  .sum = arena_array(c->scratch, Node *, n),
                  .results = arena_alloc(c->scratch, sizeof *d.results * (size_t)n)};
    find_active(&d);
    if (!d.active[g->loss->id])
        return;
    d.sum[g->loss->id] = seed(c);
    walk(&d, n);
    settle_results(g, c->scratch, n);
}
