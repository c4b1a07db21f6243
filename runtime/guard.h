// The guard: the first loss or gradient that is not finite stops the job with status 5, and the
// message names where numbers went wrong first.
//
// Where: the processor keeps a sticky flag for invalid, overflowing and dividing-by-zero operations.
// rt_at looks at it between layers, which costs a few cycles; the first layer of a step that raised one
// is the suspect, and of all stages' suspects the earliest in the pipeline's order is named.
//
// A device of its own kind raises no flags here. It looks at every loss and gradient, in order with its work, and what it
// has noted is known when the step is settled (runtime/settle.h).
#ifndef STAGECC_RUNTIME_GUARD_H
#define STAGECC_RUNTIME_GUARD_H

#include "runtime/rt.h"

void rt__guard_begin_stream(rt_stage *s);
void rt__guard_end_step(rt_stage *s); // before s->step moves on
void rt__guard_mark(rt_stage *s);     // end of a layer (s->layer) or of an instruction
// The loss of micro-batch mb of the step behind `step` others. 0 or RT_E_LOSS.
int rt__guard_loss(rt_stage *s, double loss, int64_t step, int mb);
// A loss that was just asked for: a device that watches looks at it.
void rt__guard_watch_loss(rt_stage *s, const void *loss);
// What was noted until the step behind `step` others was done. 0 or RT_E_LOSS.
int rt__guard_noted(rt_stage *s, int32_t what, int64_t step);
// Part `index` of the squared gradient norm. 0 or RT_E_LOSS.
int rt__guard_norm(rt_stage *s, int index, double part);
// Before the update, where nothing else has looked at the gradients: reads them all if a flag was
// raised in this stream (or `always`). A device that watches does so at every step, and tells later. 0 or RT_E_LOSS.
int rt__guard_gradients(rt_stage *s, bool always);

#endif
