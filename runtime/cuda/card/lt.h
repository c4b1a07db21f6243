// cublasLt, loaded when a program starts: `lt.Matmul(…)` is cublasLtMatmul. And a product as it is described to it, for
// products.c, which makes and runs them, and algorithms.c, which chooses how.
#ifndef STAGECC_CUDA_LT_H
#define STAGECC_CUDA_LT_H

#include "runtime/plain.h"

#include <cublasLt.h>

typedef struct Lt {
#define FUNCTION(name) __typeof__(&cublasLt##name) name;
#include "runtime/cuda/card/cublaslt.def"
#undef FUNCTION
} Lt;

extern Lt lt; // filled by rt__products_open

// Bytes that all tensors of products begin at a multiple of.
enum { RT__PRODUCT_ALIGN = 16 };

// Operands in the library's order: c' = left right.
enum { LEFT, RIGHT, OUT, N_OPERANDS };

typedef struct Product { // of one row; none where desc is NULL
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t layout[N_OPERANDS];
    cublasLtMatmulAlgo_t algorithm;
    size_t workspace;
    int64_t calls,
        step[N_OPERANDS]; // one call takes a stride of batches; bytes from one call to the next
    int64_t
        moves; // bytes from one step of an LSTM to the next, of the right operand; 0: it is none
    cublasLtMatrixLayout_t more; // of what is added, where that lies otherwise than the result
    float add;
    bool bare; // the library leaves bias and epilogue to somebody else
} Product;

#endif
