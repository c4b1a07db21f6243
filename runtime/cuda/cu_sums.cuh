// Sums of a tensor along some of its dimensions: gradients of biases and of what was broadcast, means of images. Two
// steps, parts and their sums, where one block each would not do; which elements are a part depends on sizes only.
#ifndef STAGECC_CU_SUMS_H
#define STAGECC_CU_SUMS_H

#include <stagecc/cu_channels.cuh>
#include <stagecc/cu_shape.cuh>

// The second step: y[n] = sums over parts [parts][n], by `divisor`.
template <typename Y>
static __global__ void __launch_bounds__(CU_TOTAL_THREADS)
    cu_sum_parts(Y *y, const double *part, int64_t parts, int64_t n, double divisor)
{
    double total[1];
    const int64_t at = cu_column_total(total, part, parts, n);
    if (at >= 0)
        y[at] = cu_from_float<Y>((float)(total[0] / divisor));
}

// Over rows
// ----------------------------------------------------------------------------------------------

template <typename Y, typename T, int C, int P>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_sum_rows_kernel(Y *y, double *part, const T *x, int64_t outer, int64_t rows,
                       double divisor)
{
    typedef cu_columns<T, C> shares;
    constexpr int N = shares::N;
    const int64_t each = shares::rows_of_part(rows, outer), parts = shares::parts(rows, outer);
    const int64_t share = (int64_t)blockIdx.x / shares::GROUPS, k = share % parts,
                  o = share / parts;
    const int64_t begin = k * each, end = begin + each < rows ? begin + each : rows;
    double sum[1][N];
    cu_column_sums<T, C>(sum, o * rows + begin, o * rows + end,
                         [=](float(&run)[1][N], int64_t r, int column) {
                             float v[N];
                             cu_load<N>(v, x + r * P + column);
                             CU_UNROLL
                             for (int i = 0; i < N; i++)
                                 run[0][i] += v[i];
                         });
    if (shares::row() != 0)
        return;
    const int64_t at = o * C + shares::column();
    float all[N];
    CU_UNROLL
    for (int i = 0; i < N; i++) {
        if (parts > 1)
            part[k * outer * C + at + i] = sum[0][i];
        all[i] = (float)(sum[0][i] / divisor);
    }
    if (parts == 1)
        cu_store<N>(y + at, all);
}

// x[outer,rows,C] -> y[outer,C]: sums over the rows, by `divisor`. For the time being: part, of
// cu_columns<T, C>::part_bytes(rows, outer, 1). With outer = 1 that is bias_grad of channels last. Rows begin P elements
// apart.
template <typename Y, typename T, int C, int P = C>
static void cu_sum_rows(cudaStream_t stream, Y *y, double *part, const T *x, int64_t outer,
                        int64_t rows, double divisor)
{
    typedef cu_columns<T, C> shares;
    const int64_t parts = shares::parts(rows, outer);
    CU_LAUNCH((cu_sum_rows_kernel<Y, T, C, P>), shares::blocks(rows, outer), CU_COLUMN_THREADS,
              stream, y, part, x, outer, rows, divisor);
    if (parts > 1)
        CU_LAUNCH(cu_sum_parts<Y>, cu_total_blocks(outer * C), CU_TOTAL_THREADS, stream, y,
                  part, parts, outer * C, divisor);
}

// Over what stands before and behind a channel
// ----------------------------------------------------------------------------------------------

template <typename Planes>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_sum_channels_kernel(Planes planes, float *y, double *part,
                           const typename Planes::type *x)
{
    constexpr int N = Planes::N;
    double sum[1];
    planes.sums(sum, [=](float(&run)[1][N], int64_t at) {
        float v[N];
        cu_load<N>(v, x + at);
        CU_UNROLL
        for (int i = 0; i < N; i++)
            run[0][i] += v[i];
    });
    if (threadIdx.x > 0)
        return;
    if (planes.parts() > 1)
        part[planes.number_of_part() * planes.channels() + planes.channel()] = sum[0];
    else
        y[planes.channel()] = (float)sum[0];
}

// x of these planes -> y[channels]: sums over all but the channel. For the time being: part, of planes.part_bytes(1). Where
// planes are of one element, cu_sum_rows reads more at once.
template <typename Planes>
static void cu_sum_channels(cudaStream_t stream, const Planes &planes, float *y, double *part,
                            const typename Planes::type *x)
{
    CU_LAUNCH(cu_sum_channels_kernel<Planes>, planes.blocks(), CU_COLUMN_THREADS, stream,
              planes, y, part, x);
    if (planes.parts() > 1)
        CU_LAUNCH(cu_sum_parts<float>, cu_total_blocks(planes.channels()), CU_TOTAL_THREADS,
                  stream, y, part, planes.parts(), planes.channels(), 1.0);
}

// Over any dimensions
// ----------------------------------------------------------------------------------------------

template <typename T, typename Kept, typename Summed>
static __global__ void __launch_bounds__(cu_team_threads(CU_WARP))
    cu_sum_walk_kernel(float *y, const T *x)
{
    constexpr int64_t COUNT = cu_walk_count(Kept::walk()),
                      TERMS = cu_walk_count(Summed::walk());
    const int64_t i = cu_team<CU_WARP>();
    if (i >= COUNT)
        return;
    int64_t to, from;
    cu_walk_to<Kept>(i, &to, &from);
    double sum = 0;
    for (int64_t k = cu_lane<CU_WARP>(); k < TERMS; k += CU_WARP) {
        int64_t none, at;
        cu_walk_to<Summed>(k, &none, &at);
        sum += (double)cu_to_float(x[from + at]);
    }
    sum = cu_team_sum<CU_WARP>(sum);
    if (cu_lane<CU_WARP>() == 0)
        y[to] = (float)sum;
}

// Any sum_to: Kept has the dimensions of y, Summed those along which x is summed up (codegen/walk.h, walk_sum). A warp
// takes an element of y, so this is for what does not fit those above.
template <typename T, typename Kept, typename Summed>
static void cu_sum_walk(cudaStream_t stream, float *y, const T *x)
{
    CU_LAUNCH((cu_sum_walk_kernel<T, Kept, Summed>),
              cu_team_blocks(CU_WARP, cu_walk_count(Kept::walk())), cu_team_threads(CU_WARP),
              stream, y, x);
}

#endif
