// What a stage has of a CUDA device's memory behind its tensors: the compiler counts it (codegen/cuda/memory.c), the
// runtime makes it (runtime/cuda/card/card.c). Includes nothing.
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

// Beside activations of bf16: a copy of everything that outlives a step, in all versions, as far from the first as the
// original, in half the bytes.
static inline int64_t card_narrow_bytes(int64_t weights)
{
    return card_aligned(weights / 2);
}

#endif
