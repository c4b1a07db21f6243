// What --transfer means for tensors that cross stages: asked before the cut, written behind it.
#ifndef STAGECC_PASSES_TRANSFER_H
#define STAGECC_PASSES_TRANSFER_H

#include "passes/pass.h"

// Bytes of a message of n, a root.
int64_t transfer_bytes(const Options *o, const Node *n);
// Undoes the pass: the graph may be cut elsewhere.
void transfer_forget(Graph *g);

#endif
