// Softmax over the last dimension, and its gradient: a team takes a row, in registers.
#ifndef STAGECC_CU_SOFTMAX_H
#define STAGECC_CU_SOFTMAX_H

#include <stagecc/cu_row.cuh>

template <typename T, int C, int LANES>
static __global__ void __launch_bounds__(cu_team_threads(LANES))
    cu_softmax_kernel(T *y, const T *x, const int32_t *lengths, int64_t each, int64_t rows,
                      int64_t causal)
{
    const int64_t r = cu_team<LANES>();
    if (r >= rows)
        return;
    int64_t seen = causal && r % causal + 1 < C ? r % causal + 1 : C;
    if (lengths && lengths[r / each] < seen)
        seen = lengths[r / each];
    cu_row<T, C, LANES> row;
    row.load(x + r * C);
    row.map([=](float v, int at) { return at < seen ? v : -__builtin_inff(); });
    const float largest = row.largest();
    row.map([=](float v, int) { return rt_exp(v - largest); });
    const float factor = (float)(1 / row.sum());
    // Where none is seen, all are NaN up to here.
    row.map([=](float v, int at) { return at < seen ? v * factor : 0; });
    row.store(y + r * C);
}

// x[rows,C] -> y. With `causal` (the rows of a square, from 0) row i sees columns 0 .. i. lengths may be NULL,
// else each sample has `each` rows that see so many columns; rows that see none are zero.
template <typename T, int C>
static void cu_softmax(cudaStream_t stream, T *y, const T *x, const int32_t *lengths,
                       int64_t each, int64_t rows, int64_t causal)
{
    constexpr int LANES = cu_row_lanes(C);
    CU_LAUNCH((cu_softmax_kernel<T, C, LANES>), cu_team_blocks(LANES, rows),
              cu_team_threads(LANES), stream, y, x, lengths, each, rows, causal);
}

template <typename T, int C, int LANES>
static __global__ void __launch_bounds__(cu_team_threads(LANES))
    cu_softmax_grad_kernel(T *dx, const T *dy, const T *y, int64_t rows)
{
    const int64_t r = cu_team<LANES>();
    if (r >= rows)
        return;
    cu_row<T, C, LANES> grad, p;
    grad.load(dy + r * C);
    p.load(y + r * C);
    const float mean = (float)grad.product(p);
    grad.map(p, [=](float d, float v) { return v * (d - mean); });
    grad.store(dx + r * C);
}

// dx = y (dy - sum of (dy y)).
template <typename T, int C>
static void cu_softmax_grad(cudaStream_t stream, T *dx, const T *dy, const T *y, int64_t rows)
{
    constexpr int LANES = cu_row_lanes(C);
    CU_LAUNCH((cu_softmax_grad_kernel<T, C, LANES>), cu_team_blocks(LANES, rows),
              cu_team_threads(LANES), stream, dx, dy, y, rows);
}

#endif
