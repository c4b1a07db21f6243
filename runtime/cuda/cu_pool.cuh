// Pooling over images channels last, x[images,h,w,C] -> y[images,p,q,C]: a thread takes a pack of neighbouring channels
// of one pixel, of y or, in backward, of dx, where it gathers from all windows that hold the pixel, in the order in which the c
// backend adds them.
//
// Sizes are a type, so that all divisions are by constants:
//     struct pool1 {
//         CU_BOTH cu_window window()
//         {
//             return {{112, 56, 3, 2, 1, 1, 1}, {112, 56, 3, 2, 1, 1, 1}, false};
//         }
//     };
#ifndef STAGECC_CU_POOL_H
#define STAGECC_CU_POOL_H

#include <type_traits>

#include <stagecc/cu_sums.cuh>

enum { CU_POOL_THREADS = 256 };

// Along one axis: an image of `size` becomes one of `result`. Window i begins at i * stride - before and has
// `kernel` taps, `dilation` apart; before, after: the padding.
struct cu_axis {
    int size, result, kernel, stride, dilation, before, after;
};

struct cu_window {
    cu_axis high, wide;
    bool count_include_pad; // averages
};

// Where tap k of window i lies, maybe beside the image.
CU_BOTH int cu_tap_at(const cu_axis &a, int i, int k)
{
    return i * a.stride - a.before + k * a.dilation;
}

CU_BOTH bool cu_inside(const cu_axis &a, int at)
{
    return at >= 0 && at < a.size;
}

// The windows from `begin` to end - 1 have pixel `at` between their first tap and their last.
CU_BOTH int cu_windows_begin(const cu_axis &a, int at)
{
    const int beyond = at + a.before - (a.kernel - 1) * a.dilation;
    return beyond <= 0 ? 0 : (beyond + a.stride - 1) / a.stride;
}

CU_BOTH int cu_windows_end(const cu_axis &a, int at)
{
    const int end = (at + a.before) / a.stride + 1;
    return end < a.result ? end : a.result;
}

// The tap of such a window i that lies on the pixel; -1: it is between two.
CU_BOTH int cu_tap_on(const cu_axis &a, int i, int at)
{
    const int from = at - cu_tap_at(a, i, 0);
    return from % a.dilation ? -1 : from / a.dilation;
}

// What window i of an average covers of the image, or of the padded image.
CU_BOTH int cu_covered(const cu_axis &a, int i, bool padding)
{
    const int begin = cu_tap_at(a, i, 0), end = begin + a.kernel;
    const int first = padding || begin > 0 ? begin : 0, last = a.size + (padding ? a.after : 0);
    return (end < last ? end : last) - first;
}

// What it divides by.
CU_BOTH float cu_area(const cu_window &z, int p, int q)
{
    return (float)(cu_covered(z.high, p, z.count_include_pad) *
                   cu_covered(z.wide, q, z.count_include_pad));
}

// Which tap of a window is the largest: its number r * kernel + s, all ones where a window has none in the image.
template <typename Pool>
using cu_argmax = typename std::conditional<
    (int64_t)Pool::window().high.kernel * Pool::window().wide.kernel <= UINT8_MAX, uint8_t,
    int32_t>::type;

// A pack of channels of one pixel.
struct cu_spot {
    int64_t image;
    int row, column, channel;
};

// How many packs images of HIGH x WIDE pixels have. Of pixels there are fewer than 2^31.
template <typename T, int C> CU_BOTH int64_t cu_spots(int64_t images, int high, int wide)
{
    return images * high * wide * (C / cu_width<T>(C));
}

// The pack that a thread takes; false: none is left.
template <typename T, int C, int HIGH, int WIDE>
CU_INLINE bool cu_spot_of(cu_spot *to, int64_t images)
{
    constexpr int N = cu_width<T>(C), PACKS = C / N;
    const int64_t i = (int64_t)blockIdx.x * CU_POOL_THREADS + threadIdx.x;
    const uint32_t pixel = (uint32_t)(i / PACKS);
    to->image = pixel / WIDE / HIGH;
    to->row = (int)(pixel / WIDE % HIGH);
    to->column = (int)(pixel % WIDE);
    to->channel = (int)(i % PACKS) * N;
    return to->image < images;
}

// Where the same channels of another pixel lie: of images of high x wide, of x's, of y's.
template <int C>
CU_INLINE int64_t cu_spot_at(const cu_spot &of, int high, int wide, int row, int column)
{
    return ((of.image * high + row) * wide + column) * C + of.channel;
}

template <int C>
CU_INLINE int64_t cu_in_image(const cu_window &z, const cu_spot &of, int row, int column)
{
    return cu_spot_at<C>(of, z.high.size, z.wide.size, row, column);
}

