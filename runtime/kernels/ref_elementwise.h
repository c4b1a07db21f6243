// Part of <stagecc/ref.h>: element-wise ops. Functions are taken in double and rounded once.
#ifndef STAGECC_REF_ELEMENTWISE_H
#define STAGECC_REF_ELEMENTWISE_H

static inline double ref_normal_cdf(double x)
{
    return 0.5 * (1 + erf(x * 0.70710678118654752440));
}

static inline double ref_normal_pdf(double x)
{
    return 0.39894228040143267794 * exp(-0.5 * x * x);
}

// The tanh form of gelu: x/2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3).
static inline double ref_gelu_inner(double x)
{
    return 0.79788456080286535588 * (x + 0.044715 * x * x * x);
}

// One function per op: `value` is an expression of x (and of dy in gradients).
#define REF_MAP(name, value)                                                                   \
    REF void ref_##name(real *y, const real *input, int64_t n)                                 \
    {                                                                                          \
        for (int64_t i = 0; i < n; i++) {                                                      \
            double x = (double)input[i];                                                       \
            y[i] = (real)(value);                                                              \
        }                                                                                      \
    }
#define REF_MAP_GRAD(name, value)                                                              \
    REF void ref_##name(real *dx, const real *grad, const real *input, int64_t n)              \
    {                                                                                          \
        for (int64_t i = 0; i < n; i++) {                                                      \
            double dy = (double)grad[i], x = (double)input[i];                                 \
            dx[i] = (real)(value);                                                             \
        }                                                                                      \
    }

REF_MAP(relu, x > 0 || isnan(x) ? x : 0)
REF_MAP(relu6, x > 6 ? 6 : x > 0 || isnan(x) ? x : 0)
REF_MAP(gelu, ref_normal_cdf(x) * x)
REF_MAP(gelu_tanh, 0.5 * x * (1 + tanh(ref_gelu_inner(x))))
REF_MAP(sigmoid, 1 / (1 + exp(-x)))
REF_MAP(tanh, tanh(x))
REF_MAP(cast, x) // all its reals are of one type

// The second input of relu, relu6, sigmoid and tanh is their result, that of gelu its input.
REF_MAP_GRAD(relu_grad, x > 0 ? dy : 0)
REF_MAP_GRAD(relu6_grad, x > 0 && x < 6 ? dy : 0)
REF_MAP_GRAD(gelu_grad, (ref_normal_cdf(x) + x * ref_normal_pdf(x)) * dy)
REF_MAP_GRAD(sigmoid_grad, (1 - x) * x * dy)
REF_MAP_GRAD(tanh_grad, (1 - x * x) * dy)

REF void ref_gelu_tanh_grad(real *dx, const real *dy, const real *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double v = (double)x[i], t = tanh(ref_gelu_inner(v));
        double slope = 0.79788456080286535588 * (1 + 3 * 0.044715 * v * v);
        dx[i] = (real)((double)dy[i] * (0.5 * (1 + t) + 0.5 * v * (1 - t * t) * slope));
    }
}

REF void ref_add(real *y, const real *a, const real *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = a[i] + b[i];
}

REF void ref_mul(real *y, const real *a, const real *b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = a[i] * b[i];
}

REF void ref_scale(real *y, const real *x, real value, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] * value;
}

// Kept elements grow by 1 / (1 - rate); its own gradient.
REF void ref_dropout(real *y, const real *x, real rate, uint64_t key, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = (real)rt_uniform(key, (uint64_t)i) >= rate ? x[i] * (1 / (1 - rate)) : 0;
}

#endif
