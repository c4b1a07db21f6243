// Pooling, of images channels last: calls of <stagecc/cu_pool.cuh>, with windows as types. A plain image of some channels
// is as many images of one.
#include "codegen/cuda/cuda.h"

typedef struct Pooled {
    int64_t images, channels;
} Pooled;

// x and y: image and result, or their gradients; of one pixel it lies either way.
static Pooled pooled(const Node *x, const Node *y)
{
    int64_t images = x->shape.dim[0], channels = x->shape.dim[1];
    bool last = x->layout == LAYOUT_CHANNELS_LAST || y->layout == LAYOUT_CHANNELS_LAST;
    return last ? (Pooled){images, channels} : (Pooled){images * channels, 1};
}

static const char *axis(Emit *e, const Node *n, Shape x, Shape y, int d)
{
    const int64_t *pad = node_ints(n, A_PADDING);
    bool dilated = n->op == OP_MAX_POOL2D || n->op == OP_MAX_POOL2D_GRAD;
    return arena_printf(e->scratch, "{%lld, %lld, %lld, %lld, %lld, %lld, %lld}",
                        (long long)x.dim[d + 2], (long long)y.dim[d + 2],
                        (long long)node_ints(n, A_KERNEL)[d],
                        (long long)node_ints(n, A_STRIDE)[d],
                        dilated ? (long long)node_ints(n, A_DILATION)[d] : 1LL,
                        (long long)pad[d], (long long)pad[d + 2]);
}

// x and y: of image and result.
static Function pool_new(Emit *e, const Node *n, Shape x, Shape y)
{
    bool average = n->op == OP_AVG_POOL2D || n->op == OP_AVG_POOL2D_GRAD;
    const char *counted = average && node_int(n, A_COUNT_INCLUDE_PAD) ? "true" : "false";
    Pooled p = pooled(n->inputs[0], n);
    Function f = function_new(e, op_info[n->op].name,
                              arena_printf(e->scratch, "%lldx%lldx%lldx%lld",
                                           (long long)p.images, (long long)x.dim[2],
                                           (long long)x.dim[3], (long long)p.channels));
    f.before = arena_printf(e->scratch,
                            "struct @name_pool {\n    CU_BOTH cu_window window()\n    {\n"
                            "        return {%s, %s, %s};\n    }\n};\n\n",
                            axis(e, n, x, y, 0), axis(e, n, x, y, 1), counted);
    return f;
}

static void pool_end(Function *f, const Node *n)
{
    Pooled p = pooled(n->inputs[0], n);
    function_pass_int(f, p.images);
    function_end(f, arena_printf(f->e->scratch, "cu_%s<%s, %lld, @name_pool>",
                                 op_info[n->op].name, cuda_type(n), (long long)p.channels));
}

// A pool's own form, of 1 or 2 bytes a window, in memory for whole numbers.
static void argmax(Function *f, const char *qualifier, const Node *n)
{
    Arena *a = f->e->scratch;
    if (!n) {
        function_pass(f, "NULL");
        return;
    }
    const char *passed = f->pass;
    function_argument(f, arena_printf(a, "%sint32_t *", qualifier), "argmax",
                      emit_value(f->e, n));
    f->pass = arena_printf(a, "%s, (%scu_argmax<@name_pool> *)(%svoid *)argmax", passed,
                           qualifier, qualifier);
}

void cuda_emit_max_pool2d(Emit *e, const Node *n)
{
    Function f = pool_new(e, n, n->inputs[0]->shape, n->shape);
    function_out(&f, "y", n);
    argmax(&f, "", emit_output(e, n, 1));
    function_in(&f, "x", n->inputs[0]);
    pool_end(&f, n);
}

void cuda_emit_max_pool2d_grad(Emit *e, const Node *n)
{
    Function f = pool_new(e, n, n->shape, n->inputs[0]->shape);
    function_out(&f, "dx", n);
    function_in(&f, "dy", n->inputs[0]);
    argmax(&f, "const ", n->inputs[1]);
    pool_end(&f, n);
}

void cuda_emit_avg_pool2d(Emit *e, const Node *n)
{
    Function f = pool_new(e, n, n->inputs[0]->shape, n->shape);
    function_out(&f, "y", n);
    function_in(&f, "x", n->inputs[0]);
    pool_end(&f, n);
}

void cuda_emit_avg_pool2d_grad(Emit *e, const Node *n)
{
    Function f = pool_new(e, n, n->shape, n->inputs[0]->shape);
    function_out(&f, "dx", n);
    function_in(&f, "dy", n->inputs[0]);
    pool_end(&f, n);
}

// Means of images
// ----------------------------------------------------------------------------------------------

static const char *sizes(Emit *e, const Node *n)
{
    return arena_printf(e->scratch, "%lld", (long long)cuda_elements(n));
}

void cuda_emit_global_avg_pool(Emit *e, const Node *n)
{
    const Node *x = n->inputs[0];
    Pooled p = pooled(x, n);
    int64_t pixels = cuda_elements(x) / cuda_elements(n);
    const char *type =
        arena_printf(e->scratch, "%s, %lld", cuda_type(x), (long long)p.channels);
    Function f = function_new(e, "global_avg_pool", sizes(e, x));
    function_out(&f, "y", n);
    function_room(&f, "double",
                  arena_printf(e->scratch, "cu_columns<%s>::part_bytes(%lld, %lld, 1)", type,
                               (long long)pixels, (long long)p.images));
    function_in(&f, "x", x);
    function_pass_int(&f, p.images);
    function_pass_int(&f, pixels);
    function_end(&f, arena_printf(e->scratch, "cu_global_avg_pool<%s>", type));
}

void cuda_emit_global_avg_pool_grad(Emit *e, const Node *n)
{
    int64_t pixels = n->shape.dim[2] * n->shape.dim[3];
    Pooled p = pooled(n, n->inputs[0]);
    Function f = function_new(e, "global_avg_pool_grad", sizes(e, n));
    function_out(&f, "dx", n);
    function_in(&f, "dy", n->inputs[0]);
    function_pass_int(&f, p.images);
    function_end(&f, arena_printf(e->scratch, "cu_global_avg_pool_grad<%s, %lld, %lld>",
                                  cuda_type(n), (long long)p.channels, (long long)pixels));
}