template <int C>
CU_INLINE int64_t cu_in_result(const cu_window &z, const cu_spot &of, int p, int q)
{
    return cu_spot_at<C>(of, z.high.result, z.wide.result, p, q);
}

// The largest of a window
// ----------------------------------------------------------------------------------------------

template <typename T, int C, typename Pool>
static __global__ void __launch_bounds__(CU_POOL_THREADS)
    cu_max_pool2d_kernel(T *y, cu_argmax<Pool> *argmax, const T *x, int64_t images)
{
    constexpr cu_window z = Pool::window();
    constexpr int N = cu_width<T>(C);
    cu_spot own;
    if (!cu_spot_of<T, C, z.high.result, z.wide.result>(&own, images))
        return;
    float best[N];
    cu_argmax<Pool> at[N];
    bool any = false;
    CU_UNROLL
    for (int i = 0; i < N; i++) {
        best[i] = -__builtin_inff();
        at[i] = (cu_argmax<Pool>)-1;
    }
    for (int r = 0; r < z.high.kernel; r++)
        for (int s = 0; s < z.wide.kernel; s++) {
            const int row = cu_tap_at(z.high, own.row, r);
            const int column = cu_tap_at(z.wide, own.column, s);
            if (!cu_inside(z.high, row) || !cu_inside(z.wide, column))
                continue;
            float v[N];
            cu_load<N>(v, x + cu_in_image<C>(z, own, row, column));
            CU_UNROLL
            for (int i = 0; i < N; i++) {
                const bool more = !any || v[i] > best[i] || v[i] != v[i];
                best[i] = more ? v[i] : best[i];
                at[i] = more ? (cu_argmax<Pool>)(r * z.wide.kernel + s) : at[i];
            }
            any = true;
        }
    const int64_t to = cu_in_result<C>(z, own, own.row, own.column);
    cu_store<N>(y + to, best);
    if (argmax)
        cu_put<N>(argmax + to, at);
}

// The largest of each window, the first of equals, NaN above all. argmax: of y's shape; NULL where nobody wants it.
template <typename T, int C, typename Pool>
static void cu_max_pool2d(cudaStream_t stream, T *y, cu_argmax<Pool> *argmax, const T *x,
                          int64_t images)
{
    constexpr cu_window z = Pool::window();
    const int64_t spots = cu_spots<T, C>(images, z.high.result, z.wide.result);
    CU_LAUNCH((cu_max_pool2d_kernel<T, C, Pool>), cu_ceil(spots, CU_POOL_THREADS),
              CU_POOL_THREADS, stream, y, argmax, x, images);
}

template <typename T, int C, typename Pool>
static __global__ void __launch_bounds__(CU_POOL_THREADS)
    cu_max_pool2d_grad_kernel(T *dx, const T *dy, const cu_argmax<Pool> *argmax, int64_t images)
{
    constexpr cu_window z = Pool::window();
    constexpr int N = cu_width<T>(C);
    cu_spot own;
    if (!cu_spot_of<T, C, z.high.size, z.wide.size>(&own, images))
        return;
    const int p_end = cu_windows_end(z.high, own.row),
              q_end = cu_windows_end(z.wide, own.column);
    float sum[N] = {};
    for (int p = cu_windows_begin(z.high, own.row); p < p_end; p++)
        for (int q = cu_windows_begin(z.wide, own.column); q < q_end; q++) {
            const int r = cu_tap_on(z.high, p, own.row), s = cu_tap_on(z.wide, q, own.column);
            if (r < 0 || s < 0)
                continue;
            const int64_t from = cu_in_result<C>(z, own, p, q);
            float d[N];
            cu_argmax<Pool> at[N];
            cu_load<N>(d, dy + from);
            cu_take<N>(at, argmax + from);
            CU_UNROLL
            for (int i = 0; i < N; i++)
                sum[i] += (int)at[i] == r * z.wide.kernel + s ? d[i] : 0;
        }
    cu_store<N>(dx + cu_in_image<C>(z, own, own.row, own.column), sum);
}

template <typename T, int C, typename Pool>
static void cu_max_pool2d_grad(cudaStream_t stream, T *dx, const T *dy,
                               const cu_argmax<Pool> *argmax, int64_t images)
{
    constexpr cu_window z = Pool::window();
    const int64_t spots = cu_spots<T, C>(images, z.high.size, z.wide.size);
    CU_LAUNCH((cu_max_pool2d_grad_kernel<T, C, Pool>), cu_ceil(spots, CU_POOL_THREADS),
              CU_POOL_THREADS, stream, dx, dy, argmax, images);
}

// The average of a window, of dilation 1
// ----------------------------------------------------------------------------------------------

