// Whose memory a node's value is, and who reads it: what layout, cost, partition, schedule and memory
// ask of the graph. A view has no memory (its root has); a result's value is its own; a node's other
// outputs are its result nodes.
#ifndef STAGECC_PASSES_VALUES_H
#define STAGECC_PASSES_VALUES_H

#include "ir/graph.h"
#include "plan/stream.h"

typedef struct Values {
    const Graph *graph;
    Node **readers; // all readers of all roots; those of node n begin at first[n->id]
    int *first;     // [nodes + 1]
    bool *kept;     // [nodes]: the runtime reads it: loss, predictions and their eval twins
} Values;

// Ids must equal positions (graph_renumber). Lives in a.
Values values_of(Arena *a, const Graph *g);
int value_readers(const Values *v, const Node *root, Node ***readers); // how many

Node *value_root(Node *n); // through views

// Has a tensor that may need a place: no view, no effect, no number that is written into the code.
bool value_stored(const Node *n);
// Outlives a step: parameters, buffers, accumulators, state, tables of constants.
bool value_persistent(const Node *n);
// Do members n and `reader` hand its value on inside their fusion group? Between a head and what is computed with it a
// library does (passes/fuse.c); what the library makes is in memory for all others.
bool value_handed_on(const Node *n, const Node *reader);
// Lives inside its fusion group only.
bool value_internal(const Values *v, const Node *n);
// The unit that makes it: a result is made with its node.
int value_unit(const Node *n);
// The instruction that runs nodes of this phase.
rt_opcode phase_opcode(Phase phase);

#endif
