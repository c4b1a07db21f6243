#include "runtime/loop.h"

#include "runtime/device.h"
#include "runtime/evaluate.h"
#include "runtime/guard.h"
#include "runtime/image.h"
#include "runtime/load.h"
#include "runtime/norm.h"
#include "runtime/pace.h"
#include "runtime/profile.h"
#include "runtime/reduce.h"
#include "runtime/segment.h"
#include "runtime/settle.h"
#include "runtime/share.h"
#include "runtime/timeline.h"
#include "runtime/trace.h"
#include "runtime/transport.h"
#include "runtime/twins.h"

#include <stdlib.h>
#include <string.h>

typedef int Execute(rt_stage *s, const rt_instr *i);

int64_t rt__batch(const rt_program *program)
{
    return program->micro_batch * program->micro_batches;
}

rt__portion rt__portions(const rt_program *program)
{
    return (rt__portion){rt__batch(program), program->ignores ? 1 : program->micro_batch};
}

// The step of a micro-batch, from the stream's first on. A step of synchronous schedules is a stream.
static int64_t step_of(const rt_stage *s, int mb)
{
    return s->program->train_steps ? mb / s->program->micro_batches : 0;
}

static int64_t samples_of_step(const rt_stage *s, int64_t step)
{
    return step == s->stream_steps - 1 ? s->last_samples : rt__batch(s->program);
}

int64_t rt__samples_now(const rt_stage *s)
{
    return samples_of_step(s, step_of(s, s->mb));
}

int64_t rt__samples_of_mb(const rt_stage *s, int64_t samples, int64_t mb)
{
    int64_t size = s->program->micro_batch, left = samples - mb * size;
    return left < 0 ? 0 : left < size ? left : size;
}

