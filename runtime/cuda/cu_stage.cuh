// Between a stage's kernels and its first source, which is C: what second sources include before everything else.
#ifndef STAGECC_CU_STAGE_H
#define STAGECC_CU_STAGE_H

#include <initializer_list>

#include <stagecc/cu_card.cuh>
#include <stagecc/cu_now.cuh>
#include <stagecc/cu_update.cuh>

extern "C" {
#include <stagecc/cuda.h>
}

[[maybe_unused]] static cudaStream_t cu_stream(rt_stage *s)
{
    return (cudaStream_t)rt_cuda_stream(s);
}

static constexpr int64_t cu_largest(std::initializer_list<int64_t> numbers)
{
    int64_t most = 0;
    for (int64_t n : numbers)
        most = n > most ? n : most;
    return most;
}

// One launch for all N parameters. The rows are the same at every step that works with the same memory.
template <int N, typename F>
static void cu_update_all(rt_stage *s, const rt_update *table, F launch)
{
    cu_update rows[N];
    for (int i = 0; i < N; i++) {
        const rt_update &t = table[i];
        float *param = (float *)rt_pointer(s, 0, t.param);
        rows[i] = {param,        (const float *)rt_pointer(s, 0, t.grad),
                   {NULL, NULL}, (rt_bf16 *)rt_cuda_narrow(s, param),
                   t.n,          0};
        for (int k = 0; k < 2; k++)
            if (t.state[k] != RT_NOWHERE)
                rows[i].state[k] = (float *)rt_pointer(s, 0, t.state[k]);
    }
    const int64_t blocks = cu_update_blocks(rows, N);
    launch((const cu_update *)rt_cuda_bytes(s, rows, sizeof rows), blocks);
}

#endif
