// bfloat16: the upper half of a float. Programs, files and messages all convert by these two functions.
// Both are integer operations without branches, so that loops over them become vector code.
#ifndef STAGECC_RUNTIME_BF16_H
#define STAGECC_RUNTIME_BF16_H

#include <stdint.h>
#include <string.h>

// A struct, so that nobody computes with the bits by mistake.
typedef struct rt_bf16 {
    uint16_t bits;
} rt_bf16;

static inline float rt_to_float(rt_bf16 x)
{
    uint32_t bits = (uint32_t)x.bits << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

// To the nearest, of two equally near ones to the even one; a NaN stays one, and becomes quiet.
static inline rt_bf16 rt_to_bf16(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1), quiet = bits | 0x400000;
    bits = (bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded;
    return (rt_bf16){(uint16_t)(bits >> 16)};
}

#endif
