// Batch norm (Ioffe and Szegedy 2015) of vectors and of images, whose channels lie as `Shares` says (cu_channels.cuh).
// Forward and backward are three launches each: parts of the sums, what they come to per channel (ready), and a
// look that applies it. Elements are of Shares::type, statistics and parameters float.
//
// What stands behind a norm and element by element may be part of it: `Behind` is a type with
//     static float forward(float y)               what is stored in place of y, the norm's result
//     static float backward(float dy, float y)    the gradient of y, dy being that of what is stored
#ifndef STAGECC_CU_BATCH_NORM_H
#define STAGECC_CU_BATCH_NORM_H

#include <stagecc/cu_channels.cuh>
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

// Sums of x and x^2, around a channel's first element: nothing is lost where means are far from 0.
template <typename Shares>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_batch_norm_parts(Shares shares, double *part, const typename Shares::type *x)
{
    constexpr int N = Shares::N;
    shares.add_up(part, [=](float(&run)[2][N], int64_t at) {
        float v[N], zero[Shares::CHANNELS];
        cu_load<N>(v, x + at);
        shares.first(zero, x);
        CU_UNROLL
        for (int i = 0; i < N; i++) {
            float d = v[i] - zero[i % Shares::CHANNELS];
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
                        const double *part, int64_t parts, const T *x, int64_t apart,
                        int64_t count, const float *gamma, const float *beta, double eps)
{
    double total[2];
    const int c = (int)cu_column_total(total, part, parts, channels);
    if (c < 0)
        return;
    const double off = total[0] / (double)count, square = total[1] / (double)count - off * off;
    cu_norm_put(norm, mean, var, c, off + (double)cu_to_float(x[c * apart]), square, gamma,
                beta, eps);
}

// Statistics that replicas share: each of them gives sums[2][C], of x and of x^2 as they are, which are added up in
// double, so that a mean of 1000 leaves ten digits of the variance.
template <typename T>
static __global__ void __launch_bounds__(CU_TOTAL_THREADS)
    cu_batch_norm_give(int channels, double *sums, const double *part, int64_t parts,
                       const T *x, int64_t apart, int64_t count)
{
    double total[2];
    const int c = (int)cu_column_total(total, part, parts, channels);
    if (c < 0)
        return;
    const double zero = (double)cu_to_float(x[c * apart]);
    sums[c] = total[0] + (double)count * zero;
    sums[channels + c] = total[1] + (2 * total[0] + (double)count * zero) * zero;
}

// And takes those of all, of `count` elements a channel; or those that a convolution has added up, in float.
template <typename S>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_batch_norm_take(int channels, cu_norm *norm, float *mean, float *var, const S *sums,
                       int64_t count, const float *gamma, const float *beta, double eps)
{
    const int c = (int)(blockIdx.x * CU_COLUMN_THREADS + threadIdx.x);
    if (c >= channels)
        return;
    const double middle = (double)sums[c] / (double)count,
                 square = (double)sums[channels + c] / (double)count - middle * middle;
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

// What a norm applies to a pack, or a part of it.
template <typename Shares> struct cu_look {
    cu_norm norm[Shares::CHANNELS];

    CU_MEMBER cu_look(const Shares &shares, const cu_norm *of)
    {
        CU_UNROLL
        for (int i = 0; i < Shares::CHANNELS; i++)
            norm[i] = of[shares.channel() + i];
    }
    CU_MEMBER const cu_norm &at(int element) const
    {
        return norm[element % Shares::CHANNELS];
    }
};

template <typename Shares, typename Behind>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_batch_norm_apply(Shares shares, typename Shares::type *y, const typename Shares::type *x,
                        const cu_norm *norm)
{
    constexpr int N = Shares::N;
    if (shares.left_over())
        return;
    const cu_look<Shares> k(shares, norm);
    shares.each([&](int64_t at) {
        float v[N];
        cu_load<N>(v, x + at);
        CU_UNROLL
        for (int i = 0; i < N; i++)
            v[i] = Behind::forward(cu_norm_at(k.at(i), v[i]));
        cu_store<N>(y + at, v);
    });
}

// Sums of x, and what they come to: norm, mean, var of all channels.
template <typename Shares, typename T>
static void cu_batch_norm_find(cudaStream_t stream, const Shares &shares, cu_norm *norm,
                               float *mean, float *var, double *part, const T *x,
                               const float *gamma, const float *beta, double eps)
{
    CU_LAUNCH(cu_batch_norm_parts<Shares>, shares.blocks(), CU_COLUMN_THREADS, stream, shares,
              part, x);
    CU_LAUNCH(cu_batch_norm_ready<T>, cu_total_blocks(shares.channels()), CU_TOTAL_THREADS,
              stream, shares.channels(), norm, mean, var, part, shares.parts(), x,
              shares.apart(), shares.count(), gamma, beta, eps);
}

// x -> y, mean[C], var[C] (biased). For the time being: part, of shares.part_bytes(), and norm[C].
template <typename Behind = cu_nothing, typename Shares, typename T>
static void cu_batch_norm(cudaStream_t stream, const Shares &shares, T *y, float *mean,
                          float *var, double *part, cu_norm *norm, const T *x,
                          const float *gamma, const float *beta, double eps)
{
    cu_batch_norm_find(stream, shares, norm, mean, var, part, x, gamma, beta, eps);
    CU_LAUNCH((cu_batch_norm_apply<Shares, Behind>), shares.blocks(), CU_COLUMN_THREADS, stream,
              shares, y, x, norm);
}

// With running statistics.
template <typename Behind = cu_nothing, typename Shares, typename T>
static void cu_batch_norm_infer(cudaStream_t stream, const Shares &shares, T *y, cu_norm *norm,
                                const T *x, const float *gamma, const float *beta,
                                const float *mean, const float *var, double eps)
{
    const int c = shares.channels();
    CU_LAUNCH(cu_batch_norm_fixed, cu_ceil(c, CU_COLUMN_THREADS), CU_COLUMN_THREADS, stream, c,
              norm, mean, var, gamma, beta, eps);
    CU_LAUNCH((cu_batch_norm_apply<Shares, Behind>), shares.blocks(), CU_COLUMN_THREADS, stream,
              shares, y, x, norm);
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
template <typename Shares, typename Behind>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_batch_norm_grad_parts(Shares shares, double *part, const typename Shares::type *dy,
                             const typename Shares::type *x, const cu_norm *norm)
{
    constexpr int N = Shares::N;
    shares.add_up(part, [=](float(&run)[2][N], int64_t at) {
        float d[N], v[N];
        cu_load<N>(d, dy + at);
        cu_load<N>(v, x + at);
        const cu_look<Shares> k(shares, norm);
        CU_UNROLL
        for (int i = 0; i < N; i++) {
            d[i] = Behind::backward(d[i], cu_norm_at(k.at(i), v[i]));
            run[0][i] += d[i];
            run[1][i] += d[i] * (v[i] - k.at(i).mean);
        }
    });
}

// With xh = (x - mean) / sqrt(var + eps): dbeta = sum dy, dgamma = sum dy xh, offset = dbeta / count, slope =
// dgamma / (count sqrt(var + eps)).
CU_INLINE double cu_norm_rstd(float var, double eps)
{
    return 1 / sqrt((double)var + eps);
}

CU_INLINE cu_norm_grad cu_norm_grad_of(double dy, double dy_x, int64_t count, double rstd)
{
    return {(float)(dy / (double)count), (float)(dy_x * rstd / (double)count * rstd)};
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
                             const double *part, int64_t parts, int64_t count, const float *var,
                             double eps)
{
    double total[2];
    const int c = (int)cu_column_total(total, part, parts, channels);
    if (c < 0)
        return;
    const double rstd = cu_norm_rstd(var[c], eps);
    grad[c] = cu_norm_grad_of(total[0], total[1], count, rstd);
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
    cu_batch_norm_grad_take(int channels, cu_norm_grad *grad, const double *sums, int64_t count,
                            const float *var, double eps)
{
    const int c = (int)(blockIdx.x * CU_COLUMN_THREADS + threadIdx.x);
    if (c < channels)
        grad[c] =
            cu_norm_grad_of(sums[c], sums[channels + c], count, cu_norm_rstd(var[c], eps));
}

template <typename Shares> struct cu_look_back : cu_look<Shares> {
    cu_norm_grad grad[Shares::CHANNELS];

    CU_MEMBER cu_look_back(const Shares &shares, const cu_norm *of, const cu_norm_grad *grad_of)
        : cu_look<Shares>(shares, of)
    {
        CU_UNROLL
        for (int i = 0; i < Shares::CHANNELS; i++)
            grad[i] = grad_of[shares.channel() + i];
    }
    CU_MEMBER float back(int element, float dy, float x) const
    {
        const cu_norm &n = this->at(element);
        const cu_norm_grad &g = grad[element % Shares::CHANNELS];
        return ((dy - g.offset) - (x - n.mean) * g.slope) * n.scale;
    }
};

template <typename Shares, typename Behind>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_batch_norm_grad_apply(Shares shares, typename Shares::type *dx,
                             const typename Shares::type *dy, const typename Shares::type *x,
                             const cu_norm *norm, const cu_norm_grad *grad)
{
    constexpr int N = Shares::N;
    if (shares.left_over())
        return;
    const cu_look_back<Shares> k(shares, norm, grad);
    shares.each([&](int64_t at) {
        float d[N], v[N];
        cu_load<N>(d, dy + at);
        cu_load<N>(v, x + at);
        CU_UNROLL
        for (int i = 0; i < N; i++)
            d[i] = k.back(i, Behind::backward(d[i], cu_norm_at(k.at(i), v[i])), v[i]);
        cu_store<N>(dx + at, d);
    });
}

// dy, x, and what forward has kept -> dx, dgamma[C], dbeta[C], each of which may be NULL. beta is needed for
// forward's result again. For the time being: part, of shares.part_bytes(), norm[C] and grad[C].
template <typename Behind = cu_nothing, typename Shares, typename T>
static void cu_batch_norm_grad(cudaStream_t stream, const Shares &shares, T *dx, float *dgamma,
                               float *dbeta, double *part, cu_norm *norm, cu_norm_grad *grad,
                               const T *dy, const T *x, const float *gamma, const float *beta,
                               const float *mean, const float *var, double eps)
{
    const int c = shares.channels();
    CU_LAUNCH(cu_batch_norm_fixed, cu_ceil(c, CU_COLUMN_THREADS), CU_COLUMN_THREADS, stream, c,
              norm, mean, var, gamma, beta, eps);
    CU_LAUNCH((cu_batch_norm_grad_parts<Shares, Behind>), shares.blocks(), CU_COLUMN_THREADS,
              stream, shares, part, dy, x, norm);
    CU_LAUNCH(cu_batch_norm_grad_ready, cu_total_blocks(c), CU_TOTAL_THREADS, stream, c, grad,
              dgamma, dbeta, part, shares.parts(), shares.count(), var, eps);
    if (dx)
        CU_LAUNCH((cu_batch_norm_grad_apply<Shares, Behind>), shares.blocks(),
                  CU_COLUMN_THREADS, stream, shares, dx, dy, x, norm, grad);
}

#endif
