// What changes from step to step and from micro-batch to micro-batch, in the device's memory: a launch that was captured
// once reads it there, and so is right at every step. Host code in C and kernels share this text.
#ifndef STAGECC_CU_NOW_H
#define STAGECC_CU_NOW_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

// What an update has to know of its step.
typedef struct cu_step {
    float lr;
    float clip;       // factor on all gradients; 1 without clipping
    float shrink;     // adam: 1 - lr decay where it is decoupled, else 1
    float correction; // adam: sqrt(1 - beta2^step)
    float size;       // adam: lr / (1 - beta1^step)
    // Of the device's: not 0: a loss or a gradient was not finite, and the update writes nothing. NULL: the host has looked.
    const int32_t *bad;
} cu_step;

typedef struct rt_now {
    int64_t seed; // of the run
    int64_t done; // optimizer steps so far
    int32_t mb;   // micro-batch within its step
    float share;  // its samples by those of the step (rt_share)
} rt_now;

static_assert(offsetof(rt_now, mb) == 16 && sizeof(rt_now) == 24 && sizeof(cu_step) == 32,
              "the same for the host's compiler and the device's");

#endif
