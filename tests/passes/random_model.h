// Random models with skip connections and tied weights, as they are after the pass `units`: forward,
// eval, backward and update nodes, one unit per forward node. Written by hand here, so that these tests
// stand on the graph alone.
#ifndef STAGECC_TESTS_RANDOM_MODEL_H
#define STAGECC_TESTS_RANDOM_MODEL_H

#include "passes/schedule.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 8, MAX_LAYERS = 64 };

typedef struct Model {
    Arena arena, scratch;
    Graph *g;
    Options options;
    Plan plan;
    Compile c;
    int replicas[MAX_LAYERS];
    Node *value[MAX_LAYERS + 2], *grad[MAX_LAYERS + 2]; // 0: the input; by layer
    Node *twin[MAX_LAYERS + 2];
    int skip[MAX_LAYERS + 2]; // add: the other operand
    Node *target, *target_twin;
    int n;
} Model;

static uint64_t random_state = 1;
static int random_frozen = 0; // so many first layers get no gradient

static inline int random_below(int n) // xorshift64*
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    uint64_t x = random_state * UINT64_C(0x2545f4914f6cdd1d);
    return (int)((x >> 33) % (uint32_t)n);
}

static inline Node *leaf(Model *m, Op op, Phase phase, const char *name, Shape shape, int unit)
{
    Attr attrs[4] = {attr_shape(shape), attr_string(A_DTYPE, "f32")};
    int n = 2;
    if (op == OP_INPUT)
        attrs[n++] = attr_string(A_ROLE, *name == 't' ? "target" : "sample");
    if (op == OP_PARAM)
        attrs[n++] = attr_string(A_INIT, "normal");
    if (op == OP_CONSTANT)
        attrs[n++] = attr_real(A_VALUE, 0.25);
    Node *node =
        graph_add(m->g, op, NULL, NO_LOC, name, (NodeArgs){.attrs = attrs, .n_attrs = n});
    node->phase = phase;
    node->unit = unit;
    return node;
}

static inline Node *derive(Model *m, Op op, Phase phase, Node *forward, Node *a, Node *b,
                           Node *c)
{
    Node *inputs[3] = {a, b, c};
    int n_inputs = c ? 3 : b ? 2 : 1;
    Node *n = graph_derive(m->g, op, phase, forward, NULL,
                           (NodeArgs){.inputs = inputs, .n_inputs = n_inputs});
    n->unit = forward->unit;
    return n;
}

static inline void forward_layer(Model *m, int i, int tie_percent)
{
    Shape square = {2, {WIDTH, WIDTH}};
    Layer *layer = graph_layer(m->g, NULL, "layer", NO_LOC, NULL);
    int kind = random_below(3), unit = i - 1;
    Node *x = m->value[i - 1], *other = NULL;
    if (kind == 1)
        other = m->value[m->skip[i] = random_below(i)];
    for (int k = 1; kind == 2 && k < i && !other; k++)
        if (m->value[k]->op == OP_LINEAR && random_below(100) < tie_percent)
            other = m->value[k]->inputs[1];
    if (kind == 2 && !other)
        other = leaf(m, OP_PARAM, PHASE_FORWARD, "w", square, unit);
    static const Op ops[3] = {OP_RELU, OP_ADD, OP_LINEAR};
    Node *inputs[2] = {x, other};
    m->value[i] = graph_add(m->g, ops[kind], layer, NO_LOC, NULL,
                            (NodeArgs){.inputs = inputs, .n_inputs = kind ? 2 : 1});
    m->value[i]->unit = unit;
}

static inline void eval_layers(Model *m, Shape sample)
{
    m->twin[0] = leaf(m, OP_INPUT, PHASE_EVAL, "x_eval", sample, 0);
    for (int i = 1; i <= m->n; i++) {
        Node *f = m->value[i], *b = f->op == OP_ADD      ? m->twin[m->skip[i]]
                                    : f->op == OP_LINEAR ? f->inputs[1]
                                                         : NULL;
        m->twin[i] = derive(m, f->op, PHASE_EVAL, f, m->twin[i - 1], b, NULL);
    }
    m->target_twin = leaf(m, OP_INPUT, PHASE_EVAL, "t_eval", sample, 0);
    derive(m, OP_MSE, PHASE_EVAL, m->g->loss, m->twin[m->n], m->target_twin, NULL);
}

static inline void contribute(Model *m, int to, Node *user, Node *gradient)
{
    Node *sum = m->grad[to];
    m->grad[to] = sum ? derive(m, OP_ADD, PHASE_BACKWARD, user, sum, gradient, NULL) : gradient;
}

