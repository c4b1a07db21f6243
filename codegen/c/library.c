// Heavy ops. Convolutions and matrix products are the library's (<stagecc/dnnl.h>), by the kernels of
// the program's table; pooling is by hand (<stagecc/c_pool.h>): the library's keeps its argmax in a
// form of its own, and the work is reading memory anyway.
#include "codegen/c/c.h"
#include "codegen/kernels.h"

#include "ir/product.h"

// Rows
// ------------------------------------------------------------------------------------------

typedef struct Lies { // of images
    bool x_blocked, y_blocked;
} Lies;

// An image of one pixel is the same bytes either way, and the library wants one of them.
static bool may_block(const Graph *g, const Node *n)
{
    Shape s = n->shape;
    bool pixel = s.dim[2] == 1 && s.dim[3] == 1 && s.dim[1] % g->block == 0;
    return n->layout == LAYOUT_BLOCKED || pixel;
}

static bool groups_block(const Graph *g, const Conv *c, int64_t groups)
{
    int64_t x = c->x->shape.dim[1], y = c->y->shape.dim[1];
    bool depthwise = groups == x && groups == y;
    bool wide = x / groups % g->block == 0 && y / groups % g->block == 0;
    return groups == 1 || depthwise || wide;
}

static Lies images_of(const Graph *g, const Conv *c, int64_t groups)
{
    bool fits = groups_block(g, c, groups);
    bool from = may_block(g, c->x) || c->x->shape.dim[1] % g->block;
    Lies l = {.y_blocked =
                  c->y->layout == LAYOUT_BLOCKED || (fits && may_block(g, c->y) && from)};
    l.x_blocked = l.y_blocked && may_block(g, c->x);
    if (l.y_blocked && !l.x_blocked && groups > 1)
        l.y_blocked = false; // of one pixel, then
    return l;
}

// The library has a copy of a weight in bf16, or turned for the gradient of a convolution's input.
static KernelWords words_of(Arena *a, const Graph *g, const Node *n)
{
    bool narrow = n->inputs[0]->dtype == BF16;
    if (is_product(n->op))
        return (KernelWords){"", "", narrow};
    Conv c = conv_of(n);
    Lies l = images_of(g, &c, node_int(n, A_GROUPS));
    bool plain = l.y_blocked && c.w->layout != LAYOUT_KERNEL;
    return (KernelWords){
        .key = arena_printf(a, ", %s to %s%d%s", l.x_blocked ? "blocked" : "plain",
                            l.y_blocked ? "blocked " : "plain ", g->block,
                            plain ? ", plain weight" : ""),
        .row = arena_printf(a, ", .block = %d, .x_blocked = %d, .y_blocked = %d%s", g->block,
                            l.x_blocked, l.y_blocked, plain ? ", .w_plain = 1" : ""),
        .copies_weight = narrow || n->op == OP_CONV2D_GRAD_INPUT};
}

const char *c_kernel_key(Arena *a, const Graph *g, const Node *n)
{
    return kernel_key(a, g, n, words_of);
}

// Calls
// ------------------------------------------------------------------------------------------

static void convolution(Emit *e, const Node *n, const char *call)
{
    emit(e, call, "kernel", EMIT_TEXT, kernels_name(e, n), "a", EMIT_VALUE, n->inputs[0], "b",
         EMIT_VALUE, n->inputs[1], "bias", EMIT_VALUE, n->n_inputs > 2 ? n->inputs[2] : NULL,
         "y", EMIT_VALUE, n, NULL);
}

void c_emit_conv2d(Emit *e, const Node *n)
{
    convolution(e, n, "rt_conv2d(s, $kernel, $a, $b, $bias, $y);\n");
}

void c_emit_conv2d_grad_input(Emit *e, const Node *n)
{
    convolution(e, n, "rt_conv2d_grad_input(s, $kernel, $a, $b, $y);\n");
}

static void product(Emit *e, const Node *n, const Node *a, const Node *b, const Node *bias)
{
    emit(e, "rt_matmul(s, $kernel, $a, $b, $bias, $c);\n", "kernel", EMIT_TEXT,
         kernels_name(e, n), "a", EMIT_VALUE, a, "b", EMIT_VALUE, b, "bias", EMIT_VALUE, bias,
         "c", EMIT_VALUE, n, NULL);
}

