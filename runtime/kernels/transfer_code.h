// The codes of <stagecc/transfer.h>, one element at a time, and the scale of a block by its largest element: what all
// backends share, on devices as well. Codes are without branches, so that loops over them become vector code.
#ifndef STAGECC_RUNTIME_TRANSFER_CODE_H
#define STAGECC_RUNTIME_TRANSFER_CODE_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include <stagecc/bf16.h>
#include <stagecc/math.h>

enum { RT_BLOCK = 64 };
#define RT_SIGNALLING_NAN 0x7fa00000u
#define RT_INFINITY 0x7f800000u

static inline int64_t rt_blocks(int64_t n)
{
    return (n + RT_BLOCK - 1) / RT_BLOCK;
}

// Magnitudes as bits: as integers they are ordered alike, what is not finite on top.
static inline uint32_t rt_magnitude_bits(float x)
{
    return rt_bits(x) & 0x7fffffffu;
}

// bf16: the upper half of a float; as everywhere, but that NaN signals.
static inline uint16_t rt_bf16_code(float x)
{
    bool nan = rt_magnitude_bits(x) > RT_INFINITY;
    return nan ? (uint16_t)(RT_SIGNALLING_NAN >> 16) : rt_to_bf16(x).bits;
}

// Scales of blocks, as bits; that of one with an element that is not finite is NaN, and its codes are 0. Elements are
// multiplied by 1 / scale.
// ---------------------------------------------------------------------------------------------

// f16: a power of 2 whose inverse is exact; magnitudes then are below 2^15.
static inline uint32_t rt_f16_scale(uint32_t largest)
{
    uint32_t exponent = largest >> 23;
    if (largest >= RT_INFINITY)
        return RT_SIGNALLING_NAN;
    return (exponent > 15 ? exponent - 14 : 1) << 23;
}

// int8: none is so large that 127 of it are not finite.
static inline uint32_t rt_int8_scale(uint32_t largest)
{
    if (largest >= RT_INFINITY) // and is not computed with: that would raise flags
        return RT_SIGNALLING_NAN;
    return rt_bits(
        rt_at_most(rt_at_least(rt_float(largest) / 127, 0x1p-126f), 0x1.020406p+121f));
}

// Codes of scaled elements
// ---------------------------------------------------------------------------------------------

// Below 2^-14 the steps of a half are those of a float in [0.5, 1), so adding 0.5 rounds.
static inline uint16_t rt_to_half(float x)
{
    uint32_t sign = rt_bits(x) >> 16 & 0x8000u, bits = rt_magnitude_bits(x);
    uint32_t normal = (bits - 0x38000000u + 0xfffu + (bits >> 13 & 1)) >> 13;
    uint32_t small = rt_bits(rt_float(bits) + 0.5f) - 0x3f000000u;
    return (uint16_t)(sign | (bits < 0x38800000u ? small : normal));
}

static inline float rt_from_half(uint16_t code)
{
    uint32_t sign = (uint32_t)(code & 0x8000u) << 16, bits = code & 0x7fffu;
    uint32_t normal = (bits << 13) + 0x38000000u;
    uint32_t small = rt_bits(rt_float(bits + 0x3f000000u) - 0.5f);
    return rt_float(sign | (bits < 0x400u ? small : normal));
}

static inline int8_t rt_to_int8(float x)
{
    return (int8_t)(int32_t)rintf(x);
}

#endif
