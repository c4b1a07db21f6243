// STAGECC_CUDA_LAUNCH=1: launches are not captured, so that the host passes every layer, and may look behind each of them for
// numbers that are not finite. Then a run ends with the layer where they went wrong, as on the processor.
//
// It knows of no tensor but where memory begins and ends, and takes all of it for floats. That is never wrong: integers and
// bytes there are too small to look like one that is not finite, and of bf16 it sees every second element.
#include "runtime/cuda/card/card.h"

#include <stdlib.h>

#include <stagecc/cu_card.h>

// Not 0: something was found. Behind what rt_device.watch notes.
static int32_t *found_at(const rt__card *c)
{
    return c->bad + 1;
}

static bool has_trouble(rt_stage *s)
{
    rt__card *c = rt__card_of(s);
    int64_t bytes = (uint8_t *)c->known - c->memory;
    const cu_watched all = {(const float *)(const void *)c->memory, bytes / 4, 1};
    int32_t found = 0;
    rt_card_kernels.watch(c->work, found_at(c), &all, 1);
    s->device->get(s, &found, found_at(c), sizeof found);
    return !rt__device_wait(s) && found;
}

bool rt__card_launches_by_hand(void)
{
    const char *wanted = getenv("STAGECC_CUDA_LAUNCH");
    return wanted && *wanted == '1';
}

const rt_device *rt__card_by_hand(void)
{
    static rt_device by_hand;
    by_hand = rt__cuda_device;
    by_hand.lag = 0;
    by_hand.trouble = has_trouble;
    by_hand.finder = NULL;
    return &by_hand;
}
