#include "runtime/cuda/card/cudnn.h"

#include "runtime/cuda/card/library.h"

#include <string.h>

Cudnn cudnn;

#define NAME(major) "libcudnn.so." #major
#define FILE_OF(major) NAME(major)

// The first whose attention knows lengths that are no multiple of 128, without a mask of their own.
enum { LEAST_VERSION = 91600 };

static int load(rt_stage *s)
{
    static const CudaLibrary library = {FILE_OF(CUDNN_MAJOR), "cuDNN 9.16"};
    static const CudaFunction functions[] = {
#define FUNCTION(name) {"cudnn" #name, offsetof(Cudnn, name)},
#include "runtime/cuda/card/cudnn.def"
#undef FUNCTION
    };
    Cudnn found;
    if (cudnn.GetVersion)
        return 0;
    int error =
        rt__cuda_load(s, &library, functions, sizeof functions / sizeof *functions, &found);
    if (error)
        return error;
    if (found.GetVersion() < LEAST_VERSION)
        return rt_fail(s, RT_E_ENVIRONMENT,
                       "%s is version %zu: it is older than %s, which this program wants",
                       library.file, found.GetVersion(), library.package);
    cudnn = found;
    return 0;
}

static cudnnStatus_t take_properties(Dnn *d, const char *json)
{
    cudnnStatus_t bad =
        cudnn.BackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &d->properties);
    if (!bad)
        bad =
            cudnn.BackendSetAttribute(d->properties, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION,
                                      CUDNN_TYPE_CHAR, (int64_t)strlen(json), json);
    return bad ? bad : cudnn.BackendFinalize(d->properties);
}

int rt__dnn_open(rt_stage *s, Dnn *d, const char *properties)
{
    *d = (Dnn){0};
    int error = load(s);
    if (error)
        return error;
    cudnnStatus_t bad = properties ? take_properties(d, properties) : cudnn.Create(&d->handle);
    if (!bad)
        return 0;
    char why[256] = "";
    cudnn.GetLastErrorString(why, sizeof why);
    rt__dnn_close(d);
    return rt_fail(s, RT_E_ENVIRONMENT, "cuDNN %zu does not take %s: %s: %s",
                   cudnn.GetVersion(), properties ? "the properties of a card" : "the device",
                   cudnn.GetErrorString(bad), why);
}

void rt__dnn_close(Dnn *d)
{
    if (d->handle)
        cudnn.Destroy(d->handle);
    if (d->properties)
        cudnn.BackendDestroyDescriptor(d->properties);
    *d = (Dnn){0};
}
