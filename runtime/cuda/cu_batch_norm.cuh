// Batch norm (Ioffe and Szegedy 2015) over x[pixels,C], images channels last: a thread takes a pack of neighbouring
// channels of many pixels. Forward and backward are three launches each: parts of the sums, what they come
// to per channel (ready), and a look that applies it. Elements are of type T, statistics and parameters
// float.
//
// What stands behind a norm and element by element may be part of it: `Behind` is a type with
//     static float forward(float y)               what is stored in place of y, the norm's result
//     static float backward(float dy, float y)    the gradient of y, dy being that of what is stored
#ifndef STAGECC_CU_BATCH_NORM_H
#define STAGECC_CU_BATCH_NORM_H

#include <stagecc/cu_columns.cuh>
#include <stagecc/cu_elementwise.cuh>

struct cu_nothing {
    CU_MEMBER static float forward(float y)
    {
        return y;
    }
    CU_MEMBER static float backward(float dy, float)
    {
        return dy;
    }
};

struct cu_relu {
    CU_MEMBER static float forward(float y)
    {
        return c_relu(y);
    }
    CU_MEMBER static float backward(float dy, float y)
    {
        return c_relu_grad(dy, y);
    }
};

// Of a channel: y = (x - mean) scale + shift, and in backward dx = ((dy - offset) - (x - mean) slope) scale.
struct alignas(16) cu_norm {
    float mean, scale, shift, unused;
};

struct alignas(8) cu_norm_grad {
    float offset, slope;
};

CU_INLINE cu_norm cu_norm_of(float mean, float var, float gamma, float beta, double eps)
{
    return {mean, (float)((double)gamma / sqrt((double)var + eps)), beta, 0};
}

CU_INLINE float cu_norm_at(const cu_norm &k, float x)
{
    return (x - k.mean) * k.scale + k.shift;
}

// Forward
// ----------------------------------------------------------------------------------------------

// Sums of x and x^2, around the first pixel: nothing is lost where means are far from 0.
template <typename T, int C>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_batch_norm_parts(double *part, const T *x, int64_t pixels)
{
    constexpr int N = cu_columns<T, C>::N;
    cu_column_parts<T, C>(part, pixels, [=](float(&run)[2][N], int64_t pixel, int column) {
        float v[N], zero[N];
        cu_load<N>(v, x + pixel * C + column);
        cu_load<N>(zero, x + column);
        CU_UNROLL
        for (int i = 0; i < N; i++) {
            float d = v[i] - zero[i];
            run[0][i] += d;
            run[1][i] += d * d;
        }
    });
}

// What is applied to channel c, whose x are `middle` in the mean and `square` away from that.
CU_INLINE void cu_norm_put(cu_norm *norm, float *mean, float *var, int c, double middle,
                           double square, const float *gamma, const float *beta, double eps)
{
    mean[c] = (float)middle;
    var[c] = (float)(square < 0 ? 0 : square); // NaN stays
    norm[c] = cu_norm_of(mean[c], var[c], gamma[c], beta[c], eps);
}

template <typename T>
static __global__ void __launch_bounds__(CU_TOTAL_THREADS)
    cu_batch_norm_ready(int channels, cu_norm *norm, float *mean, float *var,
                        const double *part, int64_t parts, const T *x, int64_t pixels,
                        const float *gamma, const float *beta, double eps)
{
    double total[2];
    const int c = (int)cu_column_total(total, part, parts, channels);
    if (c < 0)
        return;
    const double off = total[0] / (double)pixels,
                 square = total[1] / (double)pixels - off * off;
    cu_norm_put(norm, mean, var, c, off + (double)cu_to_float(x[c]), square, gamma, beta, eps);
}

