// What a rank says of itself in the job's memory, brought to other hosts: what of it is news there, and how it is
// written into the job's memory of another host.
#ifndef STAGECC_CONTROL_SHOWN_H
#define STAGECC_CONTROL_SHOWN_H

#include "control/job.h"

#include <stddef.h>

typedef struct Shown { // of a rank, as others know it
    SegmentStatus status;
    int64_t ns;
    bool address;
} Shown;

// By which consumers on other hosts find the producer of their edge: a SegmentId, as it travels.
typedef struct ShownId {
    uint32_t edge, consumer; // the consumer's place among those of the edge
    uint8_t data[sizeof((SegmentId *)NULL)->data];
} ShownId;
_Static_assert(sizeof(ShownId) == 8 + 2 * SEGMENT_LINE, "as it travels");

// What somebody may be waiting for is news at once, the rest now and then.
bool shown_is_news(const Shown *before, const SegmentStatus *now, int64_t ns);
// What came of another host's rank; data at any alignment.
void shown_status(JobMemory *m, int rank, const void *data);               // a SegmentStatus
void shown_address(JobMemory *m, int rank, const void *data);              // a SegmentAddress
void shown_id(JobMemory *m, const Plan *plan, int rank, const void *data); // a ShownId
// Tells those that have come of edges which lead from ranks that are here to other hosts, and that were not told: told is
// [shown_ids] and knows them.
int shown_ids(const Plan *plan);
void shown_new_ids(const JobMemory *m, const Plan *plan, const bool *here, bool *told,
                   void tell(void *user, int rank, const ShownId *id), void *user);

#endif
