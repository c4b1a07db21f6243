// Scores of an evaluation: mean loss, top-1 and top-5 over all valid rows of the test set. A row is
// one prediction: a sample, or a token of a sequence; rows with a negative label do not count, and
// neither does what pads the last micro-batch. Only the stage that has the loss keeps a score.
#ifndef STAGECC_RUNTIME_EVALUATE_H
#define STAGECC_RUNTIME_EVALUATE_H

#include "runtime/rt.h"

typedef struct rt__score {
    double loss, top1, top5; // means over `rows`; fractions of 1
    uint64_t rows;           // rows seen so far
    uint64_t samples;        // valid samples seen so far
    double loss_sum;
    uint64_t hits1, hits5;
} rt__score;

// Logits [rows, classes] in float, double or bf16, labels [rows]; a label < 0 is ignored.
typedef struct rt__predictions {
    const void *logits;
    rt_dtype type; // of the logits
    const int32_t *labels;
    int64_t rows, classes;
    int64_t row; // elements from one row of logits to the next
} rt__predictions;

// Of such rows: those whose label is not negative; how many of them have the label first, or among the first five.
// Its rank is the number of classes that beat it; of equal logits the lower class wins, as with an argmax from the
// left. Where the label's logit is not a number, or the label no class, it is neither.
typedef struct rt__hits {
    uint64_t rows, first, fifth;
} rt__hits;

void rt__score_reset(rt__score *score);
// One micro-batch. `loss` is the mean over its rows whose label is not negative, as cross_entropy
// gives it; without such a row the micro-batch changes nothing but `samples`.
void rt__score_add(rt__score *score, const rt__hits *hits, double loss, int64_t samples);
// The same for losses over every element (mse): all `samples` must be valid.
void rt__score_add_loss(rt__score *score, double loss, int64_t samples);

int rt__evaluate_open(
    rt_stage *s); // makes losses, scores and, where the loss is, score. 0 or an rt_error
void rt__evaluate_close(rt_stage *s);
void rt__evaluate_begin(rt_stage *s); // a new evaluation
void rt__evaluate_begin_batch(rt_stage *s);
// Micro-batch mb of the evaluation batch at s->eval_first has run: its place in s->scores is filled, at the end of
// the batch at the latest. 0 or an rt_error (RT_E_LOSS: its loss is not finite).
int rt__evaluate_mb(rt_stage *s, int mb);
// Adds all micro-batches up in their order, those of other replicas too. The same errors.
int rt__evaluate_end_batch(rt_stage *s);

#endif