// Statistics that replicas share: each of them gives sums[2][C], of x and of x^2 as they are, which are added up in
// double, so that a mean of 1000 leaves ten digits of the variance.
template <typename T>
static __global__ void __launch_bounds__(CU_TOTAL_THREADS)
    cu_batch_norm_give(int channels, double *sums, const double *part, int64_t parts,
                       const T *x, int64_t pixels)
{
    double total[2];
    const int c = (int)cu_column_total(total, part, parts, channels);
    if (c < 0)
        return;
    const double zero = (double)cu_to_float(x[c]);
    sums[c] = total[0] + (double)pixels * zero;
    sums[channels + c] = total[1] + (2 * total[0] + (double)pixels * zero) * zero;
}

// And takes those of all, of `pixels`; or those that a convolution has added up, in float.
template <typename S>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_batch_norm_take(int channels, cu_norm *norm, float *mean, float *var, const S *sums,
                       int64_t pixels, const float *gamma, const float *beta, double eps)
{
    const int c = (int)(blockIdx.x * CU_COLUMN_THREADS + threadIdx.x);
    if (c >= channels)
        return;
    const double middle = (double)sums[c] / (double)pixels,
                 square = (double)sums[channels + c] / (double)pixels - middle * middle;
    cu_norm_put(norm, mean, var, c, middle, square, gamma, beta, eps);
}

// With statistics that are there: in evaluation, and in backward.
CU_KERNEL void __launch_bounds__(CU_COLUMN_THREADS)
    cu_batch_norm_fixed(int channels, cu_norm *norm, const float *mean, const float *var,
                        const float *gamma, const float *beta, double eps)
{
    const int c = (int)(blockIdx.x * CU_COLUMN_THREADS + threadIdx.x);
    if (c < channels)
        norm[c] = cu_norm_of(mean[c], var[c], gamma[c], beta[c], eps);
}

template <typename T, int C, typename Behind>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_batch_norm_apply(T *y, const T *x, const cu_norm *norm, int64_t pixels)
{
    typedef cu_columns<T, C> shares;
    constexpr int N = shares::N;
    if (shares::row() < 0)
        return;
    cu_norm k[N];
    CU_UNROLL
    for (int i = 0; i < N; i++)
        k[i] = norm[shares::column() + i];
    shares::each(pixels, [&](int64_t at) {
        float v[N];
        cu_load<N>(v, x + at);
        CU_UNROLL
        for (int i = 0; i < N; i++)
            v[i] = Behind::forward(cu_norm_at(k[i], v[i]));
        cu_store<N>(y + at, v);
    });
}

// x -> y, mean[C], var[C] (biased). For the time being: part, of cu_columns<T, C>::part_bytes, and norm[C].
template <typename T, int C, typename Behind = cu_nothing>
static void cu_batch_norm(cudaStream_t stream, T *y, float *mean, float *var, double *part,
                          cu_norm *norm, const T *x, const float *gamma, const float *beta,
                          int64_t pixels, double eps)
{
    typedef cu_columns<T, C> shares;
    CU_LAUNCH((cu_batch_norm_parts<T, C>), shares::blocks(pixels), CU_COLUMN_THREADS, stream,
              part, x, pixels);
    CU_LAUNCH((cu_batch_norm_ready<T>), cu_total_blocks(C), CU_TOTAL_THREADS, stream, C, norm,
              mean, var, part, shares::parts(pixels), x, pixels, gamma, beta, eps);
    CU_LAUNCH((cu_batch_norm_apply<T, C, Behind>), shares::blocks(pixels), CU_COLUMN_THREADS,
              stream, y, x, norm, pixels);
}

// With running statistics.
template <typename T, int C, typename Behind = cu_nothing>
static void cu_batch_norm_infer(cudaStream_t stream, T *y, cu_norm *norm, const T *x,
                                const float *gamma, const float *beta, const float *mean,
                                const float *var, int64_t pixels, double eps)
{
    typedef cu_columns<T, C> shares;
    CU_LAUNCH(cu_batch_norm_fixed, cu_ceil(C, CU_COLUMN_THREADS), CU_COLUMN_THREADS, stream, C,
              norm, mean, var, gamma, beta, eps);
    CU_LAUNCH((cu_batch_norm_apply<T, C, Behind>), shares::blocks(pixels), CU_COLUMN_THREADS,
              stream, y, x, norm, pixels);
}

