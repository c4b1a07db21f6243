// Heavy ops, which are the library's (<stagecc/dnnl.h>): how its kernels want images and weights to lie.
// The calls are those of every backend (codegen/heavy.h).
#include "codegen/c/c.h"
#include "codegen/heavy.h"
#include "codegen/kernels.h"

#include "ir/product.h"

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

#define CALL(name)                                                                             \
    void c_emit_##name(Emit *e, const Node *n)                                                 \
    {                                                                                          \
        emit_##name(e, n);                                                                     \
    }
HEAVY_OPS(CALL)

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
