// What a supervised program did when in its last steps, for its agent (plan/steps.h). Clocks are read by the loop and by waits
// anyway: this notes what they say, in memory of its own, and copies it to the job's when the step is done.
#ifndef STAGECC_RUNTIME_TIMELINE_H
#define STAGECC_RUNTIME_TIMELINE_H

#include "runtime/rt.h"

int rt__timeline_open(rt_stage *s); // no agent: nothing is noted; 0 or an rt_error
void rt__timeline_close(rt_stage *s);

// All that follows is for s->timeline, where it is not NULL. Times: CLOCK_MONOTONIC.
// A step begins; what came before is no part of it.
void rt__timeline_begin(rt_stage *s, int64_t now_ns);
void rt__timeline_enter(rt_stage *s, int64_t now_ns); // the instruction of s->opcode begins
// A wait has ended, of that instruction or between two. waiting: SEGMENT_WAITS_FOR_….
void rt__timeline_wait(rt_stage *s, int waiting, int64_t begin_ns, int64_t end_ns);
void rt__timeline_leave(rt_stage *s, int64_t now_ns);
// s->step is done, and the next one begins, unless rt__timeline_begin says later that it does.
void rt__timeline_end(rt_stage *s, int64_t now_ns);

#endif
