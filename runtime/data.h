// Data sets: memory-mapped files, or numbers drawn by counter. Every stage opens the data set
// for the inputs that it owns; all see the same samples in the same order. Nothing is allocated
// after opening. The kinds, their normalisation and their order are described in docs/data.md.
//
// Training reads in an order drawn from (seed, epoch), evaluation in file order. The cursor of
// a training run is two integers: epoch, and position in the epoch's order.
#ifndef STAGECC_RUNTIME_DATA_H
#define STAGECC_RUNTIME_DATA_H

#include "runtime/plain.h"

typedef struct rt__data rt__data;

typedef struct rt__data_options {
    const char *spec; // "idx:PREFIX", "cifar10:DIR", "npy:X,Y", "text:FILE", "tokens:FILE",
                      // "synthetic[:SAMPLES[,CLASSES]]"
    const rt_input
        *inputs;     // those of this stage; dim[0] is the micro-batch. Must outlive the data
    int n_inputs;    // 0 is fine: sample count and order are known anyway
    int64_t tokens;  // rt_program.tokens: text is cut alike by stages that read none of it
    int64_t classes; // limit of targets where their input does not say it; 0: not checked
    int64_t seed;
    int64_t shift; // training images move by up to so many pixels each way; <= 0: they stay
    bool test;     // cifar10: the test file instead of the training files
    int helpers;   // threads beside the caller that draw large micro-batches of "synthetic"
} rt__data_options;

typedef struct rt__cursor {
    uint64_t epoch, index;
} rt__cursor;

// 0, RT__INPUT (unknown kind, missing or malformed file with name and offset, shapes that do
// not fit) or RT__ENVIRONMENT. On success free with rt__data_close.
int rt__data_open(rt__data **data, const rt__data_options *options, rt__why *why);
void rt__data_close(rt__data *data); // NULL is fine
uint64_t rt__data_samples(const rt__data *data);
// One line for the log: "cifar10:DIR: 50000 samples, 3x32x32 bilinear to 3x224x224".
const char *rt__data_summary(const rt__data *data);

// Read one micro-batch of input i (an index in options.inputs) into `out`: the samples at
// positions first, first + 1, … of the epoch's order, `samples` of them. What is missing in the
// micro-batch are the epoch's first samples once more, with integer targets of -1 (ignored by
// cross_entropy). 0, or RT__INPUT (a label or token out of range).
int rt__data_train(rt__data *data, int i, rt__cursor first, int64_t samples, void *out,
                   rt__why *why);
// The same in file order. What lies behind the last sample is zero, integer targets -1 (ignored
// by cross_entropy). The number of valid samples is rt__data_valid.
int rt__data_eval(rt__data *data, int i, uint64_t first, void *out, rt__why *why);
// A micro-batch of one sample again and again, with one target and else -1: its loss is the sample's, whatever
// the loss counts.
int rt__data_alone(rt__data *data, int i, uint64_t sample, void *out, rt__why *why);
int64_t rt__data_valid(const rt__data *data, uint64_t first, int64_t micro_batch);

// Steps have `batch` samples, but the last one of an epoch those that are left, in multiples of `least`: fewer
// are left out. 0 steps mean that the data set is too small, which callers must refuse.
typedef struct rt__portion {
    int64_t batch, least;
} rt__portion;
int64_t rt__step_samples(const rt__data *data, rt__cursor at,
                         rt__portion of); // 0: the epoch is over
uint64_t rt__steps_per_epoch(const rt__data *data, rt__portion of);
rt__cursor rt__cursor_next(const rt__data *data, rt__cursor at, rt__portion of);
rt__cursor rt__cursor_mb(rt__cursor at, int64_t mb, int64_t micro_batch); // of that micro-batch
// The permutation itself: a bijection of [0, n) for every (seed, epoch).
uint64_t rt__data_order(int64_t seed, uint64_t epoch, uint64_t n, uint64_t position);

#endif
