// The runtime of cuda programs on this processor: the device's memory is the stage's, a launch is over when it returns, and
// libraries are naive loops (convolutions.c, products.c). It is for tests, and for looking at a program where there is no device.
#include <stagecc/cuda.h>

#include "runtime/rt.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Emulated {
    rt_now now;
    cu_step step;
    size_t room_bytes;
    void *room;
} Emulated;

static Emulated *state(rt_stage *s)
{
    return s->backend_state;
}

static void emulated_release(rt_stage *s)
{
    free(state(s)->room);
    free(state(s));
    s->backend_state = NULL;
}

static int emulated_init(rt_stage *s)
{
    const rt_cuda_kernels *kernels = s->program->kernels;
    Emulated *e = s->backend_state = calloc(1, sizeof *e);
    if (!e)
        return rt_fail(s, RT_E_MEMORY, "no memory for the emulated device");
    e->room_bytes = ((size_t)*kernels->room / RT_ALIGN + 1) * RT_ALIGN;
    e->room = aligned_alloc(RT_ALIGN, e->room_bytes);
    if (!e->room)
        return rt_fail(s, RT_E_MEMORY, "no memory for kernels: %zu bytes", e->room_bytes);
    return 0;
}

void *rt_cuda_stream(rt_stage *s)
{
    (void)s;
    return NULL;
}

// Whoever reads there what another call has left gets NaN.
void *rt_cuda_room(rt_stage *s)
{
    return memset(state(s)->room, 0xff, state(s)->room_bytes);
}

const rt_now *rt_cuda_now(rt_stage *s, int mb)
{
    state(s)->now = (rt_now){.seed = s->seed,
                             .done = s->step,
                             .mb = mb % s->program->micro_batches,
                             .share = (float)rt_share(s, mb)};
    return &state(s)->now;
}

const cu_step *rt_cuda_step(rt_stage *s, const rt_rates *rates)
{
    double step = (double)rt_step(s), lr = rt_lr(s);
    state(s)->step = (cu_step){.lr = (float)lr,
                               .clip = (float)rt_clip(s),
                               .shrink = (float)(1 - lr * rates->shrink),
                               .correction = (float)sqrt(1 - pow(rates->beta2, step)),
                               .size = (float)(lr / (1 - pow(rates->beta1, step)))};
    return &state(s)->step;
}

const void *rt_cuda_bytes(rt_stage *s, const void *bytes, size_t n)
{
    (void)s;
    (void)n;
    return bytes;
}

// Weights of convolutions
// ----------------------------------------------------------------------------------------------

// [K,C,R,S] as [K,R,S,C], or back.
static void turn(const rt_tensor *t, const float *from, float *to, bool back)
{
    int64_t channels = t->dim[1], taps = t->dim[2] * t->dim[3];
    for (int64_t i = 0; i < t->dim[0] * channels * taps; i++) {
        int64_t k = i / channels / taps, c = i / taps % channels, tap = i % taps;
        int64_t other = (k * taps + tap) * channels + c;
        to[back ? i : other] = from[back ? other : i];
    }
}

static int pack(rt_stage *s, const rt_tensor *t, const void *plain, void *packed)
{
    (void)s;
    turn(t, plain, packed, false);
    return 0;
}

static int unpack(rt_stage *s, const rt_tensor *t, const void *packed, void *plain)
{
    (void)s;
    turn(t, packed, plain, true);
    return 0;
}

static void layout(const rt_stage *s, const rt_tensor *t, char *text, size_t size)
{
    (void)s;
    (void)t;
    snprintf(text, size, "krsc");
}

const rt_backend rt_cuda = {.name = "emulated cuda",
                            .init = emulated_init,
                            .release = emulated_release,
                            .pack = pack,
                            .unpack = unpack,
                            .layout = layout};
