// --state FILE: what this rank knows behind its last two steps, in memory that a file names, so that it outlives the
// program. A program that was killed is started again and goes on from there; the job repeats one step at most.
//
// plan/image.h lays it out. A generation is persistent memory as in the plan, then a copy of the statistics
// (RT_BUFFER), one behind the other.
//
// Nothing is copied but statistics: programs work in the newest generation, and an update reads parameters and
// optimizer state there and writes them to the other one (rt_next), which becomes the newest. Only statistics change
// before an update, so they are copied behind each step. Asynchronous schedules, whose steps between two drains
// are saved together, work in memory of their own and copy all behind a drain; programs on a device that has memory
// of its own copy all behind a step.
//
// That two generations are enough: nobody ends a step before every other rank has begun it. So when one overwrites
// the state behind step n, in its update of step n + 2, all have that behind n + 1. All ranks of a job go on from the
// newest step that each of them has.
//
// The file outlives the program, not the machine: nothing waits for a disk. It belongs on tmpfs (/dev/shm), or is
// what a descriptor names (/proc/self/fd/5).
#ifndef STAGECC_RUNTIME_IMAGE_H
#define STAGECC_RUNTIME_IMAGE_H

#include "runtime/rt.h"

// All do nothing without --state. Map FILE, which is made where it is missing; sets s->arena where the program
// shall work in it. 0 or an rt_error.
int rt__image_open(rt_stage *s);
// Agree with all ranks on a step. `*found`: there is one; step, cursor and seed are those behind it. 0 or an rt_error.
int rt__image_begin(rt_stage *s, bool *found);
void rt__image_settle(rt_stage *s); // what it begins with is there: found, or made
void rt__image_begin_update(rt_stage *s);
void rt__image_turn(
    rt_stage *s); // the update is done: its results are what the next step works with
// Behind a step, or a drain, that is done in every respect, checkpoint and evaluation included.
// 0 or the device's rt_error.
int rt__image_save(rt_stage *s);
void rt__image_close(rt_stage *s);

// runtime/image_layout.c: the same for every rank of a stage.
uint64_t rt__image_generation_bytes(const rt_program *p);
uint64_t rt__image_shadow(const rt_program *p); // where the copies of statistics begin in it
uint64_t rt__image_statistic_bytes(const rt_tensor *t); // from one of them to the next
// --tensors: where everything lies in the program's image, as JSON (docs/runtime.md). 0 or an rt_error.
int rt__image_describe(rt_stage *s, const char *path);

#endif
