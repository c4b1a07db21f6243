// Losses and their gradients. What a loss adds up, terms of rows or of parts, is written first, and one block
// adds them in a fixed order.
#ifndef STAGECC_CU_LOSS_H
#define STAGECC_CU_LOSS_H

#include <stagecc/cu.h>

enum { CU_LOSS_THREADS = 256 };

// Softmax cross entropy over rows of V logits, of type T. Rows whose label is negative do not count; a label that is
// no class makes the loss NaN, which stops the run. The wanted distribution is 1 - smoothing at the label,
// and smoothing shared by all classes (Szegedy et al., "Rethinking the Inception Architecture", 2016). Rows of logits and
// of their gradient begin P elements apart; what is between them is not looked at, and zero in the gradient.
// ----------------------------------------------------------------------------------------------

// As exact as rt_log, in relation to the result: what float leaves behind of x is small beside it.
CU_INLINE double cu_log(double x)
{
    const float near = (float)x;
    return (double)rt_log(near) + (x - (double)near) / (double)near;
}

// Is element i of a row one of its V?
template <int V, int P> CU_INLINE bool cu_in_row(int i)
{
    return V == P || i < V;
}

// Of a block's row: the log of the sum of exp, and the row's term of the loss.
template <typename T, int V, int P>
CU_INLINE double cu_cross_entropy_row(double *term, const T *row, int32_t label,
                                      double smoothing)
{
    constexpr int N = cu_width<T>(P), STEP = CU_LOSS_THREADS * N;
    float largest = -__builtin_inff(), v[N];
    double sum = 0, total = 0;
    for (int at = (int)threadIdx.x * N; at < V; at += STEP) {
        cu_load<N>(v, row + at);
        float part = 0;
        CU_UNROLL
        for (int i = 0; i < N; i++) {
            largest = cu_in_row<V, P>(at + i) ? cu_larger()(largest, v[i]) : largest;
            part += cu_in_row<V, P>(at + i) ? v[i] : 0;
        }
        total += (double)part;
    }
    largest = cu_team_max<CU_LOSS_THREADS>(largest);
    for (int at = (int)threadIdx.x * N; at < V; at += STEP) {
        cu_load<N>(v, row + at);
        // Each in double: a loss near 0 is what the others add to a 1.
        CU_UNROLL
        for (int i = 0; i < N; i++)
            sum += cu_in_row<V, P>(at + i) ? (double)rt_exp(v[i] - largest) : 0;
    }
    const double lse = (double)largest + cu_log(cu_team_sum<CU_LOSS_THREADS>(sum));
    const double mean = smoothing > 0 ? cu_team_sum<CU_LOSS_THREADS>(total) / V : 0;
    const double there = label < 0   ? 0
                         : label < V ? (double)cu_to_float(row[label])
                                     : (double)__builtin_nanf("");
    *term = label < 0 ? 0 : lse - (1 - smoothing) * there - smoothing * mean;
    return lse;
}

// A block's row of the gradient. dlogits may be logits.
template <typename T, int V, int P>
CU_INLINE void cu_cross_entropy_grad_row(T *dlogits, const T *logits, int32_t label, float lse,
                                         float each, double smoothing)
{
    constexpr int N = cu_width<T>(P), STEP = CU_LOSS_THREADS * N;
    const float shared = (float)(smoothing / V), top = (float)(1 - smoothing) + shared;
    const float factor = label < 0 ? 0 : each;
    for (int at = (int)threadIdx.x * N; at < V; at += STEP) {
        float v[N];
        cu_load<N>(v, logits + at);
        CU_UNROLL
        for (int i = 0; i < N; i++)
            v[i] = cu_in_row<V, P>(at + i)
                       ? (rt_exp(v[i] - lse) - (at + i == label ? top : shared)) * factor
                       : 0;
        cu_store<N>(dlogits + at, v);
    }
}

