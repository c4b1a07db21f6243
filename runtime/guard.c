#include "runtime/guard.h"

#include "runtime/device.h"
#include "runtime/plain.h"

#include <fenv.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#if defined __x86_64__
#include <xmmintrin.h>
#endif

// Flags
// -------------------------------------------------------------------------------------------

// Vector code sets those of MXCSR alone, so that fetestexcept's look at the x87 unit is saved.
static bool flags_raised(void)
{
#if defined __x86_64__
    return _mm_getcsr() & (_MM_EXCEPT_INVALID | _MM_EXCEPT_DIV_ZERO | _MM_EXCEPT_OVERFLOW);
#else
    return fetestexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW);
#endif
}

static void flags_clear(void)
{
#if defined __x86_64__
    _mm_setcsr(_mm_getcsr() & ~(unsigned)_MM_EXCEPT_MASK);
#else
    feclearexcept(FE_ALL_EXCEPT);
#endif
}

// Flags say nothing of a device that watches: there is no suspect, unless it stands in for them.
static bool ignores_flags(const rt_stage *s)
{
    return s->device->watch && !s->device->trouble;
}

void rt__guard_begin_stream(rt_stage *s)
{
    s->suspicious = ignores_flags(s);
    flags_clear();
}

// What was suspected of this step has proved harmless. Of a later one, whose forwards may have run, it is not
// known yet.
void rt__guard_end_step(rt_stage *s)
{
    if (atomic_load(&s->status->suspect_step) <= s->step + 1)
        s->suspicious = ignores_flags(s);
}

static const char *phase_name(rt_opcode opcode)
{
    switch (opcode) {
    case RT_FORWARD: return "forward";
    case RT_BACKWARD_PART:
    case RT_BACKWARD: return "backward";
    case RT_BACKWARD_WEIGHT: return "weight gradient";
    case RT_UPDATE: return "update";
    case RT_EVAL: return "evaluation";
    case RT_ACQUIRE:
    case RT_RECV:
    case RT_SEND:
    case RT_RELEASE:
    case RT_LOAD:
    case RT_REDUCE_PUT:
    case RT_REDUCE_SUM:
    case RT_REDUCE_GET:
    case RT_SHARE_PUT:
    case RT_SHARE_GET:
    case RT_NORM_GATHER:
    case RT_NORM_APPLY:
    case RT_N_OPCODES: return NULL;
    }
    return NULL;
}

// "forward of fc2 (mlp.c:12)"
static void describe_here(const rt_stage *s, char *text, size_t size)
{
    const char *phase = phase_name(s->opcode);
    const rt_layer *l =
        s->layer >= 0 && s->layer < s->program->n_layers ? &s->program->layers[s->layer] : NULL;
    snprintf(text, size, "%s of %s%s%s%s", phase ? phase : "work", l ? l->name : "stage",
             l && *l->place ? " (" : "", l ? l->place : "", l && *l->place ? ")" : "");
}

// Behind a layer only: what is there before the first one has come from elsewhere.
static bool has_trouble(rt_stage *s)
{
    bool behind = !s->evaluating && phase_name(s->opcode) && s->layer >= 0;
    return behind && s->device->trouble(s);
}

void rt__guard_mark(rt_stage *s)
{
    if (s->suspicious || !(s->device->trouble ? has_trouble(s) : flags_raised()))
        return;
    flags_clear();
    if (s->evaluating || !phase_name(s->opcode))
        return;
    s->suspicious = true;
    describe_here(s, s->status->suspect, sizeof s->status->suspect);
    s->status->suspect_mb = rt__mb_of_step(s);
    atomic_store(&s->status->suspect_step, s->step + 1);
}

// Who was first
// ---------------------------------------------------------------------------------

// Before anything of a later micro-batch; forward goes up the stages, backward down.
static bool earlier(const SegmentStatus *a, int rank_a, const SegmentStatus *b, int rank_b)
{
    bool back_a = a->suspect[0] != 'f', back_b = b->suspect[0] != 'f';
    if (a->suspect_mb != b->suspect_mb)
        return a->suspect_mb < b->suspect_mb;
    if (back_a != back_b)
        return back_b;
    return back_a ? rank_a > rank_b : rank_a < rank_b;
}

