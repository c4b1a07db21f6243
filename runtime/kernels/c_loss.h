// Part of <stagecc/c.h>: softmax and losses.
#ifndef STAGECC_C_LOSS_H
#define STAGECC_C_LOSS_H

enum { C_CHUNK = 512, C_TERMS = 256 };

// Over rows of n elements; with `causal` (the rows of a square, from 0) row i sees columns 0 .. i.
C_KERNEL void c_softmax(float *y, const float *x, int64_t rows, int64_t n, int64_t causal)
{
    C_PARALLEL
    for (int64_t r = 0; r < rows; r++) {
        int64_t seen = causal && r % causal + 1 < n ? r % causal + 1 : n;
        const float *row = x + r * n;
        float *out = y + r * n, largest = c_row_max(row, seen);
        C_SIMD
        for (int64_t i = 0; i < seen; i++)
            out[i] = rt_exp(row[i] - largest);
        float factor = (float)(1 / c_row_sum(out, seen));
        C_SIMD
        for (int64_t i = 0; i < seen; i++)
            out[i] *= factor;
        if (seen < n)
            memset(out + seen, 0, (size_t)(n - seen) * sizeof *out);
    }
}

C_KERNEL void c_softmax_grad(float *dx, const float *dy, const float *y, int64_t rows,
                             int64_t n)
{
    C_PARALLEL
    for (int64_t r = 0; r < rows; r++) {
        const float *grad = dy + r * n, *p = y + r * n;
        float *out = dx + r * n;
        double sum = 0, product = 0;
        c_row_products(&sum, &product, grad, p, n);
        float mean = (float)product;
        C_SIMD
        for (int64_t i = 0; i < n; i++)
            out[i] = p[i] * (grad[i] - mean);
    }
}

// Log of the sum of exp.
C_INLINE double c_log_sum_exp(const float *row, int64_t n)
{
    float largest = c_row_max(row, n), e[C_CHUNK];
    double sum = 0;
    for (int64_t at = 0; at < n; at += C_CHUNK) {
        int64_t m = n - at < C_CHUNK ? n - at : C_CHUNK;
        C_SIMD
        for (int64_t i = 0; i < m; i++)
            e[i] = rt_exp(row[at + i] - largest);
        sum += c_row_sum(e, m);
    }
    return (double)largest + log(sum);
}

// The mean over the rows whose label is not negative; lse[rows] may be NULL. A label that is no class
// makes the loss NaN, which stops the run.
C_KERNEL void c_cross_entropy(float *loss, float *lse, const float *logits,
                              const int32_t *labels, int64_t rows, int64_t classes)
{
    double sum = 0, term[C_TERMS];
    int64_t counted = 0;
    for (int64_t at = 0; at < rows; at += C_TERMS) {
        int64_t n = rows - at < C_TERMS ? rows - at : C_TERMS;
        C_PARALLEL
        for (int64_t i = 0; i < n; i++) {
            const float *row = logits + (at + i) * classes;
            double l = c_log_sum_exp(row, classes);
            int32_t label = labels[at + i];
            if (lse)
                lse[at + i] = (float)l;
            term[i] = label < 0         ? 0
                      : label < classes ? l - (double)row[label]
                                        : (double)__builtin_nanf("");
        }
        for (int64_t i = 0; i < n; i++) {
            sum += term[i];
            counted += labels[at + i] >= 0;
        }
    }
    *loss = (float)(sum / (double)counted);
}

C_KERNEL void c_cross_entropy_grad(float *dlogits, const float *logits, const int32_t *labels,
                                   const float *lse, const float *dloss, int64_t rows,
                                   int64_t classes)
{
    int64_t counted = 0;
    for (int64_t r = 0; r < rows; r++)
        counted += labels[r] >= 0;
    float each = (float)((double)*dloss / (double)counted);
    C_PARALLEL
    for (int64_t r = 0; r < rows; r++) {
        const float *row = logits + r * classes;
        float *out = dlogits + r * classes, shift = lse[r];
        int32_t label = labels[r];
        float factor = label < 0 ? 0 : each;
        C_SIMD
        for (int64_t i = 0; i < classes; i++)
            out[i] = rt_exp(row[i] - shift) * factor;
        if (label >= 0 && label < classes)
            out[label] = (rt_exp(row[label] - shift) - 1) * each;
    }
}

// The mean of (x - t)^2.
C_KERNEL void c_mse(float *loss, const float *x, const float *t, int64_t n)
{
    double sum = 0, term[C_TERMS];
    for (int64_t at = 0; at < n; at += C_TERMS * C_CHUNK) {
        int64_t left = (n - at + C_CHUNK - 1) / C_CHUNK;
        int64_t chunks = left < C_TERMS ? left : C_TERMS;
        C_PARALLEL
        for (int64_t k = 0; k < chunks; k++) {
            int64_t first = at + k * C_CHUNK, m = n - first < C_CHUNK ? n - first : C_CHUNK;
            float d[C_CHUNK];
            double unused = 0;
            C_SIMD
            for (int64_t i = 0; i < m; i++)
                d[i] = x[first + i] - t[first + i];
            term[k] = 0;
            c_row_products(&unused, &term[k], d, d, m);
        }
        for (int64_t k = 0; k < chunks; k++)
            sum += term[k];
    }
    *loss = (float)(sum / (double)n);
}

C_KERNEL void c_mse_grad(float *dx, const float *x, const float *t, const float *dloss,
                         int64_t n)
{
    float factor = (float)(2 * (double)*dloss / (double)n);
    C_PARALLEL
    for (int64_t at = 0; at < n; at += C_CHUNK) {
        int64_t end = n - at < C_CHUNK ? n : at + C_CHUNK;
        C_SIMD
        for (int64_t i = at; i < end; i++)
            dx[i] = (x[i] - t[i]) * factor;
    }
}

#endif
