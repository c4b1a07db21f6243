// What a rank says of itself in the job's memory, brought to other hosts: what of it is news there, and how it is
// written into the job's memory of another host.
#ifndef STAGECC_CONTROL_SHOWN_H
#define STAGECC_CONTROL_SHOWN_H

#include "control/job.h"

typedef struct Shown { // of a rank, as others know it
    SegmentStatus status;
    int64_t ns;
    bool address;
} Shown;

// What somebody may be waiting for is news at once, the rest now and then.
bool shown_is_news(const Shown *before, const SegmentStatus *now, int64_t ns);
// What came of another host's rank; data at any alignment.
void shown_status(JobMemory *m, int rank, const void *data);  // a SegmentStatus
void shown_address(JobMemory *m, int rank, const void *data); // a SegmentAddress

#endif
