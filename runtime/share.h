// Gradients of tied weights: what a stage's uses of a parameter add up to goes to the other stages that
// use it, each accumulator to its own place there (passes/tied.h).
#ifndef STAGECC_RUNTIME_SHARE_H
#define STAGECC_RUNTIME_SHARE_H

#include "runtime/rt.h"

// 0 or the device's rt_error.
int rt__share_put(rt_stage *s); // SHARE_PUT
int rt__share_get(rt_stage *s); // SHARE_GET

#endif
