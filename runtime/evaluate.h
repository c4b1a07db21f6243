// The score of a test set: mean loss, and how often the right class is the first, or one of the first
// five, of a row of logits. Rows whose label is -1 (padding) do not count.
#ifndef STAGECC_RUNTIME_EVALUATE_H
#define STAGECC_RUNTIME_EVALUATE_H

#include "runtime/rt.h"

typedef struct rt__score {
    double loss, top1, top5; // of what was seen since rt__evaluate_begin
    uint64_t samples, rows;  // rows: scored labels
    double loss_sum;
    uint64_t first, five;
} rt__score;

// Only in the stage that has loss and logits; elsewhere these do nothing.
int rt__evaluate_open(rt_stage *s); // takes s->score; 0 or RT_E_MEMORY
void rt__evaluate_close(rt_stage *s);
void rt__evaluate_begin(rt_stage *s);
// After EVAL of micro-batch mb of the batch at s->eval_first: add its rows.
int rt__evaluate_mb(rt_stage *s, int mb);

#endif
