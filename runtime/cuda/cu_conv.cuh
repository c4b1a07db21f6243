// Depthwise convolution of images channels last, x[n,h,w,C] by weight[K,R,S] to y[n,p,q,K], K = C M: channel k of the
// result is that of channel k / M. For devices and sizes that the library has no kernel for; one product after the other,
// in one order. Images are of type T, weights, bias and their gradients float.
//
// A block takes up to 64 neighbouring channels, whose weights it keeps in shared memory, of some pixels; a thread takes a
// pack of channels of every HIGH-th pixel. A window's few products are added up in float.
//
// Sizes are a type, so that all divisions are by constants:
//     struct conv1 {
//         CU_BOTH cu_conv conv()
//         {
//             return {{112, 56, 3, 2, 1, 1}, {112, 56, 3, 2, 1, 1}};
//         }
//     };
#ifndef STAGECC_CU_CONV_H
#define STAGECC_CU_CONV_H

#include <stagecc/cu_columns.cuh>

// Along one axis: an image of `size` becomes one of `result`. Window i begins at i * stride - before and has
// `kernel` taps, `dilation` apart; before: the padding.
struct cu_conv_axis {
    int size, result, kernel, stride, dilation, before;
};

struct cu_conv {
    cu_conv_axis high, wide; // pixels of all images are fewer than 2^31
};

CU_BOTH int cu_conv_taps(const cu_conv &z)
{
    return z.high.kernel * z.wide.kernel;
}

enum { CU_CONV_THREADS = 256, CU_CONV_ROUNDS = 8 }; // pixels of a thread

// C channels, shared out.
template <typename T, int C> struct cu_conv_shares {
    static constexpr int N = cu_width<T>(C), PACKS = C / N;
    static constexpr int GROUPS = (int)cu_ceil(C, 64), WIDE = (int)cu_ceil(PACKS, GROUPS);
    static constexpr int HIGH = CU_CONV_THREADS / WIDE, PIXELS = HIGH * CU_CONV_ROUNDS;
    static constexpr int CHANNELS = WIDE * N; // of a block

    static int64_t blocks(int64_t pixels)
    {
        return cu_ceil(pixels, PIXELS) * GROUPS;
    }
    CU_MEMBER static int first_channel() // of this block
    {
        return (int)blockIdx.x % GROUPS * CHANNELS;
    }
    CU_MEMBER static int channel() // of this thread, from there
    {
        return (int)threadIdx.x % WIDE * N;
    }
    // f(pixel) for all that this thread takes.
    template <typename F> CU_MEMBER static void each(int pixels, F f)
    {
        const int begin = (int)blockIdx.x / GROUPS * PIXELS;
        const int end = pixels - begin < PIXELS ? pixels : begin + PIXELS;
        if ((int)threadIdx.x >= WIDE * HIGH || first_channel() + channel() >= C)
            return;
        for (int pixel = begin + (int)threadIdx.x / WIDE; pixel < end; pixel += HIGH)
            f(pixel);
    }
};

// The pixel below tap k of window i, or below 0 where there is padding.
CU_INLINE int cu_conv_pixel(const cu_conv_axis &a, int i, int k)
{
    const int at = i * a.stride + k * a.dilation - a.before;
    return at < a.size ? at : -1;
}

// The window whose tap k lies on pixel `at`, or -1.
CU_INLINE int cu_conv_window(const cu_conv_axis &a, int at, int k)
{
    const int from = at - k * a.dilation + a.before, i = from / a.stride;
    return from >= 0 && from % a.stride == 0 && i < a.result ? i : -1;
}

// Number of a pixel of images of high x wide.
CU_INLINE int64_t cu_conv_at(int high, int wide, int image, int row, int column)
{
    return ((int64_t)image * high + row) * wide + column;
}

// into[i] = x of channel k + i of the result.
template <int N, int M, typename T> CU_INLINE void cu_conv_load(float *into, const T *x, int k)
{
    if constexpr (M == 1) {
        cu_load<N>(into, x + k);
    } else {
        CU_UNROLL
        for (int i = 0; i < N; i++)
            into[i] = cu_to_float(x[(k + i) / M]);
    }
}