// running = (1 - momentum) running + momentum new; the variance, of `count` elements, becomes unbiased on the
// way.
CU_KERNEL void __launch_bounds__(CU_COLUMN_THREADS)
    cu_running_update_kernel(float *running_mean, float *running_var, const float *mean,
                             const float *var, int64_t n, double momentum, double unbiased)
{
    const int64_t c = (int64_t)blockIdx.x * CU_COLUMN_THREADS + threadIdx.x;
    if (c >= n)
        return;
    running_mean[c] =
        (float)((1 - momentum) * (double)running_mean[c] + momentum * (double)mean[c]);
    running_var[c] = (float)((1 - momentum) * (double)running_var[c] +
                             momentum * ((double)var[c] * unbiased));
}

[[maybe_unused]] static void cu_running_update(cudaStream_t stream, float *running_mean,
                                               float *running_var, const float *mean,
                                               const float *var, int64_t n, double momentum,
                                               int64_t count)
{
    const double unbiased = count > 1 ? (double)count / (double)(count - 1) : 1;
    CU_LAUNCH(cu_running_update_kernel, cu_ceil(n, CU_COLUMN_THREADS), CU_COLUMN_THREADS,
              stream, running_mean, running_var, mean, var, n, momentum, unbiased);
}

// Backward
// ----------------------------------------------------------------------------------------------

// Sums of dy and of dy (x - mean).
template <typename T, int C, typename Behind>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_batch_norm_grad_parts(double *part, const T *dy, const T *x, const cu_norm *norm,
                             int64_t pixels)
{
    constexpr int N = cu_columns<T, C>::N;
    cu_column_parts<T, C>(part, pixels, [=](float(&run)[2][N], int64_t pixel, int column) {
        float d[N], v[N];
        cu_load<N>(d, dy + pixel * C + column);
        cu_load<N>(v, x + pixel * C + column);
        CU_UNROLL
        for (int i = 0; i < N; i++) {
            const cu_norm k = norm[column + i];
            d[i] = Behind::backward(d[i], cu_norm_at(k, v[i]));
            run[0][i] += d[i];
            run[1][i] += d[i] * (v[i] - k.mean);
        }
    });
}

// With xh = (x - mean) / sqrt(var + eps): dbeta = sum dy, dgamma = sum dy xh, offset = dbeta / pixels, slope =
// dgamma / (pixels sqrt(var + eps)).
CU_INLINE double cu_norm_rstd(float var, double eps)
{
    return 1 / sqrt((double)var + eps);
}

CU_INLINE cu_norm_grad cu_norm_grad_of(double dy, double dy_x, int64_t pixels, double rstd)
{
    return {(float)(dy / (double)pixels), (float)(dy_x * rstd / (double)pixels * rstd)};
}

CU_INLINE void cu_norm_put_gradients(float *dgamma, float *dbeta, int c,
                                     const double (&total)[2], double rstd)
{
    if (dgamma)
        dgamma[c] = (float)(total[1] * rstd);
    if (dbeta)
        dbeta[c] = (float)total[0];
}

CU_KERNEL void __launch_bounds__(CU_TOTAL_THREADS)
    cu_batch_norm_grad_ready(int channels, cu_norm_grad *grad, float *dgamma, float *dbeta,
                             const double *part, int64_t parts, int64_t pixels,
                             const float *var, double eps)
{
    double total[2];
    const int c = (int)cu_column_total(total, part, parts, channels);
    if (c < 0)
        return;
    const double rstd = cu_norm_rstd(var[c], eps);
    grad[c] = cu_norm_grad_of(total[0], total[1], pixels, rstd);
    cu_norm_put_gradients(dgamma, dbeta, c, total, rstd);
}

