// What a stage has of a CUDA device's memory behind its tensors: the compiler counts it (codegen/cuda/memory.c), the
// runtime makes it (runtime/cuda/card/memory.c). Includes nothing.
#ifndef STAGECC_PLAN_CARD_H
#define STAGECC_PLAN_CARD_H

#include <stdint.h>

enum {
    CARD_ALIGN = 256,
    CARD_KNOWN = 4 << 10,             // what launches read of the running step
    CARD_PRODUCT_WORKSPACE = 32 << 20 // of matrix products, at most
};

static inline int64_t card_aligned(int64_t bytes)
{
    return (bytes + CARD_ALIGN - 1) / CARD_ALIGN * CARD_ALIGN;
}

// Beside activations of bf16: copies of parameters, in all versions, in half their bytes.
static inline int64_t card_narrow_bytes(int64_t parameters)
{
    return card_aligned(parameters / 2);
}

// Of cuDNN's kernels, where more is not asked for: bytes for a convolution with an image of x elements in so many channels, a
// result of y and a weight of w. On tensor cores an image of few or odd channels is padded to groups of eight; what else
// engines want is little. Without them those that heuristics prefer turn images plain.
static inline int64_t card_convolution_workspace(int bf16, int64_t channels, int64_t x,
                                                 int64_t y, int64_t w)
{
    enum { LITTLE = 8 << 20, GROUP = 8 };
    if (!bf16)
        return 4 * (x + y + w);
    int64_t wide = (channels + GROUP - 1) / GROUP * GROUP;
    return LITTLE + (channels % GROUP ? 2 * x / channels * wide : 0);
}

// Likewise for attention with so many rows of t scores. The gradient of a score goes through memory, and a float a row.
static inline int64_t card_attention_workspace(int64_t rows, int64_t t, int grad)
{
    enum { LITTLE = 64 << 10 };
    return LITTLE + (grad ? rows * (2 * t + 4) : 0);
}

#endif
