// Libraries of CUDA, loaded when a program starts: it links the CUDA runtime alone, and runs where the libraries lie in
// the toolkit, among the system's, or in Python's packages.
#ifndef STAGECC_CUDA_LIBRARY_H
#define STAGECC_CUDA_LIBRARY_H

#include "runtime/rt.h"

typedef struct CudaLibrary {
    const char *file;    // "libcublasLt.so.13"
    const char *package; // "cuBLAS 13"
} CudaLibrary;

// A function of the library, and where in a table its pointer goes.
typedef struct CudaFunction {
    const char *symbol;
    size_t offset;
} CudaFunction;

bool rt__cuda_has(const CudaLibrary *library);
// Fills the table. RT_E_ENVIRONMENT: the message names what is missing, where it was looked for, and what to do.
int rt__cuda_load(rt_stage *s, const CudaLibrary *library, const CudaFunction *functions,
                  size_t n, void *table);

#endif
