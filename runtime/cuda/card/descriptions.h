// What the library is told of a product: operands, types, epilogue.
#ifndef STAGECC_CUDA_DESCRIPTIONS_H
#define STAGECC_CUDA_DESCRIPTIONS_H

#include "runtime/cuda/card/lt.h"
#include "runtime/cuda/card/products.h"

// 0 or an rt_error; whoever has the product drops it, either way.
int rt__lt_describe(rt_stage *s, const rt_kernel *k, Product *to);
void rt__lt_drop(Product *p);
cublasLtMatrixLayout_t rt__lt_added(const Product *p); // of what is added to the product
// Bias and what an epilogue writes beside c are pointers of the description.
cublasStatus_t rt__lt_point(const Product *p, const rt_kernel *k, const rt__operands *of);

// RT_E_KERNEL by rt_fail: what of the row went wrong, and how.
int rt__lt_bad(rt_stage *s, const rt_kernel *k, const char *what, cublasStatus_t status);

#endif
