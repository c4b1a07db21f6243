// Part of <stagecc/c.h>: additive attention (Bahdanau, Cho and Bengio, "Neural Machine Translation by
// Jointly Learning to Align and Translate", 2015), and vectors of length one.
#ifndef STAGECC_C_ATTENTION_H
#define STAGECC_C_ATTENTION_H

typedef struct c_additive {
    int64_t n, q, k, h; // samples, queries, keys, features
} c_additive;

enum { C_FEATURES = 512 };

C_INLINE double c_additive_sum(const float *q, const float *k, const float *v, int64_t h)
{
    double sum = 0;
    for (int64_t at = 0; at < h; at += C_FEATURES) {
        float term[C_FEATURES];
        int64_t n = h - at < C_FEATURES ? h - at : C_FEATURES;
        C_SIMD
        for (int64_t i = 0; i < n; i++)
            term[i] = v[at + i] * rt_tanh(q[at + i] + k[at + i]);
        sum += c_row_sum(term, n);
    }
    return sum;
}

// q[n,q,h], k[n,k,h], v[h] -> y[n,q,k] = sum of v tanh(q + k)
C_KERNEL void c_additive_score(float *y, const float *q, const float *k, const float *v,
                               const c_additive *z)
{
    C_PARALLEL
    for (int64_t a = 0; a < z->n * z->q; a++)
        for (int64_t b = 0; b < z->k; b++)
            y[a * z->k + b] =
                (float)c_additive_sum(q + a * z->h, k + (a / z->q * z->k + b) * z->h, v, z->h);
}

// One query with all keys, `width` features of them: of_q and of_v gain, as do the rows of dk.
C_INLINE void c_additive_row(double *of_q, double *of_v, float *dk, const float *dy,
                             const float *q, const float *k, const float *v,
                             const c_additive *z, int64_t width)
{
    for (int64_t b = 0; b < z->k; b++) {
        const float *key = k + b * z->h, d = dy[b];
        float *sum = dk ? dk + b * z->h : NULL, slope[C_COLUMNS];
        C_SIMD
        for (int64_t i = 0; i < width; i++) {
            float t = rt_tanh(q[i] + key[i]);
            slope[i] = d * v[i] * (1 - t * t);
            of_q[i] += (double)slope[i];
            of_v[i] += (double)(d * t);
        }
        C_SIMD
        for (int64_t i = 0; i < (sum ? width : 0); i++)
            sum[i] += slope[i];
    }
}

// dq, dk and dv may be NULL. Threads share out the features: every sum is of one feature. Those of dk are
// taken in float, in ascending order of the queries.
C_KERNEL void c_additive_score_grad(float *dq, float *dk, float *dv, const float *dy,
                                    const float *q, const float *k, const float *v,
                                    const c_additive *z)
{
    if (dk)
        memset(dk, 0, (size_t)(z->n * z->k * z->h) * sizeof *dk);
    C_PARALLEL
    for (int64_t at = 0; at < z->h; at += C_COLUMNS) {
        int64_t width = z->h - at < C_COLUMNS ? z->h - at : C_COLUMNS;
        double of_v[C_COLUMNS] = {0};
        for (int64_t a = 0; a < z->n * z->q; a++) {
            int64_t keys = a / z->q * z->k * z->h + at;
            double of_q[C_COLUMNS] = {0};
            c_additive_row(of_q, of_v, dk ? dk + keys : NULL, dy + a * z->k, q + a * z->h + at,
                           k + keys, v + at, z, width);
            for (int64_t i = 0; dq && i < width; i++)
                dq[a * z->h + at + i] = (float)of_q[i];
        }
        for (int64_t i = 0; dv && i < width; i++)
            dv[at + i] = (float)of_v[i];
    }
}

// y = x factor, factor = 1 / max(|x|, eps), over rows of c; factor[rows] may be NULL.
C_KERNEL void c_l2_normalize(float *y, float *factor, const float *x, int64_t rows, int64_t c,
                             double eps)
{
    C_PARALLEL
    for (int64_t r = 0; r < rows; r++) {
        const float *row = x + r * c;
        float *out = y + r * c;
        double sum = 0, squares = 0;
        c_row_products(&sum, &squares, row, row, c);
        double length = sqrt(squares);
        float scale = (float)(1 / (length > eps ? length : eps));
        C_SIMD
        for (int64_t i = 0; i < c; i++)
            out[i] = row[i] * scale;
        if (factor)
            factor[r] = scale;
    }
}

// Below eps the factor is constant.
C_KERNEL void c_l2_normalize_grad(float *dx, const float *dy, const float *y,
                                  const float *factor, int64_t rows, int64_t c, double eps)
{
    C_PARALLEL
    for (int64_t r = 0; r < rows; r++) {
        const float *grad = dy + r * c, *row = y + r * c;
        float *out = dx + r * c, scale = factor[r];
        double sum = 0, product = 0;
        c_row_products(&sum, &product, grad, row, c);
        float along = scale < (float)(1 / eps) ? (float)product : 0;
        C_SIMD
        for (int64_t i = 0; i < c; i++)
            out[i] = scale * (grad[i] - row[i] * along);
    }
}

#endif
