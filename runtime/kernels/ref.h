// The kernels of the ref backend: portable C without any library, slow and obviously right. A program
// defines REAL as float or double and includes this file. Tensors are row-major, sizes come as
// arguments. Every sum is taken in double in ascending order of its indices and rounded once, so its
// bits depend on nothing but its terms.
#ifndef STAGECC_REF_H
#define STAGECC_REF_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <stagecc/random.h>
#include <stagecc/stage.h>
#include <stagecc/transfer.h>

typedef REAL real;

// A function of its own for readers, debuggers and quick compilers alike.
#define REF static __attribute__((noinline, unused))

enum { REF_ROW = 64 }; // sums that are taken side by side

#include <stagecc/ref_attention.h>
#include <stagecc/ref_elementwise.h>
#include <stagecc/ref_heads.h>
#include <stagecc/ref_loss.h>
#include <stagecc/ref_matrix.h>

#include <stagecc/ref_lstm.h> // uses products

#include <stagecc/ref_normal.h>
#include <stagecc/ref_shape.h>
#include <stagecc/ref_transfer.h>
#include <stagecc/ref_update.h>
#include <stagecc/ref_window.h>

#endif
