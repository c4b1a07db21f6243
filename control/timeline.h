// What ranks did when in a step, on its way from a worker to the master (TIMELINE in message.def, plan/steps.h).
#ifndef STAGECC_CONTROL_TIMELINE_H
#define STAGECC_CONTROL_TIMELINE_H

#include "control/message.h"
#include "plan/steps.h"

// Which clock CLOCK_MONOTONIC is: programs for whom the number is the same read the same one. Not 0.
uint64_t timeline_clock(void);
// What no timeline can be: spans out of order or of their step, instructions that there are not; NULL: nothing is wrong.
const char *timeline_wrong(const Timeline *t, const void *spans, size_t bytes);
StepSpan timeline_span(const void *spans, size_t i); // they may lie anywhere

#endif
