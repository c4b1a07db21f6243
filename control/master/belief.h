// How fast a worker is, of times that waver. Pure: no clock, no worker, only the times as they come.
//
// What is believed is the mean of the times since it last changed. That it has changed is a matter of evidence: every time
// adds what it is off by beyond what times are usually off by, on the same side (a CUSUM test: Page, "Continuous inspection
// schemes", Biometrika 1954). So half the speed is believed after two times, a fifth less after half a dozen, and where
// times are far apart anyway, as on a machine that does other things, it takes more of both.
#ifndef STAGECC_CONTROL_MASTER_BELIEF_H
#define STAGECC_CONTROL_MASTER_BELIEF_H

#include <stdbool.h>

typedef struct Evidence { // that it is another speed, on one side
    double weight;
    double
        sum; // of the logarithms of the times that it is made of, but the first: that may be of both speeds
    int times;
} Evidence;

typedef struct Belief {
    int times;    // that it is the mean of, at most BELIEF_MEMORY; 0: nothing is known
    double log;   // of the speed
    double noise; // what a time is off by, mostly
    Evidence slower, faster;
} Belief;

enum { BELIEF_MEMORY = 20 };

// Begins with what was said, which counts as little as one time.
void belief_begin(Belief *b, double speed);
// A time says that it was so fast. true: it is believed to be another one than before.
bool belief_heard(Belief *b, double speed);
// It does something else now, for which times may be off in another way: what it was counts no more than one time.
void belief_loosen(Belief *b);
double belief_speed(const Belief *b); // 0: nothing is known

#endif
