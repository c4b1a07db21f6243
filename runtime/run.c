#include "runtime/run.h"

#include "runtime/device.h"
#include "runtime/evaluate.h"
#include "runtime/image.h"
#include "runtime/loop.h"
#include "runtime/lr.h"
#include "runtime/pace.h"
#include "runtime/profile.h"
#include "runtime/report.h"
#include "runtime/segment.h"
#include "runtime/settle.h"
#include "runtime/signals.h"
#include "runtime/trace.h"

#include <inttypes.h>
#include <stdio.h>

// How far
// ----------------------------------------------------------------------------------------

// --steps, --epochs, or whichever ends first of both; one epoch where neither is given.
static int64_t find_last_step(const rt_stage *s)
{
    const rt__options *o = &s->options;
    int64_t last = o->steps >= 0 ? o->steps : INT64_MAX;
    int64_t per_epoch = (int64_t)rt__steps_per_epoch(s->data, rt__portions(s->program));
    int64_t epochs = o->epochs >= 0 ? o->epochs : o->steps >= 0 ? -1 : 1;
    if (epochs >= 0 && epochs * per_epoch < last)
        last = epochs * per_epoch;
    return last;
}

static rt__lr_schedule rate_schedule(const rt_stage *s)
{
    const rt_program *p = s->program;
    return (rt__lr_schedule){.name = p->lr_schedule,
                             .lr = s->options.lr >= 0 ? s->options.lr : p->lr,
                             .gamma = p->lr_gamma,
                             .power = p->lr_power,
                             .final = p->lr_final,
                             .steps = p->lr_steps,
                             .warmup = p->warmup,
                             .total = s->last_step};
}

static bool every(int64_t n, int64_t step)
{
    return n > 0 && step % n == 0;
}

static bool save_is_due(const rt_stage *s, int64_t step)
{
    return s->options.checkpoint &&
           (every(s->options.checkpoint_every, step) || step == s->last_step ||
            (uint64_t)step == rt__ends_behind(s));
}

// After a step: every so many, else at the end of an epoch, and at the end of the run.
static bool evaluation_is_due(const rt_stage *s)
{
    if (!s->test)
        return false;
    if (s->step == s->last_step)
        return true;
    return s->options.eval_every > 0 ? every(s->options.eval_every, s->step)
                                     : s->cursor.index == 0;
}

// Running
// ----------------------------------------------------------------------------------------

// RT_E_INTERRUPTED without rt_fail: the job stops in good order, and may save first.
static int evaluate_from(rt_stage *s, uint64_t first, uint64_t end, bool alone)
{
    s->alone = alone;
    s->eval_first = first;
    while (s->eval_first < end) {
        if (!rt__begin_round(s, rt__signals_stop()))
            return RT_E_INTERRUPTED;
        int error = rt__eval_batch(s);
        if (error)
            return error;
    }
    return 0;
}

