// Pooling by hand (<stagecc/c_pool.h>): the library's keeps its argmax in a form of its own, and the work
// is reading memory anyway.
#include "codegen/c/c.h"

// "_blocked" or "_blocked_bf16", and how many planes of vectors the images are. One of one pixel counts as plain, whatever
// the other is.
typedef struct Planes {
    const char *suffix;
    int64_t n;
} Planes;

static const char *kind_of(bool blocked, const Node *n)
{
    static const char *const suffix[2][2] = {{"_plain", "_plain_bf16"},
                                             {"_blocked", "_blocked_bf16"}};
    return suffix[blocked][n->dtype == BF16];
}

static Planes planes_of(const Emit *e, const Node *x, const Node *y)
{
    int64_t planes = x->shape.dim[0] * x->shape.dim[1];
    if (x->layout == LAYOUT_BLOCKED || y->layout == LAYOUT_BLOCKED)
        return (Planes){kind_of(true, x), planes / e->graph->block};
    return (Planes){kind_of(false, x), planes};
}

static const char *pair(Emit *e, const int64_t *v)
{
    return arena_printf(e->scratch, "{%lld, %lld}", (long long)v[0], (long long)v[1]);
}

// x and y: shapes of image and result.
static const char *window(Emit *e, const Node *n, int64_t planes, Shape x, Shape y)
{
    static const int64_t dense[] = {1, 1};
    const int64_t *pad = node_ints(n, A_PADDING), *kernel = node_ints(n, A_KERNEL);
    bool average = n->op == OP_AVG_POOL2D || n->op == OP_AVG_POOL2D_GRAD;
    return arena_printf(
        e->scratch,
        "&(const c_window){.planes = %lld, .h = %lld, .w = %lld, .p = %lld, .q = %lld, "
        ".r = %lld, .s = %lld, .stride = %s, .dilation = %s, .top = %lld, .left = %lld, "
        ".bottom = %lld, .right = %lld%s}",
        (long long)planes, (long long)x.dim[2], (long long)x.dim[3], (long long)y.dim[2],
        (long long)y.dim[3], (long long)kernel[0], (long long)kernel[1],
        pair(e, node_ints(n, A_STRIDE)), pair(e, average ? dense : node_ints(n, A_DILATION)),
        (long long)pad[0], (long long)pad[1], (long long)pad[2], (long long)pad[3],
        average && node_int(n, A_COUNT_INCLUDE_PAD) ? ", .count_include_pad = 1" : "");
}

void c_emit_max_pool2d(Emit *e, const Node *n)
{
    const Node *x = n->inputs[0];
    Planes planes = planes_of(e, x, n);
    emit(e, "c_max_pool2d$suffix($y, $argmax, $x, $window);\n", "suffix", EMIT_TEXT,
         planes.suffix, "y", EMIT_VALUE, n, "argmax", EMIT_VALUE, emit_output(e, n, 1), "x",
         EMIT_VALUE, x, "window", EMIT_TEXT, window(e, n, planes.n, x->shape, n->shape), NULL);
}

void c_emit_max_pool2d_grad(Emit *e, const Node *n)
{
    const Node *dy = n->inputs[0];
    Planes planes = planes_of(e, n, dy);
    emit(e, "c_max_pool2d_grad$suffix($dx, $dy, $argmax, $window);\n", "suffix", EMIT_TEXT,
         planes.suffix, "dx", EMIT_VALUE, n, "dy", EMIT_VALUE, dy, "argmax", EMIT_VALUE,
         n->inputs[1], "window", EMIT_TEXT, window(e, n, planes.n, n->shape, dy->shape), NULL);
}

void c_emit_avg_pool2d(Emit *e, const Node *n)
{
    const Node *x = n->inputs[0];
    Planes planes = planes_of(e, x, n);
    emit(e, "c_avg_pool2d$suffix($y, $x, $window);\n", "suffix", EMIT_TEXT, planes.suffix, "y",
         EMIT_VALUE, n, "x", EMIT_VALUE, x, "window", EMIT_TEXT,
         window(e, n, planes.n, x->shape, n->shape), NULL);
}

void c_emit_avg_pool2d_grad(Emit *e, const Node *n)
{
    const Node *dy = n->inputs[0];
    Planes planes = planes_of(e, n, dy);
    emit(e, "c_avg_pool2d_grad$suffix($dx, $dy, $window);\n", "suffix", EMIT_TEXT,
         planes.suffix, "dx", EMIT_VALUE, n, "dy", EMIT_VALUE, dy, "window", EMIT_TEXT,
         window(e, n, planes.n, n->shape, dy->shape), NULL);
}

static void global_pool(Emit *e, const Node *n, const char *function, const Node *image)
{
    Planes planes = planes_of(e, image, n);
    emit(e, "$function$suffix($y, $x, $planes, $pixels);\n", "function", EMIT_TEXT, function,
         "suffix", EMIT_TEXT, planes.suffix, "y", EMIT_VALUE, n, "x", EMIT_VALUE, n->inputs[0],
         "planes", EMIT_INT, planes.n, "pixels", EMIT_INT,
         image->shape.dim[2] * image->shape.dim[3], NULL);
}

void c_emit_global_avg_pool(Emit *e, const Node *n)
{
    global_pool(e, n, "c_global_avg_pool", n->inputs[0]);
}

void c_emit_global_avg_pool_grad(Emit *e, const Node *n)
{
    global_pool(e, n, "c_global_avg_pool_grad", n);
}
