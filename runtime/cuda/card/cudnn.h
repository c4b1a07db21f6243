// cuDNN's graph API, loaded when a program starts: `cudnn.BackendFinalize(…)` is cudnnBackendFinalize. And the card for
// which plans are made, which need not be there.
#ifndef STAGECC_CUDA_CUDNN_H
#define STAGECC_CUDA_CUDNN_H

#include "runtime/rt.h"

#include <cudnn.h>

typedef struct Cudnn {
#define FUNCTION(name) __typeof__(&cudnn##name) name;
#include "runtime/cuda/card/cudnn.def"
#undef FUNCTION
} Cudnn;

extern Cudnn cudnn; // filled by rt__dnn_open

typedef cudnnBackendDescriptor_t DnnDesc;

typedef struct Dnn {
    cudnnHandle_t handle; // of the thread's device; NULL: plans are made, and nothing runs
    DnnDesc properties;   // of a card that is not there; NULL: that of the handle
    void *stream;         // in which the handle works: a cudaStream_t
} Dnn;

// properties: of a card, as cuDNN writes them in JSON (CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION); NULL: the thread's
// device. RT_E_ENVIRONMENT: no library, an old one, or no device.
int rt__dnn_open(rt_stage *s, Dnn *d, const char *properties);
void rt__dnn_close(Dnn *d);

#endif