// How many rows count, in every thread of a block.
CU_INLINE int cu_cross_entropy_counted(const int32_t *labels, int64_t rows)
{
    int counted = 0;
    for (int64_t r = threadIdx.x; r < rows; r += CU_LOSS_THREADS)
        counted += labels[r] >= 0;
    return cu_team_sum<CU_LOSS_THREADS>(counted);
}

// The sum of n terms, in every thread of a block.
CU_INLINE double cu_sum_of_terms(const double *term, int64_t n)
{
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += CU_LOSS_THREADS)
        sum += term[i];
    return cu_team_sum<CU_LOSS_THREADS>(sum);
}

CU_KERNEL void __launch_bounds__(CU_LOSS_THREADS)
    cu_cross_entropy_each(float *each, const float *dloss, const int32_t *labels, int64_t rows)
{
    const int counted = cu_cross_entropy_counted(labels, rows);
    if (threadIdx.x == 0)
        *each = (float)((double)*dloss / counted);
}

CU_KERNEL void __launch_bounds__(CU_LOSS_THREADS)
    cu_cross_entropy_mean(float *loss, const double *term, const int32_t *labels, int64_t rows)
{
    const int counted = cu_cross_entropy_counted(labels, rows);
    const double sum = cu_sum_of_terms(term, rows);
    if (threadIdx.x == 0)
        *loss = (float)(sum / counted);
}

// lse and dlogits may be NULL; each is read with dlogits only.
template <typename T, int V, int P>
static __global__ void __launch_bounds__(CU_LOSS_THREADS)
    cu_cross_entropy_rows(double *term, float *lse, T *dlogits, const T *logits,
                          const int32_t *labels, const float *each, double smoothing)
{
    const int64_t r = blockIdx.x;
    double mine;
    const double l = cu_cross_entropy_row<T, V, P>(&mine, logits + r * P, labels[r], smoothing);
    if (threadIdx.x == 0) {
        term[r] = mine;
        if (lse)
            lse[r] = (float)l;
    }
    if (!dlogits)
        return;
    __syncthreads(); // all have read the label's logit, which may be overwritten now
    cu_cross_entropy_grad_row<T, V, P>(dlogits + r * P, logits + r * P, labels[r], (float)l,
                                       *each, smoothing);
}

template <typename T, int V, int P>
static __global__ void __launch_bounds__(CU_LOSS_THREADS)
    cu_cross_entropy_grad_rows(T *dlogits, const T *logits, const int32_t *labels,
                               const float *lse, const float *each, double smoothing)
{
    const int64_t r = blockIdx.x;
    cu_cross_entropy_grad_row<T, V, P>(dlogits + r * P, logits + r * P, labels[r], lse[r],
                                       *each, smoothing);
}

// The loss, and lse[rows] where it is not NULL. term[rows]: memory for the time being.
template <typename T, int V, int P = V>
static void cu_cross_entropy(cudaStream_t stream, float *loss, float *lse, double *term,
                             const T *logits, const int32_t *labels, int64_t rows,
                             double smoothing)
{
    CU_LAUNCH((cu_cross_entropy_rows<T, V, P>), rows, CU_LOSS_THREADS, stream, term, lse,
              (T *)NULL, logits, labels, (const float *)NULL, smoothing);
    CU_LAUNCH(cu_cross_entropy_mean, 1, CU_LOSS_THREADS, stream, loss, term, labels, rows);
}

// each: one float, for the time being. dlogits may be logits.
template <typename T, int V, int P = V>
static void cu_cross_entropy_grad(cudaStream_t stream, T *dlogits, float *each, const T *logits,
                                  const int32_t *labels, const float *lse, const float *dloss,
                                  int64_t rows, double smoothing)
{
    CU_LAUNCH(cu_cross_entropy_each, 1, CU_LOSS_THREADS, stream, each, dloss, labels, rows);
    CU_LAUNCH((cu_cross_entropy_grad_rows<T, V, P>), rows, CU_LOSS_THREADS, stream, dlogits,
              logits, labels, lse, each, smoothing);
}

