// Functions of a program as CUDA graphs: what they launch is captured once and replayed from then on. Whatever host
// code decides for itself has to be the same at every replay, so a graph is kept for each combination of what it may
// depend on: the slot of the micro-batch, whether it is the step's first, the version of the weights, and the slot of
// every edge that the function asks for. All else it reads from the device's memory (cu_now.h).
#ifndef STAGECC_CUDA_PHASE_H
#define STAGECC_CUDA_PHASE_H

#include "runtime/device.h"

typedef struct rt__phases rt__phases;

int rt__phases_open(rt_stage *s, rt__phases **made); // 0 or RT_E_MEMORY
void rt__phases_close(rt__phases *made);             // NULL is fine
// What this function launches for this micro-batch goes into the stream of the stage's work. Trouble goes to rt_fail.
void rt__phases_run(rt_stage *s, rt__phases *p, rt__code *code, int mb);

#endif
