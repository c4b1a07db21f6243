// How tensors travel between stages in fewer bytes: the format, one for all backends. A message is the
// scales of its blocks of 64 elements, then a code for each element, in the order of memory.
//
//   codec  code     scale of a block                 off by at most; a: the largest magnitude of the block
//   bf16   2 bytes  -                                2^-8 |x|, or 2^-134
//   f16    2 bytes  4 bytes, a power of 2            2^-11 |x| + 2^-39 a, or 2^-149
//   int8   1 byte   4 bytes, a / 127 (or 2^-126)     a / 254 (1 + 2^-14), or 2^-127
//
// All round to nearest, ties to even, and depend on the block alone; a float within such an error of the
// largest may become infinite in bf16 and f16. What is not finite stays so: in f16 and int8 all of its block becomes NaN. NaN is sent as one that signals, so that the first to compute
// with it raises the flag by which the runtime finds where numbers went wrong (runtime/guard.c).
#ifndef STAGECC_RUNTIME_TRANSFER_H
#define STAGECC_RUNTIME_TRANSFER_H

#include <string.h>

#include <stagecc/transfer_code.h>

// Bits of the largest magnitude.
static inline uint32_t rt_largest(const float *x, int n)
{
    uint32_t largest = 0;
    for (int i = 0; i < n; i++) {
        uint32_t bits = rt_magnitude_bits(x[i]);
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

// bf16: the upper half of a float
// ---------------------------------------------------------------------------------------------

static inline void rt_pack_bf16(uint16_t *restrict code, uint32_t *scale,
                                const float *restrict x, int n)
{
    (void)scale;
    for (int i = 0; i < n; i++)
        code[i] = rt_bf16_code(x[i]);
}

static inline void rt_unpack_bf16(float *restrict x, const uint16_t *restrict code,
                                  const uint32_t *scale, int n)
{
    (void)scale;
    for (int i = 0; i < n; i++)
        x[i] = rt_to_float((rt_bf16){code[i]});
}

// f16: a half of x / scale, whose magnitude is below 2^15
// ---------------------------------------------------------------------------------------------

static inline void rt_pack_f16(uint16_t *restrict code, uint32_t *restrict scale,
                               const float *restrict x, int n)
{
    *scale = rt_f16_scale(rt_largest(x, n));
    if (*scale == RT_SIGNALLING_NAN) {
        memset(code, 0, (size_t)n * sizeof *code);
        return;
    }
    float inverse = 1 / rt_float(*scale);
    for (int i = 0; i < n; i++)
        code[i] = rt_to_half(x[i] * inverse);
}

static inline void rt_unpack_f16(float *restrict x, const uint16_t *restrict code,
                                 const uint32_t *restrict scale, int n)
{
    float s = rt_float(*scale);
    for (int i = 0; i < n; i++)
        x[i] = rt_from_half(code[i]) * s;
}

// int8: x / scale
// ---------------------------------------------------------------------------------------------

static inline void rt_pack_int8(int8_t *restrict code, uint32_t *restrict scale,
                                const float *restrict x, int n)
{
    *scale = rt_int8_scale(rt_largest(x, n));
    if (*scale == RT_SIGNALLING_NAN) {
        memset(code, 0, (size_t)n);
        return;
    }
    float inverse = 1 / rt_float(*scale);
    for (int i = 0; i < n; i++)
        code[i] = rt_to_int8(x[i] * inverse);
}

static inline void rt_unpack_int8(float *restrict x, const int8_t *restrict code,
                                  const uint32_t *restrict scale, int n)
{
    float s = rt_float(*scale);
    for (int i = 0; i < n; i++)
        x[i] = (float)code[i] * s;
}

// Block b of a message of n elements; x is the block's. Whole blocks are of a size that compilers know.
// ---------------------------------------------------------------------------------------------

#define RT_CODEC(name, code_type, scale_bytes)                                                 \
    static inline void rt_encode_##name(void *message, const float *x, int64_t n, int64_t b)   \
    {                                                                                          \
        uint32_t *scale = (uint32_t *)message + b;                                             \
        code_type *code = (code_type *)((uint32_t *)message + rt_blocks(n) * scale_bytes / 4); \
        if (n - b * RT_BLOCK >= RT_BLOCK)                                                      \
            rt_pack_##name(code + b * RT_BLOCK, scale, x, RT_BLOCK);                           \
        else                                                                                   \
            rt_pack_##name(code + b * RT_BLOCK, scale, x, (int)(n - b * RT_BLOCK));            \
    }                                                                                          \
    static inline void rt_decode_##name(float *x, const void *message, int64_t n, int64_t b)   \
    {                                                                                          \
        const uint32_t *scales = message, *scale = scales + b;                                 \
        const code_type *code = (const code_type *)(scales + rt_blocks(n) * scale_bytes / 4);  \
        if (n - b * RT_BLOCK >= RT_BLOCK)                                                      \
            rt_unpack_##name(x, code + b * RT_BLOCK, scale, RT_BLOCK);                         \
        else                                                                                   \
            rt_unpack_##name(x, code + b * RT_BLOCK, scale, (int)(n - b * RT_BLOCK));          \
    }
RT_CODEC(bf16, uint16_t, 0)
RT_CODEC(f16, uint16_t, 4)
RT_CODEC(int8, int8_t, 4)
#undef RT_CODEC

#endif
