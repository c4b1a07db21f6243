// Tensors as they travel between stages: the codecs of <stagecc/transfer.h>, whose bits these have. A warp takes a block of
// RT_BLOCK elements, two neighbours a lane.
//
// A codec is a type:
//     code                                       what is sent for an element
//     static constexpr bool SCALED               its blocks have scales
//     static uint32_t scale(uint32_t largest)    of a block, as bits, by the bits of the largest magnitude
//     static code encode(float x)                of an element by the scale
//     static float decode(code c)
#ifndef STAGECC_CU_TRANSFER_H
#define STAGECC_CU_TRANSFER_H

#include <stagecc/cu.h>

#define inline __host__ __device__ __forceinline__
#include <stagecc/transfer_code.h>
#undef inline

struct cu_codec_bf16 {
    typedef uint16_t code;
    static constexpr bool SCALED = false;
    CU_MEMBER static uint32_t scale(uint32_t)
    {
        return 0;
    }
    CU_MEMBER static code encode(float x)
    {
        return rt_bf16_code(x);
    }
    CU_MEMBER static float decode(code c)
    {
        return rt_to_float(rt_bf16{c});
    }
};

struct cu_codec_f16 {
    typedef uint16_t code;
    static constexpr bool SCALED = true;
    CU_MEMBER static uint32_t scale(uint32_t largest)
    {
        return rt_f16_scale(largest);
    }
    CU_MEMBER static code encode(float x)
    {
        return rt_to_half(x);
    }
    CU_MEMBER static float decode(code c)
    {
        return rt_from_half(c);
    }
};

struct cu_codec_int8 {
    typedef int8_t code;
    static constexpr bool SCALED = true;
    CU_MEMBER static uint32_t scale(uint32_t largest)
    {
        return rt_int8_scale(largest);
    }
    CU_MEMBER static code encode(float x)
    {
        return rt_to_int8(x);
    }
    CU_MEMBER static float decode(code c)
    {
        return (float)c;
    }
};

// Where the codes of a message of n elements begin, in bytes.
template <typename Codec> CU_BOTH int64_t cu_codes_at(int64_t n)
{
    return Codec::SCALED ? rt_blocks(n) * (int64_t)sizeof(uint32_t) : 0;
}

// The elements of a lane: the first of them, and how many of two there are.
template <int N> CU_INLINE int cu_lane_elements(int64_t *at, int64_t n)
{
    static_assert(N == 2 && RT_BLOCK == N * CU_WARP, "a block a warp, two a lane");
    *at = cu_team<CU_WARP>() * RT_BLOCK + (int64_t)cu_lane<CU_WARP>() * N;
    return *at + N <= n ? N : *at < n ? (int)(n - *at) : 0;
}

template <typename Codec, typename T>
static __global__ void __launch_bounds__(cu_team_threads(CU_WARP))
    cu_encode_kernel(uint8_t *message, const T *x, int64_t n)
{
    constexpr int N = RT_BLOCK / CU_WARP;
    typedef typename Codec::code code;
    int64_t at;
    const int here = cu_lane_elements<N>(&at, n);
    float v[N] = {};
    if (here == N)
        cu_load<N>(v, x + at);
    else if (here)
        v[0] = cu_to_float(x[at]);
    uint32_t scale = 0;
    if constexpr (Codec::SCALED) {
        uint32_t largest = 0;
        CU_UNROLL
        for (int i = 0; i < N; i++)
            largest = cu_larger()(largest, rt_magnitude_bits(v[i]));
        scale = Codec::scale(cu_team_max<CU_WARP>(largest));
        if (here && cu_lane<CU_WARP>() == 0)
            ((uint32_t *)(void *)message)[at / RT_BLOCK] = scale;
        const float inverse = scale == RT_SIGNALLING_NAN ? 0 : 1 / rt_float(scale);
        CU_UNROLL
        for (int i = 0; i < N; i++)
            v[i] = scale == RT_SIGNALLING_NAN ? 0 : v[i] * inverse;
    }
    code c[N];
    CU_UNROLL
    for (int i = 0; i < N; i++)
        c[i] = Codec::encode(v[i]);
    code *to = (code *)(void *)(message + cu_codes_at<Codec>(n)) + at;
    if (here == N)
        cu_put<N>(to, c);
    else if (here)
        *to = c[0];
}

// x[n] -> message, of the bytes that transfer.h says.
template <typename Codec, typename T>
static void cu_encode(cudaStream_t stream, uint8_t *message, const T *x, int64_t n)
{
    CU_LAUNCH((cu_encode_kernel<Codec, T>), cu_team_blocks(CU_WARP, rt_blocks(n)),
              cu_team_threads(CU_WARP), stream, message, x, n);
}

template <typename Codec, typename T>
static __global__ void __launch_bounds__(cu_team_threads(CU_WARP))
    cu_decode_kernel(T *x, const uint8_t *message, int64_t n)
{
    constexpr int N = RT_BLOCK / CU_WARP;
    typedef typename Codec::code code;
    int64_t at;
    const int here = cu_lane_elements<N>(&at, n);
    if (here == 0)
        return;
    const code *from = (const code *)(const void *)(message + cu_codes_at<Codec>(n)) + at;
    code c[N] = {};
    if (here == N)
        cu_take<N>(c, from);
    else
        c[0] = *from;
    float v[N];
    CU_UNROLL
    for (int i = 0; i < N; i++)
        v[i] = Codec::decode(c[i]);
    if constexpr (Codec::SCALED) {
        const float scale = rt_float(((const uint32_t *)(const void *)message)[at / RT_BLOCK]);
        CU_UNROLL
        for (int i = 0; i < N; i++)
            v[i] *= scale;
    }
    if (here == N)
        cu_store<N>(x + at, v);
    else
        x[at] = cu_from_float<T>(v[0]);
}

// Back to x[n], as nearly as the codec keeps it. The bits of a NaN are the device's.
template <typename Codec, typename T>
static void cu_decode(cudaStream_t stream, T *x, const uint8_t *message, int64_t n)
{
    CU_LAUNCH((cu_decode_kernel<Codec, T>), cu_team_blocks(CU_WARP, rt_blocks(n)),
              cu_team_threads(CU_WARP), stream, x, message, n);
}

#endif
