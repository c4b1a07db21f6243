#include "runtime/load.h"

#include "runtime/device.h"
#include "runtime/loop.h"
#include "runtime/plain.h"
#include "runtime/transport.h"

// Where an input goes, and how much it is.
typedef struct Target {
    void *at;
    size_t bytes;
} Target;

static Target target_of(rt_stage *s, const rt_input *in)
{
    int edge = s->evaluating ? in->eval_edge : in->edge;
    size_t bytes = (size_t)rt__dtype_bytes(in->dtype);
    for (int i = 0; i < in->rank; i++)
        bytes *= (size_t)in->dim[i];
    void *at = edge != RT_NO_EDGE ? rt_slot(s, edge, s->mb)
               : s->evaluating    ? rt_scratch(s, in->eval_offset)
                                  : rt_act(s, s->mb, in->offset);
    return (Target){at, bytes};
}

static int read_train(rt_stage *s, int input, void *to, rt__why *why)
{
    int mb = rt__mb_of_step(s);
    rt__cursor first = rt__cursor_mb(s->loading, mb, s->program->micro_batch);
    int64_t samples = rt__samples_of_mb(s, rt__samples_now(s), mb);
    return rt__data_train(s->data, input, first, samples, to, why);
}

static int read_eval(rt_stage *s, int input, void *to, rt__why *why)
{
    if (s->alone)
        return rt__data_alone(s->test, input, s->eval_first + (uint64_t)s->mb, to, why);
    uint64_t first = s->eval_first + (uint64_t)s->mb * (uint64_t)s->program->micro_batch;
    return rt__data_eval(s->test, input, first, to, why);
}

static int load(rt_stage *s, int input)
{
    rt__why why;
    Target to = target_of(s, &s->program->inputs[input]);
    void *room = s->device->room(s, to.at, to.bytes);
    if (!room)
        return (int)s->error;
    int status =
        s->evaluating ? read_eval(s, input, room, &why) : read_train(s, input, room, &why);
    if (status)
        return rt__fail_why(s, status, &why);
    s->device->put(s, to.at, room, to.bytes);
    return 0;
}

int rt__load(rt_stage *s, int mb)
{
    int error = 0, step = s->evaluating ? 0 : mb / s->program->micro_batches;
    for (; s->loading_step < step; s->loading_step++)
        s->loading = rt__cursor_next(s->data, s->loading, rt__portions(s->program));
    for (int k = 0; k < s->program->n_inputs && !error; k++)
        error = load(s, k);
    return error;
}
