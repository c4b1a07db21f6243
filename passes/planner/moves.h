// Moves: all ways in which a stage may stand in front of what is planned already. The search runs
// from the last stage to the first, since what a stage keeps in memory depends on how many machines
// come behind it. A configuration says which machines are taken; a move takes some more for one stage.
//
// For a given move, time and memory of the stage between the cuts `begin` and `end` are linear in
// sums over cuts, so that a condition on them reads
//     (value of end) - (value of begin) <= budget
// which is what makes the search fast: of all cuts `end` that hold `begin`, the least value is enough.
#ifndef STAGECC_PASSES_PLANNER_MOVES_H
#define STAGECC_PASSES_PLANNER_MOVES_H

#include "base/vec.h"
#include "passes/planner/links.h"

enum { MAX_ROWS = 3 };

// compute dC + forward dF + parameters dP + activations dA
//     + in_bytes O(begin) + in_fixed + out_bytes O(end) + out_fixed  <=  (timed ? T : 0) + budget
// dX: the sum X over the stage's nodes. O: bytes that cross a cut. in_fixed counts where a stage stands in
// front, out_fixed where one stands behind.
typedef struct MoveRow {
    double compute, forward, parameters, activations;
    double in_bytes, in_fixed, out_bytes, out_fixed;
    double budget;
    bool timed;
} MoveRow;

typedef enum MoveBegin { BEGIN_ANY, BEGIN_FIRST, BEGIN_LATER } MoveBegin;

typedef struct Move {
    int from, to;        // configurations; 0: no machine is taken
    int first, replicas; // machines first .. first + replicas - 1; first < 0: `take` says which
    int *take;           // of every type so many
    int profile;
    MoveRow rows[MAX_ROWS];
    int n_rows;
    double in_bytes,
        in_fixed; // in_bytes O(begin) + in_fixed <= T, where a stage stands in front
    double out_bytes, out_fixed; // likewise at `end`, where one stands behind
    double their_bytes,
        their_fixed; // likewise: what that one pays there, where only this move knows
    MoveBegin
        begin; // FIRST: for the stage that begins at the empty cut alone; LATER: for others
    bool recompute;
    int in_flight;
} Move;

typedef struct Moves {
    Move *items; // by `from`, which is less than `to`
    int n;
    int *first; // [n_configs + 1]
    int n_configs;
    int full;     // what a straight plan on all machines, none left out, ends in
    double *rest; // [n_configs] speeds of the machines that are left, added up
    bool
        nested; // a plan that reaches a configuration also reaches, at no less time, any greater one
    bool exact; // all plans of the cost model are among these moves
} Moves;

// NULL: there would be more than `limit`.
Moves *moves_of(Arena *a, const Machines *m, const CostOptions *o, int limit);

// How a stage stands: what a cost model (cost_*.c) needs to know to fill a move's rows.
typedef struct Standing {
    const CostOptions *options;
    int replicas, behind; // machines of this stage; of all stages behind it
    double speed, memory_bytes;
    MachineLevel sync; // the slowest link between its machines
    Transfer in, out,
        their; // at the boundaries before and behind; what the stage behind pays there
    bool recompute;
} Standing;

typedef struct CostModel {
    const char *name, *meaning;
    void (*fill)(const Standing *s,
                 Move *m); // all but from, to, first, replicas, take, profile
} CostModel;
extern const CostModel cost_models[];
extern const int n_cost_models;
const CostModel *cost_model_find(const char *name); // NULL: unknown
void cost_stagecc(const Standing *s, Move *m);
void cost_pipedream(const Standing *s, Move *m);

// passes/planner/moves_ranges.c: those of machines whose links differ. false: there would be more than `limit`.
bool moves_of_ranges(Arena *a, const Machines *m, const CostOptions *o, int limit,
                     Moves *moves);
// The move of one stage, with recomputation or without or both ways, onto `list`. false: it is full.
typedef VEC(Move) MoveList;
bool moves_push(Arena *a, MoveList *list, int limit, const Standing *s, const Move *m);
// What a stage would be on `take` machines of every type; false: none, or of unequal profiles.
bool moves_stand_on(const Machines *m, const CostOptions *o, const int *take, Standing *s,
                    Move *move);

// Micro-batches between forward and backward of one replica (docs/planner.md, Memory).
int cost_in_flight(const CostOptions *o, int replicas, int behind);

#endif
