// Causal attention of the cuda backend, by cuDNN: softmax(scale q k^T) v for every head, where a position sees itself and
// those before it. All tensors are bf16, [N,T,heads,size] in memory (so a linear layer's result of heads x size columns is
// one), but for lse, which is float [N,heads,T]: the logarithm of the sum of every row's exponentials.
#ifndef STAGECC_CUDA_ATTENTION_H
#define STAGECC_CUDA_ATTENTION_H

#include "runtime/cuda/card/graphs.h"

typedef struct DnnAttention {
    int64_t n, heads, t, size;
    float scale;
} DnnAttention;

// Numbers of the tensors. Forward reads q, k, v and writes o and lse; backward reads these and do and writes dq, dk, dv.
enum { DNN_Q = 1, DNN_K, DNN_V, DNN_O, DNN_LSE, DNN_DO, DNN_DQ, DNN_DK, DNN_DV };

// implementation: as DnnWish has it. RT_E_KERNEL.
int rt__dnn_attention(const DnnMaker *m, const DnnAttention *a, const char *implementation,
                      DnnKernel *k);
// The same bits every time; that costs n heads t t 2 bytes of workspace.
int rt__dnn_attention_grad(const DnnMaker *m, const DnnAttention *a, const char *implementation,
                           DnnKernel *k);

#endif
