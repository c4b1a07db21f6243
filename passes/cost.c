// Seconds of every unit: measured ones of the layers shared out over their nodes, or estimated as
// the larger of computing time and memory time (the roofline model: Williams, Waterman, Patterson,
// "Roofline: an insightful visual performance model", CACM 2009). Only ratios between layers matter
// to the cut.
#include "ir/product.h"
#include "passes/transfer.h"
#include "passes/values.h"
#include "plan/schedule.h"

#include <string.h>

// One core of a Zen 5 server: oneDNN's convolutions reach 80 % of 243 GFLOP/s (AVX-512), half of
// that with AVX2; a loop over memory gets 10 GB/s.
static const DeviceSpeed avx2 = {.flops = 100e9, .bf16_flops = 100e9, .bytes_per_s = 10e9},
                         avx512 = {.flops = 200e9, .bf16_flops = 200e9, .bytes_per_s = 10e9},
                         avx512_bf16 = {
                             .flops = 200e9, .bf16_flops = 400e9, .bytes_per_s = 10e9};

// What a program computes on: a device as its backend says, or so many cores.
static const DeviceSpeed *speed_of(const Compile *c)
{
    const char *isa = c->options->isa;
    if (c->speed)
        return c->speed;
    return !strcmp(isa, "avx2") ? &avx2 : !strcmp(isa, "avx512_bf16") ? &avx512_bf16 : &avx512;
}

static double count_of(const Compile *c)
{
    return c->speed ? 1 : (double)c->options->threads;
}

// FLOPs by the cost column of ir/ops.def.
static double count(const Node *n)
{
    return (double)shape_count(n->shape);
}

static double cost_ZERO(const Node *n)
{
    (void)n;
    return 0;
}

static double cost_COPY(const Node *n)
{
    (void)n;
    return 0;
}

static double cost_ELEMENTWISE(const Node *n)
{
    double most = count(n);
    for (int i = 0; i < n->n_inputs; i++)
        most = count(n->inputs[i]) > most ? count(n->inputs[i]) : most;
    return 4 * most;
}

static double cost_POOL(const Node *n)
{
    double most = count(n) > count(n->inputs[0]) ? count(n) : count(n->inputs[0]);
    const int64_t *kernel = node_attr(n, A_KERNEL) ? node_ints(n, A_KERNEL) : NULL;
    const int64_t *stride = node_attr(n, A_STRIDE) ? node_ints(n, A_STRIDE) : NULL;
    if (!kernel || !stride)
        return most;
    return most * (double)(kernel[0] * kernel[1]) / (double)(stride[0] * stride[1]);
}

// y[N,K,H',W'] of w[K,C/groups,R,S]: a product and a sum per element of y and of one filter. Winograd's
// F(4x4,3x3) multiplies a quarter as often; its transforms make that 0.45 of the time, as measured.
static double convolution(const Node *n, const Node *y, const Node *w)
{
    double direct = 2 * count(y) * count(w) / (double)w->shape.dim[0];
    return node_int(n, A_FAST) ? 0.45 * direct : direct;
}

static double cost_CONV2D(const Node *n)
{
    return convolution(n, n, n->inputs[1]);
}

static double cost_CONV2D_GRAD(const Node *n)
{
    bool of_input = n->op == OP_CONV2D_GRAD_INPUT;
    return convolution(n, n->inputs[!of_input], of_input ? n->inputs[1] : n);
}

static double cost_PRODUCT(const Node *n)
{
    Product p = product_of(n);
    return 2 * (double)p.batch * (double)p.m * (double)p.n * (double)p.k;
}

// The product of every step: g or its gradient, [N,T,4H], and w[4H,H].
static double cost_LSTM(const Node *n)
{
    const Node *g = n->op == OP_LSTM ? n->inputs[0] : n,
               *w = n->inputs[n->op == OP_LSTM ? 1 : 3];
    return 2 * count(g) * (double)w->shape.dim[1];
}

// About 30 operations for a tanh and what is done with it: q[N,Q,H] meets every key of k[N,K,H].
static double cost_ADDITIVE(const Node *n)
{
    const Node *q = n->inputs[n->op != OP_ADDITIVE_SCORE],
               *k = n->inputs[1 + (n->op != OP_ADDITIVE_SCORE)];
    return 30 * count(q) * (double)k->shape.dim[1];
}

// Of each head two products with [T,T] scores, backward five; where it is causal, half of each.
static double cost_ATTENTION(const Node *n)
{
    const Node *q = n->inputs[n->op != OP_ATTENTION];
    double product = 2 * count(q) * (double)q->shape.dim[1];
    return (n->op == OP_ATTENTION ? 2 : 5) * product / (node_int(n, A_CAUSAL) ? 2 : 1);
}

