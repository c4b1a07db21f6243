// From a tensor of a file to one of the program: shapes are compared, dtypes converted.
#ifndef STAGECC_RUNTIME_TENSOR_LOAD_H
#define STAGECC_RUNTIME_TENSOR_LOAD_H

#include "runtime/safetensors.h"

// Same shape and same dtype? 0 or RT__INPUT; `path` is for the message.
int rt__tensor_same(const rt__st_tensor *saved, const rt_tensor *t, const char *path,
                    rt__why *why);
// Same shape, and a dtype that converts: F32, F64, BF16 and F16 among each other, else the same.
int rt__tensor_fits(const rt__st_tensor *saved, const rt_tensor *t, const char *path,
                    rt__why *why);
// How much room rt__tensor_load needs for any tensor of m.
size_t rt__tensor_room(const rt__memory *m);
// The tensor must fit. 0, or RT__ENVIRONMENT from the backend.
int rt__tensor_load(const rt__st_tensor *saved, const rt__memory *m, const rt_tensor *t,
                    void *room, rt__why *why);

#endif
