// Attention without dropout in naive loops, rounded where the library's graphs round (runtime/cuda/card/attention.c): scores
// are float, and bf16 where they are multiplied once more; sums are in double.
#include "runtime/cuda/emulated/emulated.h"

#include <math.h>
#include <stdlib.h>

typedef struct Head {
    const rt_heads *z;
    int64_t first; // its first element
} Head;

static Head head_of(const rt_heads *z, int64_t head)
{
    int64_t row = z->heads * z->size;
    return (Head){z, head / z->heads * z->t * row + head % z->heads * z->size};
}

// Element e of step i.
static int64_t at(const Head *h, int64_t i, int64_t e)
{
    return h->first + i * h->z->heads * h->z->size + e;
}

static double element(const rt_bf16 *x, const Head *h, int64_t i, int64_t e)
{
    return (double)rt_to_float(x[at(h, i, e)]);
}

static float dot(const rt_bf16 *a, int64_t i, const rt_bf16 *b, int64_t j, const Head *h)
{
    double sum = 0;
    for (int64_t e = 0; e < h->z->size; e++)
        sum += element(a, h, i, e) * element(b, h, j, e);
    return (float)sum;
}

static int64_t seen_by(const rt_heads *z, int64_t i)
{
    return z->causal ? i + 1 : z->t;
}

static double rounded(float x)
{
    return (double)rt_to_float(rt_to_bf16(x));
}

// p[t]: exp of the scores less the largest one; whole: their sum. lse.
static float softmax_row(const Head *h, int64_t i, const rt_bf16 *q, const rt_bf16 *k, float *p,
                         float *whole)
{
    int64_t n = seen_by(h->z, i);
    float top = -INFINITY;
    double sum = 0;
    for (int64_t j = 0; j < n; j++) {
        p[j] = dot(q, i, k, j, h) * h->z->scale;
        top = fmaxf(top, p[j]);
    }
    for (int64_t j = 0; j < n; j++) {
        p[j] = expf(p[j] - top);
        sum += (double)p[j];
    }
    *whole = (float)sum;
    return top + logf(*whole);
}

static void forward_row(const Head *h, int64_t i, const float *p, float whole, const rt_bf16 *v,
                        rt_bf16 *o)
{
    for (int64_t e = 0; e < h->z->size; e++) {
        double sum = 0;
        for (int64_t j = 0; j < seen_by(h->z, i); j++)
            sum += rounded(p[j] / whole) * element(v, h, j, e);
        o[at(h, i, e)] = rt_to_bf16((float)sum);
    }
}

// NOLINTNEXTLINE(readability-function-size): generated code calls it like rt_matmul
int rt_attention(rt_stage *s, int kernel, const rt_bf16 *q, const rt_bf16 *k, const rt_bf16 *v,
                 rt_bf16 *o, float *lse)
{
    const rt_heads *z = &rt__emulated_row(s, kernel)->attention;
    float *p = calloc((size_t)z->t, sizeof *p), whole = 0;
    if (!p) {
        rt_fail(s, RT_E_MEMORY, "no memory for the scores of attention");
        return 1;
    }
    for (int64_t row = 0; row < z->n * z->heads * z->t; row++) {
        Head h = head_of(z, row / z->t);
        lse[row] = softmax_row(&h, row % z->t, q, k, p, &whole);
        forward_row(&h, row % z->t, p, whole, v, o);
    }
    free(p);
    return 1;
}

// Gradient
// ------------------------------------------------------------------------------------------

// Row i of a head's shares p and of the gradients d of its scores, [t,t]; zeros where it does not see.
static void scores_row(const Head *h, const rt_attention_tensors *x, float lse, int64_t i,
                       float *p, float *d)
{
    const rt_heads *z = h->z;
    double sum = 0;
    for (int64_t e = 0; e < z->size; e++)
        sum += (double)((float)element(x->dy, h, i, e) * (float)element(x->o, h, i, e));
    for (int64_t j = 0; j < z->t; j++) {
        bool seen = j < seen_by(z, i);
        float score = dot(x->q, i, x->k, j, h) * z->scale;
        p[i * z->t + j] = seen ? expf(score - lse) : 0;
        float grad = dot(x->dy, i, x->v, j, h) - (float)sum;
        d[i * z->t + j] = grad * p[i * z->t + j] * z->scale;
    }
}

// Of all that step i takes part in.
static void grad_row(const Head *h, const rt_attention_tensors *x, int64_t i, const float *p,
                     const float *d)
{
    int64_t t = h->z->t;
    for (int64_t e = 0; e < h->z->size; e++) {
        double dq = 0, dk = 0, dv = 0;
        for (int64_t j = 0; j < t; j++) {
            dq += (double)d[i * t + j] * element(x->k, h, j, e);
            dk += rounded(d[j * t + i]) * element(x->q, h, j, e);
            dv += rounded(p[j * t + i]) * element(x->dy, h, j, e);
        }
        x->dq[at(h, i, e)] = rt_to_bf16((float)dq);
        x->dk[at(h, i, e)] = rt_to_bf16((float)dk);
        x->dv[at(h, i, e)] = rt_to_bf16((float)dv);
    }
}

int rt_attention_grad(rt_stage *s, int kernel, const rt_attention_tensors *x)
{
    const rt_heads *z = &rt__emulated_row(s, kernel)->attention;
    float *p = malloc((size_t)(2 * z->t * z->t) * sizeof *p), *d = p + z->t * z->t;
    if (!p) {
        rt_fail(s, RT_E_MEMORY, "no memory for the scores of attention");
        return 1;
    }
    for (int64_t head = 0; head < z->n * z->heads; head++) {
        Head h = head_of(z, head);
        for (int64_t i = 0; i < z->t; i++)
            scores_row(&h, x, x->lse[head * z->t + i], i, p, d);
        for (int64_t i = 0; i < z->t; i++)
            grad_row(&h, x, i, p, d);
    }
    free(p);
    return 1;
}