void c_emit_linear(Emit *e, const Node *n)
{
    product(e, n, n->inputs[0], n->inputs[1], n->n_inputs > 2 ? n->inputs[2] : NULL);
}

void c_emit_linear_grad_input(Emit *e, const Node *n)
{
    product(e, n, n->inputs[0], n->inputs[1], NULL);
}

void c_emit_matmul(Emit *e, const Node *n)
{
    product(e, n, n->inputs[0], n->inputs[1], NULL);
}

// Gradients of weights
// --------------------------------------------------------------------------------

// Gradients of weights are as large as the weights. Where nobody but the accumulator wants one, it goes
// right there: a step's first micro-batch writes it, and products add the others. A convolution cannot
// add, so the others take the way through memory of their own.

static bool reads(const Node *n, const Node *value)
{
    for (int i = 0; i < n->n_inputs; i++)
        if (n->inputs[i] == value)
            return true;
    return false;
}

// The accumulator that this gradient is for and nobody else; NULL: it is read otherwise too. Both are of
// one layer, so they stand in one routine however the model is cut.
const Node *c_destination(const Emit *e, const Node *grad)
{
    const Node *sum = NULL;
    for (int i = 0; i < e->graph->nodes.n; i++) {
        const Node *n = e->graph->nodes.items[i];
        if (!reads(n, grad))
            continue;
        if (sum || n->op != OP_ACCUMULATE || n->layer != grad->layer)
            return NULL;
        sum = n->inputs[0];
    }
    return sum;
}

CSum c_library_sum(const Emit *e, const Node *grad)
{
    bool adds = grad->op == OP_LINEAR_GRAD_WEIGHT || grad->op == OP_EMBEDDING_GRAD;
    if ((!adds && grad->op != OP_CONV2D_GRAD_WEIGHT) || !c_destination(e, grad))
        return C_SUM_NOTHING;
    return adds || e->plan->options.micro_batches == 1 ? C_SUM_ALL : C_SUM_FIRST;
}

void c_emit_linear_grad_weight(Emit *e, const Node *n)
{
    const Node *sum = c_destination(e, n);
    const char *kernel = kernels_name(e, n);
    if (sum && e->plan->options.micro_batches > 1)
        kernel = arena_printf(e->scratch, "%s ? %s : %s", emit_is_first(e), kernel,
                              kernels_adding(e, n));
    emit(e, "rt_matmul(s, $kernel, $a, $b, NULL, $c);\n", "kernel", EMIT_TEXT, kernel, "a",
         EMIT_VALUE, n->inputs[1], "b", EMIT_VALUE, n->inputs[0], "c", EMIT_VALUE,
         sum ? sum : n, NULL);
}

void c_emit_conv2d_grad_weight(Emit *e, const Node *n)
{
    const Node *sum = c_destination(e, n);
    const char *to = sum ? emit_value(e, sum) : emit_value(e, n);
    if (c_library_sum(e, n) == C_SUM_FIRST)
        to = arena_printf(e->scratch, "%s ? %s : %s", emit_is_first(e), to, emit_value(e, n));
    emit(e, "rt_conv2d_grad_weight(s, $kernel, $x, $dy, $dw);\n", "kernel", EMIT_TEXT,
         kernels_name(e, n), "x", EMIT_VALUE, n->inputs[0], "dy", EMIT_VALUE, n->inputs[1],
         "dw", EMIT_TEXT, to, NULL);
}

// Pooling
// ----------------------------------------------------------------------------------------------

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

// The program
// ------------------------------------------------------------------------------------------

void c_library_prologue(Emit *e)
{
    emit(e,
         "#define C_BLOCK $block // channels of a blocked image's block\n"
         "#include <stagecc/c_pool.h>\n#include <stagecc/dnnl.h>\n",
         "block", EMIT_INT, (int64_t)e->graph->block, NULL);
    kernels_write(e, words_of);
}

void c_library_fields(Emit *e)
{
    text_puts(e->out, "    .backend = &rt_dnnl,\n");
    kernels_fields(e);
}
