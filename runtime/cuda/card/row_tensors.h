// The tensors of a row of rt_program.kernels, where they have memory of their own.
#ifndef STAGECC_CUDA_ROW_TENSORS_H
#define STAGECC_CUDA_ROW_TENSORS_H

#include "runtime/cuda/card/graphs.h"

// Numbers of a product's; those of others are in convolutions.h and attention.h.
enum { PRODUCT_A = 1, PRODUCT_B, PRODUCT_BIAS, PRODUCT_C, PRODUCT_AUX };

typedef struct rt__row_tensors {
    int64_t at
        [DNN_TENSORS]; // where each begins, by its number from 1: bytes, multiples of 256; -1: there is none
    int64_t read, written; // bytes: what a call reads comes first, behind it what it writes
} rt__row_tensors;

int64_t rt__conv_weight(const rt_conv *c); // its elements
// How far a product's matrix goes, in elements from the first to behind the last; operand: PRODUCT_A, _B or _C.
int64_t rt__product_reach(const rt_product *p, int operand);
// A weight that the library reads as a bf16 copy has the room of the original.
rt__row_tensors rt__row_tensors_of(const rt_kernel *k);

#endif
