// Convolutions of the cuda backend, by cuDNN. Everything about a row of rt_program.kernels is settled when a program
// starts; a call puts it into the stream.
//
// Images and weights lie as channels_last of the row says, else plain; blocks there are none. Where images are bf16, so
// are the weight that the library reads and the gradient of the weight that it writes: who calls narrows and widens. A
// bias is float.
// Products are added up in float. Those of floats are exact unless the program says tf32.
#ifndef STAGECC_CUDA_CONVOLUTIONS_H
#define STAGECC_CUDA_CONVOLUTIONS_H

#include "runtime/cuda/card/graphs.h"

// Numbers of a convolution's tensors: the image or its gradient, the weight or its gradient, the result or its gradient,
// the bias; sums of the result and of its squares.
enum { DNN_X = 1, DNN_W, DNN_Y, DNN_B, DNN_SUM, DNN_SQUARES };

// One row. RT_E_KERNEL.
int rt__dnn_convolution_kernel(const DnnMaker *m, const rt_kernel *row, DnnKernel *k);

// What a row asks of the library, convolution or attention: all that the wish points to is the row's. n_forms is 0: nothing.
DnnWish rt__dnn_wish(const rt_kernel *row, bool tf32);

// Whose plans are: of this library and this card, as files of them say it.
enum { DNN_WHOSE = 384 };
void rt__dnn_whose(char whose[DNN_WHOSE], const char *card);

typedef struct rt__convolutions rt__convolutions;

typedef struct rt__convolutions_options {
    const char *
        properties; // of a card that is not there, as rt__dnn_open has it; NULL: the thread's device
    const char *plans;  // file of plans that are kept (plans.h); NULL: none
    const char *folder; // of more of them, where new ones go then (plan_folder.h); NULL: none
    const char *card;   // which card it is, for both: "NVIDIA H200"
    bool tf32;
} rt__convolutions_options;

// Of all rows that are convolutions or attention. 0 or an rt_error: RT_E_ENVIRONMENT, RT_E_MEMORY, RT_E_KERNEL. Plans
// that cannot be read or written are a warning.
int rt__convolutions_open(rt_stage *s, const rt_kernel *rows, int n_rows,
                          const rt__convolutions_options *o, rt__convolutions **made);
void rt__convolutions_close(rt__convolutions *made); // NULL is fine

const DnnKernel *rt__convolutions_kernel(const rt__convolutions *made, int row);
int64_t rt__convolutions_workspace(const rt__convolutions *made); // bytes: the most of any call
// Of a row with RT_SUMS: is there an engine that adds up?
bool rt__convolutions_sums(const rt__convolutions *made, int row);

// A row's call, with its tensors by number. workspace: as much as that, at a multiple of 256. RT_E_KERNEL by rt_fail.
void rt__convolutions_run(rt_stage *s, rt__convolutions *made, int row,
                          void *const tensors[DNN_TENSORS], void *workspace, void *stream);

#endif
