// What the replicas of a stage add up together: gradients, running statistics, losses (docs/schedules.md).
// A bucket belongs to one replica. The others put their parts into its messages; it adds all of them in
// ascending order of replicas and sends the sum to everyone. So all have the same bits, the same on every
// repetition.
#ifndef STAGECC_RUNTIME_REDUCE_H
#define STAGECC_RUNTIME_REDUCE_H

#include "runtime/rt.h"

int rt__reduce_open(rt_stage *s); // 0 or RT_E_MEMORY
void rt__reduce_close(rt_stage *s);
// 0 or the device's rt_error.
int rt__reduce_put(rt_stage *s, int number); // REDUCE_PUT
int rt__reduce_sum(rt_stage *s, int number); // REDUCE_SUM
int rt__reduce_get(rt_stage *s, int number); // REDUCE_GET

#endif
