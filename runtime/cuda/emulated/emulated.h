// What the naive library calls share.
#ifndef STAGECC_EMULATED_H
#define STAGECC_EMULATED_H

#include <stagecc/cuda.h>

#include "runtime/cuda/private/shared.h"
#include "runtime/rt.h"

#include <math.h>

static inline const rt_kernel *rt__emulated_row(const rt_stage *s, int kernel)
{
    const rt_cuda_kernels *kernels = rt__cuda_kernels(s);
    return &kernels->rows[kernel];
}

float *rt__emulated_sums(rt_stage *s, int64_t n); // room for so many; NULL: rt_fail

// Of operands in the order of calls, and of the result.
static inline rt_dtype rt__emulated_type(const rt_kernel *k, int operand)
{
    return k->types[operand] ? k->types[operand] : RT_F32;
}

// Element i of a tensor of this type; beside: the other operand's. Beside bf16, libraries round a weight in float.
static inline double rt__emulated_element(const void *at, rt_dtype type, rt_dtype beside,
                                          int64_t i)
{
    if (type == RT_BF16)
        return (double)rt_to_float(((const rt_bf16 *)at)[i]);
    float x = ((const float *)at)[i];
    return (double)(beside == RT_BF16 ? rt_to_float(rt_to_bf16(x)) : x);
}

static inline void rt__emulated_store(void *at, rt_dtype type, int64_t i, double sum)
{
    if (type == RT_BF16)
        ((rt_bf16 *)at)[i] = rt_to_bf16((float)sum);
    else
        ((float *)at)[i] = (float)sum;
}

// A sum, as a row's epilogue makes a result of it.
static inline double rt__emulated_finish(rt_epilogue epilogue, double x)
{
    switch (epilogue) {
    case RT_RELU: return x > 0 || x != x ? x : 0;
    case RT_SUMS: return x;
    case RT_GELU:
    case RT_GELU_AUX:
        return x / 2 * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    }
    return x;
}

#endif
