// What the files of the oneDNN binding share. Not installed.
#ifndef STAGECC_RUNTIME_DNNL_STATE_H
#define STAGECC_RUNTIME_DNNL_STATE_H

#include "runtime/kernels/dnnl.h"
#include "runtime/rt.h"

#include <dnnl.h>

enum { MAX_ARGS = 4, EVERY_PRODUCT = -1 };

// One tensor of a kernel: outside as the row says, inside as the library wants it. Mostly they are
// the same; else `reorder` copies between them, before the call or, for the result, behind it.
typedef struct Arg {
    int name; // DNNL_ARG_...
    bool result;
    dnnl_memory_t outside, inside; // the same object where nothing is copied
    dnnl_primitive_t reorder;
    size_t inside_bytes; // 0: nothing is copied
} Arg;

typedef struct Made { // one kernel, ready to run
    const rt_kernel *kernel;
    dnnl_primitive_t primitive;
    char implementation[48];
    Arg args[MAX_ARGS];
    int n_args;
    dnnl_memory_t scratchpad;
    size_t scratchpad_bytes;
} Made;

// A weight as a kernel wants it, copied once for every version of it.
typedef struct Copy {
    const void *weight;
    int kernel; // EVERY_PRODUCT: those in bf16, which all want the same
    size_t bytes;
    uint8_t *at;
    int64_t version; // that it was made of; -1: none
} Copy;

typedef struct Dnnl {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    Made *made; // [n_kernels]
    int n_made;
    uint8_t *scratch; // shared by all calls: scratchpad | tensors inside
    size_t scratch_bytes;
    Copy *copies; // by weight's address and kernel
    int n_copies;
    uint8_t *copied; // their memory
    size_t copied_bytes;
} Dnnl;

// describe.c: the only file that knows version 2's descriptors. RT_E_KERNEL after rt_fail.
int rt__dnnl_make(rt_stage *s, Dnnl *d, const rt_kernel *kernel, Made *made);
void rt__dnnl_unmake(Made *made);
// The weight among its arguments where it has to be copied; else NULL.
const Arg *rt__dnnl_copied(const Made *made);
// The layout of a convolution's weight outside.
dnnl_status_t rt__dnnl_weight(const rt_conv *c, bool plain, dnnl_memory_desc_t *weight);
void rt__dnnl_layout(const rt_stage *s, const rt_tensor *t, char *text,
                     size_t size); // rt_backend's

// weights.c: rt_backend's pack and unpack.
int rt__dnnl_pack(rt_stage *s, const rt_tensor *t, const void *plain, void *packed);
int rt__dnnl_unpack(rt_stage *s, const rt_tensor *t, const void *packed, void *plain);

// probe.c
int rt__dnnl_probe(rt_stage *s, const char *path);

#endif
