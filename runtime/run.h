// A whole run of one stage: load or initialise, train, evaluate, save (rt__run of rt.h).
#ifndef STAGECC_RUNTIME_RUN_H
#define STAGECC_RUNTIME_RUN_H

#include "runtime/rt.h"

// runtime/save.c: all stages write their parts, stage 0 commits. 0 or an rt_error.
int rt__save(rt_stage *s);
// Open the data sets and bring parameters, cursor and step to where the run begins (--resume,
// --init, or first values).
int rt__prepare(rt_stage *s);

#endif
