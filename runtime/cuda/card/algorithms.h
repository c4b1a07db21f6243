// Which of the library's algorithms multiplies. Without a name that is the first of its heuristics, which depends on the
// product, the library and the card alone.
#ifndef STAGECC_CUDA_ALGORITHMS_H
#define STAGECC_CUDA_ALGORITHMS_H

#include "runtime/cuda/card/lt.h"

// Room for an algorithm's name, "lt 13.1 7f03…": the version of the library, and the 64 bytes that it is.
enum { LT_NAME = 192, LT_MOST_NAMES = 16 };

// The first of its heuristics, at most `most` of them: those that add up in one order, with at most RT__PRODUCT_WORKSPACE.
// *n: how many. CUBLAS_STATUS_NOT_SUPPORTED: there is none.
cublasStatus_t rt__lt_find(cublasLtHandle_t handle, const Product *p,
                           cublasLtMatmulHeuristicResult_t *found, int most, int *n);
// That becomes the product's.
void rt__lt_take(Product *p, const cublasLtMatmulHeuristicResult_t *found);

void rt__lt_name(const cublasLtMatmulAlgo_t *algorithm, char name[LT_NAME]);
// The one of this name becomes the product's; false: it is of another version, or the library does not take it here.
bool rt__lt_take_named(cublasLtHandle_t handle, Product *p, const char *name);

#endif
