// Part of <stagecc/ref.h>: attention of heads (Vaswani and others, "Attention Is All You Need", 2017), softmax(scale q k^T) v
// with dropout behind softmax. Scores are computed again wherever they are needed.
#ifndef STAGECC_REF_HEADS_H
#define STAGECC_REF_HEADS_H

// q, k, v, o and their gradients are [n,t,heads,size], lse is [n,heads,t].
typedef struct ref_heads {
    int64_t n, heads, t, size;
    double scale;
    int causal;
    real rate;
    uint64_t key; // of dropout's random numbers
} ref_heads;

// Element 0 of step i of a head, which is one of n heads.
static inline int64_t ref_head_at(const ref_heads *z, int64_t head, int64_t i)
{
    return ((head / z->heads * z->t + i) * z->heads + head % z->heads) * z->size;
}

static inline double ref_head_dot(const ref_heads *z, int64_t head, const real *a, int64_t i,
                                  const real *b, int64_t j)
{
    const real *x = a + ref_head_at(z, head, i), *y = b + ref_head_at(z, head, j);
    double sum = 0;
    for (int64_t e = 0; e < z->size; e++)
        sum += (double)x[e] * (double)y[e];
    return sum;
}

static inline bool ref_head_sees(const ref_heads *z, int64_t i, int64_t j)
{
    return !z->causal || j <= i;
}

// What dropout multiplies element (i, j) of softmax by.
static inline double ref_head_keep(const ref_heads *z, int64_t head, int64_t i, int64_t j)
{
    uint64_t element = (uint64_t)((head * z->t + i) * z->t + j);
    if (z->rate <= 0)
        return 1;
    return (real)rt_uniform(z->key, element) >= z->rate ? (double)(1 / (1 - z->rate)) : 0;
}

// The log of the sum of exp over row i of scores.
static inline double ref_head_lse(const ref_heads *z, int64_t head, const real *q,
                                  const real *k, int64_t i)
{
    double top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < z->t; j++)
        if (ref_head_sees(z, i, j))
            top = fmax(top, z->scale * ref_head_dot(z, head, q, i, k, j));
    for (int64_t j = 0; j < z->t; j++)
        if (ref_head_sees(z, i, j))
            sum += exp(z->scale * ref_head_dot(z, head, q, i, k, j) - top);
    return top + log(sum);
}

// sum[width] += factor * x[width]
static inline void ref_head_add(double *sum, double factor, const real *x, int64_t width)
{
    for (int64_t e = 0; e < width; e++)
        sum[e] += factor * (double)x[e];
}

static inline void ref_head_store(real *y, const double *sum, int64_t width)
{
    for (int64_t e = 0; e < width; e++)
        y[e] = (real)sum[e];
}

// lse may be NULL.
REF void ref_attention(real *o, real *lse, const real *q, const real *k, const real *v,
                       const ref_heads *z)
{
    for (int64_t row = 0; row < z->n * z->heads * z->t; row++) {
        int64_t head = row / z->t, i = row % z->t;
        double whole = ref_head_lse(z, head, q, k, i);
        if (lse)
            lse[row] = (real)whole;
        for (int64_t e = 0; e < z->size; e += REF_ROW) {
            int64_t width = z->size - e < REF_ROW ? z->size - e : REF_ROW;
            double sum[REF_ROW] = {0};
            for (int64_t j = 0; j < z->t && ref_head_sees(z, i, j); j++) {
                double p = exp(z->scale * ref_head_dot(z, head, q, i, k, j) - whole);
                ref_head_add(sum, p * ref_head_keep(z, head, i, j),
                             v + ref_head_at(z, head, j) + e, width);
            }
            ref_head_store(o + ref_head_at(z, head, i) + e, sum, width);
        }
    }
}

typedef struct ref_head_tensors {
    const real *dy, *q, *k, *v, *o, *lse;
} ref_head_tensors;

// Element (i, j) of softmax.
static inline double ref_head_share(const ref_heads *z, const ref_head_tensors *x, int64_t head,
                                    int64_t i, int64_t j)
{
    if (!ref_head_sees(z, i, j))
        return 0;
    return exp(z->scale * ref_head_dot(z, head, x->q, i, x->k, j) -
               (double)x->lse[head * z->t + i]);
}

// By which dy of step `from` counts in dv of step `to`, k in dq, q in dk.
typedef double ref_head_factor(const ref_heads *z, const ref_head_tensors *x, int64_t head,
                               int64_t to, int64_t from);

REF double ref_head_of_dv(const ref_heads *z, const ref_head_tensors *x, int64_t head,
                          int64_t to, int64_t from)
{
    return ref_head_share(z, x, head, from, to) * ref_head_keep(z, head, from, to);
}

// The gradient of score (i, j); over a row, shares times their gradients are dy o.
REF double ref_head_of_dq(const ref_heads *z, const ref_head_tensors *x, int64_t head,
                          int64_t i, int64_t j)
{
    double d = ref_head_keep(z, head, i, j) * ref_head_dot(z, head, x->dy, i, x->v, j);
    return z->scale * ref_head_share(z, x, head, i, j) *
           (d - ref_head_dot(z, head, x->dy, i, x->o, i));
}

REF double ref_head_of_dk(const ref_heads *z, const ref_head_tensors *x, int64_t head,
                          int64_t to, int64_t from)
{
    return ref_head_of_dq(z, x, head, from, to);
}

// y of each step: the sum over all steps of factor by x of that step.
REF void ref_head_mix(real *y, const real *x, ref_head_factor *factor, const ref_heads *z,
                      const ref_head_tensors *all)
{
    for (int64_t row = 0; y && row < z->n * z->heads * z->t; row++)
        for (int64_t e = 0; e < z->size; e += REF_ROW) {
            int64_t head = row / z->t, i = row % z->t;
            int64_t width = z->size - e < REF_ROW ? z->size - e : REF_ROW;
            double sum[REF_ROW] = {0};
            for (int64_t j = 0; j < z->t; j++)
                ref_head_add(sum, factor(z, all, head, i, j), x + ref_head_at(z, head, j) + e,
                             width);
            ref_head_store(y + ref_head_at(z, head, i) + e, sum, width);
        }
}

// dq, dk and dv may be NULL.
REF void ref_attention_grad(real *dq, real *dk, real *dv, const ref_head_tensors *x,
                            const ref_heads *z)
{
    ref_head_mix(dq, x->k, ref_head_of_dq, z, x);
    ref_head_mix(dk, x->q, ref_head_of_dk, z, x);
    ref_head_mix(dv, x->dy, ref_head_of_dv, z, x);
}

#endif
