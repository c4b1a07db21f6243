#include "runtime/loop.h"

#include "runtime/evaluate.h"
#include "runtime/guard.h"
#include "runtime/norm.h"
#include "runtime/profile.h"
#include "runtime/segment.h"
#include "runtime/trace.h"
#include "runtime/transport.h"

#include <stdlib.h>

typedef int Execute(rt_stage *s, const rt_instr *i);

int64_t rt__batch(const rt_program *program)
{
    return program->micro_batch * program->micro_batches;
}

int64_t rt__eval_samples(const rt_stage *s)
{
    return s->program->micro_batch * s->eval_micro_batches;
}

bool rt__has_loss(const rt_program *program)
{
    return program->loss_offset >= 0;
}

double rt__real_at(const void *at, rt_dtype dtype)
{
    return dtype == RT_F64 ? *(const double *)at : (double)*(const float *)at;
}

// Instructions
// ----------------------------------------------------------------------------------

static int run_acquire(rt_stage *s, const rt_instr *i)
{
    return rt__acquire(s, i->edge, (int)i->mb);
}

static int run_recv(rt_stage *s, const rt_instr *i)
{
    return rt__recv(s, i->edge, (int)i->mb);
}

static int run_send(rt_stage *s, const rt_instr *i)
{
    return rt__send(s, i->edge, (int)i->mb);
}

static int run_release(rt_stage *s, const rt_instr *i)
{
    return rt__release(s, i->edge, (int)i->mb);
}

static int load_train(rt_stage *s, int input, rt__why *why)
{
    const rt_input *in = &s->program->inputs[input];
    void *to =
        in->edge != RT_NO_EDGE ? rt_slot(s, in->edge, s->mb) : rt_act(s, s->mb, in->offset);
    rt__cursor first = rt__cursor_mb(s->cursor, s->mb, s->program->micro_batch);
    return rt__data_train(s->data, input, first, to, why);
}

static int load_eval(rt_stage *s, int input, rt__why *why)
{
    const rt_input *in = &s->program->inputs[input];
    void *to = in->eval_edge != RT_NO_EDGE ? rt_slot(s, in->eval_edge, s->mb)
                                           : rt_scratch(s, in->eval_offset);
    uint64_t first = s->eval_first + (uint64_t)s->mb * (uint64_t)s->program->micro_batch;
    return rt__data_eval(s->test, input, first, to, why);
}

static int run_load(rt_stage *s, const rt_instr *i)
{
    (void)i;
    rt__why why;
    for (int k = 0; k < s->program->n_inputs; k++) {
        int status = s->evaluating ? load_eval(s, k, &why) : load_train(s, k, &why);
        if (status)
            return rt__fail_why(s, status, &why);
    }
    return 0;
}

static int run_forward(rt_stage *s, const rt_instr *i)
{
    const rt_program *p = s->program;
    p->forward(s, (int)i->mb);
    if (!rt__has_loss(p) || s->error)
        return (int)s->error;
    double loss = rt__real_at(rt_act(s, s->mb, p->loss_offset), p->real);
    s->loss_sum += loss;
    return rt__guard_loss(s, loss);
}

static int run_backward(rt_stage *s, const rt_instr *i)
{
    s->program->backward(s, (int)i->mb);
    return 0;
}

static int run_norm_gather(rt_stage *s, const rt_instr *i)
{
    (void)i;
    return rt__norm_gather(s);
}

static int run_norm_apply(rt_stage *s, const rt_instr *i)
{
    (void)i;
    return rt__norm_apply(s);
}

static int run_update(rt_stage *s, const rt_instr *i)
{
    (void)i;
    if (!s->program->norm_parts) { // else the norm has looked at every gradient
        int error = rt__guard_gradients(s, s->must_check);
        if (error)
            return error;
    }
    s->program->update(s);
    return 0;
}

