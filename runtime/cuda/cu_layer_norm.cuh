// Layer norm (Ba, Kiros and Hinton 2016): a team takes a row, which stays in registers between the looks at
// it. Rows of C elements of type T; statistics and parameters are float.
#ifndef STAGECC_CU_LAYER_NORM_H
#define STAGECC_CU_LAYER_NORM_H

#include <stagecc/cu_columns.cuh>
#include <stagecc/cu_row.cuh>

template <typename T, int C, int LANES>
static __global__ void __launch_bounds__(cu_team_threads(LANES))
    cu_layer_norm_kernel(T *y, float *mean, float *rstd, const T *x, const float *gamma,
                         const float *beta, int64_t rows, double eps)
{
    const int64_t r = cu_team<LANES>();
    if (r >= rows)
        return;
    cu_row<T, C, LANES> row;
    row.load(x + r * C);
    const float middle = (float)(row.sum() / C);
    // Around the mean, so that nothing is lost where that is far from 0.
    row.map([=](float v, int) { return v - middle; });
    const double squares = row.product(row);
    const float scale = (float)(1 / sqrt(squares / C + eps));
    row.map(gamma, [=](float v, float g) { return v * scale * g; });
    row.map(beta, [](float v, float b) { return v + b; });
    row.store(y + r * C);
    if (cu_lane<LANES>() != 0)
        return;
    if (mean)
        mean[r] = middle;
    if (rstd)
        rstd[r] = scale;
}

// x[rows,C] -> y, mean[rows], rstd[rows] = 1 / sqrt(variance + eps). These two may be NULL.
template <typename T, int C>
static void cu_layer_norm(cudaStream_t stream, T *y, float *mean, float *rstd, const T *x,
                          const float *gamma, const float *beta, int64_t rows, double eps)
{
    constexpr int LANES = cu_row_lanes(C);
    CU_LAUNCH((cu_layer_norm_kernel<T, C, LANES>), cu_team_blocks(LANES, rows),
              cu_team_threads(LANES), stream, y, mean, rstd, x, gamma, beta, rows, eps);
}

// With xh = (x - mean) rstd and g = dy gamma: dx = rstd (g - mean of g - xh mean of (g xh)).
template <typename T, int C, int LANES>
static __global__ void __launch_bounds__(cu_team_threads(LANES))
    cu_layer_norm_grad_kernel(T *dx, const T *dy, const T *x, const float *gamma,
                              const float *mean, const float *rstd, int64_t rows)
{
    const int64_t r = cu_team<LANES>();
    if (r >= rows)
        return;
    const float middle = mean[r], scale = rstd[r];
    cu_row<T, C, LANES> g, xh;
    g.load(dy + r * C);
    xh.load(x + r * C);
    g.map(gamma, [](float v, float k) { return v * k; });
    xh.map([=](float v, int) { return (v - middle) * scale; });
    const float mean_g = (float)(g.sum() / C);
    const float mean_gxh = (float)(g.product(xh) / C);
    g.map(xh, [=](float v, float h) { return scale * ((v - mean_g) - h * mean_gxh); });
    g.store(dx + r * C);
}

template <typename T, int C>
static void cu_layer_norm_grad(cudaStream_t stream, T *dx, const T *dy, const T *x,
                               const float *gamma, const float *mean, const float *rstd,
                               int64_t rows)
{
    constexpr int LANES = cu_row_lanes(C);
    CU_LAUNCH((cu_layer_norm_grad_kernel<T, C, LANES>), cu_team_blocks(LANES, rows),
              cu_team_threads(LANES), stream, dx, dy, x, gamma, mean, rstd, rows);
}

template <typename T, int C>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_layer_norm_grad_parts(double *part, const T *dy, const T *x, const float *mean,
                             const float *rstd, int64_t rows)
{
    constexpr int N = cu_columns<T, C>::N;
    cu_column_parts<T, C>(part, rows, [=](float(&run)[2][N], int64_t r, int column) {
        float d[N], v[N];
        cu_load<N>(d, dy + r * C + column);
        cu_load<N>(v, x + r * C + column);
        CU_UNROLL
        for (int i = 0; i < N; i++) {
            run[0][i] += d[i];
            run[1][i] += d[i] * ((v[i] - mean[r]) * rstd[r]);
        }
    });
}

template <int C>
static __global__ void __launch_bounds__(CU_TOTAL_THREADS)
    cu_layer_norm_grad_total(float *dgamma, float *dbeta, const double *part, int64_t parts)
{
    double total[2];
    const int64_t column = cu_column_total(total, part, parts, C);
    if (column < 0)
        return;
    if (dgamma)
        dgamma[column] = (float)total[1];
    if (dbeta)
        dbeta[column] = (float)total[0];
}

// dgamma = sum of dy xh, dbeta = sum of dy, over the rows; either may be NULL. part: cu_columns<T, C>::part_bytes.
template <typename T, int C>
static void cu_layer_norm_grad_params(cudaStream_t stream, float *dgamma, float *dbeta,
                                      double *part, const T *dy, const T *x, const float *mean,
                                      const float *rstd, int64_t rows)
{
    typedef cu_columns<T, C> shares;
    CU_LAUNCH((cu_layer_norm_grad_parts<T, C>), shares::blocks(rows), CU_COLUMN_THREADS, stream,
              part, dy, x, mean, rstd, rows);
    CU_LAUNCH((cu_layer_norm_grad_total<C>), cu_total_blocks(C), CU_TOTAL_THREADS, stream,
              dgamma, dbeta, part, shares::parts(rows));
}

#endif
