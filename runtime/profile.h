// --profile FILE, in a program of one stage: how long every layer takes, forward and backward of a
// micro-batch and update of a step. What runs between two rt_at belongs to the layer of the first one.
//
//   {"load_s": 2e-5, "norm_s": 0, "process_bytes": 9437184, "library_bytes": 204472320,
//    "layers": [{"name": "conv1", "forward_s": 1.2e-3, "backward_s": 2.3e-3, "update_s": 1e-4}, ...]}
//
// weight_s: the part of backward_s that runs apart, where the schedule splits backward. load_s: reading a micro-batch; norm_s: the gradients' norms of a step. process_bytes: resident memory
// of the process before it has an arena (code, libraries); library_bytes: of what came to it since, all
// but the arena.
// On a device with memory of its own, times are by its own clock, and bytes are those of its memory: process_bytes is 0.
// An update that does all parameters in one go counts for layers by their bytes.
// The first step is left out where there are more (caches, page faults, lazy libraries); of the rest the
// median counts, and layers are scaled so that they add up to the median of the whole instruction.
#ifndef STAGECC_RUNTIME_PROFILE_H
#define STAGECC_RUNTIME_PROFILE_H

#include "runtime/rt.h"

int rt__profile_open(rt_stage *s);   // 0 or an rt_error
void rt__profile_begin(rt_stage *s); // of an instruction
void rt__profile_mark(rt_stage *s, int layer);
// By a device with a clock of its own (rt_device.stamp): so long it was at this layer; -1: at none.
void rt__profile_told(rt_stage *s, int layer, int64_t ns);
void rt__profile_end(rt_stage *s);
int rt__profile_write(rt_stage *s); // to options.profile
void rt__profile_close(rt_stage *s);

#endif
