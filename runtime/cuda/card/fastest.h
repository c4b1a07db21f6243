// Which of several ways to compute the same takes least of the device's time. Each has to give the same bits twice.
#ifndef STAGECC_CUDA_FASTEST_H
#define STAGECC_CUDA_FASTEST_H

#include "runtime/rt.h"

typedef struct rt__race {
    void *of;
    int n;
    // Candidate i is the one that runs from now on; false: it cannot be had here.
    bool (*take)(void *of, int i);
    // Puts a call of it into the stage's stream. What goes wrong is the candidate's affair: rt_fail with RT_E_KERNEL.
    void (*run)(void *of);
    void (*refused)(void *of, int i, const char *why); // it was taken, and is out of the race
    // All that calls write, in the device's memory, and as much room beside it; at multiples of 256, as is their size.
    uint8_t *results, *again;
    int64_t bytes;
    int32_t *differ; // one more word of that memory
} rt__race;

// The fastest, of equals the first: the median of some rounds, by the device's clock. -1: there is none. RT_E_ENVIRONMENT by
// rt_fail: the device does not go on.
int rt__fastest(rt_stage *s, const rt__race *r, double *seconds);

#endif
