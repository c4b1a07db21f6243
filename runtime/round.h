// Synchronised batch norm: the replicas of a stage add up the sums of a round, one micro-batch of each
// (docs/schedules.md). rt_sums, rt_round and rt_add_round of stage.h are here, too.
#ifndef STAGECC_RUNTIME_ROUND_H
#define STAGECC_RUNTIME_ROUND_H

#include "runtime/rt.h"

// Memory for the sums. 0 or an rt_error.
int rt__round_open(rt_stage *s);
void rt__round_close(rt_stage *s);

#endif
