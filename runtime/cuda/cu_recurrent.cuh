// A step of a recurrence asks the library for a product.
#ifndef STAGECC_CU_RECURRENT_H
#define STAGECC_CU_RECURRENT_H

#include <stagecc/cu_lstm.cuh>
#include <stagecc/cu_stage.cuh>

// out[m,N] = more[m,N] + x[m,K] w, with w[K,N], or w[N,K] where it is turned; more may be out.
template <int64_t N, int64_t K>
static void cu_step_product(rt_stage *s, cu_lstm_out out, cu_lstm_in x, cu_lstm_in more,
                            const float *w, bool turned, int64_t m)
{
    const rt_cuda_product product = {out.at,  more.at, x.at, w, out.apart, more.apart,
                                     x.apart, m,       N,    K, turned};
    rt_cuda_multiply(s, &product);
}

#endif
