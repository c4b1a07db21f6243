// Part of <stagecc/c.h>: batch norm.
//
// Batch norm runs over its channels in runs of up to C_CHANNELS, so that the second look at a run,
// which applies what the first has summed up, finds it in the cache. The loops stand in the generated
// code, with whatever is fused into them; what they need per channel is in a c_norm, `first` being the
// channel within the run. In double, mean and variance come from sums of x and x^2 without loss.
#ifndef STAGECC_C_NORM_H
#define STAGECC_C_NORM_H

enum { C_CHANNELS = 512 };

// y = (x - mean) scale + shift
typedef struct c_norm {
    double sum[C_CHANNELS], squares[C_CHANNELS];
    float mean[C_CHANNELS], scale[C_CHANNELS], shift[C_CHANNELS];
} c_norm;

C_INLINE float c_norm_at(const c_norm *k, int64_t channel, float x)
{
    return (x - k->mean[channel]) * k->scale[channel] + k->shift[channel];
}

C_INLINE void c_norm_clear(c_norm *k, int64_t channels)
{
    memset(k->sum, 0, (size_t)channels * sizeof *k->sum);
    memset(k->squares, 0, (size_t)channels * sizeof *k->squares);
}

// The factor on x - mean; forward and backward must agree on its bits.
C_INLINE float c_norm_scale(float gamma, float var, double eps)
{
    return (float)((double)gamma / sqrt((double)var + eps));
}

// mean and var (biased) of `count` elements a channel are written where they are not NULL.
C_KERNEL void c_norm_ready(c_norm *k, float *mean, float *var, const float *gamma,
                           const float *beta, double count, double eps, int64_t channels)
{
    for (int64_t l = 0; l < channels; l++) {
        double middle = k->sum[l] / count;
        double variance = k->squares[l] / count - middle * middle;
        variance = variance < 0 ? 0 : variance; // NaN stays
        k->mean[l] = (float)middle;
        k->scale[l] = c_norm_scale(gamma[l], (float)variance, eps);
        k->shift[l] = beta[l];
        if (mean)
            mean[l] = (float)middle;
        if (var)
            var[l] = (float)variance;
    }
}

// Synchronised batch norm adds up the sums of all replicas before they are ready. There they lie as
// sum[c], squares[c] of all c channels (backward: sum[c], product[c]); `sums` points to the run's first.
C_KERNEL void c_norm_give(const c_norm *k, double *sums, int64_t c, int64_t channels)
{
    memcpy(sums, k->sum, (size_t)channels * sizeof *sums);
    memcpy(sums + c, k->squares, (size_t)channels * sizeof *sums);
}

C_KERNEL void c_norm_take(c_norm *k, const double *sums, int64_t c, int64_t channels)
{
    memcpy(k->sum, sums, (size_t)channels * sizeof *sums);
    memcpy(k->squares, sums + c, (size_t)channels * sizeof *sums);
}

// With statistics that are given.
C_KERNEL void c_norm_fixed(c_norm *k, const float *mean, const float *var, const float *gamma,
                           const float *beta, double eps, int64_t channels)
{
    for (int64_t l = 0; l < channels; l++) {
        k->mean[l] = mean[l];
        k->scale[l] = c_norm_scale(gamma[l], var[l], eps);
        k->shift[l] = beta[l];
    }
}

// dx = ((dy - offset) - (x - mean) slope) scale, where with xh = (x - mean) / sqrt(var + eps)
// dbeta = sum dy, dgamma = sum dy xh, offset = dbeta / count, slope = dgamma / (count sqrt(var + eps)).
// mean, scale and shift are those of forward.
typedef struct c_norm_grad {
    double sum[C_CHANNELS], product[C_CHANNELS]; // of dy, of dy x
    float mean[C_CHANNELS], scale[C_CHANNELS], shift[C_CHANNELS];
    float offset[C_CHANNELS], slope[C_CHANNELS];
} c_norm_grad;

C_INLINE float c_norm_grad_at(const c_norm_grad *k, int64_t channel, float dy, float x)
{
    float along = (x - k->mean[channel]) * k->slope[channel];
    return ((dy - k->offset[channel]) - along) * k->scale[channel];
}

// What forward computed, to the bit.
C_INLINE float c_norm_again(const c_norm_grad *k, int64_t channel, float x)
{
    return (x - k->mean[channel]) * k->scale[channel] + k->shift[channel];
}

// beta is needed for the sign of forward's result only, and may be NULL.
C_KERNEL void c_norm_grad_begin(c_norm_grad *k, const float *mean, const float *var,
                                const float *gamma, const float *beta, double eps,
                                int64_t channels)
{
    for (int64_t l = 0; l < channels; l++) {
        k->sum[l] = k->product[l] = 0;
        k->mean[l] = mean[l];
        k->scale[l] = c_norm_scale(gamma[l], var[l], eps);
        k->shift[l] = beta ? beta[l] : 0;
    }
}

C_KERNEL void c_norm_grad_give(const c_norm_grad *k, double *sums, int64_t c, int64_t channels)
{
    memcpy(sums, k->sum, (size_t)channels * sizeof *sums);
    memcpy(sums + c, k->product, (size_t)channels * sizeof *sums);
}

C_KERNEL void c_norm_grad_take(c_norm_grad *k, const double *sums, int64_t c, int64_t channels)
{
    memcpy(k->sum, sums, (size_t)channels * sizeof *sums);
    memcpy(k->product, sums + c, (size_t)channels * sizeof *sums);
}

C_KERNEL void c_norm_grad_ready(c_norm_grad *k, float *dgamma, float *dbeta, const float *var,
                                double count, double eps, int64_t channels)
{
    for (int64_t l = 0; l < channels; l++) {
        double rstd = 1 / sqrt((double)var[l] + eps);
        double sum_xh = (k->product[l] - (double)k->mean[l] * k->sum[l]) * rstd;
        k->offset[l] = (float)(k->sum[l] / count);
        k->slope[l] = (float)(sum_xh / count * rstd);
        if (dgamma)
            dgamma[l] = (float)sum_xh;
        if (dbeta)
            dbeta[l] = (float)k->sum[l];
    }
}

// running = (1 - momentum) running + momentum new; the variance becomes unbiased on the way.
C_KERNEL void c_running_update(float *running_mean, float *running_var, const float *mean,
                               const float *var, int64_t c, double momentum, int64_t count)
{
    double unbiased = count > 1 ? (double)count / (double)(count - 1) : 1;
    for (int64_t k = 0; k < c; k++) {
        running_mean[k] =
            (float)((1 - momentum) * (double)running_mean[k] + momentum * (double)mean[k]);
        running_var[k] = (float)((1 - momentum) * (double)running_var[k] +
                                 momentum * ((double)var[k] * unbiased));
    }
}

#endif
