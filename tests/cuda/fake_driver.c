// A driver without a card, for cuDNN alone. It loads a driver's functions by name, wants to find them all, and calls few
// to make a plan: those that load kernels which it has compiled, and ask about them. All others refuse. If a newer cuDNN
// looks for more, it says so ("Could not load symbol"), and they belong into the list.
#include <stddef.h>

// Parameters are as in the driver's documentation as far as they are looked at.
#define REFUSES(name)                                                                          \
    int name(void);                                                                            \
    int name(void)                                                                             \
    {                                                                                          \
        return 34; /* CUDA_ERROR_STUB_LIBRARY */                                               \
    }
#define AGREES(name)                                                                           \
    int name(void);                                                                            \
    int name(void)                                                                             \
    {                                                                                          \
        return 0;                                                                              \
    }
#define GIVES_ONE(name)                                                                        \
    int name(int *out);                                                                        \
    int name(int *out)                                                                         \
    {                                                                                          \
        *out = 1;                                                                              \
        return 0;                                                                              \
    }
#define GIVES_A_THING(name)                                                                    \
    int name(void **out);                                                                      \
    int name(void **out)                                                                       \
    {                                                                                          \
        *out = &thing;                                                                         \
        return 0;                                                                              \
    }

static char thing; // a library, a kernel: nobody looks into it

AGREES(cuInit)
GIVES_A_THING(cuLibraryLoadData)
GIVES_A_THING(cuLibraryGetKernel)
AGREES(cuLibraryUnload)
GIVES_ONE(cuKernelGetAttribute)
AGREES(cuKernelSetAttribute)
GIVES_A_THING(cuModuleLoadData)
GIVES_A_THING(cuModuleLoadDataEx)
GIVES_A_THING(cuModuleGetFunction)
AGREES(cuModuleUnload)
GIVES_ONE(cuFuncGetAttribute)
AGREES(cuFuncSetAttribute)
GIVES_ONE(cuOccupancyMaxActiveBlocksPerMultiprocessor)
GIVES_ONE(cuOccupancyMaxPotentialClusterSize)

REFUSES(cuCtxGetCurrent)
REFUSES(cuCtxGetDevice)
REFUSES(cuCtxGetLimit)
REFUSES(cuCtxPopCurrent)
REFUSES(cuCtxPushCurrent)
REFUSES(cuDeviceGet)
REFUSES(cuDeviceGetAttribute)
REFUSES(cuDeviceGetCount)
REFUSES(cuDevicePrimaryCtxRelease)
REFUSES(cuDevicePrimaryCtxReset)
REFUSES(cuDevicePrimaryCtxRetain)
REFUSES(cuDriverGetVersion)
REFUSES(cuGetErrorName)
REFUSES(cuGetErrorString)
REFUSES(cuGetExportTable)
REFUSES(cuLaunchCooperativeKernel)
REFUSES(cuLaunchKernel)
REFUSES(cuLaunchKernelEx)
REFUSES(cuLibraryLoadFromFile)
REFUSES(cuLinkAddData)
REFUSES(cuLinkAddData_v2)
REFUSES(cuLinkAddFile_v2)
REFUSES(cuLinkComplete)
REFUSES(cuLinkCreate)
REFUSES(cuLinkCreate_v2)
REFUSES(cuLinkDestroy)
REFUSES(cuMemcpyDtoH_v2)
REFUSES(cuModuleGetGlobal_v2)
REFUSES(cuModuleLoadFatBinary)
REFUSES(cuStreamGetCtx)
REFUSES(cuStreamSynchronize)
REFUSES(cuTensorMapEncodeTiled)
