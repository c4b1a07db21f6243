// Tensors of the kernels' tests.
#ifndef STAGECC_TESTS_NUMBERS_H
#define STAGECC_TESTS_NUMBERS_H

#include <stdint.h>
#include <stdlib.h>

// n numbers between -1 and 1; free() them.
static inline float *numbers(int64_t n, unsigned seed)
{
    float *t = aligned_alloc(64, ((size_t)n * sizeof *t + 63) / 64 * 64);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        t[i] = (float)(seed >> 8) / 8388608.f - 1;
    }
    return t;
}

#endif