static inline void backward_layers(Model *m, Node **accumulator)
{
    Node *loss = m->g->loss,
         *seed = leaf(m, OP_CONSTANT, PHASE_BACKWARD, "seed", (Shape){0}, m->n);
    m->grad[m->n] =
        derive(m, OP_MSE_GRAD, PHASE_BACKWARD, loss, m->value[m->n], m->target, seed);
    for (int i = m->n; i > random_frozen; i--) {
        Node *f = m->value[i], *d = m->grad[i];
        if (f->op == OP_ADD) {
            contribute(m, m->skip[i], f, d);
            contribute(m, i - 1, f, d);
        } else if (f->op == OP_RELU) {
            contribute(m, i - 1, f, derive(m, OP_RELU_GRAD, PHASE_BACKWARD, f, d, f, NULL));
        } else {
            Node *w = f->inputs[1];
            Node *dw =
                derive(m, OP_LINEAR_GRAD_WEIGHT, PHASE_BACKWARD, f, m->value[i - 1], d, NULL);
            accumulator[i] = leaf(m, OP_ACCUMULATOR, PHASE_BACKWARD, "acc", w->shape, f->unit);
            derive(m, OP_ACCUMULATE, PHASE_BACKWARD, f, accumulator[i], dw, NULL);
            contribute(m, i - 1, f,
                       derive(m, OP_LINEAR_GRAD_INPUT, PHASE_BACKWARD, f, d, w, NULL));
        }
    }
}

static inline void update_layers(Model *m, Node **accumulator)
{
    for (int i = 1; i <= m->n; i++) {
        Node *f = m->value[i], *sum = accumulator[i];
        bool first = true;
        for (int k = 1; k < i && sum; k++)
            first &= m->value[k]->op != OP_LINEAR || m->value[k]->inputs[1] != f->inputs[1];
        for (int k = i + 1; k <= m->n && sum && first; k++)
            if (m->value[k]->op == OP_LINEAR && m->value[k]->inputs[1] == f->inputs[1])
                sum = derive(m, OP_ADD, PHASE_UPDATE, f, sum, accumulator[k], NULL);
        if (sum && first)
            derive(m, OP_SGD, PHASE_UPDATE, f, f->inputs[1], sum, NULL);
    }
}

// A model of n layers and a loss: n + 1 units.
static inline Model *random_model(int n, int tie_percent)
{
    Model *m = calloc(1, sizeof *m);
    Shape sample = {2, {4, WIDTH}};
    Node *accumulator[MAX_LAYERS + 2] = {0};
    m->n = n;
    m->g = graph_new(&m->arena, "random", 4);
    m->value[0] = leaf(m, OP_INPUT, PHASE_FORWARD, "x", sample, 0);
    m->target = leaf(m, OP_INPUT, PHASE_FORWARD, "t", sample, 0);
    for (int i = 1; i <= n; i++)
        forward_layer(m, i, tie_percent);
    Node *inputs[2] = {m->value[n], m->target};
    Layer *layer = graph_layer(m->g, "loss", "mse", NO_LOC, NULL);
    m->g->loss = graph_add(m->g, OP_MSE, layer, NO_LOC, NULL,
                           (NodeArgs){.inputs = inputs, .n_inputs = 2});
    m->g->loss->unit = n;
    eval_layers(m, sample);
    backward_layers(m, accumulator);
    update_layers(m, accumulator);
    m->options = options_default();
    m->c = (Compile){.perm = &m->arena,
                     .scratch = &m->scratch,
                     .graph = m->g,
                     .plan = &m->plan,
                     .options = &m->options};
    return m;
}

// Every stage of the plans to come gets from 1 to `most` replicas, and no more than there are micro-batches.
static inline void random_replicas(Model *m, int most, int micro_batches)
{
    for (int s = 0; s < MAX_LAYERS; s++)
        m->replicas[s] = 1 + random_below(most < micro_batches ? most : micro_batches);
    m->c.replicas = m->replicas;
    m->c.bucket_bytes = 200 + random_below(600); // a gradient has 256
}

// The passes from layout on; costs are drawn at random instead of estimated.
static inline void plan_random_model(Model *m, int stages, int micro_batches,
                                     const char *schedule)
{
    m->options.micro_batches = m->options.batch = micro_batches;
    m->options.schedule = schedule;
    m->plan = (Plan){.model = "random", .cost_source = "estimate", .options = m->options};
    m->c.stages = stages;
    pass_layout(&m->c);
    pass_split(&m->c);
    pass_cost(&m->c);
    for (int u = 0; u < m->plan.n_units; u++) {
        m->plan.units[u].forward_s = 1e-6 * random_below(20);
        m->plan.units[u].backward_s = 1e-6 * random_below(40);
        m->plan.units[u].weight_s = 0;
    }
    pass_partition(&m->c);
    pass_recompute(&m->c);
    graph_renumber(m->g);
    pass_schedule(&m->c);
    pass_memory(&m->c);
}

static inline void free_model(Model *m)
{
    arena_release(&m->arena);
    arena_release(&m->scratch);
    free(m);
}

#endif
