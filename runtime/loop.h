// The schedule loop: a stage's instruction streams, executed. What an instruction does is a row of
// one table; which instructions there are and in which order is the plan's business alone.
#ifndef STAGECC_RUNTIME_LOOP_H
#define STAGECC_RUNTIME_LOOP_H

#include "runtime/rt.h"

// From one drain of the pipeline to the next: so many steps (one, in synchronous schedules) from
// s->cursor on with the rates of s->rate. Each leaves s->loss and s->step_s and is reported; at the end
// step, run_step and cursor have moved on. 0 or an rt_error.
int rt__train_stream(rt_stage *s, int64_t steps);
// One evaluation batch from sample s->eval_first on; moves eval_batch and eval_first on.
int rt__eval_batch(rt_stage *s);

int64_t rt__batch(const rt_program *program); // samples of a step
rt__portion
rt__portions(const rt_program *program);    // likewise; where a loss counts every sample, the
                                            //   last of an epoch has whole micro-batches
int64_t rt__samples_now(const rt_stage *s); // of the step of s->mb
// Of micro-batch mb of a step of so many: all but the last ones of an epoch are full.
int64_t rt__samples_of_mb(const rt_stage *s, int64_t samples, int64_t mb);
int64_t rt__stream_micro_batches(const rt_stage *s); // of all steps of the running stream
int64_t rt__eval_samples(const rt_stage *s);         // of an evaluation batch
bool rt__has_loss(const rt_program *program);        // this stage computes the loss
double rt__real_at(const void *at, rt_dtype dtype);  // one float or double

#endif
