// The ranks' timelines as one file.
#ifndef STAGECC_CONTROL_MERGE_H
#define STAGECC_CONTROL_MERGE_H

#include "control/launch.h"

// Joins what each rank has written (launch_trace) into l->trace, where there is one, and removes it; what
// nobody wrote is left out. 0, or -1 with errno set.
int merge_traces(Arena *a, const Launch *l);

#endif
