// The job's memory (plan/segment.h) seen from one rank, and what ranks tell each other beside
// messages: barriers, the abort flag, the step at which all stop, what each of them is doing.
#ifndef STAGECC_RUNTIME_SEGMENT_H
#define STAGECC_RUNTIME_SEGMENT_H

#include "runtime/rt.h"

uint64_t rt__segment_bytes(const rt_program *program);
// A memory file for a job of this program's edges, made as the launcher makes it: for programs
// that run alone, and for tests. -1 with errno set. The caller closes it.
int rt__segment_new(const rt_program *program);
// Map the job's memory (fd stays the caller's) and enter this rank into it.
int rt__segment_open(rt_stage *s, int fd);
void rt__segment_close(rt_stage *s);
uint64_t rt__plan_number(const rt_program *program); // of its plan_hash; never 0

// All ranks have come here, and what each wrote before is visible to all.
int rt__barrier(rt_stage *s, const char *what);
// The job shall stop because of s->error; the first rank to say so wins.
void rt__abort(rt_stage *s);
// 0, or the error that another rank has aborted the job.
int rt__check_abort(rt_stage *s);

// Wait, with everything made, until the agent has brought this program's state (SegmentHeader.gate).
int rt__gate(rt_stage *s);
// Wait until a step may be begun, or its update done (SegmentHeader.may_begin). Stopping is seen when it may.
// 0 or an rt_error.
int rt__may_begin(rt_stage *s, int64_t step);
int rt__may_update(rt_stage *s, int64_t step);
// The step behind which the job ends whatever was asked for; of one that may be begun all ranks see the same.
uint64_t rt__ends_behind(const rt_stage *s);

// Before a step or an evaluation batch: false when the job stops before it (runtime/signals.c).
bool rt__begin_round(rt_stage *s, bool stop_wanted);

#endif