static double (*const flops_of[N_OPS])(const Node *) = {
#define OP(ID, name, low, high, outputs, shape, gradient, cost, ...) [OP_##ID] = cost_##cost,
#include "ir/ops.def"
};

typedef struct Coster {
    Compile *c;
    Values values;
    double *node_s;  // estimate, by id
    double *layer_s; // estimates added up, by layer and kind
    int *timed;      // by id: the layer that its time was measured with; -1: none
    double scale;    // measured seconds by estimated ones, for layers that were not measured
    double *layer_scale; // by layer and kind; negative: not measured
    bool apart;          // BACKWARD_WEIGHT was measured, and is wanted, apart
} Coster;

// What is measured of a layer.
enum { FORWARD, BACKWARD, WEIGHT, UPDATE, N_KINDS, NO_KIND = -1 };

// Backward that was measured as one is shared out over both its parts.
static int kind_of(const Coster *k, Phase phase)
{
    switch (phase) {
    case PHASE_FORWARD: return FORWARD;
    case PHASE_BACKWARD: return BACKWARD;
    case PHASE_BACKWARD_WEIGHT: return k->apart ? WEIGHT : BACKWARD;
    case PHASE_UPDATE: return UPDATE;
    case PHASE_EVAL:
    case N_PHASES: break;
    }
    return NO_KIND;
}

static double memory_bytes(const Coster *k, const Node *n)
{
    double bytes = value_internal(&k->values, n) ? 0 : (double)n->bytes;
    for (int i = 0; i < n->n_inputs; i++) {
        const Node *root = value_root(n->inputs[i]);
        bytes += value_internal(&k->values, root) ? 0 : (double)root->bytes;
    }
    return bytes;
}

double cost_move_s(const Compile *c, int64_t bytes)
{
    return (double)bytes / speed_of(c)->bytes_per_s / count_of(c);
}

// Of products, which this is about.
static double flops_per_s(const Compile *c, const Node *n)
{
    const DeviceSpeed *of = speed_of(c);
    bool tf32 = !strcmp(c->options->dtype, "tf32") && of->tf32_flops > 0;
    if (n->n_inputs && n->inputs[0]->dtype == BF16)
        return of->bf16_flops;
    return tf32 ? of->tf32_flops : of->flops;
}

static double estimate(const Coster *k, const Node *n)
{
    if (node_is(n, 'L') || node_is(n, 'V'))
        return 0;
    const DeviceSpeed *of = speed_of(k->c);
    double compute = flops_of[n->op](n) / flops_per_s(k->c, n);
    double memory = memory_bytes(k, n) / of->bytes_per_s;
    return (compute > memory ? compute : memory) / count_of(k->c);
}

static const LayerTime *time_of(const Compile *c, const Layer *layer)
{
    for (int i = 0; i < c->n_times; i++)
        if (!strcmp(c->times[i].layer, layer->name))
            return &c->times[i];
    return NULL;
}

// Factors that turn estimates into measured times, per layer and kind.
static void scale_layers(Coster *k)
{
    const Graph *g = k->c->graph;
    double measured = 0, estimated = 0;
    for (int i = 0; i < g->layers.n; i++) {
        const LayerTime *t = time_of(k->c, g->layers.items[i]);
        double seconds[N_KINDS] = {0};
        if (t) {
            seconds[FORWARD] = t->forward_s;
            seconds[BACKWARD] = t->backward_s - (k->apart ? t->weight_s : 0);
            seconds[WEIGHT] = t->weight_s;
            seconds[UPDATE] = t->update_s;
        }
        for (int kind = 0; kind < N_KINDS; kind++) {
            double guess = k->layer_s[N_KINDS * i + kind];
            bool known = t && guess > 0 && (kind != UPDATE || seconds[kind] > 0);
            k->layer_scale[N_KINDS * i + kind] = known ? seconds[kind] / guess : -1;
            measured += known && kind != UPDATE ? seconds[kind] : 0;
            estimated += t && kind != UPDATE ? guess : 0;
        }
    }
    k->scale = estimated > 0 && measured > 0 ? measured / estimated : 1;
}

static double seconds_of(const Coster *k, const Node *n)
{
    int layer = k->timed[n->id];
    double scale = layer >= 0 ? k->layer_scale[N_KINDS * layer + kind_of(k, n->phase)] : -1;
    return k->node_s[n->id] * (scale >= 0 ? scale : k->scale);
}

