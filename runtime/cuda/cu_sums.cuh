// Sums of a tensor along some of its dimensions: gradients of biases and of what was broadcast, means of images. Two
// steps, parts and their sums, where one block each would not do; which elements are a part depends on sizes only.
#ifndef STAGECC_CU_SUMS_H
#define STAGECC_CU_SUMS_H

#include <stagecc/cu_columns.cuh>
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

// How the packs of a channel of x[before,channels,AFTER] are shared out to blocks.
template <typename T, int64_t AFTER> struct cu_channels {
    static constexpr int N = cu_width<T>(AFTER);
    static constexpr int64_t PACKS = AFTER / N; // of a run

    CU_BOTH int64_t packs_of_part(int64_t before, int64_t channels)
    {
        int64_t even = cu_ceil(before * PACKS, cu_ceil(512, channels)),
                least = 4 * CU_COLUMN_THREADS;
        return even > least ? even : least;
    }
    CU_BOTH int64_t parts(int64_t before, int64_t channels)
    {
        return cu_ceil(before * PACKS, packs_of_part(before, channels));
    }
    CU_BOTH int64_t part_bytes(int64_t before, int64_t channels)
    {
        return parts(before, channels) * channels * (int64_t)sizeof(double);
    }
};

template <typename T, int64_t AFTER>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_sum_channels_kernel(float *y, double *part, const T *x, int64_t before, int64_t channels)
{
    typedef cu_channels<T, AFTER> shares;
    constexpr int N = shares::N;
    const int64_t channel = (int64_t)blockIdx.x % channels, k = (int64_t)blockIdx.x / channels;
    const int64_t each = shares::packs_of_part(before, channels), all = before * shares::PACKS;
    const int64_t end = (k + 1) * each < all ? (k + 1) * each : all;
    double sum = 0;
    for (int64_t p = k * each + threadIdx.x; p < end; p += CU_COLUMN_THREADS) {
        float v[N], run = 0;
        cu_load<N>(v, x + (p / shares::PACKS * channels + channel) * AFTER +
                          p % shares::PACKS * N);
        CU_UNROLL
        for (int i = 0; i < N; i++)
            run += v[i];
        sum += (double)run;
    }
    sum = cu_team_sum<CU_COLUMN_THREADS>(sum);
    if (threadIdx.x > 0)
        return;
    if (each < all)
        part[k * channels + channel] = sum;
    else
        y[channel] = (float)sum;
}

// x[before,channels,AFTER] -> y[channels]: sums over all but the channel. For the time being: part, of
// cu_channels<T, AFTER>::part_bytes. Where AFTER is 1, cu_sum_rows reads more at once.
template <typename T, int64_t AFTER>
static void cu_sum_channels(cudaStream_t stream, float *y, double *part, const T *x,
                            int64_t before, int64_t channels)
{
    const int64_t parts = cu_channels<T, AFTER>::parts(before, channels);
    CU_LAUNCH((cu_sum_channels_kernel<T, AFTER>), parts * channels, CU_COLUMN_THREADS, stream,
              y, part, x, before, channels);
    if (parts > 1)
        CU_LAUNCH(cu_sum_parts<float>, cu_total_blocks(channels), CU_TOTAL_THREADS, stream, y,
                  part, parts, channels, 1.0);
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
