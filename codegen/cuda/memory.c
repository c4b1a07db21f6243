// What a device holds of a stage beside its tensors, as runtime/cuda/card/ makes it; where that depends on what a library
// or a kernel asks for, a bound.
#include "codegen/cuda/cuda.h"
#include "codegen/kernels.h"

#include "plan/card.h"

// Sums of parts (runtime/cuda/cu_columns.cuh): of some 512 blocks, each with two sums of up to 512 columns in double.
enum { PARTS = 512 * 512 * 2 * 8 };

static int64_t stage_bytes(int64_t parameters, int64_t inputs, bool bf16)
{
    return CARD_KNOWN + CARD_PRODUCT_WORKSPACE + PARTS + CARD_ALIGN + card_aligned(inputs) +
           (bf16 ? card_narrow_bytes(parameters) : 0);
}

// Beyond PARTS.
static int64_t room_of(const Node *n)
{
    if (n->op == OP_CROSS_ENTROPY)
        return 8 * cuda_rows(n->inputs[0]);
    if (n->op == OP_LSTM) // gates of a step, where nobody keeps them
        return 4 * shape_count(n->inputs[0]->shape) / n->inputs[0]->shape.dim[1];
    if (n->op == OP_BATCH_NORM || n->op == OP_BATCH_NORM_GRAD || n->op == OP_BATCH_NORM_INFER)
        return 64 * n->shape.dim[1];
    return n->op == OP_GLOBAL_AVG_POOL || n->op == OP_BIAS_GRAD ? 16 * shape_count(n->shape)
                                                                : 0;
}

static bool is_convolution(const Node *n)
{
    return n->op == OP_CONV2D || n->op == OP_CONV2D_GRAD_INPUT ||
           n->op == OP_CONV2D_GRAD_WEIGHT;
}

// Where the library does it: our own kernels draw what is left out.
static int64_t attention_workspace(const Node *n)
{
    bool grad = n->op == OP_ATTENTION_GRAD;
    const int64_t *q = n->inputs[grad]->shape.dim; // [N,T,C]
    return node_real(n, A_RATE) != 0
               ? 0
               : card_attention_workspace(q[0] * node_int(n, A_HEADS) * q[1], q[1], grad);
}

static void kernel_bound(const Node *n, int64_t bytes[N_CALL_MEMORY])
{
    bytes[CALL_ROOM] = room_of(n);
    if (n->op == OP_ATTENTION || n->op == OP_ATTENTION_GRAD)
        bytes[CALL_WORKSPACE] = attention_workspace(n);
    if (!is_convolution(n))
        return;
    Conv c = conv_of(n);
    bytes[CALL_WORKSPACE] = card_convolution_workspace(
        c.x->dtype == BF16, c.x->shape.dim[1], shape_count(c.x->shape), shape_count(c.y->shape),
        shape_count(c.w->shape));
    if (n->op == OP_CONV2D_GRAD_WEIGHT && c.x->dtype == BF16)
        bytes[CALL_COPY] = 2 * shape_count(n->shape);
}

const DeviceMemory cuda_memory = {stage_bytes, kernel_bound};

// NVIDIA's data sheet of the H200 SXM (2024), without sparsity: 67 TFLOPS in FP32; 494 in TF32 and 989 in BF16 on tensor
// cores; 4.8 TB/s.
const DeviceSpeed cuda_speed = {
    .flops = 67e12, .bf16_flops = 989e12, .tf32_flops = 494e12, .bytes_per_s = 4.8e12};
