// Part of <stagecc/ref.h>: additive attention (Bahdanau, Cho and Bengio, "Neural Machine Translation by
// Jointly Learning to Align and Translate", 2015), and vectors of length one.
#ifndef STAGECC_REF_ATTENTION_H
#define STAGECC_REF_ATTENTION_H

typedef struct ref_additive {
    int64_t n, q, k, h; // samples, queries, keys, features
} ref_additive;

static inline double ref_additive_tanh(const real *q, const real *k, int64_t i)
{
    return tanh((double)q[i] + (double)k[i]);
}

// q[n,q,h], k[n,k,h], v[h] -> y[n,q,k] = sum of v tanh(q + k)
REF void ref_additive_score(real *y, const real *q, const real *k, const real *v,
                            const ref_additive *z)
{
    for (int64_t at = 0; at < z->n * z->q * z->k; at++) {
        const real *query = q + at / z->k * z->h;
        const real *key = k + (at / z->k / z->q * z->k + at % z->k) * z->h;
        double sum = 0;
        for (int64_t i = 0; i < z->h; i++)
            sum += (double)v[i] * ref_additive_tanh(query, key, i);
        y[at] = (real)sum;
    }
}

// dq, dk and dv may be NULL. One feature after the other: each of their sums is of one feature only.
REF void ref_additive_score_grad(real *dq, real *dk, real *dv, const real *dy, const real *q,
                                 const real *k, const real *v, const ref_additive *z)
{
    for (int64_t i = 0; i < z->h; i++) {
        double of_v = 0;
        for (int64_t a = 0; a < z->n * z->q; a++) {
            double of_q = 0;
            for (int64_t b = 0; b < z->k; b++) {
                const real *key = k + (a / z->q * z->k + b) * z->h;
                double t = ref_additive_tanh(q + a * z->h, key, i),
                       d = (double)dy[a * z->k + b];
                of_v += d * t;
                of_q += d * (double)v[i] * (1 - t * t);
            }
            if (dq)
                dq[a * z->h + i] = (real)of_q;
        }
        if (dv)
            dv[i] = (real)of_v;
        for (int64_t b = 0; dk && b < z->n * z->k; b++) {
            double of_k = 0;
            for (int64_t a = b / z->k * z->q; a < (b / z->k + 1) * z->q; a++) {
                double t = ref_additive_tanh(q + a * z->h, k + b * z->h, i);
                of_k += (double)dy[a * z->k + b % z->k] * (double)v[i] * (1 - t * t);
            }
            dk[b * z->h + i] = (real)of_k;
        }
    }
}

// y = x factor, factor = 1 / max(|x|, eps), over rows of c; factor[rows] may be NULL.
REF void ref_l2_normalize(real *y, real *factor, const real *x, int64_t rows, int64_t c,
                          double eps)
{
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t i = r * c; i < (r + 1) * c; i++)
            sum += (double)x[i] * (double)x[i];
        double scale = 1 / (sqrt(sum) > eps ? sqrt(sum) : eps);
        for (int64_t i = r * c; i < (r + 1) * c; i++)
            y[i] = (real)((double)x[i] * scale);
        if (factor)
            factor[r] = (real)scale;
    }
}

// Below eps the factor is constant.
REF void ref_l2_normalize_grad(real *dx, const real *dy, const real *y, const real *factor,
                               int64_t rows, int64_t c, double eps)
{
    for (int64_t r = 0; r < rows; r++) {
        double sum = 0;
        for (int64_t i = r * c; i < (r + 1) * c && factor[r] < (real)(1 / eps); i++)
            sum += (double)dy[i] * (double)y[i];
        for (int64_t i = r * c; i < (r + 1) * c; i++)
            dx[i] = (real)((double)factor[r] * ((double)dy[i] - (double)y[i] * sum));
    }
}

#endif
