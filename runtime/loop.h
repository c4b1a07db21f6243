// The schedule loop: a stage's instruction streams, executed. What an instruction does is a row of
// one table; which instructions there are and in which order is the plan's business alone.
#ifndef STAGECC_RUNTIME_LOOP_H
#define STAGECC_RUNTIME_LOOP_H

#include "runtime/rt.h"

// One optimizer step at s->cursor with the rate s->lr: leaves s->loss and s->step_s and moves step,
// run_step and cursor on. 0 or an rt_error.
int rt__train_step(rt_stage *s);
// One evaluation batch from sample s->eval_first on; moves eval_batch and eval_first on.
int rt__eval_batch(rt_stage *s);

int64_t rt__batch(const rt_program *program);       // samples of a step
int64_t rt__eval_samples(const rt_stage *s);        // of an evaluation batch
bool rt__has_loss(const rt_program *program);       // this stage computes the loss
double rt__real_at(const void *at, rt_dtype dtype); // one float or double

#endif
