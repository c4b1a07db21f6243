// Waiting for a counter of the job's memory, and moving one.
#ifndef STAGECC_RUNTIME_WAIT_H
#define STAGECC_RUNTIME_WAIT_H

#include "runtime/transport.h"

enum { RT__MASTER = -1 };

struct rt__wait {
    SegmentCounter *counter;
    uint64_t target; // until value >= target
    const rt_transport *by;
    int peer;                // the rank that moves it, or RT__MASTER: without any time limit
    const char *what, *name; // "a message of", "conv3"
};

int rt__wait_for(rt_stage *s, const rt__wait *w);
// Store a new value and wake whoever sleeps on it.
void rt__counter_set(SegmentCounter *c, uint64_t value);

#endif
