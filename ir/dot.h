// A picture of a model for Graphviz: one box per layer, one arrow per tensor between layers.
#ifndef STAGECC_IR_DOT_H
#define STAGECC_IR_DOT_H

#include "base/text.h"
#include "ir/graph.h"

typedef struct DotOptions {
    const int *stage_of_unit; // [n_units]: boxes in a coloured frame per stage; NULL: no frames
    int n_units;
    const char *const *stage_words; // [stages]: lines behind a stage's number; NULL: none
    int slowest;                    // the stage that gets a red frame; -1: none
    const double *layer_s; // [layers], seconds per micro-batch; NULL or negative: not shown
} DotOptions;

// Forward nodes only; parameters are part of their layer. With stages, arrows that cross bear
// the bytes of the tensor per micro-batch. o may be NULL.
void dot_print(Text *out, const Graph *g, const DotOptions *o);
// What other pictures share: the text of a label, and the background of a stage.
void dot_escaped(Text *out, const char *s);
const char *dot_stage_colour(int stage);

#endif
