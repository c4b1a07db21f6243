// --state FILE: what this rank knows behind its last two steps, in memory that a file names, so that it outlives the
// program. A program that was killed is started again and goes on from there; the job repeats one step at most.
//
//   ImageHeader | generation 0 | generation 1        a generation: all tensors but accumulators, in their own layouts
//
// A step is written over the older generation, which has no step meanwhile. That two are enough: nobody ends a step
// before every other rank has begun it, so when one writes the state behind step n + 1 over that behind n - 1, all
// have that behind n. All ranks of a job go on from the newest step that each of them has.
//
// The file outlives the program, not the machine: nothing waits for a disk. It belongs on tmpfs (/dev/shm), or is
// what a descriptor names (/proc/self/fd/5).
#ifndef STAGECC_RUNTIME_IMAGE_H
#define STAGECC_RUNTIME_IMAGE_H

#include "runtime/rt.h"

// Map FILE, which is made where it is missing, and agree with all ranks on a step. `*found`: there is one, and
// arena, step, cursor and seed are what they were behind it. Without --state: nothing happens. 0 or an rt_error.
int rt__image_open(rt_stage *s, bool *found);
// Behind a step that is done in every respect, checkpoint and evaluation included; --state-every decides
// whether anything happens.
void rt__image_save(rt_stage *s);
void rt__image_close(rt_stage *s);

#endif
