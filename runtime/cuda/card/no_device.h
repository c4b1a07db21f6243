#ifndef STAGECC_CUDA_NO_DEVICE_H
#define STAGECC_CUDA_NO_DEVICE_H

#include <cuda_runtime_api.h>

// Why there is none, after what cudaGetDeviceCount has said: one sentence, without a full stop.
const char *rt__card_why_none(cudaError_t status);

#endif