static int run_eval(rt_stage *s, const rt_instr *i)
{
    s->program->eval_forward(s, (int)i->mb);
    if (!rt__has_loss(s->program) || s->error)
        return (int)s->error;
    return rt__evaluate_mb(s, (int)i->mb);
}

static Execute *const instructions[RT_N_OPCODES] = {
    [RT_ACQUIRE] = run_acquire,
    [RT_RECV] = run_recv,
    [RT_SEND] = run_send,
    [RT_RELEASE] = run_release,
    [RT_LOAD] = run_load,
    [RT_FORWARD] = run_forward,
    [RT_BACKWARD] = run_backward,
    [RT_NORM_GATHER] = run_norm_gather,
    [RT_NORM_APPLY] = run_norm_apply,
    [RT_UPDATE] = run_update,
    [RT_EVAL] = run_eval,
};

// The loop
// --------------------------------------------------------------------------------------

static void move_on(SegmentStatus *status)
{
    uint64_t n = atomic_load_explicit(&status->progress, memory_order_relaxed);
    atomic_store_explicit(&status->progress, n + 1, memory_order_relaxed);
}

static void show(SegmentStatus *status, const rt_instr *i)
{
    atomic_store_explicit(&status->opcode, i->opcode, memory_order_relaxed);
    atomic_store_explicit(&status->edge, i->opcode <= RT_RELEASE ? i->edge : -1,
                          memory_order_relaxed);
    atomic_store_explicit(&status->mb, (int32_t)i->mb, memory_order_relaxed);
    atomic_store_explicit(&status->layer, -1, memory_order_relaxed);
    move_on(status);
}

void rt_at(rt_stage *s, int layer)
{
    rt__guard_mark(s);
    if (s->profile)
        rt__profile_mark(s, layer);
    s->layer = layer;
    atomic_store_explicit(&s->status->layer, layer, memory_order_relaxed);
    move_on(s->status);
    rt__progress(s);
}

static int execute(rt_stage *s, const rt_instr *i)
{
    s->opcode = (rt_opcode)i->opcode;
    s->mb = (int)i->mb;
    s->layer = -1;
    show(s->status, i);
    int64_t begin = s->trace ? rt__now_ns() : 0;
    if (s->profile)
        rt__profile_begin(s);
    int error = instructions[i->opcode](s, i);
    if (s->profile)
        rt__profile_end(s);
    rt__guard_mark(s);
    if (s->trace)
        rt__trace_add(s, i, begin, rt__now_ns());
    return error ? error : (int)s->error;
}

static int run_stream(rt_stage *s, const rt_instr *stream, int n)
{
    int error = 0;
    for (int k = 0; k < n && !error; k++) {
        error = execute(s, &stream[k]);
        if (!error)
            error = rt__check_abort(s);
    }
    atomic_store_explicit(&s->status->opcode, -1, memory_order_relaxed);
    return error;
}

// The loss of a step: the mean over micro-batches in double, rounded to the model's type.
static double rounded_loss(const rt_stage *s)
{
    double mean = s->loss_sum / s->program->micro_batches;
    return s->program->real == RT_F64 ? mean : (double)(float)mean;
}

int rt__train_step(rt_stage *s)
{
    const rt_program *p = s->program;
    int64_t begin = rt__now_ns();
    s->evaluating = false;
    s->loss_sum = 0;
    rt__guard_begin_step(s);
    int error = run_stream(s, p->train, p->n_train);
    if (error)
        return error;
    s->step_s = (double)(rt__now_ns() - begin) * 1e-9;
    s->loss = rounded_loss(s);
    s->step++;
    s->run_step++;
    s->cursor = rt__cursor_next(s->data, s->cursor, rt__batch(p));
    atomic_store(&s->status->step, s->step);
    return 0;
}

int rt__eval_batch(rt_stage *s)
{
    s->evaluating = true;
    int error = run_stream(s, s->program->eval, s->program->n_eval);
    s->evaluating = false;
    if (error)
        return error;
    s->eval_batch++;
    s->eval_first += (uint64_t)rt__eval_samples(s);
    return 0;
}