// Where rows are not counted by their labels, samples that do not fill a micro-batch come one by one.
static int evaluate(rt_stage *s)
{
    uint64_t all = rt__data_samples(s->test), size = (uint64_t)s->program->micro_batch;
    uint64_t together = s->program->scores ? all : all / size * size;
    rt__evaluate_begin(s);
    int error = evaluate_from(s, 0, together, false);
    if (!error && together < all)
        error = evaluate_from(s, together, all, true);
    s->alone = false;
    if (!error)
        rt__report_eval(s);
    return error;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// Steps to the next multiple of n.
static int64_t to_next(int64_t n, int64_t step)
{
    return n > 0 ? n - step % n : INT64_MAX;
}

static int64_t to_epoch_end(const rt_stage *s, int64_t most)
{
    rt__cursor at = s->cursor;
    for (int64_t n = 1; n < most; n++) {
        at = rt__cursor_next(s->data, at, rt__portions(s->program));
        if (at.index == 0)
            return n;
    }
    return most;
}

// Is the last step of an epoch smaller than others? It is the last one of its stream.
static bool ends_short(const rt_stage *s)
{
    rt__portion of = rt__portions(s->program);
    uint64_t batch = (uint64_t)of.batch, whole = rt__data_samples(s->data) / batch;
    return rt__steps_per_epoch(s->data, of) > whole;
}

// A pipeline that flushes does so behind every step; else it drains where all stages must have done the
// same steps, and at multiples of drain_every, so that runs which were stopped there go on alike.
static int64_t steps_to_drain(const rt_stage *s)
{
    const rt__options *o = &s->options;
    if (!s->program->train_steps)
        return 1;
    int64_t n = least(s->last_step - s->step, to_next(s->program->drain_every, s->step));
    if (o->checkpoint)
        n = least(n, to_next(o->checkpoint_every, s->step));
    if (s->test && o->eval_every > 0)
        n = least(n, to_next(o->eval_every, s->step));
    bool epochs = s->test && o->eval_every <= 0;
    return epochs || ends_short(s) ? to_epoch_end(s, n) : n;
}

// To the next drain, and what is due there. All of a stream is under way at once, so the limit has to allow its last
// step; of asynchronous schedules that is the only limit: they save nothing in between.
static int one_stream(rt_stage *s)
{
    int64_t steps = steps_to_drain(s);
    int error = rt__may_begin(s, s->step + steps);
    if (error)
        return error;
    if (!rt__begin_round(s, rt__signals_stop()))
        return RT_E_INTERRUPTED;
    // The flags of other threads than this one are not seen (runtime/guard.c).
    s->must_check = s->program->threads > 1 && save_is_due(s, s->step + steps);
    error = rt__train_stream(s, steps);
    if (!error && (save_is_due(s, s->step) || evaluation_is_due(s)))
        error = rt__settle(s, 0);
    if (error)
        return error;
    if (save_is_due(s, s->step))
        error = rt__save(s);
    if (!error && evaluation_is_due(s))
        error = evaluate(s);
    return error ? error : rt__image_save(s);
}

static void tell_idle(rt_stage *s)
{
    char text[160];
    snprintf(text, sizeof text,
             "nothing to train: %" PRId64 " steps are done, and %" PRId64
             " in all were asked for (--steps, --epochs)",
             s->step, s->last_step);
    rt__report_warning(s, text);
}

static int train(rt_stage *s)
{
    s->last_step = find_last_step(s);
    s->rate = rate_schedule(s);
    rt__report_start(s);
    int error = 0;
    bool idle = s->step >= s->last_step;
    if (idle && s->rank == 0)
        tell_idle(s);
    while (!error && s->step < s->last_step && (uint64_t)s->step != rt__ends_behind(s))
        error = one_stream(s);
    if (!error || error == RT_E_INTERRUPTED) {
        int late = rt__settle(s, 0);
        late = late ? late : rt__image_finish(s);
        error = late ? late : error;
    }
    if (!error && idle && s->test)
        error = evaluate(s);
    return error;
}

static int finish_interrupted(rt_stage *s)
{
    int error = 0;
    if (s->options.checkpoint && s->checkpointed != s->step && s->run_step > 0)
        error = rt__save(s);
    if (error)
        return error;
    return rt_fail(s, RT_E_INTERRUPTED, "stopped by a signal after step %" PRId64, s->step);
}

int rt__run(rt_stage *s)
{
    s->started_ns = rt__now_ns();
    int error = rt__pace_open(s);
    if (!error)
        error = rt__trace_open(s);
    if (!error)
        error = rt__prepare(s);
    if (!error)
        error = rt__barrier(s, "the start");
    if (!error && s->device->connect)
        error = s->device->connect(s);
    if (!error) {
        rt__report_ready(s);
        error = s->options.eval_only ? evaluate(s) : train(s);
    }
    if (error == RT_E_INTERRUPTED)
        error = finish_interrupted(s);
    if (!error || error == RT_E_INTERRUPTED) {
        int late = rt__barrier(s, "the end");
        error = late ? late : error;
    }
    if (!error)
        rt__profile_write(s);
    rt__trace_write(s); // of a failed run too
    if (!s->error)
        rt__report_done(s);
    rt__trace_close(s);
    rt__data_close(s->data);
    rt__data_close(s->test);
    s->data = s->test = NULL;
    return (int)s->error;
}
