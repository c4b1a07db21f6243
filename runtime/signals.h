// SIGINT and SIGTERM ask the whole job to stop after the step that is under way.
//
// One stage hears of the signal, or all do; whichever begins its next round (a step or an evaluation
// batch) sets SEGMENT_STOP in SegmentHeader.rounds, which also holds the highest round that any
// stage has begun. From then on nobody begins a higher one, and all finish that one: so all stand
// at the same step, with no message under way, and may write a checkpoint. The launcher sets the same bit.
//
// Where a job has several hosts, rounds counts on each by itself. Whoever hears of a signal sets
// SEGMENT_WANTED; the launcher then sets SEGMENT_HOLD on all hosts, hears how far each has come, and sets
// the highest of these with SEGMENT_STOP on all. Meanwhile who would begin a higher round waits.
#ifndef STAGECC_RUNTIME_SIGNALS_H
#define STAGECC_RUNTIME_SIGNALS_H

#include <stdbool.h>

void rt__signals_install(void); // a second signal ends the process at once
bool rt__signals_stop(void);    // has one come?

#endif
