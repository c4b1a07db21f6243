// Element-wise ops, one element at a time and in float: those of the c backend (c_relu, c_gelu_grad,
// c_dropout, ...), on the device. Their text is the same, and with -fmad=false (docs/cuda.md) so are their bits. A
// kernel around them reads and writes packs of cu_width elements.
#ifndef STAGECC_CU_ELEMENTWISE_H
#define STAGECC_CU_ELEMENTWISE_H

#include <stagecc/cu.h>

#define C_INLINE CU_INLINE
#include <stagecc/c_elementwise.h>
#undef C_INLINE

#endif
