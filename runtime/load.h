// LOAD: the samples of a micro-batch, from the data set to where the stage wants its inputs.
#ifndef STAGECC_RUNTIME_LOAD_H
#define STAGECC_RUNTIME_LOAD_H

#include "runtime/rt.h"

int rt__load(rt_stage *s, int mb); // mb within the stream. 0 or an rt_error

#endif