// Both in one, which reads a row while it is in the cache: where dloss is known before the loss.
template <typename T, int V, int P = V>
static void cu_cross_entropy_both(cudaStream_t stream, float *loss, T *dlogits, double *term,
                                  float *each, const T *logits, const int32_t *labels,
                                  const float *dloss, int64_t rows, double smoothing)
{
    CU_LAUNCH(cu_cross_entropy_each, 1, CU_LOSS_THREADS, stream, each, dloss, labels, rows);
    CU_LAUNCH((cu_cross_entropy_rows<T, V, P>), rows, CU_LOSS_THREADS, stream, term,
              (float *)NULL, dlogits, logits, labels, each, smoothing);
    CU_LAUNCH(cu_cross_entropy_mean, 1, CU_LOSS_THREADS, stream, loss, term, labels, rows);
}

// The mean of (x - t)^2 over n elements, x of type T.
// ----------------------------------------------------------------------------------------------

enum { CU_MSE_PART = 4096 }; // elements of a block

CU_BOTH int64_t cu_mse_parts(int64_t n)
{
    return cu_ceil(n, CU_MSE_PART);
}

template <typename T, int64_t n>
static __global__ void __launch_bounds__(CU_LOSS_THREADS)
    cu_mse_terms(double *term, const T *x, const float *t)
{
    constexpr int N = cu_width<T>(n);
    const int64_t begin = (int64_t)blockIdx.x * CU_MSE_PART;
    const int64_t end = begin + CU_MSE_PART < n ? begin + CU_MSE_PART : n;
    double sum = 0;
    for (int64_t at = begin + threadIdx.x * N; at < end; at += CU_LOSS_THREADS * N) {
        float a[N], b[N], part = 0;
        cu_load<N>(a, x + at);
        cu_load<N>(b, t + at);
        CU_UNROLL
        for (int i = 0; i < N; i++)
            part += (a[i] - b[i]) * (a[i] - b[i]);
        sum += (double)part;
    }
    sum = cu_team_sum<CU_LOSS_THREADS>(sum);
    if (threadIdx.x == 0)
        term[blockIdx.x] = sum;
}

CU_KERNEL void __launch_bounds__(CU_LOSS_THREADS)
    cu_mse_mean(float *loss, const double *term, int64_t parts, int64_t n)
{
    const double sum = cu_sum_of_terms(term, parts);
    if (threadIdx.x == 0)
        *loss = (float)(sum / (double)n);
}

// term[cu_mse_parts(n)]: memory for the time being.
template <typename T, int64_t n>
static void cu_mse(cudaStream_t stream, float *loss, double *term, const T *x, const float *t)
{
    CU_LAUNCH((cu_mse_terms<T, n>), cu_mse_parts(n), CU_LOSS_THREADS, stream, term, x, t);
    CU_LAUNCH(cu_mse_mean, 1, CU_LOSS_THREADS, stream, loss, term, cu_mse_parts(n), n);
}

template <typename T, int64_t n>
static __global__ void __launch_bounds__(CU_LOSS_THREADS)
    cu_mse_grad_kernel(T *dx, const T *x, const float *t, const float *dloss)
{
    constexpr int N = cu_width<T>(n);
    const int64_t at = ((int64_t)blockIdx.x * CU_LOSS_THREADS + threadIdx.x) * N;
    if (at >= n)
        return;
    const float factor = (float)(2 * (double)*dloss / (double)n);
    float a[N], b[N];
    cu_load<N>(a, x + at);
    cu_load<N>(b, t + at);
    CU_UNROLL
    for (int i = 0; i < N; i++)
        a[i] = (a[i] - b[i]) * factor;
    cu_store<N>(dx + at, a);
}

template <typename T, int64_t n>
static void cu_mse_grad(cudaStream_t stream, T *dx, const T *x, const float *t,
                        const float *dloss)
{
    constexpr int N = cu_width<T>(n);
    CU_LAUNCH((cu_mse_grad_kernel<T, n>), cu_ceil(n / N, CU_LOSS_THREADS), CU_LOSS_THREADS,
              stream, dx, x, t, dloss);
}

#endif
