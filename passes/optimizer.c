// The update: per parameter, in the model's order, the sum of its accumulators in order of use, its
// optimizer state and one `sgd` or `adam` (the update rules of PyTorch). Learning rate, step count and
// clip factor are numbers of the runtime. A graph that has update nodes is left alone.
#include "passes/pass.h"

#include <stdlib.h>
#include <string.h>

typedef struct Use { // a use of a parameter
    Node *param, *accumulator;
    int user; // position of the forward node
} Use;

typedef struct Uses {
    Use *items;
    int n;
} Uses;

// By parameter, then by user. Uses of one user are appended in the order of its inputs; the position
// of the accumulator keeps that order.
static int by_use(const void *a, const void *b)
{
    const Use *x = a, *y = b;
    if (x->param != y->param)
        return x->param->id - y->param->id;
    return x->user != y->user ? x->user - y->user : x->accumulator->id - y->accumulator->id;
}

static Uses find_uses(Arena *a, const Graph *g)
{
    Uses uses = {arena_array(a, Use, g->nodes.n), 0};
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        if (n->op == OP_ACCUMULATE && n->inputs[0]->forward)
            uses.items[uses.n++] =
                (Use){n->inputs[0]->forward, n->inputs[0], n->forward ? n->forward->id : -1};
    }
    qsort(uses.items, (size_t)uses.n, sizeof *uses.items, by_use);
    return uses;
}

static Node *update_node(Graph *g, Op op, Node *param, const char *suffix, Node *const *inputs,
                         int n_inputs, const Attr *attrs, int n_attrs)
{
    const char *name = arena_printf(g->arena, "%s.%s", param->name, suffix);
    return graph_derive(g, op, PHASE_UPDATE, param, name, inputs, n_inputs, attrs, n_attrs);
}

static Node *state(Graph *g, Node *param, const char *kind)
{
    Attr attrs[] = {attr_shape(param->shape), attr_string(A_DTYPE, dtype_name(param->dtype)),
                    attr_string(A_KIND, kind)};
    return update_node(g, OP_STATE, param, kind, NULL, 0, attrs, 3);
}

static void sgd(Graph *g, const Options *o, Node *param, Node *gradient)
{
    bool momentum = o->momentum > 0;
    Node *inputs[] = {param, gradient, momentum ? state(g, param, "momentum") : NULL};
    Attr attrs[3];
    int n = 0;
    if (momentum)
        attrs[n++] = attr_real(A_MOMENTUM, o->momentum);
    if (momentum && o->nesterov)
        attrs[n++] = attr_int(A_NESTEROV, 1);
    if (o->weight_decay > 0)
        attrs[n++] = attr_real(A_WEIGHT_DECAY, o->weight_decay);
    update_node(g, OP_SGD, param, "sgd", inputs, momentum ? 3 : 2, attrs, n);
}

static void adam(Graph *g, const Options *o, Node *param, Node *gradient)
{
    Node *inputs[] = {param, gradient, state(g, param, "exp_avg"),
                      state(g, param, "exp_avg_sq")};
    Attr attrs[5] = {attr_real(A_BETA1, o->beta1), attr_real(A_BETA2, o->beta2),
                     attr_real(A_EPS, o->eps)};
    int n = 3;
    if (o->weight_decay > 0)
        attrs[n++] = attr_real(A_WEIGHT_DECAY, o->weight_decay);
    if (!strcmp(o->optimizer, "adamw"))
        attrs[n++] = attr_int(A_DECOUPLED, 1);
    update_node(g, OP_ADAM, param, "adam", inputs, 4, attrs, n);
}

static bool has_update(const Graph *g)
{
    for (int i = 0; i < g->nodes.n; i++)
        if (g->nodes.items[i]->phase == PHASE_UPDATE)
            return true;
    return false;
}

void pass_optimizer(Compile *c)
{
    Graph *g = c->graph;
    if (has_update(g))
        return;
    graph_renumber(g);
    Uses uses = find_uses(c->scratch, g);
    for (int i = 0; i < uses.n;) {
        Node *param = uses.items[i].param, *sum = uses.items[i].accumulator;
        for (i++; i < uses.n && uses.items[i].param == param; i++) {
            Node *inputs[] = {sum, uses.items[i].accumulator};
            sum = update_node(g, OP_ADD, param, "grad.sum", inputs, 2, NULL, 0);
        }
        if (!strcmp(c->options->optimizer, "sgd"))
            sgd(g, c->options, param, sum);
        else
            adam(g, c->options, param, sum);
    }
}