static int first_suspect(const rt_stage *s, int64_t step)
{
    int best = -1;
    for (int i = 0; i < rt__n_ranks(s->program); i++) {
        if (atomic_load(&s->statuses[i].suspect_step) != step + 1)
            continue;
        if (best < 0 || earlier(&s->statuses[i], i, &s->statuses[best], best))
            best = i;
    }
    return best;
}

static int complain(rt_stage *s, const char *what, int64_t step, int suspect)
{
    char here[2 * SEGMENT_NAME], name[RT__RANK_NAME];
    if (suspect >= 0)
        return rt_fail(
            s, RT_E_LOSS, "%s at step %" PRId64 "; first trouble: %.*s, micro-batch %d, %s",
            what, step + 1, 2 * SEGMENT_NAME - 1, s->statuses[suspect].suspect,
            s->statuses[suspect].suspect_mb, rt__rank_name(s->program, suspect, name));
    rt__rank_name(s->program, s->rank, name);
    if (ignores_flags(s)) // what it does now is of a later step
        return rt_fail(s, RT_E_LOSS,
                       "%s at step %" PRId64 ", %s; with %s the run names the layer", what,
                       step + 1, name, s->device->finder);
    describe_here(s, here, sizeof here);
    return rt_fail(s, RT_E_LOSS, "%s at step %" PRId64 "; noticed in: %s, %s", what, step + 1,
                   here, name);
}

int rt__guard_loss(rt_stage *s, double loss, int64_t step, int mb)
{
    if (isfinite(loss))
        return 0;
    char what[128];
    snprintf(what, sizeof what, "the loss of micro-batch %d is %s", mb,
             isnan(loss) ? "nan" : "inf");
    rt__guard_mark(s);
    return complain(s, what, step, first_suspect(s, step));
}

// Another stage may be in its next step already: only this stage's suspect is sure to be of this one.
static int gradient(rt_stage *s, const rt_tensor *t, int64_t step)
{
    char what[256];
    snprintf(what, sizeof what, "the gradient of %s is not finite", t->name);
    bool mine = atomic_load(&s->status->suspect_step) == step + 1;
    return complain(s, what, step, mine ? s->rank : -1);
}

int rt__guard_norm(rt_stage *s, int index, double part)
{
    if (isfinite(part))
        return 0;
    int first = s->norm_uses[s->norm_begin[index]];
    return gradient(s, &s->program->tensors[first], s->step);
}

// Gradients
// -------------------------------------------------------------------------------------

static bool finite_tensor(rt_stage *s, const rt_tensor *t)
{
    if (t->dtype != RT_F32 && t->dtype != RT_F64)
        return true;
    return s->device->finite(s, rt__tensor(s, t), t->bytes / rt__dtype_bytes(t->dtype),
                             t->dtype);
}

// Noted of a loss, which tells itself when it comes; of gradients the one that backward met first, as their order in the
// program's table is, is to be the largest.
enum { OF_LOSS = INT32_MAX };

void rt__guard_watch_loss(rt_stage *s, const void *loss)
{
    if (s->device->watch)
        s->device->watch(s, &(rt__watched){loss, 1, s->program->real, OF_LOSS}, 1);
}

static void watch_gradients(rt_stage *s)
{
    rt__watched items[RT_MOST_WATCHED];
    int n = 0;
    for (int i = 0; i < s->program->n_tensors; i++) {
        const rt_tensor *t = &s->program->tensors[i];
        if (t->role != RT_ACCUMULATOR)
            continue;
        items[n++] = (rt__watched){rt__tensor(s, t), t->bytes / rt__dtype_bytes(t->dtype),
                                   t->dtype, s->program->n_tensors - i};
        if (n == RT_MOST_WATCHED) {
            s->device->watch(s, items, n);
            n = 0;
        }
    }
    s->device->watch(s, items, n);
}

int rt__guard_noted(rt_stage *s, int32_t what, int64_t step)
{
    const rt_program *p = s->program;
    return what && what != OF_LOSS ? gradient(s, &p->tensors[p->n_tensors - what], step) : 0;
}

int rt__guard_gradients(rt_stage *s, bool always)
{
    const rt_program *p = s->program;
    if (s->device->watch)
        watch_gradients(s);
    if (s->device->watch || (!s->suspicious && !always))
        return 0;
    for (int i = 0; i < p->n_tensors; i++)
        if (p->tensors[i].role == RT_ACCUMULATOR && !finite_tensor(s, &p->tensors[i]))
            return gradient(s, &p->tensors[i], s->step);
    return 0;
}
