// Heavy ops, which are libraries': convolutions and products as rows of the program's table (<stagecc/library.h>). Beside
// bf16 a weight is the parameter in f32, of which the library has a copy in bf16.
#include "codegen/cuda/cuda.h"

#include "codegen/heavy.h"
#include "codegen/kernels.h"

#include "ir/product.h"

#include <string.h>

// Images of one channel or one pixel are the same bytes either way, and so are weights of one tap.
static bool is_channels_last(const Node *n)
{
    Conv c = conv_of(n);
    return c.x->layout == LAYOUT_CHANNELS_LAST || c.y->layout == LAYOUT_CHANNELS_LAST ||
           c.w->layout == LAYOUT_KERNEL;
}

static KernelWords words_of(Arena *a, const Graph *g, const Node *n)
{
    (void)a;
    (void)g;
    bool narrow = n->inputs[0]->dtype == BF16, last = !is_product(n->op) && is_channels_last(n);
    return (KernelWords){last ? ", channels last" : "", last ? ", .channels_last = 1" : "",
                         narrow};
}

// Floats multiplied in tf32 are another kernel.
static KernelWords words_of_tf32(Arena *a, const Graph *g, const Node *n)
{
    KernelWords words = words_of(a, g, n);
    if (n->inputs[0]->dtype == F32)
        words.key = arena_printf(a, "%s, tf32", words.key);
    return words;
}

// cublasLt's gelu is the tanh form, as exact as bf16 wants it; what it is of lies in rows of a multiple of 16 bytes. Sums of
// a convolution for its norm are plain ones of x and x^2, exact enough for what has the 8 bits of bf16.
bool cuda_heads(const Node *n, const Node *next, bool kept)
{
    switch ((int)next->op) {
    case OP_RELU: return !kept;
    case OP_GELU_TANH: return n->op == OP_LINEAR && n->dtype == BF16 && cuda_last(n) % 8 == 0;
    case OP_BATCH_NORM: // replicas that share statistics give sums in double
        return n->op == OP_CONV2D && n->dtype == BF16 && n->n_inputs == 2 &&
               node_int(next, A_REPLICAS) <= 1;
    }
    return false;
}

#define CALL(name)                                                                             \
    void cuda_emit_##name(Emit *e, const Node *n)                                              \
    {                                                                                          \
        emit_##name(e, n);                                                                     \
    }
HEAVY_OPS(CALL)

static bool is_tf32(const Emit *e)
{
    return !strcmp(e->plan->options.dtype, "tf32");
}

void cuda_library_prologue(Emit *e)
{
    text_printf(e->out, "\nextern const int64_t cu_room; // of stage%d.cu\n", e->stage->id);
    kernels_write(e, is_tf32(e) ? words_of_tf32 : words_of);
}

void cuda_library_fields(Emit *e)
{
    int n = kernels_count(e);
    text_printf(e->out,
                "    .backend = &rt_cuda,\n"
                "    .kernels = &(const rt_cuda_kernels){.rows = %s, .room = &cu_room%s},\n"
                "    .n_kernels = %d,\n",
                n ? "kernels" : "NULL", is_tf32(e) ? ", .tf32 = 1" : "", n);
}
