// A builder of cuDNN's operation graphs. Tensors come from the functions below; an operation adds itself to the graph and
// returns the tensor that it writes, so that graphs read like formulas:
//
//     DnnDesc s = rt__dnn_product(p, q, k_turned, rt__dnn_tensor(p, CUDNN_DATA_FLOAT, scores, 0));
//
// Nobody has to look at every step: after the first thing that goes wrong nothing is done any more, and it is told at
// the end.
#ifndef STAGECC_CUDA_OPERATIONS_H
#define STAGECC_CUDA_OPERATIONS_H

#include "runtime/cuda/card/cudnn.h"
#include "runtime/kernels/dnnl.h"

enum { DNN_MOST_PARTS = 128, DNN_MOST_OPS = 32, DNN_MOST_REAL = 16 };

// The descriptors of one graph.
typedef struct DnnParts {
    const Dnn *dnn;
    DnnDesc made[DNN_MOST_PARTS];
    int n_made;
    DnnDesc ops[DNN_MOST_OPS];
    int n_ops;
    int64_t real[DNN_MOST_REAL]; // numbers of the tensors that whoever runs the graph hands in
    int n_real;
    cudnnStatus_t bad;
    char why[320]; // "convolution: CUDNN_STATUS_BAD_PARAM: …"
} DnnParts;

void rt__dnn_begin(DnnParts *p, const Dnn *d);
void rt__dnn_drop(DnnParts *p); // destroys all of them

// Descriptors, for what has no function here
DnnDesc rt__dnn_part(DnnParts *p, cudnnBackendDescriptorType_t type);
void rt__dnn_set(DnnParts *p, DnnDesc d, cudnnBackendAttributeName_t name,
                 cudnnBackendAttributeType_t type, int64_t n, const void *values);
void rt__dnn_set_desc(DnnParts *p, DnnDesc d, cudnnBackendAttributeName_t name, DnnDesc value);
void rt__dnn_set_int(DnnParts *p, DnnDesc d, cudnnBackendAttributeName_t name, int64_t value);
DnnDesc rt__dnn_done(DnnParts *p, DnnDesc d, const char *what);
// "WHAT: STATUS: the library's last words".
void rt__dnn_say(DnnParts *p, const char *what, cudnnStatus_t status);

// Tensors
typedef struct DnnShape {
    int64_t dim[4], stride[4]; // in elements
} DnnShape;

DnnShape rt__dnn_plain(int64_t a, int64_t b, int64_t c, int64_t d); // row-major
DnnShape rt__dnn_channels_last(int64_t n, int64_t c, int64_t h, int64_t w);
DnnShape rt__dnn_turned(DnnShape s); // the last two dimensions exchanged, in the same memory

// number: from 1, of a tensor that is handed in, at a multiple of 16 bytes; 0: it lives within the graph.
DnnDesc rt__dnn_tensor(DnnParts *p, cudnnDataType_t type, DnnShape shape, int number);
// A float that is handed in by a pointer to the host's memory.
DnnDesc rt__dnn_scalar(DnnParts *p, int number);

// Operations; all compute in float
DnnDesc rt__dnn_convolution(DnnParts *p, rt_kernel_op op, const rt_conv *c, DnnDesc x,
                            DnnDesc w,
                            DnnDesc y); // which of the three is written says `op`
DnnDesc rt__dnn_product(DnnParts *p, DnnDesc a, DnnDesc b, DnnDesc y);
// y = mode(a, b), or mode(a) where b is NULL.
DnnDesc rt__dnn_pointwise(DnnParts *p, cudnnPointwiseMode_t mode, DnnDesc a, DnnDesc b,
                          DnnDesc y);
DnnDesc rt__dnn_compare(DnnParts *p, cudnnPointwiseMode_t mode, DnnDesc a, DnnDesc b,
                        DnnDesc y);
DnnDesc rt__dnn_select(DnnParts *p, DnnDesc condition, DnnDesc a, DnnDesc b, DnnDesc y);
DnnDesc rt__dnn_index(DnnParts *p, int64_t axis, DnnDesc like, DnnDesc y);
DnnDesc rt__dnn_reduce(DnnParts *p, cudnnReduceTensorOp_t op, DnnDesc x, DnnDesc y);
DnnDesc rt__dnn_reshape(DnnParts *p, DnnDesc x, DnnDesc y);
// For every channel of x the sum and the sum of squares; they are written, and x is given back.
DnnDesc rt__dnn_sums(DnnParts *p, DnnDesc x, DnnDesc sum, DnnDesc squares);

// Of all operations, in the order in which they were added.
DnnDesc rt__dnn_graph(DnnParts *p);

#endif
