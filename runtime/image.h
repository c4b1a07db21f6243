// --state FILE: what this rank knows behind its last two steps, in memory that a file names, so that it outlives the
// program. A program that was killed is started again and goes on from there; the job repeats one step at most.
//
// plan/image.h lays it out. A generation is persistent memory as in the plan, then a copy of the statistics
// (RT_BUFFER), one behind the other.
//
// Nothing is copied but statistics: programs work in the newest generation, and an update reads parameters and
// optimizer state there and writes them to the other one (rt_next), which becomes the newest. Only statistics change
// before an update, so they are copied behind each step. Asynchronous schedules, whose steps between two drains
// are saved together, work in memory of their own and copy all behind a drain.
//
// A device that is apart copies all behind a step, beside the work of the next one: its update comes behind these copies,
// and so do its forwards behind those of statistics, which they change. The generation has the step once they are over
// (rt__image_progress). Where they cannot go on beside it, they are waited for at once.
//
// That two generations are enough: whoever overwrites the state behind step n, by its update of step n + 2 or by copies
// behind it, waits until all ranks have that behind n + 1. An agent's limit says that they have; else their statuses do. All ranks of
// a job go on from the newest step that each of them has.
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
int rt__image_share(rt_stage *s);        // with the device, which is open. 0 or an rt_error
void rt__image_settle(rt_stage *s);      // what it begins with is there: found, or made
int rt__image_begin_update(rt_stage *s); // 0 or an rt_error
void rt__image_turn(
    rt_stage *s); // the update is done: its results are what the next step works with
// Behind a step, or a drain, that is done in every respect, checkpoint and evaluation included. Tells an agent
// that it is saved, now or when its copies are over. 0 or an rt_error.
int rt__image_save(rt_stage *s);
bool rt__image_is_coming(const rt_stage *s); // its copies are on their way
void rt__image_progress(rt_stage *s); // are they over? Never waits; trouble goes to rt_fail
int rt__image_finish(rt_stage *s);    // until they are; 0 or an rt_error
void rt__image_close(rt_stage *s);

// runtime/image_layout.c: the same for every rank of a stage.
uint64_t rt__image_generation_bytes(const rt_program *p);
uint64_t rt__image_shadow(const rt_program *p); // where the copies of statistics begin in it
uint64_t rt__image_statistic_bytes(const rt_tensor *t); // from one of them to the next
// Of tensors with such a role, statistics or all others that an image has, between memory and a generation: how many
// pieces that were. `how` is a row of rt_device.
typedef void rt__image_way(rt_stage *s, void *host, const void *tensor, size_t n);
int rt__image_copy(rt_stage *s, uint8_t *generation, rt__image_way *how, bool statistics);
// --tensors: where everything lies in the program's image, as JSON (docs/runtime.md). 0 or an rt_error.
int rt__image_describe(rt_stage *s, const char *path);

#endif
