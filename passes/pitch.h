// LAYOUT_PITCHED for logits.
#ifndef STAGECC_PASSES_PITCH_H
#define STAGECC_PASSES_PITCH_H

#include "ir/graph.h"

// Ids must equal positions. What it does not choose stays as it is.
void pitch_logits(const Graph *g, Arena *scratch);

#endif
