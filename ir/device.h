// What a backend says of the devices that its programs run on, for passes that know no backend.
#ifndef STAGECC_IR_DEVICE_H
#define STAGECC_IR_DEVICE_H

#include "ir/graph.h"

// What estimates suppose where nothing was measured (passes/cost.c).
typedef struct DeviceSpeed {
    double flops, bf16_flops; // a second; the second of products of bf16
    double tf32_flops;        // of floats with --dtype tf32; 0: nobody knows better than flops
    double bytes_per_s;       // of its memory
} DeviceSpeed;

// What a call has for the time being. Those of a stage share one piece of each kind.
typedef enum CallMemory {
    CALL_WORKSPACE, // of a library
    CALL_ROOM,      // of a kernel of our own
    CALL_COPY,      // a result in the type in which a library writes it
    N_CALL_MEMORY
} CallMemory;

// Memory of its own, of which a stage takes more than its tensors.
typedef struct DeviceMemory {
    // Whatever the stage computes. Bytes of its parameters, in all versions, and of a micro-batch's inputs where it loads
    // them; bf16: of activations.
    int64_t (*stage_bytes)(int64_t parameters, int64_t inputs, bool bf16);
    // At most, of a call of n, where nobody has measured it; bytes of every kind are 0 before.
    void (*kernel_bound)(const Node *n, int64_t bytes[N_CALL_MEMORY]);
} DeviceMemory;

#endif