double rt_share(const rt_stage *s, int mb)
{
    int64_t samples = samples_of_step(s, step_of(s, mb));
    int64_t own = rt__samples_of_mb(s, samples, mb % s->program->micro_batches);
    return (double)own / (double)samples;
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

int rt__mb_of_step(const rt_stage *s)
{
    return s->program->train_steps ? s->mb % s->program->micro_batches : s->mb;
}

// Versions of the weights, counted from the begin of the stream
// -------------------------------------------------------------

static int64_t version_at(const rt_program *p, int64_t version)
{
    return p->versions > 1 ? version % p->versions * p->version_bytes : 0;
}

static void use_version(rt_stage *s, int64_t version)
{
    s->version = s->first_step + version;
    s->weights_at = version_at(s->program, version);
}

static void copy_version(rt_stage *s, int64_t from, int64_t to)
{
    const rt_program *p = s->program;
    uint8_t *weights = s->arena + p->persistent_bytes - p->version_bytes;
    int64_t source = version_at(p, from), target = version_at(p, to);
    if (source != target)
        s->device->move(s, weights + target, weights + source, (size_t)p->version_bytes);
}

// Of the stream's last step.
static int64_t last_micro_batches(const rt_stage *s)
{
    return (s->last_samples + s->program->micro_batch - 1) / s->program->micro_batch;
}

int64_t rt__stream_micro_batches(const rt_stage *s)
{
    return (s->stream_steps - 1) * s->program->micro_batches + last_micro_batches(s);
}

// A replica that has no micro-batch of the stream's last step adds nothing to its gradients.
static void clear_gradients(rt_stage *s)
{
    if (s->replica < last_micro_batches(s))
        return;
    for (int i = 0; i < s->program->n_tensors; i++) {
        const rt_tensor *t = &s->program->tensors[i];
        if (t->role == RT_ACCUMULATOR)
            s->device->zero(s, rt__tensor(s, t), (size_t)t->bytes);
    }
}

static void between_steps(rt_stage *s)
{
    atomic_store(&s->status->step, s->step);
    atomic_store_explicit(&s->status->opcode, -1, memory_order_relaxed);
}

static int finish_step(rt_stage *s)
{
    int64_t now = rt__now_ns();
    rt__owe_step(s);
    rt__guard_end_step(s);
    rt__image_turn(s);
    s->step++;
    s->run_updates++;
    if (s->step + 1 == s->first_step + s->stream_steps)
        clear_gradients(s);
    between_steps(s);
    if (s->timeline)
        rt__timeline_end(s, now);
    return rt__settle(s, rt__lag(s));
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

static int run_load(rt_stage *s, const rt_instr *i)
{
    return rt__load(s, (int)i->mb);
}

static int run_forward(rt_stage *s, const rt_instr *i)
{
    s->device->run(s, s->program->forward, (int)i->mb);
    if (!rt__has_loss(s->program) || s->error)
        return (int)s->error;
    return rt__owe_loss(s);
}

static int run_backward_part(rt_stage *s, const rt_instr *i)
{
    s->device->run(s, s->program->parts[s->part++], (int)i->mb);
    return 0;
}

// What is left of a pass of which parts have run.
static int run_rest(rt_stage *s, const rt_instr *i)
{
    while (s->part < s->program->n_parts && !s->error)
        run_backward_part(s, i);
    s->part = 0;
    return 0;
}

static int run_backward(rt_stage *s, const rt_instr *i)
{
    if (s->part)
        return run_rest(s, i);
    s->device->run(s, s->program->backward, (int)i->mb);
    return 0;
}

static int run_backward_weight(rt_stage *s, const rt_instr *i)
{
    if (s->part)
        return run_rest(s, i);
    s->device->run(s, s->program->backward_weight, (int)i->mb);
    return 0;
}

static int run_reduce_put(rt_stage *s, const rt_instr *i)
{
    return rt__reduce_put(s, (int)i->mb);
}

static int run_reduce_sum(rt_stage *s, const rt_instr *i)
{
    return rt__reduce_sum(s, (int)i->mb);
}

static int run_reduce_get(rt_stage *s, const rt_instr *i)
{
    return rt__reduce_get(s, (int)i->mb);
}

static int run_share_put(rt_stage *s, const rt_instr *i)
{
    (void)i;
    return rt__share_put(s);
}

static int run_share_get(rt_stage *s, const rt_instr *i)
{
    (void)i;
    return rt__share_get(s);
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

static void update(rt_stage *s, int mb)
{
    (void)mb;
    s->program->update(s);
}

static int run_update(rt_stage *s, const rt_instr *i)
{
    s->lr = rt__lr_at(&s->rate, s->step);
    copy_version(s, s->version - s->first_step - 1, s->version - s->first_step);
    if (!s->program->norm_parts) { // else the norm has looked at every gradient
        int error = rt__guard_gradients(s, s->must_check);
        if (error)
            return error;
    }
    // Of an asynchronous schedule the whole stream was allowed when it began.
    int error = s->program->train_steps ? 0 : rt__may_update(s, s->step + 1);
    if (!error)
        error = rt__image_begin_update(s);
    if (error)
        return error;
    s->device->run(s, update, (int)i->mb);
    return (int)s->error;
}

static int run_eval(rt_stage *s, const rt_instr *i)
{
    s->device->run(s, s->program->eval_forward, (int)i->mb);
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
    [RT_BACKWARD_PART] = run_backward_part,
    [RT_BACKWARD] = run_backward,
    [RT_BACKWARD_WEIGHT] = run_backward_weight,
    [RT_REDUCE_PUT] = run_reduce_put,
    [RT_REDUCE_SUM] = run_reduce_sum,
    [RT_REDUCE_GET] = run_reduce_get,
    [RT_SHARE_PUT] = run_share_put,
    [RT_SHARE_GET] = run_share_get,
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

static void show(const rt_stage *s, const rt_instr *i)
{
    SegmentStatus *status = s->status;
    atomic_store_explicit(&status->opcode, i->opcode, memory_order_relaxed);
    atomic_store_explicit(&status->edge, i->opcode <= RT_RELEASE ? i->edge : -1,
                          memory_order_relaxed);
    atomic_store_explicit(&status->mb, rt__mb_of_step(s), memory_order_relaxed);
    atomic_store_explicit(&status->step, s->step, memory_order_relaxed);
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

static void add_busy(SegmentStatus *status, int64_t ns)
{
    int64_t before = atomic_load_explicit(&status->busy_ns, memory_order_relaxed);
    atomic_store_explicit(&status->busy_ns, before + ns, memory_order_relaxed);
}

// By how much a step moves on the number of an instruction: micro-batches, buckets, or messages that are none's.
static int step_numbers(const rt_stage *s, const rt_instr *i)
{
    const rt_program *p = s->program;
    const rt_edge *e = i->opcode <= RT_RELEASE ? &p->edges[i->edge] : NULL;
    if (e && e->first < 0)
        return e->per_step * e->stride;
    return rt_is_reduce(i->opcode) ? p->n_buckets : p->micro_batches;
}

// steps_on: how far the body was repeated.
static int execute(rt_stage *s, const rt_instr *i, int64_t steps_on)
{
    s->opcode = (rt_opcode)i->opcode;
    s->mb = (int)i->mb;
    s->layer = -1;
    if (!s->evaluating && s->program->train_steps)
        s->step = s->first_step + s->mb / step_numbers(s, i);
    use_version(s, rt_has_version(i) ? rt_version(i) + steps_on : i->opcode == RT_UPDATE);
    show(s, i);
    int64_t begin = rt__now_ns(), waited = s->waited_ns;
    if (s->timeline)
        rt__timeline_enter(s, begin);
    if (s->profile)
        rt__profile_begin(s);
    int error = instructions[i->opcode](s, i);
    if (rt__is_timed(s) && !error)
        error = rt__device_wait(s);
    if (s->profile)
        rt__profile_end(s);
    rt__guard_mark(s);
    if (s->paced && !error)
        error = rt__pace(s, s->opcode, begin);
    int64_t end = rt__now_ns();
    if (s->trace)
        rt__trace_add(s, i, begin, end);
    if (s->timeline)
        rt__timeline_leave(s, end);
    if (i->opcode > RT_RELEASE)
        add_busy(s->status, end - begin - (s->waited_ns - waited));
    rt__twins_progress(s); // replays of what a device has captured call no rt_at
    rt__image_progress(s);
    error = error ? error : (int)s->error;
    if (!error && i->opcode == RT_UPDATE)
        error = finish_step(s);
    return error ? error : (int)s->error;
}

static int run_one(rt_stage *s, const rt_instr *i, int64_t steps_on)
{
    int error = execute(s, i, steps_on);
    return error ? error : rt__check_abort(s);
}

typedef struct Stretch { // of the training stream
    int begin, end;
    int64_t steps_on, steps,
        micro_batches; // how far the body was repeated; of the whole stream
} Stretch;

// Of a micro-batch, or a step, that is left out? Buckets and norms are of a step.
static bool left_out(const rt_stage *s, const rt_instr *i, const Stretch *part)
{
    bool message = i->opcode <= RT_RELEASE;
    bool of_mb = message ? s->program->edges[i->edge].first >= 0 : !rt_is_reduce(i->opcode);
    if (!of_mb && !s->program->train_steps)
        return false; // the stream is a step; turns have numbers of their own
    return i->mb >= (of_mb ? part->micro_batches : part->steps * step_numbers(s, i));
}

static int run_stretch(rt_stage *s, Stretch part)
{
    int error = 0;
    for (int k = part.begin; k < part.end && !error; k++) {
        rt_instr i = s->own->train[k];
        i.mb += (uint32_t)(part.steps_on * step_numbers(s, &i));
        if (!left_out(s, &i, &part))
            error = run_one(s, &i, part.steps_on);
    }
    return error;
}

// Prologue, body as often as it takes, epilogue.
static int run_train(rt_stage *s, int64_t steps)
{
    const rt_program *p = s->program;
    int64_t written = p->train_steps ? p->train_steps : 1;
    int64_t all = rt__stream_micro_batches(s);
    int64_t more = steps > written ? steps - written : 0;
    int body = p->bodies ? p->bodies[s->replica][0] : 0;
    int body_end = p->bodies ? p->bodies[s->replica][1] : 0;
    int error = run_stretch(s, (Stretch){0, body_end, 0, steps, all});
    for (int64_t k = 1; k <= more && !error; k++)
        error = run_stretch(s, (Stretch){body, body_end, k, steps, all});
    return error ? error
                 : run_stretch(s, (Stretch){body_end, s->own->n_train, more, steps, all});
}

// Where the data stand so many steps on.
static rt__cursor cursor_behind(const rt_stage *s, rt__cursor at, int64_t steps)
{
    for (int64_t k = 0; k < steps; k++)
        at = rt__cursor_next(s->data, at, rt__portions(s->program));
    return at;
}

static void begin_stream(rt_stage *s, int64_t steps)
{
    rt__cursor last = cursor_behind(s, s->cursor, steps - 1);
    s->evaluating = false;
    s->first_step = s->step;
    s->loading = s->cursor;
    s->loading_step = 0;
    s->stream_steps = steps;
    s->last_samples = rt__step_samples(s->data, last, rt__portions(s->program));
}

int rt__train_stream(rt_stage *s, int64_t steps)
{
    begin_stream(s, steps);
    s->updated_ns = rt__now_ns();
    memset(s->losses, 0, (size_t)s->program->micro_batches * sizeof *s->losses);
    rt__guard_begin_stream(s);
    if (steps == 1)
        clear_gradients(s);
    int error = run_train(s, steps);
    between_steps(s);
    if (error)
        return error;
    copy_version(s, steps, 0);
    s->step = s->first_step + steps;
    s->run_step += (uint64_t)steps;
    rt__leave_out(s, last_micro_batches(s));
    s->cursor = cursor_behind(s, s->cursor, steps);
    return 0;
}

int rt__eval_batch(rt_stage *s)
{
    int error = 0;
    s->evaluating = true;
    s->first_step = s->step;
    rt__evaluate_begin_batch(s);
    for (int k = 0; k < s->own->n_eval && !error; k++)
        error = run_one(s, &s->own->eval[k], 0);
    s->evaluating = false;
    between_steps(s);
    if (!error)
        error = rt__evaluate_end_batch(s);
    if (error)
        return error;
    s->eval_batch++;
    s->eval_first += (uint64_t)(s->alone ? s->eval_micro_batches : rt__eval_samples(s));
    return 0;
}
