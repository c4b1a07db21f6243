// Messages between the stages of a job, over the shared memory of plan/segment.h, and everything
// else that stages tell each other: barriers, the abort flag, what each of them is doing.
//
// A message is written and read in place. Every wait spins for a while where a core is free, then
// sleeps on a futex; it ends when the counter arrives, when the job was aborted, when a stage it
// needs is dead, or when no stage has moved for rt_stage.timeout_ns. All return 0 or an rt_error
// whose message says who waited for what from whom since when.
#ifndef STAGECC_RUNTIME_TRANSPORT_H
#define STAGECC_RUNTIME_TRANSPORT_H

#include "runtime/rt.h"

typedef struct rt__edge {
    SegmentCounter *published; // messages that the producer has sent
    SegmentCounter *released;  // [n_consumers]: messages that each consumer is done with
    SegmentCounter *mine;      // this stage's entry of `released`; NULL: it is no consumer
    uint8_t *slots;
    uint64_t slot_bytes;
} rt__edge;

uint64_t rt__segment_bytes(const rt_program *program);
// A memory file for a job of this program's edges, made as the launcher makes it: for programs
// that run alone, and for tests. -1 with errno set. The caller closes it.
int rt__segment_new(const rt_program *program);
// Map the job's segment (fd stays the caller's), find the edges, enter this stage into it.
int rt__transport_open(rt_stage *s, int fd);
void rt__transport_close(rt_stage *s);

// The four instructions of an edge; mb is the message within the step.
int rt__acquire(rt_stage *s, int edge, int mb);
int rt__send(rt_stage *s, int edge, int mb);
int rt__recv(rt_stage *s, int edge, int mb);
int rt__release(rt_stage *s, int edge, int mb);

// All stages have come here, and what each wrote before is visible to all.
int rt__barrier(rt_stage *s, const char *what);
// The job shall stop because of s->error; the first stage to say so wins.
void rt__abort(rt_stage *s);
// 0, or the error that another stage has aborted the job.
int rt__check_abort(rt_stage *s);

// Before a step or an evaluation batch: false when the job stops before it (runtime/signals.c).
bool rt__begin_round(rt_stage *s, bool stop_wanted);

#endif
