// Large matrix products by Strassen's algorithm. Not installed.
#ifndef STAGECC_RUNTIME_STRASSEN_H
#define STAGECC_RUNTIME_STRASSEN_H

#include "runtime/kernels/dnnl.h"

#include <stdbool.h>
#include <stddef.h>

// Whether this build and this processor can compute the product.
bool rt__strassen_suits(const rt_product *p);
size_t rt__strassen_scratch(int threads); // bytes

typedef struct StrassenCall {
    const rt_product *p;
    const float *a, *b, *bias; // bias may be NULL
    float *c, *scratch;        // scratch begins at a multiple of 64 bytes
    int threads;
} StrassenCall;

void rt__strassen(const StrassenCall *call);

#endif