// A program marks the layers as it runs them; a group is one loop and counts to the layer of its first
// member.
static void find_timed(Coster *k)
{
    const Graph *g = k->c->graph;
    const Node **head = arena_array(k->c->scratch, const Node *, g->nodes.n); // by group
    k->timed = arena_array(k->c->scratch, int, g->nodes.n);
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i], *first = n;
        if (n->group >= 0 && !head[n->group])
            head[n->group] = n;
        if (n->group >= 0)
            first = head[n->group];
        bool in_step = kind_of(k, n->phase) != NO_KIND;
        k->timed[i] = in_step && first->layer ? first->layer->id : -1;
    }
}

static void estimate_all(Coster *k)
{
    const Graph *g = k->c->graph;
    Arena *a = k->c->scratch;
    for (int i = 0; i < k->c->n_times; i++)
        k->apart |= k->c->times[i].weight_s > 0 && schedule_splits(k->c->options);
    find_timed(k);
    k->node_s = arena_array(a, double, g->nodes.n);
    k->layer_s = arena_array(a, double, N_KINDS * g->layers.n);
    k->layer_scale = arena_array(a, double, N_KINDS * g->layers.n);
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        k->node_s[i] = estimate(k, n);
        if (k->timed[i] >= 0)
            k->layer_s[N_KINDS * k->timed[i] + kind_of(k, n->phase)] += k->node_s[i];
    }
    scale_layers(k);
}

static void add_time(PlanUnit *u, Phase phase, double seconds)
{
    switch (phase) {
    case PHASE_FORWARD: u->forward_s += seconds; break;
    case PHASE_BACKWARD: u->backward_s += seconds; break;
    case PHASE_BACKWARD_WEIGHT:
        u->backward_s += seconds;
        u->weight_s += seconds;
        break;
    case PHASE_UPDATE: u->update_s += seconds; break;
    case PHASE_EVAL:
    case N_PHASES: break;
    }
}

// Forward tensors are counted where they are made; one that later units read crosses every cut
// between.
static void add_bytes(const Coster *k, Plan *p, const Node *n, int64_t *crossing)
{
    int unit = value_unit(n), last = unit;
    if (n->op == OP_PARAM)
        p->units[unit].parameter_bytes += n->bytes;
    if (n->phase != PHASE_FORWARD || value_persistent(n) || !value_stored(n))
        return;
    Node **readers;
    bool saved = false;
    for (int i = value_readers(&k->values, n, &readers); i-- > 0;) {
        last = readers[i]->unit > last ? readers[i]->unit : last;
        saved |= phase_is_backward(readers[i]->phase);
    }
    if (saved)
        p->units[unit].activation_bytes += n->bytes;
    crossing[unit] += transfer_bytes(k->c->options, n);
    crossing[last] -= transfer_bytes(k->c->options, n);
}

static void fill_units(const Coster *k, Plan *p)
{
    const Graph *g = k->c->graph;
    int64_t *crossing = arena_array(k->c->scratch, int64_t, p->n_units + 1), alive = 0;
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        if (n->unit < 0 || n->unit >= p->n_units)
            continue;
        PlanUnit *u = &p->units[n->unit];
        if (n->phase == PHASE_FORWARD && !node_is(n, 'L') && !node_is(n, 'V')) {
            if (!u->name)
                u->name = n->layer ? n->layer->name : n->name;
            u->node = n->id;
        }
        add_time(u, n->phase, seconds_of(k, n));
        if (n->layer && (n->phase == PHASE_FORWARD || phase_is_backward(n->phase)))
            k->c->layer_s[n->layer->id] += seconds_of(k, n);
        add_bytes(k, p, n, crossing);
    }
    for (int u = 0; u < p->n_units; u++) {
        alive += crossing[u];
        p->units[u].cut_bytes = alive;
        if (!p->units[u].name)
            p->units[u].name = arena_printf(k->c->perm, "unit%d", u);
    }
}

void pass_cost(Compile *c)
{
    Plan *p = c->plan;
    if (!p) // nobody asks
        return;
    Coster k = {.c = c, .values = values_of(c->scratch, c->graph)};
    int units = 0;
    for (int i = 0; i < c->graph->nodes.n; i++)
        units = c->graph->nodes.items[i]->unit >= units ? c->graph->nodes.items[i]->unit + 1
                                                        : units;
    p->n_nodes = c->graph->nodes.n;
    p->n_units = units;
    p->units = arena_array(c->perm, PlanUnit, units);
    c->layer_s = arena_array(c->perm, double, c->graph->layers.n);
    estimate_all(&k);
    c->node_s = arena_array(c->perm, double, c->graph->nodes.n);
    for (int i = 0; i < c->graph->nodes.n; i++)
        c->node_s[i] = seconds_of(&k, c->graph->nodes.items[i]);
    fill_units(&k, p);
}
