// The job's shared memory (plan/segment.h) seen from the launcher.
#ifndef STAGECC_CONTROL_JOB_H
#define STAGECC_CONTROL_JOB_H

#include "plan/plan.h"
#include "plan/segment.h"

typedef struct JobMemory {
    int fd; // inherited by the stage programs
    SegmentHeader *header;
    SegmentStatus *statuses; // [n_ranks]
    uint64_t bytes;
} JobMemory;

uint64_t job_memory_bytes(const Plan *plan);
// 0, or -1 with errno set.
int job_memory_init(JobMemory *m, const Plan *plan);
void job_memory_release(JobMemory *m);

// Before any program starts: an agent watches over them, and these are the last steps that they may begin and update
// for now (plan/segment.h). Without it there are no limits.
void job_supervise(JobMemory *m, uint64_t begin, uint64_t update);
// While it is closed, programs that start make everything ready, say so, and wait before they look at their states.
void job_gate(JobMemory *m, bool closed);
// Training ends behind this step, which they may not begin yet, if not before.
void job_end_behind(JobMemory *m, uint64_t step);
// They may go on, and do at once; a limit that is not higher than before changes nothing.
void job_allow(JobMemory *m, uint64_t begin, uint64_t update);

// All stages finish the step that is under way and end.
void job_stop(JobMemory *m);
// All stages end at once. rank: who is to blame; n_ranks: the launcher.
void job_abort(JobMemory *m, int rank, int status);
// "in forward of micro-batch 2, step 12": what a rank was doing when it was last seen.
const char *job_doing(const SegmentStatus *s, const Plan *plan, char *text, int size);

#endif
