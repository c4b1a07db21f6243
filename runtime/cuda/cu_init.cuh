// First values of parameters, drawn where they are needed: the bits of runtime/initial.c, from the same text.
#ifndef STAGECC_CU_INIT_H
#define STAGECC_CU_INIT_H

#include <stagecc/cu.h>

#define inline __host__ __device__ __forceinline__
#include <stagecc/draw.h>
#undef inline

enum { CU_DRAW_THREADS = 256, CU_DRAW_ROUNDS = 8 }; // of a block, each a pair for every thread

// Where element i of the plain tensor [n,channels,pixels] lies if channels are the last dimension.
CU_INLINE int64_t cu_channels_last(int64_t i, int64_t channels, int64_t pixels)
{
    const int64_t row = i / pixels;
    return (row / channels * pixels + i % pixels) * channels + row % channels;
}

CU_KERNEL void __launch_bounds__(CU_DRAW_THREADS)
    cu_draw_kernel(float *to, rt_draw draw, int64_t n, int64_t channels, int64_t pixels)
{
    const int64_t first = (int64_t)blockIdx.x * CU_DRAW_THREADS * CU_DRAW_ROUNDS + threadIdx.x;
    for (int round = 0; round < CU_DRAW_ROUNDS; round++) {
        const int64_t k = first + round * CU_DRAW_THREADS;
        if (2 * k >= n)
            return;
        double pair[2];
        rt_draw_pair(&draw, (uint64_t)k, pair);
        CU_UNROLL
        for (int i = 0; i < 2; i++) {
            const int64_t at = 2 * k + i;
            if (at < n)
                to[pixels > 1 ? cu_channels_last(at, channels, pixels) : at] = (float)pair[i];
        }
    }
}

// to[n] as `draw` says (rt__draw_of). pixels > 1: of a convolution's weight [K,channels,R,S], pixels = R S, which
// lies as [K,R,S,channels]; else 1, and to is plain.
[[maybe_unused]] static void cu_draw(cudaStream_t stream, float *to, rt_draw draw, int64_t n,
                                     int64_t channels, int64_t pixels)
{
    CU_LAUNCH(cu_draw_kernel, cu_ceil(n, 2 * CU_DRAW_THREADS * CU_DRAW_ROUNDS), CU_DRAW_THREADS,
              stream, to, draw, n, channels, pixels);
}

#endif
