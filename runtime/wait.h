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
// Until `done` says so, asked again and again; `what` is for messages. Ends early as all waits do; 0 or an rt_error. The time
// counts as this rank's own, not as waited for others.
int rt__wait_until(rt_stage *s, const char *what, bool done(rt_stage *s, void *user),
                   void *user);
// Store a new value and wake whoever sleeps on it.
void rt__counter_set(SegmentCounter *c, uint64_t value);

#endif
