// Rows of length 1, and their gradient: a team takes a row, in registers.
#ifndef STAGECC_CU_L2_NORMALIZE_H
#define STAGECC_CU_L2_NORMALIZE_H

#include <stagecc/cu_row.cuh>

template <typename T, int C, int LANES>
static __global__ void __launch_bounds__(cu_team_threads(LANES))
    cu_l2_normalize_kernel(T *y, float *factor, const T *x, int64_t rows, double eps)
{
    const int64_t r = cu_team<LANES>();
    if (r >= rows)
        return;
    cu_row<T, C, LANES> row;
    row.load(x + r * C);
    double squares =
        0; // in double from the first: elements may be large or small whose squares no float holds
    row.each([&](int k, int) {
        CU_UNROLL
        for (int i = 0; i < row.N; i++)
            squares += (double)row.item[k][i] * (double)row.item[k][i];
    });
    const double length = sqrt(cu_team_sum<LANES>(squares));
    const float scale = (float)(1 / (length > eps ? length : eps));
    row.map([=](float v, int) { return v * scale; });
    row.store(y + r * C);
    if (factor && cu_lane<LANES>() == 0)
        factor[r] = scale;
}

// y[rows,C] = x factor, factor[rows] = 1 / max(|x|, eps). factor may be NULL.
template <typename T, int C>
static void cu_l2_normalize(cudaStream_t stream, T *y, float *factor, const T *x, int64_t rows,
                            double eps)
{
    constexpr int LANES = cu_row_lanes(C);
    CU_LAUNCH((cu_l2_normalize_kernel<T, C, LANES>), cu_team_blocks(LANES, rows),
              cu_team_threads(LANES), stream, y, factor, x, rows, eps);
}

template <typename T, int C, int LANES>
static __global__ void __launch_bounds__(cu_team_threads(LANES))
    cu_l2_normalize_grad_kernel(T *dx, const T *dy, const T *y, const float *factor,
                                int64_t rows, float most)
{
    const int64_t r = cu_team<LANES>();
    if (r >= rows)
        return;
    cu_row<T, C, LANES> grad, row;
    grad.load(dy + r * C);
    row.load(y + r * C);
    const float scale = factor[r], product = (float)grad.product(row);
    const float along = scale < most ? product : 0; // below eps the factor is constant
    grad.map(row, [=](float d, float v) { return scale * (d - v * along); });
    grad.store(dx + r * C);
}

// dx = factor (dy - y sum of (dy y)).
template <typename T, int C>
static void cu_l2_normalize_grad(cudaStream_t stream, T *dx, const T *dy, const T *y,
                                 const float *factor, int64_t rows, double eps)
{
    constexpr int LANES = cu_row_lanes(C);
    CU_LAUNCH((cu_l2_normalize_grad_kernel<T, C, LANES>), cu_team_blocks(LANES, rows),
              cu_team_threads(LANES), stream, dx, dy, y, factor, rows, (float)(1 / eps));
}

#endif
