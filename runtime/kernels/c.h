// The kernels of the c backend, beside those of the library (<stagecc/dnnl.h>). A program defines
// C_THREADS and includes this file. Everything is float; sums are taken in double, in an order that
// depends on sizes and the width of vectors only: threads share out results, never the terms of one.
#ifndef STAGECC_C_H
#define STAGECC_C_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

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

#include <stagecc/c_attention.h>
#include <stagecc/c_elementwise.h>
#include <stagecc/c_loss.h>
#include <stagecc/c_lstm.h>
#include <stagecc/c_norm.h>
#include <stagecc/c_shape.h>
#include <stagecc/c_transfer.h>
#include <stagecc/c_update.h>

#endif
