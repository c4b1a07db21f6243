// An epoch of a job: from one decision of the master about who runs what to the next. (Of the plan; an epoch of the data
// is another thing.) It begins with the state behind one step and ends with a loss or a change of plan.
// These structs travel in messages and lie in the journal, so their layout is fixed.
#ifndef STAGECC_CONTROL_EPOCH_H
#define STAGECC_CONTROL_EPOCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MOST_WORKERS = 64,
    MOST_RANKS = 64,
    MOST_PARTS = 64, // pieces of the model that no plan cuts
    MOST_HELD = 8,   // different states of parts that a worker holds
    NOBODY = 0xffff, // instead of a worker
};

// A state: that of some parts behind a step. An epoch runs a step once, so (step, made) names its bits.
typedef struct Held {
    uint64_t step;
    uint64_t made;  // the epoch that ran it; 0: the state that training begins with
    uint64_t parts; // a bit each
} Held;

typedef struct EpochRank { // a program
    uint64_t runs;         // parts: it has their state behind every step
    uint64_t owns; // those of them that are its own; of the replicas of a stage one has them
    uint16_t worker;
    uint16_t
        copier; // another worker that has what it owns, too: runs it, or gets copies; NOBODY
    uint32_t zero;
} EpochRank;

typedef struct Epoch {
    uint64_t number;     // from 1; 0: there is none yet
    uint64_t step, made; // the state that it begins with
    uint64_t parts;      // of the model
    uint32_t n_ranks;
    uint32_t plan;               // which plan, as the shell counts them
    uint32_t copy_every, zero;   // steps: whose states are copied and committed (epoch_point)
    uint16_t source[MOST_PARTS]; // the worker that has that state of a part; NOBODY: see made
    uint64_t incarnations[MOST_WORKERS]; // of the workers that take part; 0: does not
    EpochRank ranks[MOST_RANKS];         // the rest is 0
} Epoch;

#define LAYOUT(type, field, at) _Static_assert(offsetof(type, field) == (at), "as it travels")
LAYOUT(Held, made, 8);
LAYOUT(Held, parts, 16);
_Static_assert(sizeof(Held) == 24, "as it travels");
LAYOUT(EpochRank, owns, 8);
LAYOUT(EpochRank, worker, 16);
LAYOUT(EpochRank, copier, 18);
LAYOUT(EpochRank, zero, 20);
_Static_assert(sizeof(EpochRank) == 24, "as it travels");
LAYOUT(Epoch, step, 8);
LAYOUT(Epoch, made, 16);
LAYOUT(Epoch, parts, 24);
LAYOUT(Epoch, n_ranks, 32);
LAYOUT(Epoch, plan, 36);
LAYOUT(Epoch, copy_every, 40);
LAYOUT(Epoch, zero, 44);
LAYOUT(Epoch, source, 48);
LAYOUT(Epoch, incarnations, 176);
LAYOUT(Epoch, ranks, 688);
_Static_assert(sizeof(Epoch) == 2224, "as it travels");

// Every part has exactly one owner, and all numbers are within their tables; else what is wrong.
const char *epoch_wrong(const Epoch *e);
uint64_t epoch_workers(const Epoch *e); // that run its ranks: a bit each
// Does a program of this worker run all of these parts?
bool epoch_runs(const Epoch *e, uint16_t worker, uint64_t parts);
// Another worker to have what a rank owns: one that runs it, else the next rank's; NOBODY: one worker runs all.
uint16_t epoch_neighbour(const Epoch *e, uint32_t rank);
// Is it this worker's rank?
bool epoch_rank_of(const Epoch *e, uint32_t rank, uint32_t worker);
// Does this worker, in this life of it, take part?
bool epoch_has(const Epoch *e, uint32_t worker, uint64_t incarnation);
// The first step from `from` on whose state is copied and committed: the one that the epoch begins with, each
// copy_every-th of training, and `last`, behind which the epoch ends.
uint64_t epoch_point(const Epoch *e, uint64_t from, uint64_t last);
// Of this epoch: which one made its state behind a step?
uint64_t epoch_made(const Epoch *e, uint64_t step);

// Parts in a state, of those held.
uint64_t held_parts(const Held *held, uint32_t n, uint64_t step, uint64_t made);

#endif
