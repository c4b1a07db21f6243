// The kernels of the c backend, beside those of the library (<stagecc/dnnl.h>). A program defines
// C_THREADS and includes this file. Elements are float, or bf16 where a kernel's name says so, and computing is
// in float; sums are taken in double, in an order that depends on sizes and the width of vectors only:
// threads share out results, never the terms of one.
#ifndef STAGECC_C_H
#define STAGECC_C_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <stagecc/bf16.h>
#include <stagecc/math.h>
#include <stagecc/random.h>
#include <stagecc/stage.h>
#include <stagecc/transfer.h>

#define C_KERNEL static __attribute__((noinline, unused))
#define C_INLINE static inline __attribute__((unused))

// In front of a loop whose rounds are independent of each other.
#define C_SIMD _Pragma("omp simd")
#if C_THREADS > 1
#define C_PARALLEL _Pragma("omp parallel for num_threads(C_THREADS) schedule(static)")
#else
#define C_PARALLEL
#endif

#include <stagecc/c_vector.h>

#include <stagecc/c_norm.h>

enum { C_TILE = 16, C_CHUNK = 512, C_ROW_CHUNK = 512, C_TERMS = 256 };

// count[0] x count[1] planes of rows; y and x: how far apart planes and rows are.
typedef struct c_planes {
    int64_t count[2], rows;
    int64_t y[3], x[3];
} c_planes;

// The kernels that are there for both types of elements, c_softmax and c_softmax_bf16: what such an element is
// called, how a kernel is, how an element is read and made.
#define C_REAL float
#define C_T(name) name
#define C_GET(x) (x)
#define C_PUT(x) (x)
#include <stagecc/c_typed.h>
#undef C_REAL
#undef C_T
#undef C_GET
#undef C_PUT

#define C_REAL rt_bf16
#define C_T(name) name##_bf16
#define C_GET(x) rt_to_float(x)
#define C_PUT(x) rt_to_bf16(x)
#include <stagecc/c_typed.h>
#undef C_REAL
#undef C_T
#undef C_GET
#undef C_PUT

#include <stagecc/c_attention.h>
#include <stagecc/c_elementwise.h>
#include <stagecc/c_embedding.h>
#include <stagecc/c_lstm.h>
#include <stagecc/c_transfer.h>
#include <stagecc/c_update.h>

#endif
