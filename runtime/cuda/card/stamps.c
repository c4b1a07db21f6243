// Profiles of what a device does by its own clock: events in the stream between layers. A graph has them as nodes, so its
// replays are timed as it runs without profile, with nothing of the host's in between.
#include "runtime/cuda/card/card.h"
#include "runtime/profile.h"

#include <math.h>
#include <stdlib.h>

// Made when a function runs by hand for the first time; captures and later functions find them.
static rt__stamp *next_stamp(rt_stage *s, rt__card *c)
{
    if (c->n_stamps == c->made_stamps) {
        size_t n = (size_t)c->made_stamps + 1;
        rt__stamp *more = realloc(c->stamps, n * sizeof *more);
        if (!more) {
            rt_fail(s, RT_E_MEMORY, "no memory for %zu events", n);
            return NULL;
        }
        c->stamps = more;
        if (rt__card_check(s, cudaEventCreateWithFlags(&more[n - 1].event, cudaEventDefault),
                           "make an event"))
            return NULL;
        c->made_stamps++;
    }
    return &c->stamps[c->n_stamps++];
}

void rt__card_stamp(rt_stage *s, int layer)
{
    rt__card *c = rt__card_of(s);
    rt__stamp *stamp = next_stamp(s, c);
    if (!stamp)
        return;
    stamp->layer = layer;
    // "External": of the graph's launches, not of its capture.
    rt__card_check(s,
                   cudaEventRecordWithFlags(stamp->event, c->work,
                                            c->capturing ? cudaEventRecordExternal
                                                         : cudaEventRecordDefault),
                   "record an event");
}

void rt__card_tell_times(rt_stage *s, const int *layers, int n)
{
    const rt__card *c = rt__card_of(s);
    if (n < 2 || rt__device_wait(s))
        return;
    for (int i = 0; i + 1 < n; i++) {
        float ms = 0;
        if (rt__card_check(
                s, cudaEventElapsedTime(&ms, c->stamps[i].event, c->stamps[i + 1].event),
                "ask for times"))
            return;
        rt__profile_told(s, layers[i], llround((double)ms * 1e6));
    }
}

int64_t rt__card_beside(const rt_stage *s)
{
    const rt__card *c = rt__card_of(s);
    size_t left = 0, total = 0;
    int64_t arena = c->known ? (int64_t)((uint8_t *)c->known - c->memory) : 0;
    if (cudaMemGetInfo(&left, &total)) {
        (void)cudaGetLastError(); // nobody else shall find it
        return 0;
    }
    if (left > c->left)
        return 0;
    int64_t held = (int64_t)(c->left - left);
    return held > arena ? held - arena : 0;
}

void rt__card_drop_stamps(rt__card *c)
{
    for (int i = 0; i < c->made_stamps; i++)
        cudaEventDestroy(c->stamps[i].event);
    free(c->stamps);
}
