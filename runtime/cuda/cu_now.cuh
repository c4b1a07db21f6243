// The device's own knowledge of step and micro-batch (cu_now.h): set in front of every phase, in order with the work.
#ifndef STAGECC_CU_NOW_CUH
#define STAGECC_CU_NOW_CUH

#include <stagecc/cu.h>
#include <stagecc/cu_now.h>

CU_KERNEL void __launch_bounds__(CU_WARP) cu_set_now_kernel(rt_now *now, rt_now next)
{
    if (threadIdx.x > 0)
        return;
    next.update.clip = now->update.clip;
    next.update.bad = now->update.bad;
    *now = next;
}

// now = next but for `clip` and `bad`, which only the device knows: kernels of norms, losses and gradients write them.
// The host sets all of it once, before the first launch, with clip 1 and bad 0.
[[maybe_unused]] static void cu_set_now(cudaStream_t stream, rt_now *now, const rt_now *next)
{
    CU_LAUNCH(cu_set_now_kernel, 1, CU_WARP, stream, now, *next);
}

// rt_random_key of this micro-batch: of the numbers of the dropout whose stream this is.
CU_INLINE uint64_t cu_random_key(const rt_now *now, int64_t stream)
{
    return rt_key(now->seed, stream, now->done, now->mb);
}

#endif
