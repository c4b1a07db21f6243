// The runtime of cuda programs on this processor: the device's memory is the stage's, a launch is over when it returns, and
// libraries are naive loops (convolutions.c, products.c). It is for tests, and for looking at a program where there is no device.
#include "runtime/cuda/emulated/emulated.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Emulated {
    rt_now now;
    cu_step step;
    size_t room_bytes;
    void *room;
    float *sums;
} Emulated;

static Emulated *state(rt_stage *s)
{
    return s->backend_state;
}

static void emulated_release(rt_stage *s)
{
    free(state(s)->room);
    free(state(s)->sums);
    free(state(s));
    s->backend_state = NULL;
}

static int emulated_init(rt_stage *s)
{
    const rt_cuda_kernels *kernels = rt__cuda_kernels(s);
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

float *rt__emulated_sums(rt_stage *s, int64_t n)
{
    float *sums = realloc(state(s)->sums, (size_t)n * sizeof *sums);
    if (!sums)
        rt_fail(s, RT_E_MEMORY, "no memory for %lld sums", (long long)n);
    else
        state(s)->sums = sums;
    return sums;
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
    rt__cuda_step_of(s, rates, &state(s)->step);
    return &state(s)->step;
}

const void *rt_cuda_bytes(rt_stage *s, const void *bytes, size_t n)
{
    (void)s;
    (void)n;
    return bytes;
}

void rt_cuda_add_round(rt_stage *s, int mb, double *sums, int64_t n)
{
    rt_add_round(s, mb, sums, n);
}

void *rt_cuda_narrow(rt_stage *s,
                     const float *param) // products round weights as they read them
{
    (void)s;
    (void)param;
    return NULL;
}

// There is one way to compute each.
static int emulated_probe(rt_stage *s, const char *path)
{
    FILE *f = fopen(path, "w");
    if (f)
        fprintf(f,
                "{\"library\": \"none\", \"isa\": \"%s\", \"threads\": %d, \"kernels\": []}\n",
                s->program->isa, s->program->threads);
    if (!f || ferror(f) | fclose(f))
        return rt_fail(s, RT_E_ENVIRONMENT, "cannot write %s: %s", path, strerror(errno));
    return 0;
}

const rt_backend rt_cuda = {.name = "emulated cuda",
                            .init = emulated_init,
                            .release = emulated_release,
                            .pack = rt__cuda_pack,
                            .unpack = rt__cuda_unpack,
                            .probe = emulated_probe,
                            .layout = rt__cuda_layout};
