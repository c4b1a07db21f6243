// Large matrix products by Strassen's algorithm. Not installed.
#ifndef STAGECC_RUNTIME_STRASSEN_H
#define STAGECC_RUNTIME_STRASSEN_H

#include "runtime/kernels/dnnl.h"

#include <stdbool.h>
#include <stddef.h>

// Whether this build and this processor can compute the product.
bool rt__strassen_suits(const rt_product *p);
size_t rt__strassen_scratch(int threads); // bytes

// scratch begins at a multiple of 64 bytes; bias may be NULL.
void rt__strassen(const rt_product *p, const float *a, const float *b, const float *bias,
                  float *c, float *scratch, int threads);

#endif