// into[i] = the m-th of the M elements of dy that channel i has gone into.
template <int N, int M, typename T>
CU_INLINE void cu_conv_load_back(float *into, const T *dy, int m)
{
    if constexpr (M == 1) {
        cu_load<N>(into, dy);
    } else {
        CU_UNROLL
        for (int i = 0; i < N; i++)
            into[i] = cu_to_float(dy[i * M + m]);
    }
}

template <typename T, int C, int M, typename Conv>
static __global__ void __launch_bounds__(CU_CONV_THREADS)
    cu_depthwise_conv2d_kernel(T *y, const T *x, const float *weight, const float *bias,
                               int pixels)
{
    constexpr cu_conv z = Conv::conv();
    constexpr int K = C * M, TAPS = cu_conv_taps(z);
    typedef cu_conv_shares<T, K> shares;
    constexpr int N = shares::N;
    __shared__ float kept[TAPS][shares::CHANNELS];
    const int first = shares::first_channel(), own = shares::channel();
    for (int i = (int)threadIdx.x; i < TAPS * shares::CHANNELS; i += CU_CONV_THREADS)
        if (first + i / TAPS < K)
            kept[i % TAPS][i / TAPS] = weight[first * TAPS + i];
    __syncthreads();
    shares::each(pixels, [=](int pixel) {
        const int row = pixel / z.wide.result, n = row / z.high.result;
        float sum[N] = {}, v[N];
        if (bias)
            cu_load<N>(sum, bias + first + own);
        for (int tap = 0; tap < TAPS; tap++) {
            const int i = cu_conv_pixel(z.high, row % z.high.result, tap / z.wide.kernel);
            const int j = cu_conv_pixel(z.wide, pixel % z.wide.result, tap % z.wide.kernel);
            if (i < 0 || j < 0)
                continue;
            cu_conv_load<N, M>(v, x + cu_conv_at(z.high.size, z.wide.size, n, i, j) * C,
                               first + own);
            CU_UNROLL
            for (int u = 0; u < N; u++)
                sum[u] += v[u] * kept[tap][own + u];
        }
        cu_store<N>(y + (int64_t)pixel * K + first + own, sum);
    });
}

// Of n images. bias[K] may be NULL.
template <typename T, int C, int M, typename Conv>
static void cu_depthwise_conv2d(cudaStream_t stream, T *y, const T *x, const float *weight,
                                const float *bias, int64_t n)
{
    constexpr cu_conv z = Conv::conv();
    const int64_t pixels = n * z.high.result * z.wide.result;
    CU_LAUNCH((cu_depthwise_conv2d_kernel<T, C, M, Conv>),
              (cu_conv_shares<T, C * M>::blocks(pixels)), CU_CONV_THREADS, stream, y, x, weight,
              bias, (int)pixels);
}

// A thread takes pixels of the image, and looks for the windows that lie on them.
template <typename T, int C, int M, typename Conv>
static __global__ void __launch_bounds__(CU_CONV_THREADS)
    cu_depthwise_conv2d_grad_input_kernel(T *dx, const T *dy, const float *weight, int pixels)
{
    constexpr cu_conv z = Conv::conv();
    typedef cu_conv_shares<T, C> shares;
    constexpr int N = shares::N, TAPS = cu_conv_taps(z), EACH = M * TAPS;
    __shared__ float kept[EACH][shares::CHANNELS];
    const int first = shares::first_channel(), own = shares::channel();
    for (int i = (int)threadIdx.x; i < EACH * shares::CHANNELS; i += CU_CONV_THREADS)
        if (first + i / EACH < C)
            kept[i % EACH][i / EACH] = weight[first * EACH + i];
    __syncthreads();
    shares::each(pixels, [=](int pixel) {
        const int row = pixel / z.wide.size, n = row / z.high.size;
        float sum[N] = {}, d[N];
        for (int tap = 0; tap < TAPS; tap++) {
            const int p = cu_conv_window(z.high, row % z.high.size, tap / z.wide.kernel);
            const int q = cu_conv_window(z.wide, pixel % z.wide.size, tap % z.wide.kernel);
            if (p < 0 || q < 0)
                continue;
            const int64_t at = cu_conv_at(z.high.result, z.wide.result, n, p, q) * C;
            for (int m = 0; m < M; m++) {
                cu_conv_load_back<N, M>(d, dy + (at + first + own) * M, m);
                CU_UNROLL
                for (int u = 0; u < N; u++)
                    sum[u] += d[u] * kept[m * TAPS + tap][own + u];
            }
        }
        cu_store<N>(dx + (int64_t)pixel * C + first + own, sum);
    });
}

