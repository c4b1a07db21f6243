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

typedef struct UpdateNode {
    Op op;
    const char *suffix; // of its name, behind the parameter's
    Node *inputs[4];
    int n_inputs;
    Attr attrs[5];
    int n_attrs;
} UpdateNode;

static Node *update_node(Graph *g, Node *param, const UpdateNode *u)
{
    const char *name = arena_printf(g->arena, "%s.%s", param->name, u->suffix);
    return graph_derive(g, u->op, PHASE_UPDATE, param, name,
                        (NodeArgs){u->inputs, u->n_inputs, u->attrs, u->n_attrs});
}

static Node *state(Graph *g, Node *param, const char *kind)
{
    UpdateNode u = {.op = OP_STATE, .suffix = kind, .n_attrs = 3};
    u.attrs[0] = attr_shape(param->shape);
    u.attrs[1] = attr_string(A_DTYPE, dtype_name(param->dtype));
    u.attrs[2] = attr_string(A_KIND, kind);
    return update_node(g, param, &u);
}

static void sgd(Graph *g, const Options *o, Node *param, Node *gradient)
{
    UpdateNode u = {OP_SGD, "sgd", {param, gradient}, 2, .n_attrs = 0};
    if (o->momentum > 0) {
        u.inputs[u.n_inputs++] = state(g, param, "momentum");
        u.attrs[u.n_attrs++] = attr_real(A_MOMENTUM, o->momentum);
        if (o->nesterov)
            u.attrs[u.n_attrs++] = attr_int(A_NESTEROV, 1);
    }
    if (o->weight_decay > 0)
        u.attrs[u.n_attrs++] = attr_real(A_WEIGHT_DECAY, o->weight_decay);
    update_node(g, param, &u);
}

static void adam(Graph *g, const Options *o, Node *param, Node *gradient)
{
    UpdateNode u = {.op = OP_ADAM, .suffix = "adam", .n_inputs = 4};
    u.inputs[0] = param;
    u.inputs[1] = gradient;
    u.inputs[2] = state(g, param, "exp_avg");
    u.inputs[3] = state(g, param, "exp_avg_sq");
    u.attrs[u.n_attrs++] = attr_real(A_BETA1, o->beta1);
    u.attrs[u.n_attrs++] = attr_real(A_BETA2, o->beta2);
    u.attrs[u.n_attrs++] = attr_real(A_EPS, o->eps);
    if (o->weight_decay > 0)
        u.attrs[u.n_attrs++] = attr_real(A_WEIGHT_DECAY, o->weight_decay);
    if (!strcmp(o->optimizer, "adamw"))
        u.attrs[u.n_attrs++] = attr_int(A_DECOUPLED, 1);
    update_node(g, param, &u);
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
            UpdateNode add = {
                OP_ADD, "grad.sum", {sum, uses.items[i].accumulator}, 2, .n_attrs = 0};
            sum = update_node(g, param, &add);
        }
        if (!strcmp(c->options->optimizer, "sgd"))
            sgd(g, c->options, param, sum);
        else
            adam(g, c->options, param, sum);
    }
}
