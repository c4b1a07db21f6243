// Losses on their way. A device may be behind the loop (runtime/device.h), so the loss of a micro-batch is asked for
// behind its forward, and a step whose work was all asked for is settled later: its losses are taken and looked at, and
// it is reported. On the host that is at once.
#ifndef STAGECC_RUNTIME_SETTLE_H
#define STAGECC_RUNTIME_SETTLE_H

#include "runtime/rt.h"

int rt__settle_open(rt_stage *s); // 0 or RT_E_MEMORY
void rt__settle_close(rt_stage *s);

bool rt__is_timed(const rt_stage *s); // a clock wants to know how long instructions take
// How many steps may be unsettled now: the device's lag, but none where somebody wants what a step gave or took at
// once: other replicas, or a clock.
int rt__lag(const rt_stage *s);
// Forward of micro-batch s->mb was asked for, in the stage that has the loss. 0 or an rt_error (RT_E_LOSS).
int rt__owe_loss(rt_stage *s);
// All work of the step behind s->step others was asked for: one more is unsettled.
void rt__owe_step(rt_stage *s);
// Are those losses finite that the step in work owes? The device was waited for. 0 or RT_E_LOSS.
int rt__check_owed(rt_stage *s);
// Until none is that gives this step or one before it, as `rt__settle`; their work is over.
int rt__settle_step(rt_stage *s, int64_t step);
bool rt__is_settling(const rt_stage *s); // whoever waits for a device meanwhile may come by
// Until at most so many are: s->loss and s->step_s are those of the last one. 0 or an rt_error (RT_E_LOSS).
int rt__settle(rt_stage *s, int most);

#endif