template <typename T, int C, int M, typename Conv>
static void cu_depthwise_conv2d_grad_input(cudaStream_t stream, T *dx, const T *dy,
                                           const float *weight, int64_t n)
{
    constexpr cu_conv z = Conv::conv();
    const int64_t pixels = n * z.high.size * z.wide.size;
    CU_LAUNCH((cu_depthwise_conv2d_grad_input_kernel<T, C, M, Conv>),
              (cu_conv_shares<T, C>::blocks(pixels)), CU_CONV_THREADS, stream, dx, dy, weight,
              (int)pixels);
}

// Pixels of the result are the rows of two sums for each of its channels: of two taps, `tap` and the next.
template <typename T, int C, int M, typename Conv>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_depthwise_conv2d_grad_weight_parts(double *part, const T *x, const T *dy, int64_t pixels,
                                          int tap)
{
    constexpr cu_conv z = Conv::conv();
    constexpr int K = C * M, N = cu_columns<T, K>::N;
    cu_column_parts<T, K>(part, pixels, [=](float(&run)[2][N], int64_t pixel, int column) {
        const int row = (int)pixel / z.wide.result, n = row / z.high.result;
        float d[N], v[N];
        cu_load<N>(d, dy + pixel * K + column);
        CU_UNROLL
        for (int two = 0; two < 2; two++) {
            const int r = (tap + two) / z.wide.kernel, s = (tap + two) % z.wide.kernel;
            const int i = cu_conv_pixel(z.high, row % z.high.result, r);
            const int j = cu_conv_pixel(z.wide, (int)pixel % z.wide.result, s);
            if (i < 0 || j < 0)
                continue;
            cu_conv_load<N, M>(v, x + cu_conv_at(z.high.size, z.wide.size, n, i, j) * C,
                               column);
            CU_UNROLL
            for (int u = 0; u < N; u++)
                run[two][u] += d[u] * v[u];
        }
    });
}

template <int K, int TAPS>
static __global__ void __launch_bounds__(CU_TOTAL_THREADS)
    cu_depthwise_conv2d_grad_weight_total(float *dweight, const double *part, int64_t parts,
                                          int tap)
{
    double total[2];
    const int64_t k = cu_column_total(total, part, parts, K);
    if (k < 0)
        return;
    dweight[k * TAPS + tap] = (float)total[0];
    if (tap + 1 < TAPS)
        dweight[k * TAPS + tap + 1] = (float)total[1];
}

// part: cu_columns<T, C * M>::part_bytes(n p q), used by one pair of taps after the other.
template <typename T, int C, int M, typename Conv>
static void cu_depthwise_conv2d_grad_weight(cudaStream_t stream, float *dweight, double *part,
                                            const T *x, const T *dy, int64_t n)
{
    constexpr cu_conv z = Conv::conv();
    constexpr int K = C * M, TAPS = cu_conv_taps(z);
    typedef cu_columns<T, K> shares;
    const int64_t pixels = n * z.high.result * z.wide.result;
    for (int tap = 0; tap < TAPS; tap += 2) {
        CU_LAUNCH((cu_depthwise_conv2d_grad_weight_parts<T, C, M, Conv>),
                  shares::blocks(pixels), CU_COLUMN_THREADS, stream, part, x, dy, pixels, tap);
        CU_LAUNCH((cu_depthwise_conv2d_grad_weight_total<K, TAPS>), cu_total_blocks(K),
                  CU_TOTAL_THREADS, stream, dweight, part, shares::parts(pixels), tap);
    }
}

#endif
