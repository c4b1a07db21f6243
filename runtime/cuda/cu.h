// What kernels for CUDA devices stand on: types of elements, packs of them, teams of threads and their sums.
// The same text is device code under nvcc and, for tests, code of this machine (cu_host.h). docs/cuda.md
// says how kernels are written.
#ifndef STAGECC_CU_H
#define STAGECC_CU_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#include <cuda_runtime.h>
#define CU_UNROLL _Pragma("unroll")
// grid, block: how many blocks, and threads in each. `kernel` in parentheses where it has template arguments.
#define CU_LAUNCH(kernel, grid, block, stream, ...)                                            \
    kernel<<<(unsigned)(grid), (unsigned)(block), 0, stream>>>(__VA_ARGS__)
template <typename W> static __device__ __forceinline__ W cu_read(const W *at)
{
    return *at;
}
// Not *at = word: the compiler takes that apart into elements.
template <typename W> static __device__ __forceinline__ void cu_write(W *at, W word)
{
    __stwb(at, word);
}
#else
#include <stagecc/cu_host.h>
#define CU_UNROLL
#endif

#define CU_KERNEL [[maybe_unused]] static __global__ // one that is no template
#define CU_INLINE static __device__ __forceinline__
#define CU_INLINE_BOTH static __host__ __device__ __forceinline__
#define CU_MEMBER __device__ __forceinline__ // of a struct
#define CU_MEMBER_BOTH __host__ __device__ constexpr
#define CU_BOTH                                                                                \
    static __host__ __device__ constexpr // sizes, which launches and kernels agree about

// C's own functions on the device: the same text, hence the same bits.
#define inline __host__ __device__ __forceinline__
#include <stagecc/bf16.h>
#include <stagecc/math.h>
#include <stagecc/random.h>
#undef inline

enum { CU_WARP = 32 };

// Elements: float or rt_bf16 in memory, float in registers.
// ----------------------------------------------------------------------------------------------

CU_INLINE_BOTH float cu_to_float(float x)
{
    return x;
}

CU_INLINE_BOTH float cu_to_float(rt_bf16 x)
{
    return rt_to_float(x);
}

template <typename T> CU_INLINE_BOTH T cu_from_float(float x)
{
    if constexpr (sizeof(T) == sizeof(float))
        return x;
    else
        return rt_to_bf16(x);
}

// How many neighbours of rows of n elements a thread takes at once: as many as 16 bytes hold, or fewer where
// n is no multiple of that; rows then begin where such a pack may.
template <typename T> CU_BOTH int cu_width(int64_t n)
{
    int width = 16 / (int)sizeof(T);
    while (n % width)
        width /= 2;
    return width;
}

CU_BOTH int64_t cu_ceil(int64_t n, int64_t by)
{
    return (n + by - 1) / by;
}

// What one instruction reads or writes: BYTES bytes, at a multiple of that.
template <int BYTES> struct cu_word {
    typedef uint4 type;
};
template <> struct cu_word<8> {
    typedef uint2 type;
};
template <> struct cu_word<4> {
    typedef uint32_t type;
};
template <> struct cu_word<2> {
    typedef uint16_t type;
};
template <> struct cu_word<1> {
    typedef uint8_t type;
};

// N neighbours as they lie in memory: one word, or several of 16 bytes.
template <typename T, int N> struct cu_pack {
    static constexpr int BYTES = N * (int)sizeof(T), WORDS = BYTES > 16 ? BYTES / 16 : 1;
    typedef typename cu_word<BYTES / WORDS>::type word;
    T item[N];
};

// into[N] = the elements at `at` as they are, of any type of 1, 2 or 4 bytes.
template <int N, typename T> CU_INLINE void cu_take(T *into, const T *at)
{
    typedef cu_pack<T, N> pack;
    typename pack::word word[pack::WORDS];
    CU_UNROLL
    for (int i = 0; i < pack::WORDS; i++)
        word[i] = cu_read((const typename pack::word *)(const void *)at + i);
    pack p;
    memcpy(&p, word, sizeof p);
    CU_UNROLL
    for (int i = 0; i < N; i++)
        into[i] = p.item[i];
}

template <int N, typename T> CU_INLINE void cu_put(T *at, const T *from)
{
    typedef cu_pack<T, N> pack;
    pack p;
    CU_UNROLL
    for (int i = 0; i < N; i++)
        p.item[i] = from[i];
    typename pack::word word[pack::WORDS];
    memcpy(word, &p, sizeof p);
    CU_UNROLL
    for (int i = 0; i < pack::WORDS; i++)
        cu_write((typename pack::word *)(void *)at + i, word[i]);
}

// The same in float.
template <int N, typename T> CU_INLINE void cu_load(float *into, const T *at)
{
    T item[N];
    cu_take<N>(item, at);
    CU_UNROLL
    for (int i = 0; i < N; i++)
        into[i] = cu_to_float(item[i]);
}

template <int N, typename T> CU_INLINE void cu_store(T *at, const float *from)
{
    T item[N];
    CU_UNROLL
    for (int i = 0; i < N; i++)
        item[i] = cu_from_float<T>(from[i]);
    cu_put<N>(at, item);
}

// Teams: LANES threads that share a task, for instance a row. A team is a warp, or a whole block.
// ----------------------------------------------------------------------------------------------

// A block of warps has room for four of them.
CU_BOTH int cu_team_threads(int lanes)
{
    return lanes == CU_WARP ? 4 * CU_WARP : lanes;
}

CU_BOTH int64_t cu_team_blocks(int lanes, int64_t teams)
{
    return cu_ceil(teams, cu_team_threads(lanes) / lanes);
}

template <int LANES> CU_INLINE int64_t cu_team()
{
    constexpr int TEAMS = cu_team_threads(LANES) / LANES;
    return (int64_t)blockIdx.x * TEAMS + threadIdx.x / LANES;
}

template <int LANES> CU_INLINE int cu_lane()
{
    return (int)threadIdx.x % LANES;
}

struct cu_plus {
    template <typename T> CU_MEMBER T operator()(T a, T b) const
    {
        return a + b;
    }
};

struct cu_larger { // a NaN in b is passed over
    template <typename T> CU_MEMBER T operator()(T a, T b) const
    {
        return b > a ? b : a;
    }
};

// All threads' x by `op`, in every thread and always in the same order: lanes of a warp pairwise, 16 apart, 8
// apart, ..., then the warps in ascending order. All threads of the team have to call it.
template <int LANES, typename T, typename F> CU_INLINE T cu_team_reduce(T x, F op)
{
    CU_UNROLL
    for (int apart = CU_WARP / 2; apart; apart /= 2)
        x = op(x, __shfl_xor_sync(0xffffffffu, x, apart));
    if constexpr (LANES > CU_WARP) {
        constexpr int WARPS = LANES / CU_WARP;
        static_assert(LANES % CU_WARP == 0 && WARPS <= 32, "a block of whole warps");
        __shared__ T warp[WARPS];
        if (threadIdx.x % CU_WARP == 0)
            warp[threadIdx.x / CU_WARP] = x;
        __syncthreads();
        x = warp[0];
        for (int w = 1; w < WARPS; w++)
            x = op(x, warp[w]);
        __syncthreads(); // `warp` may be used again
    }
    return x;
}

template <int LANES, typename T> CU_INLINE T cu_team_sum(T x)
{
    return cu_team_reduce<LANES>(x, cu_plus());
}

template <int LANES, typename T> CU_INLINE T cu_team_max(T x)
{
    return cu_team_reduce<LANES>(x, cu_larger());
}

#endif
