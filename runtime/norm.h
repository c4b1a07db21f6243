// Clipping by the global norm, as torch.nn.utils.clip_grad_norm_ does it, over all stages.
//
// Every gradient of the model has a part, its sum of squares in double; each stage computes its
// own, the vector of all travels up, and the last stage adds them in the order of parameters. So the
// order of every addition is the same however the model is cut. Everyone learns the factor from there.
#ifndef STAGECC_RUNTIME_NORM_H
#define STAGECC_RUNTIME_NORM_H

#include "runtime/rt.h"

int rt__norm_open(rt_stage *s); // 0 or RT_E_MEMORY
void rt__norm_close(rt_stage *s);
int rt__norm_gather(rt_stage *s); // NORM_GATHER: 0 or RT_E_LOSS
int rt__norm_apply(rt_stage *s);  // NORM_APPLY: sets rt_stage.clip
// Of this stage's gradient `index`, one that it has; there once the device was waited for.
void rt__norm_part(rt_stage *s, int index, double *part);

#endif
