// A stage that computes values of its forward again in backward, so that they need not wait for it in
// memory: what may be computed again, what that needs, in which order backward then runs, and what it
// takes and saves. The nodes that are computed again are a set, again[id], of the stage's forward nodes;
// it is closed if everything that they need is there.
#ifndef STAGECC_PASSES_AGAIN_H
#define STAGECC_PASSES_AGAIN_H

#include "passes/pass.h"
#include "passes/values.h"

typedef struct Again {
    const Compile *c;
    const Values *values;
    int stage, in_flight;
    NodeList nodes[N_PHASES]; // of the stage: those that compute, in their order
    NodeList results;         // their further outputs
    // By id. Of roots: lies in an edge, is read by backward of this stage; of nodes: can run in backward.
    bool *crosses, *saved, *can;
    int64_t others; // scratch of update and evaluation
    Arena work;     // of one question
} Again;

// Ids equal positions, and c->node_s is what `cost` left there. Released with again_release.
Again again_of(Arena *a, const Compile *c, const Values *v, const PlanStage *s, int in_flight);
void again_release(Again *a);

bool again_here(const Again *a, const Node *n); // a node of this stage
Node *again_node(Node *root);                   // whose output it is
// Bytes that need not wait for backward if this node is computed again; 0: it cannot be, or none do.
int64_t again_saves(const Again *a, const Node *n);
// Adds what is needed.
void again_close(const Again *a, bool *again);
// Of a closed set: does backward read this root as it is made again?
bool again_made(const Again *a, const bool *again, Node *root);
double again_seconds(const Again *a, const bool *again); // of all nodes of a set once

// A phase of backward, and before its nodes those of a closed set that they need. What several phases need
// is made in each.
typedef struct AgainStep {
    Node *node;
    bool again; // a forward node
    int moment; // nodes of a group share it
} AgainStep;
typedef VEC(AgainStep) AgainSteps;
AgainSteps again_steps(Again *a, const bool *again, Phase phase); // in a->work

// passes/again_memory.c
typedef struct AgainCost {
    int64_t slot_bytes; // of a micro-batch in flight
    int64_t scratch_bytes;
    double seconds, of_phase[N_PHASES]; // more, of a micro-batch
} AgainCost;
// Of a closed set. Memory is packed as the pass `memory` does it, or at least what the worst moment needs.
AgainCost again_cost(Again *a, const bool *again, bool packed);
int64_t again_bytes(const Again *a, AgainCost cost); // slots in flight, and scratch
int64_t again_scratch(Again *a, Phase phase);        // of update or evaluation

// passes/again_choose.c
typedef struct AgainChoice {
    bool *again; // a closed set; lives in arena
    AgainCost cost;
    bool exact;     // no other set that fits takes less time
    double least_s; // no set that fits takes less
} AgainChoice;
// All that can be computed again.
AgainChoice again_whole(Again *a, Arena *arena);
// The set of the least time that takes at most so many bytes (again_bytes). false: none was found; *out
// has then the fewest bytes.
bool again_choose(Again *a, Arena *arena, int64_t bytes, AgainChoice *out);

#endif
