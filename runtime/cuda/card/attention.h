// Attention of the cuda backend, by cuDNN, as a row of rt_program.kernels says it (rt_heads). All tensors are bf16, but lse
// is float.
#ifndef STAGECC_CUDA_ATTENTION_H
#define STAGECC_CUDA_ATTENTION_H

#include "runtime/cuda/card/graphs.h"

// Numbers of the tensors. Forward reads q, k, v and writes o and lse; backward reads these and do and writes dq, dk, dv.
enum { DNN_Q = 1, DNN_K, DNN_V, DNN_O, DNN_LSE, DNN_DO, DNN_DQ, DNN_DK, DNN_DV };

DnnWish rt__dnn_attention_wish(const rt_kernel *row); // as rt__dnn_wish

// One row, forward or gradient. The gradient has the same bits every time; that costs n heads t t 2 bytes of workspace.
// Where the library has no kernel, k->n_plans is 0, and there is a warning. 0, always.
int rt__dnn_attention(const DnnMaker *m, const rt_kernel *row, DnnKernel *k);

#endif
