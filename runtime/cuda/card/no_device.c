// Apart from card.c, since stagecc-card has no kernels of a program.
#include "runtime/cuda/card/no_device.h"

const char *rt__card_why_none(cudaError_t status)
{
    int driver = 0;
    cudaDriverGetVersion(&driver);
    if (!driver)
        return "there is no driver (nvidia-smi shows what there is)";
    if (status && status != cudaErrorNoDevice)
        return cudaGetErrorString(status);
    return "the driver shows none (is CUDA_VISIBLE_DEVICES set?)";
}