template <typename T, int C, typename Pool>
static __global__ void __launch_bounds__(CU_POOL_THREADS)
    cu_avg_pool2d_kernel(T *y, const T *x, int64_t images)
{
    constexpr cu_window z = Pool::window();
    constexpr int N = cu_width<T>(C);
    cu_spot own;
    if (!cu_spot_of<T, C, z.high.result, z.wide.result>(&own, images))
        return;
    float sum[N] = {};
    for (int r = 0; r < z.high.kernel; r++)
        for (int s = 0; s < z.wide.kernel; s++) {
            const int row = cu_tap_at(z.high, own.row, r);
            const int column = cu_tap_at(z.wide, own.column, s);
            if (!cu_inside(z.high, row) || !cu_inside(z.wide, column))
                continue;
            float v[N];
            cu_load<N>(v, x + cu_in_image<C>(z, own, row, column));
            CU_UNROLL
            for (int i = 0; i < N; i++)
                sum[i] += v[i];
        }
    const float area = cu_area(z, own.row, own.column);
    CU_UNROLL
    for (int i = 0; i < N; i++)
        sum[i] /= area;
    cu_store<N>(y + cu_in_result<C>(z, own, own.row, own.column), sum);
}

template <typename T, int C, typename Pool>
static void cu_avg_pool2d(cudaStream_t stream, T *y, const T *x, int64_t images)
{
    constexpr cu_window z = Pool::window();
    const int64_t spots = cu_spots<T, C>(images, z.high.result, z.wide.result);
    CU_LAUNCH((cu_avg_pool2d_kernel<T, C, Pool>), cu_ceil(spots, CU_POOL_THREADS),
              CU_POOL_THREADS, stream, y, x, images);
}

template <typename T, int C, typename Pool>
static __global__ void __launch_bounds__(CU_POOL_THREADS)
    cu_avg_pool2d_grad_kernel(T *dx, const T *dy, int64_t images)
{
    constexpr cu_window z = Pool::window();
    constexpr int N = cu_width<T>(C);
    cu_spot own;
    if (!cu_spot_of<T, C, z.high.size, z.wide.size>(&own, images))
        return;
    const int p_end = cu_windows_end(z.high, own.row),
              q_end = cu_windows_end(z.wide, own.column);
    float sum[N] = {};
    for (int p = cu_windows_begin(z.high, own.row); p < p_end; p++)
        for (int q = cu_windows_begin(z.wide, own.column); q < q_end; q++) {
            const float area = cu_area(z, p, q);
            float d[N];
            cu_load<N>(d, dy + cu_in_result<C>(z, own, p, q));
            CU_UNROLL
            for (int i = 0; i < N; i++)
                sum[i] += d[i] / area;
        }
    cu_store<N>(dx + cu_in_image<C>(z, own, own.row, own.column), sum);
}

template <typename T, int C, typename Pool>
static void cu_avg_pool2d_grad(cudaStream_t stream, T *dx, const T *dy, int64_t images)
{
    constexpr cu_window z = Pool::window();
    const int64_t spots = cu_spots<T, C>(images, z.high.size, z.wide.size);
    CU_LAUNCH((cu_avg_pool2d_grad_kernel<T, C, Pool>), cu_ceil(spots, CU_POOL_THREADS),
              CU_POOL_THREADS, stream, dx, dy, images);
}

// The average of an image
// ----------------------------------------------------------------------------------------------

// x[images,pixels,C] -> y[images,C]. part: of cu_columns<T, C>::part_bytes(pixels, images, 1).
template <typename T, int C>
static void cu_global_avg_pool(cudaStream_t stream, T *y, double *part, const T *x,
                               int64_t images, int64_t pixels)
{
    cu_sum_rows<T, T, C>(stream, y, part, x, images, pixels, (double)pixels);
}

template <typename T, int C, int PIXELS>
static __global__ void __launch_bounds__(CU_POOL_THREADS)
    cu_global_avg_pool_grad_kernel(T *dx, const T *dy, int64_t images)
{
    constexpr int N = cu_width<T>(C);
    cu_spot own;
    if (!cu_spot_of<T, C, 1, PIXELS>(&own, images))
        return;
    float d[N];
    cu_load<N>(d, dy + own.image * C + own.channel);
    CU_UNROLL
    for (int i = 0; i < N; i++)
        d[i] /= (float)PIXELS;
    cu_store<N>(dx + cu_spot_at<C>(own, 1, PIXELS, 0, own.column), d);
}

template <typename T, int C, int PIXELS>
static void cu_global_avg_pool_grad(cudaStream_t stream, T *dx, const T *dy, int64_t images)
{
    CU_LAUNCH((cu_global_avg_pool_grad_kernel<T, C, PIXELS>),
              cu_ceil(cu_spots<T, C>(images, 1, PIXELS), CU_POOL_THREADS), CU_POOL_THREADS,
              stream, dx, dy, images);
}

#endif
