// A model's layers as a profiled graph (graph.txt): one node a layer, described as PyTorch prints the
// module that it corresponds to, so that tools made for PipeDream's profiles read ours.
#include "driver/driver.h"

#include "frontend/profile/profile.h"

#include <string.h>

enum { BYTES = 4 }; // of an element, in profiles: shapes follow from sizes

static int64_t at(const Node *n, AttrKey key, int i)
{
    const Attr *a = node_attr(n, key);
    return a && i < a->n ? a->ints[i] : 0;
}

static const char *describe_conv(Arena *a, const Node *n)
{
    const Shape w = n->inputs[1]->shape;
    int64_t groups = node_int(n, A_GROUPS), channels = w.dim[1] * groups;
    const char *s = arena_printf(
        a,
        "Conv2d(%lld, %lld, kernel_size=(%lld, %lld), stride=(%lld, %lld), padding=(%lld, %lld)",
        (long long)channels, (long long)w.dim[0], (long long)w.dim[2], (long long)w.dim[3],
        (long long)at(n, A_STRIDE, 0), (long long)at(n, A_STRIDE, 1),
        (long long)at(n, A_PADDING, 0), (long long)at(n, A_PADDING, 1));
    if (at(n, A_DILATION, 0) > 1 || at(n, A_DILATION, 1) > 1)
        s = arena_printf(a, "%s, dilation=(%lld, %lld)", s, (long long)at(n, A_DILATION, 0),
                         (long long)at(n, A_DILATION, 1));
    if (groups > 1)
        s = arena_printf(a, "%s, groups=%lld", s, (long long)groups);
    return arena_printf(a, n->n_inputs < 3 ? "%s, bias=False)" : "%s)", s);
}

static const char *describe_pool(Arena *a, const Node *n, const char *name)
{
    return arena_printf(
        a, "%s(kernel_size=(%lld, %lld), stride=(%lld, %lld), padding=(%lld, %lld)%s)", name,
        (long long)at(n, A_KERNEL, 0), (long long)at(n, A_KERNEL, 1),
        (long long)at(n, A_STRIDE, 0), (long long)at(n, A_STRIDE, 1),
        (long long)at(n, A_PADDING, 0), (long long)at(n, A_PADDING, 1),
        node_int(n, A_CEIL_MODE) ? ", ceil_mode=True" : "");
}

// The last dimensions of a view, as PyTorch's View modules of PipeDream print them.
static const char *describe_view(Arena *a, const Node *n)
{
    const char *s = "View(";
    for (int i = 1; i < n->shape.rank; i++)
        s = arena_printf(a, i > 1 ? "%s, %lld" : "%s%lld", s, (long long)n->shape.dim[i]);
    return arena_printf(a, "%s)", s);
}

static const char *describe_linear(Arena *a, const Node *n)
{
    const Shape w = n->inputs[1]->shape;
    return arena_printf(a, "Linear(in_features=%lld, out_features=%lld, bias=%s)",
                        (long long)w.dim[1], (long long)w.dim[0],
                        n->n_inputs == 3 ? "True" : "False");
}

static const char *describe_batch_norm(Arena *a, const Node *n)
{
    return arena_printf(a, "BatchNorm2d(%lld, eps=%g, affine=True, track_running_stats=True)",
                        (long long)n->shape.dim[1], node_real(n, A_EPS));
}

static const char *describe_layer_norm(Arena *a, const Node *n)
{
    return arena_printf(a, "LayerNorm(%lld, eps=%g)",
                        (long long)n->shape.dim[n->shape.rank - 1], node_real(n, A_EPS));
}

static const char *describe_max_pool(Arena *a, const Node *n)
{
    return describe_pool(a, n, "MaxPool2d");
}

static const char *describe_avg_pool(Arena *a, const Node *n)
{
    return describe_pool(a, n, "AvgPool2d");
}

static const char *describe_embedding(Arena *a, const Node *n)
{
    const Shape table = n->inputs[1]->shape;
    return arena_printf(a, "Embedding(%lld, %lld)", (long long)table.dim[0],
                        (long long)table.dim[1]);
}

static const char *describe_dropout(Arena *a, const Node *n)
{
    return arena_printf(a, "Dropout(p=%g)", node_real(n, A_RATE));
}

static const char *describe_concat(Arena *a, const Node *n)
{
    return arena_printf(a, "Concat(%lld)", (long long)node_int(n, A_AXIS));
}

static const char *describe_input(Arena *a, const Node *n)
{
    return arena_printf(a, "Input(%s)", n->name);
}

