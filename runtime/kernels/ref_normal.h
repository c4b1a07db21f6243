// Part of <stagecc/ref.h>: batch norm and layer norm (Ioffe and Szegedy 2015; Ba, Kiros and Hinton
// 2016). Sums are taken twice: first the mean, then the squares of what is left.
#ifndef STAGECC_REF_NORMAL_H
#define STAGECC_REF_NORMAL_H

// x[n,c,pixels] -> y, mean[c], var[c] (biased).
REF void ref_batch_norm(real *y, real *mean, real *var, const real *x, const real *gamma,
                        const real *beta, int64_t n, int64_t c, int64_t pixels, double eps)
{
    double count = (double)(n * pixels);
    for (int64_t k = 0; k < c; k++) {
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < pixels; j++)
                sum += (double)x[(i * c + k) * pixels + j];
        double middle = sum / count;
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < pixels; j++) {
                double d = (double)x[(i * c + k) * pixels + j] - middle;
                squares += d * d;
            }
        double variance = squares / count, scale = (double)gamma[k] / sqrt(variance + eps);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < pixels; j++) {
                int64_t at = (i * c + k) * pixels + j;
                y[at] = (real)(((double)x[at] - middle) * scale + (double)beta[k]);
            }
        if (mean)
            mean[k] = (real)middle;
        if (var)
            var[k] = (real)variance;
    }
}

REF void ref_batch_norm_infer(real *y, const real *x, const real *gamma, const real *beta,
                              const real *mean, const real *var, int64_t n, int64_t c,
                              int64_t pixels, double eps)
{
    for (int64_t i = 0; i < n * c * pixels; i++) {
        int64_t k = i / pixels % c;
        double scale = (double)gamma[k] / sqrt((double)var[k] + eps);
        y[i] = (real)(((double)x[i] - (double)mean[k]) * scale + (double)beta[k]);
    }
}

// With xh = (x - mean) / sqrt(var + eps): dbeta = sum dy, dgamma = sum dy xh,
// dx = gamma / sqrt(var + eps) (dy - dbeta / count - xh dgamma / count).
REF void ref_batch_norm_grad(real *dx, real *dgamma, real *dbeta, const real *x, const real *dy,
                             const real *gamma, const real *mean, const real *var, int64_t n,
                             int64_t c, int64_t pixels, double eps)
{
    double count = (double)(n * pixels);
    for (int64_t k = 0; k < c; k++) {
        double sum = 0, sum_xh = 0, rstd = 1 / sqrt((double)var[k] + eps);
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < pixels; j++) {
                int64_t at = (i * c + k) * pixels + j;
                sum += (double)dy[at];
                sum_xh += (double)dy[at] * (((double)x[at] - (double)mean[k]) * rstd);
            }
        for (int64_t i = 0; dx && i < n; i++)
            for (int64_t j = 0; j < pixels; j++) {
                int64_t at = (i * c + k) * pixels + j;
                double xh = ((double)x[at] - (double)mean[k]) * rstd;
                double inner = (double)dy[at] - sum / count - xh * (sum_xh / count);
                dx[at] = (real)((double)gamma[k] * rstd * inner);
            }
        if (dgamma)
            dgamma[k] = (real)sum_xh;
        if (dbeta)
            dbeta[k] = (real)sum;
    }
}

// running = (1 - momentum) running + momentum new; the variance becomes unbiased on the way.
REF void ref_running_update(real *running_mean, real *running_var, const real *mean,
                            const real *var, int64_t c, double momentum, int64_t count)
{
    double unbiased = count > 1 ? (double)count / (double)(count - 1) : 1;
    for (int64_t k = 0; k < c; k++) {
        running_mean[k] =
            (real)((1 - momentum) * (double)running_mean[k] + momentum * (double)mean[k]);
        running_var[k] = (real)((1 - momentum) * (double)running_var[k] +
                                momentum * ((double)var[k] * unbiased));
    }
}

// x[rows,c] -> y, mean[rows], rstd[rows] = 1 / sqrt(variance + eps).
REF void ref_layer_norm(real *y, real *mean, real *rstd, const real *x, const real *gamma,
                        const real *beta, int64_t rows, int64_t c, double eps)
{
    for (int64_t r = 0; r < rows; r++) {
        const real *row = x + r * c;
        double sum = 0, squares = 0;
        for (int64_t k = 0; k < c; k++)
            sum += (double)row[k];
        double middle = sum / (double)c;
        for (int64_t k = 0; k < c; k++)
            squares += ((double)row[k] - middle) * ((double)row[k] - middle);
        double scale = 1 / sqrt(squares / (double)c + eps);
        for (int64_t k = 0; k < c; k++)
            y[r * c + k] =
                (real)(((double)row[k] - middle) * scale * (double)gamma[k] + (double)beta[k]);
        if (mean)
            mean[r] = (real)middle;
        if (rstd)
            rstd[r] = (real)scale;
    }
}

// With xh = (x - mean) rstd and g = dy gamma: dx = rstd (g - mean of g - xh mean of (g xh)).
REF void ref_layer_norm_grad(real *dx, real *dgamma, real *dbeta, const real *x, const real *dy,
                             const real *gamma, const real *mean, const real *rstd,
                             int64_t rows, int64_t c)
{
    for (int64_t r = 0; dx && r < rows; r++) {
        double sum = 0, sum_xh = 0;
        for (int64_t k = 0; k < c; k++) {
            double g = (double)dy[r * c + k] * (double)gamma[k];
            sum += g;
            sum_xh += g * (((double)x[r * c + k] - (double)mean[r]) * (double)rstd[r]);
        }
        for (int64_t k = 0; k < c; k++) {
            double g = (double)dy[r * c + k] * (double)gamma[k];
            double xh = ((double)x[r * c + k] - (double)mean[r]) * (double)rstd[r];
            dx[r * c + k] =
                (real)((double)rstd[r] * (g - sum / (double)c - xh * (sum_xh / (double)c)));
        }
    }
    for (int64_t k = 0; k < c; k++) {
        double sum = 0, sum_xh = 0;
        for (int64_t r = 0; r < rows; r++) {
            sum += (double)dy[r * c + k];
            sum_xh += (double)dy[r * c + k] *
                      (((double)x[r * c + k] - (double)mean[r]) * (double)rstd[r]);
        }
        if (dgamma)
            dgamma[k] = (real)sum_xh;
        if (dbeta)
            dbeta[k] = (real)sum;
    }
}

#endif
