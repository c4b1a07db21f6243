// Part of <stagecc/ref.h>: batch norm and layer norm (Ioffe and Szegedy 2015; Ba, Kiros and Hinton
// 2016). Sums are taken twice: first the mean, then the squares of what is left.
#ifndef STAGECC_REF_NORMAL_H
#define STAGECC_REF_NORMAL_H

// The tensors of a batch norm, images x, y [n,c,pixels]; channels are computed one by one.
typedef struct ref_norm {
    real *y, *mean, *var;
    const real *x, *gamma, *beta;
    int64_t n, c, pixels;
    double eps;
} ref_norm;

REF double ref_norm_sum(const ref_norm *f, int64_t k)
{
    double sum = 0;
    for (int64_t i = 0; i < f->n; i++)
        for (int64_t j = 0; j < f->pixels; j++)
            sum += (double)f->x[(i * f->c + k) * f->pixels + j];
    return sum;
}

REF double ref_norm_squares(const ref_norm *f, int64_t k, double mean)
{
    double squares = 0;
    for (int64_t i = 0; i < f->n; i++)
        for (int64_t j = 0; j < f->pixels; j++) {
            double d = (double)f->x[(i * f->c + k) * f->pixels + j] - mean;
            squares += d * d;
        }
    return squares;
}

REF void ref_norm_apply(const ref_norm *f, int64_t k, double mean, double variance)
{
    double scale = (double)f->gamma[k] / sqrt(variance + f->eps);
    for (int64_t i = 0; i < f->n; i++)
        for (int64_t j = 0; j < f->pixels; j++) {
            int64_t at = (i * f->c + k) * f->pixels + j;
            f->y[at] = (real)(((double)f->x[at] - mean) * scale + (double)f->beta[k]);
        }
    if (f->mean)
        f->mean[k] = (real)mean;
    if (f->var)
        f->var[k] = (real)variance;
}

// x[n,c,pixels] -> y, mean[c], var[c] (biased).
REF void ref_batch_norm(real *y, real *mean, real *var, const real *x, const real *gamma,
                        const real *beta, int64_t n, int64_t c, int64_t pixels, double eps)
{
    ref_norm f = {y, mean, var, x, gamma, beta, n, c, pixels, eps};
    double count = (double)(n * pixels);
    for (int64_t k = 0; k < c; k++) {
        double middle = ref_norm_sum(&f, k) / count;
        ref_norm_apply(&f, k, middle, ref_norm_squares(&f, k, middle) / count);
    }
}

// Likewise, of all micro-batches of the round of mb.
REF void ref_batch_norm_round(rt_stage *s, int mb, real *y, real *mean, real *var,
                              const real *x, const real *gamma, const real *beta, int64_t n,
                              int64_t c, int64_t pixels, double eps)
{
    ref_norm f = {y, mean, var, x, gamma, beta, n, c, pixels, eps};
    double count = (double)(n * pixels * rt_round(s, mb));
    double *sums = rt_sums(s), *squares = sums + c;
    for (int64_t k = 0; k < c; k++)
        sums[k] = ref_norm_sum(&f, k);
    rt_add_round(s, mb, sums, c);
    for (int64_t k = 0; k < c; k++)
        squares[k] = ref_norm_squares(&f, k, sums[k] / count);
    rt_add_round(s, mb, squares, c);
    for (int64_t k = 0; k < c; k++)
        ref_norm_apply(&f, k, sums[k] / count, squares[k] / count);
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

typedef struct ref_norm_grad {
    real *dx, *dgamma, *dbeta;
    const real *x, *dy, *gamma, *mean, *var;
    int64_t n, c, pixels;
    double eps;
} ref_norm_grad;

// With xh = (x - mean) / sqrt(var + eps): dbeta = sum dy, dgamma = sum dy xh.
REF void ref_norm_grad_sums(const ref_norm_grad *f, int64_t k, double *sum, double *sum_xh)
{
    double rstd = 1 / sqrt((double)f->var[k] + f->eps);
    *sum = *sum_xh = 0;
    for (int64_t i = 0; i < f->n; i++)
        for (int64_t j = 0; j < f->pixels; j++) {
            int64_t at = (i * f->c + k) * f->pixels + j;
            *sum += (double)f->dy[at];
            *sum_xh += (double)f->dy[at] * (((double)f->x[at] - (double)f->mean[k]) * rstd);
        }
    if (f->dgamma)
        f->dgamma[k] = (real)*sum_xh;
    if (f->dbeta)
        f->dbeta[k] = (real)*sum;
}

// dx = gamma / sqrt(var + eps) (dy - dbeta / count - xh dgamma / count).
REF void ref_norm_grad_apply(const ref_norm_grad *f, int64_t k, double mean_dy,
                             double mean_dy_xh)
{
    double rstd = 1 / sqrt((double)f->var[k] + f->eps);
    for (int64_t i = 0; f->dx && i < f->n; i++)
        for (int64_t j = 0; j < f->pixels; j++) {
            int64_t at = (i * f->c + k) * f->pixels + j;
            double xh = ((double)f->x[at] - (double)f->mean[k]) * rstd;
            double inner = (double)f->dy[at] - mean_dy - xh * mean_dy_xh;
            f->dx[at] = (real)((double)f->gamma[k] * rstd * inner);
        }
}

REF void ref_batch_norm_grad(real *dx, real *dgamma, real *dbeta, const real *x, const real *dy,
                             const real *gamma, const real *mean, const real *var, int64_t n,
                             int64_t c, int64_t pixels, double eps)
{
    ref_norm_grad f = {dx, dgamma, dbeta, x, dy, gamma, mean, var, n, c, pixels, eps};
    double count = (double)(n * pixels), sum, sum_xh;
    for (int64_t k = 0; k < c; k++) {
        ref_norm_grad_sums(&f, k, &sum, &sum_xh);
        ref_norm_grad_apply(&f, k, sum / count, sum_xh / count);
    }
}

// Likewise, of the round of mb. dgamma and dbeta stay those of this micro-batch: they are added up later.
REF void ref_batch_norm_grad_round(rt_stage *s, int mb, real *dx, real *dgamma, real *dbeta,
                                   const real *x, const real *dy, const real *gamma,
                                   const real *mean, const real *var, int64_t n, int64_t c,
                                   int64_t pixels, double eps)
{
    ref_norm_grad f = {dx, dgamma, dbeta, x, dy, gamma, mean, var, n, c, pixels, eps};
    double count = (double)(n * pixels * rt_round(s, mb));
    double *sums = rt_sums(s), *sums_xh = sums + c;
    for (int64_t k = 0; k < c; k++)
        ref_norm_grad_sums(&f, k, &sums[k], &sums_xh[k]);
    rt_add_round(s, mb, sums, 2 * c);
    for (int64_t k = 0; k < c; k++)
        ref_norm_grad_apply(&f, k, sums[k] / count, sums_xh[k] / count);
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