// Where replicas share statistics: dgamma and dbeta are a replica's own, and so are the sums that it gives.
CU_KERNEL void __launch_bounds__(CU_TOTAL_THREADS)
    cu_batch_norm_grad_give(int channels, double *sums, float *dgamma, float *dbeta,
                            const double *part, int64_t parts, const float *var, double eps)
{
    double total[2];
    const int c = (int)cu_column_total(total, part, parts, channels);
    if (c < 0)
        return;
    cu_norm_put_gradients(dgamma, dbeta, c, total, cu_norm_rstd(var[c], eps));
    sums[c] = total[0];
    sums[channels + c] = total[1];
}

CU_KERNEL void __launch_bounds__(CU_COLUMN_THREADS)
    cu_batch_norm_grad_take(int channels, cu_norm_grad *grad, const double *sums,
                            int64_t pixels, const float *var, double eps)
{
    const int c = (int)(blockIdx.x * CU_COLUMN_THREADS + threadIdx.x);
    if (c < channels)
        grad[c] =
            cu_norm_grad_of(sums[c], sums[channels + c], pixels, cu_norm_rstd(var[c], eps));
}

template <typename T, int C, typename Behind>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_batch_norm_grad_apply(T *dx, const T *dy, const T *x, const cu_norm *norm,
                             const cu_norm_grad *grad, int64_t pixels)
{
    typedef cu_columns<T, C> shares;
    constexpr int N = shares::N;
    if (shares::row() < 0)
        return;
    cu_norm k[N];
    cu_norm_grad g[N];
    CU_UNROLL
    for (int i = 0; i < N; i++) {
        k[i] = norm[shares::column() + i];
        g[i] = grad[shares::column() + i];
    }
    shares::each(pixels, [&](int64_t at) {
        float d[N], v[N];
        cu_load<N>(d, dy + at);
        cu_load<N>(v, x + at);
        CU_UNROLL
        for (int i = 0; i < N; i++) {
            d[i] = Behind::backward(d[i], cu_norm_at(k[i], v[i]));
            d[i] = ((d[i] - g[i].offset) - (v[i] - k[i].mean) * g[i].slope) * k[i].scale;
        }
        cu_store<N>(dx + at, d);
    });
}

// dy, x, and what forward has kept -> dx, dgamma[C], dbeta[C], each of which may be NULL. beta is needed for
// forward's result again. For the time being: part, of cu_columns<T, C>::part_bytes, norm[C] and grad[C].
template <typename T, int C, typename Behind = cu_nothing>
static void cu_batch_norm_grad(cudaStream_t stream, T *dx, float *dgamma, float *dbeta,
                               double *part, cu_norm *norm, cu_norm_grad *grad, const T *dy,
                               const T *x, const float *gamma, const float *beta,
                               const float *mean, const float *var, int64_t pixels, double eps)
{
    typedef cu_columns<T, C> shares;
    CU_LAUNCH(cu_batch_norm_fixed, cu_ceil(C, CU_COLUMN_THREADS), CU_COLUMN_THREADS, stream, C,
              norm, mean, var, gamma, beta, eps);
    CU_LAUNCH((cu_batch_norm_grad_parts<T, C, Behind>), shares::blocks(pixels),
              CU_COLUMN_THREADS, stream, part, dy, x, norm, pixels);
    CU_LAUNCH(cu_batch_norm_grad_ready, cu_total_blocks(C), CU_TOTAL_THREADS, stream, C, grad,
              dgamma, dbeta, part, shares::parts(pixels), pixels, var, eps);
    if (dx)
        CU_LAUNCH((cu_batch_norm_grad_apply<T, C, Behind>), shares::blocks(pixels),
                  CU_COLUMN_THREADS, stream, dx, dy, x, norm, grad, pixels);
}

#endif
