// When is another plan worth a change that nobody asked for? Pure: forecasts and steps go in, a verdict comes out.
//
// Like is compared with like: both plans by the same forecast, for the same speeds, so that only what one gains on the other
// counts and not how far forecasts are from the truth. A change is due once staying has lost as much as a step, or a few
// (the ski rental's rule: who switches when waiting has cost what switching costs never loses more than twice the best),
// and small gains, which may be chance, are counted as smaller ones. So what saves a third is changed to at once, what saves
// a tenth when it has done so for a while, and what only wavers never.
//
// Forecasts may be wrong again and again, say where programs take each other's processors and it does not matter who has how
// much to do. So it is measured what a change brought. One that did not bring half of what was promised makes the next promises
// count less, and one that did makes them count more.
#ifndef STAGECC_CONTROL_MASTER_WORTH_H
#define STAGECC_CONTROL_MASTER_WORTH_H

#include <stdbool.h>
#include <stdint.h>

typedef struct Worth {
    // What a step takes
    int64_t came_ns; // when the newest one was committed; 0: it is the epoch's first
    double step_s;   // of late; 0: not known
    // What staying costs
    uint64_t looked; // behind this step
    uint64_t
        began; // the step behind which another plan was first seen to be better; 0: none is
    int64_t began_ns;
    double regret; // steps' time that it has cost since, small gains counted as smaller ones
    // What promises count
    double trust;     // 1: all that they say; 0: nobody has asked yet, as 1
    uint64_t trusted; // the step behind which that last changed
    uint64_t
        changed; // the last plan that was chosen for a promise began behind this step; 0: there was none
    double promised,
        before_s;    // the share of before_s that it was to save; 0: it has been judged
    bool news;       // a speed has changed since it was chosen, or judged
    int64_t from_ns; // when the first step came that counts
} Worth;

typedef struct WorthOffer {
    double now_s, other_s; // forecasts of a step
    double change_s;       // that a change takes
    uint64_t step, last_step;
} WorthOffer;

typedef enum WorthVerdict {
    WORTH_STAYING,
    WORTH_THOUGHT,  // it may come to a change
    WORTH_BUILDING, // likely: its programs should be there then
    WORTH_CHANGING,
} WorthVerdict;

// A step of the epoch is committed, each in its turn.
void worth_step(Worth *w, uint64_t step, int64_t now_ns);
// Another epoch begins behind this step. promised: the share of a step's time that it was chosen for; 0: it was for
// something else.
void worth_epoch(Worth *w, uint64_t step, double promised);
// A worker has become faster or slower.
void worth_news(Worth *w);
// The best other plan there is, behind the newest step.
WorthVerdict worth_look(Worth *w, const WorthOffer *o);

#endif