// What PyTorch's profiles know by another name, or with more words; other ops are called what the user
// called them.
static const struct Description {
    const char *name;
    const char *(*of)(Arena *a, const Node *n);
} description[N_OPS] = {
    [OP_INPUT] = {.of = describe_input},
    [OP_CONV2D] = {.of = describe_conv},
    [OP_LINEAR] = {.of = describe_linear},
    [OP_BATCH_NORM] = {.of = describe_batch_norm},
    [OP_LAYER_NORM] = {.of = describe_layer_norm},
    [OP_MAX_POOL2D] = {.of = describe_max_pool},
    [OP_AVG_POOL2D] = {.of = describe_avg_pool},
    [OP_GLOBAL_AVG_POOL] = {.name = "AdaptiveAvgPool2d(output_size=(1, 1))"},
    [OP_EMBEDDING] = {.of = describe_embedding},
    [OP_RESHAPE] = {.of = describe_view},
    [OP_DROPOUT] = {.of = describe_dropout},
    [OP_CONCAT] = {.of = describe_concat},
    [OP_RELU] = {.name = "ReLU"},
    [OP_ADD] = {.name = "Add"},
};

static const char *describe(Arena *a, const Node *n)
{
    const struct Description *d = &description[n->op];
    if (d->of)
        return d->of(a, n);
    return d->name ? d->name : n->layer ? n->layer->kind : op_info[n->op].name;
}

static const LayerTime *time_of(const LayerTime *times, int n, const Layer *layer)
{
    for (int i = 0; layer && i < n; i++)
        if (!strcmp(times[i].layer, layer->name))
            return &times[i];
    return NULL;
}

// The same tensor by another name, in another layout or type.
static bool is_same(const Node *n)
{
    return n->op == OP_RESULT || n->op == OP_REORDER || n->op == OP_CAST;
}

static bool is_profile_node(const Node *n)
{
    return n->phase == PHASE_FORWARD && (n->op == OP_INPUT || !node_is(n, 'L')) &&
           !node_is(n, 'X') && !is_same(n);
}

static const Node *producer(const Node *n)
{
    while (is_same(n))
        n = n->inputs[0];
    return n;
}

static double profile_bytes(const Node *n)
{
    return (double)shape_count(n->shape) * BYTES;
}

static double parameter_bytes(const Node *n)
{
    double bytes = 0;
    for (int i = 0; i < n->n_inputs; i++)
        if (producer(n->inputs[i])->op == OP_PARAM)
            bytes += profile_bytes(n->inputs[i]);
    return bytes;
}

// A layer of several ops (there is one node each) has its time on the first of them. index: by
// Node.id, where it stands in the profile, plus one.
static void add_nodes(Arena *a, Profile *p, const Graph *g, const Compile *c, int *index)
{
    bool *timed = arena_array(a, bool, g->layers.n + 1);
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        if (!is_profile_node(n))
            continue;
        const LayerTime *t =
            n->layer && !timed[n->layer->id] ? time_of(c->times, c->n_times, n->layer) : NULL;
        if (t)
            timed[n->layer->id] = true;
        ProfileNode node = {
            .id = arena_printf(a, "node%d", p->nodes.n + 1),
            .description = describe(a, n),
            .fields = profile_fields(a, t ? 1e3 * t->forward_s : 0, t ? 1e3 * t->backward_s : 0,
                                     profile_bytes(n), parameter_bytes(n)),
            .stage = c->plan->n_stages > 1 ? plan_stage_of_unit(c->plan, n->unit) : -1,
        };
        vec_push(a, &p->nodes, node);
        index[n->id] = p->nodes.n;
    }
}

static void add_edges_to(Arena *a, Profile *p, const Node *n, const int *index)
{
    for (int k = 0; k < n->n_inputs; k++) {
        const Node *from = producer(n->inputs[k]);
        ProfileEdge e = {index[from->id] - 1, index[n->id] - 1, NO_LOC, "\t"};
        if (is_profile_node(from))
            vec_push(a, &p->edges, e);
    }
}

Profile *profile_of_graph(Arena *a, const Graph *g, const Compile *c)
{
    Profile *p = arena_new(a, Profile);
    int *index = arena_array(a, int, g->next_id + 1);
    p->final_newline = false;
    add_nodes(a, p, g, c, index);
    for (int i = 0; i < g->nodes.n; i++)
        if (is_profile_node(g->nodes.items[i]))
            add_edges_to(a, p, g->nodes.items[i], index);
    return p;
}
