// What kernels make of step and micro-batch (cu_now.h).
#ifndef STAGECC_CU_NOW_CUH
#define STAGECC_CU_NOW_CUH

#include <stagecc/cu.h>
#include <stagecc/cu_now.h>

// rt_random_key of this micro-batch: of the numbers of the dropout whose stream this is.
CU_INLINE uint64_t cu_random_key(const rt_now *now, int64_t stream)
{
    return rt_key(now->seed, stream, now->done, now->mb);
}

#endif
