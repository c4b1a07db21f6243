#include "runtime/settle.h"

#include "runtime/device.h"
#include "runtime/guard.h"
#include "runtime/loop.h"
#include "runtime/plain.h"
#include "runtime/report.h"
#include "runtime/twins.h"

#include <stdlib.h>
#include <string.h>

typedef struct Step {
    int64_t number, samples; // steps before it
    uint64_t mark;           // behind its work
    double *raw;             // [micro_batches] losses, each in the model's type
    bool *owed;              // [micro_batches]: asked for, not taken
    int32_t *noted;          // by a device that watches
} Step;

// Those whose work was all asked for, the oldest first; behind them the one in work.
typedef struct rt__unsettled {
    int n;
    bool busy;
    Step steps[RT_MAX_LAG + 2];
} rt__unsettled;

int rt__settle_open(rt_stage *s)
{
    size_t n = (size_t)s->program->micro_batches + 1;
    rt__unsettled *u = s->unsettled = calloc(1, sizeof *u);
    bool good = u;
    for (int i = 0; good && i < RT_MAX_LAG + 2; i++) {
        u->steps[i].raw = calloc(n, sizeof *u->steps[i].raw);
        u->steps[i].owed = calloc(n, sizeof *u->steps[i].owed);
        u->steps[i].noted = calloc(1, sizeof *u->steps[i].noted);
        good = u->steps[i].raw && u->steps[i].owed && u->steps[i].noted;
    }
    return good ? 0 : rt_fail(s, RT_E_MEMORY, "no memory for %zu losses", n - 1);
}

void rt__settle_close(rt_stage *s)
{
    for (int i = 0; s->unsettled && i < RT_MAX_LAG + 2; i++) {
        free(s->unsettled->steps[i].raw);
        free(s->unsettled->steps[i].owed);
        free(s->unsettled->steps[i].noted);
    }
    free(s->unsettled);
    s->unsettled = NULL;
}

bool rt__is_timed(const rt_stage *s)
{
    return s->timeline || s->trace || s->profile || s->paced;
}

int rt__lag(const rt_stage *s)
{
    return s->replicas > 1 || rt__is_timed(s) ? 0 : s->device->lag;
}

// The loss of a micro-batch has come.
static int take(rt_stage *s, Step *step, int mb)
{
    double loss = rt__real_at(&step->raw[mb], s->program->real);
    step->owed[mb] = false;
    s->losses[mb] = loss;
    return rt__guard_loss(s, loss, step->number, mb);
}

int rt__owe_loss(rt_stage *s)
{
    const rt_program *p = s->program;
    Step *now = &s->unsettled->steps[s->unsettled->n];
    int mb = rt__mb_of_step(s);
    const void *loss = rt_act(s, s->mb, p->loss_offset);
    now->number = s->step;
    now->owed[mb] = true;
    rt__guard_watch_loss(s, loss);
    s->device->get(s, &now->raw[mb], loss, (size_t)rt__dtype_bytes(p->real));
    if (rt__lag(s))
        return 0;
    int error = rt__device_wait(s);
    return error ? error : take(s, now, mb);
}

void rt__owe_step(rt_stage *s)
{
    Step *now = &s->unsettled->steps[s->unsettled->n++];
    now->number = s->step;
    now->samples = rt__samples_now(s);
    if (s->device->noted)
        s->device->noted(s, now->noted);
    now->mark = s->device->mark(s);
}

// The mean over micro-batches in double, rounded to the model's type. In the last step of an epoch each counts by its
// samples.
static double rounded_loss(const rt_stage *s, int64_t samples)
{
    double sum = 0, weighted = 0;
    for (int mb = 0; mb < s->program->micro_batches; mb++) {
        int64_t own = rt__samples_of_mb(s, samples, mb);
        sum += s->losses[mb];
        weighted += own ? s->losses[mb] * (double)own : 0;
    }
    bool whole = samples == rt__batch(s->program);
    double mean = whole ? sum / s->program->micro_batches : weighted / (double)samples;
    return s->program->real == RT_F64 ? mean : (double)(float)mean;
}

int rt__check_owed(rt_stage *s)
{
    const Step *now = &s->unsettled->steps[s->unsettled->n];
    int error = 0;
    for (int mb = 0; mb < s->program->micro_batches && !error; mb++)
        if (now->owed[mb])
            error = rt__guard_loss(s, rt__real_at(&now->raw[mb], s->program->real), now->number,
                                   mb);
    return error;
}

static int settle_one(rt_stage *s, Step *step)
{
    int error = s->device->wait(s, step->mark);
    for (int mb = 0; mb < s->program->micro_batches && !error; mb++)
        if (step->owed[mb])
            error = take(s, step, mb);
    if (!error)
        error = rt__guard_noted(s, *step->noted, step->number);
    if (error)
        return error;
    int64_t now = rt__now_ns();
    s->step_s = (double)(now - s->updated_ns) * 1e-9;
    s->train_s += s->step_s;
    s->updated_ns = now;
    s->loss = rounded_loss(s, step->samples);
    s->run_samples += step->samples;
    if (s->replicas > 1) // it has those of the others now
        memset(s->losses, 0, (size_t)s->program->micro_batches * sizeof *s->losses);
    rt__report_step(s, step->number + 1, step->samples);
    return 0;
}

static int settle_oldest(rt_stage *s)
{
    rt__unsettled *u = s->unsettled;
    Step oldest = u->steps[0];
    u->busy = true;
    int error = settle_one(s, &oldest);
    u->busy = false;
    memmove(&u->steps[0], &u->steps[1], (RT_MAX_LAG + 1) * sizeof oldest);
    u->steps[RT_MAX_LAG + 1] = oldest; // its arrays serve once more
    u->n--;
    return error;
}

int rt__settle(rt_stage *s, int most)
{
    int error = most ? 0 : rt__twins_finish(s); // as rt__device_wait does
    while (s->unsettled->n > most && !error)
        error = settle_oldest(s);
    return error;
}

int rt__settle_step(rt_stage *s, int64_t step)
{
    const rt__unsettled *u = s->unsettled;
    int error = 0;
    while (u->n && u->steps[0].number < step && !error)
        error = settle_oldest(s);
    return error;
}

bool rt__is_settling(const rt_stage *s)
{
    return s->unsettled->busy;
}
