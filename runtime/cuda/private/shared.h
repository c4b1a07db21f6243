// What the runtime of a device and the emulated one have in common.
#ifndef STAGECC_CUDA_SHARED_H
#define STAGECC_CUDA_SHARED_H

#include "runtime/rt.h"

#include <math.h>
#include <stdio.h>

#include <stagecc/cuda.h>

static inline const rt_cuda_kernels *rt__cuda_kernels(const rt_stage *s)
{
    return s->program->kernels;
}

// What an update reads of the step, rounded as c_adam_prepare rounds it (runtime/kernels/c_update.h); what lies between
// members stays as it was.
static inline void rt__cuda_step_of(const rt_stage *s, const rt_rates *rates, cu_step *to)
{
    double step = (double)rt_step(s), lr = rt_lr(s);
    to->lr = (float)lr;
    to->clip = (float)rt_clip(s);
    to->shrink = (float)(1 - lr * rates->shrink);
    to->correction = (float)sqrt(1 - pow(rates->beta2, step));
    to->size = (float)(lr / (1 - pow(rates->beta1, step)));
}

// Weights of convolutions, as rt_backend wants them: [K,C,R,S] lie as [K,R,S,C].
static inline void rt__cuda_turn(const rt_tensor *t, const float *from, float *to, bool back)
{
    int64_t channels = t->dim[1], taps = t->dim[2] * t->dim[3];
    for (int64_t i = 0; i < t->dim[0] * channels * taps; i++) {
        int64_t k = i / channels / taps, c = i / taps % channels, tap = i % taps;
        int64_t other = (k * taps + tap) * channels + c;
        to[back ? i : other] = from[back ? other : i];
    }
}

static inline int rt__cuda_pack(rt_stage *s, const rt_tensor *t, const void *plain,
                                void *packed)
{
    (void)s;
    rt__cuda_turn(t, plain, packed, false);
    return 0;
}

static inline int rt__cuda_unpack(rt_stage *s, const rt_tensor *t, const void *packed,
                                  void *plain)
{
    (void)s;
    rt__cuda_turn(t, packed, plain, true);
    return 0;
}

static inline void rt__cuda_layout(const rt_stage *s, const rt_tensor *t, char *text,
                                   size_t size)
{
    (void)s;
    (void)t;
    snprintf(text, size, "krsc");
}

#endif
