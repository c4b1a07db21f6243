// Convolutions in naive loops: one walk over all products of a convolution, whose sums, in double, are those
// of forward, of the gradient of the input or of that of the weight.
#include "runtime/cuda/emulated/emulated.h"

#include <stdlib.h>

typedef struct Call {
    const rt_kernel *kernel;
    const void *a, *b; // its operands
    double *sum;       // of every element of the result
} Call;

// An element of y, and what is multiplied for it.
typedef struct Term {
    int64_t y, x, w;
} Term;

static void add(const Call *c, const Term *t)
{
    rt_kernel_op op = c->kernel->op;
    int64_t a = op == RT_CONV2D_GRAD_INPUT ? t->y : t->x;
    int64_t b = op == RT_CONV2D_GRAD_WEIGHT ? t->y : t->w;
    int64_t to = op == RT_CONV2D ? t->y : op == RT_CONV2D_GRAD_INPUT ? t->x : t->w;
    rt_dtype type = rt__emulated_type(c->kernel, 0), other = rt__emulated_type(c->kernel, 1);
    c->sum[to] +=
        rt__emulated_element(c->a, type, other, a) * rt__emulated_element(c->b, other, type, b);
}

// Of images and weights, as the row says that they lie.
static int64_t place(const rt_conv *z, const int64_t size[4], int64_t n, int64_t c, int64_t h,
                     int64_t w)
{
    return z->channels_last ? ((n * size[2] + h) * size[3] + w) * size[1] + c
                            : ((n * size[1] + c) * size[2] + h) * size[3] + w;
}

// All taps of the window of pixel (n, p, q) of output channel k.
static void add_window(const Call *c, int64_t n, int64_t p, int64_t q, int64_t k)
{
    const rt_conv *z = &c->kernel->conv;
    int64_t each = z->c / z->groups, first = k / (z->k / z->groups) * each;
    const int64_t x[] = {z->n, z->c, z->h, z->w}, y[] = {z->n, z->k, z->p, z->q},
                  weight[] = {z->k, each, z->r, z->s};
    for (int64_t r = 0; r < z->r; r++)
        for (int64_t s = 0; s < z->s; s++) {
            int64_t h = p * z->stride[0] - z->padding[0] + r * z->dilation[0];
            int64_t w = q * z->stride[1] - z->padding[1] + s * z->dilation[1];
            if (h < 0 || h >= z->h || w < 0 || w >= z->w)
                continue;
            for (int64_t i = 0; i < each; i++) {
                Term t = {.y = place(z, y, n, k, p, q),
                          .x = place(z, x, n, first + i, h, w),
                          .w = place(z, weight, k, i, r, s)};
                add(c, &t);
            }
        }
}

static void add_windows(const Call *c)
{
    const rt_conv *z = &c->kernel->conv;
    for (int64_t i = 0; i < z->n * z->p * z->q * z->k; i++)
        add_window(c, i / z->k / z->q / z->p, i / z->k / z->q % z->p, i / z->k % z->q,
                   i % z->k);
}

static int64_t results(const rt_kernel *k)
{
    const rt_conv *z = &k->conv;
    if (k->op == RT_CONV2D)
        return z->n * z->p * z->q * z->k;
    return k->op == RT_CONV2D_GRAD_INPUT ? z->n * z->h * z->w * z->c
                                         : z->k * z->r * z->s * (z->c / z->groups);
}

static void convolve(rt_stage *s, int kernel, const void *a, const void *b, const float *bias,
                     void *result)
{
    const rt_kernel *k = rt__emulated_row(s, kernel);
    int64_t n = results(k);
    Call c = {k, a, b, calloc((size_t)n, sizeof *c.sum)};
    if (!c.sum) {
        rt_fail(s, RT_E_MEMORY, "no memory for the sums of %s", k->key);
        return;
    }
    const rt_conv *z = &k->conv;
    for (int64_t i = 0; bias && i < n; i++)
        c.sum[i] = (double)bias[(z->channels_last ? i : i / (z->p * z->q)) % z->k];
    add_windows(&c);
    for (int64_t i = 0; i < n; i++)
        rt__emulated_store(result, rt__emulated_type(k, 2), i,
                           rt__emulated_finish(k->epilogue, c.sum[i]));
    free(c.sum);
}

// Beside bf16 the library writes gradients of weights in that.
static void round_result(rt_stage *s, int kernel, float *dw)
{
    const rt_kernel *k = rt__emulated_row(s, kernel);
    int64_t n = rt__emulated_type(k, 0) == RT_BF16 ? results(k) : 0;
    for (int64_t i = 0; i < n; i++)
        dw[i] = rt_to_float(rt_to_bf16(dw[i]));
}

void rt_conv2d(rt_stage *s, int kernel, const void *x, const float *w, const float *b, void *y)
{
    convolve(s, kernel, x, w, b, y);
}

// As the library has them: of channels in packs of 16 bytes.
const float *rt_conv2d_sums(rt_stage *s, int kernel, const void *x, const float *w, void *y)
{
    const rt_kernel *row = rt__emulated_row(s, kernel);
    int64_t k = row->conv.k, n = results(row);
    rt_conv2d(s, kernel, x, w, NULL, y);
    float *sums = k % 8 ? NULL : rt__emulated_sums(s, 2 * k);
    for (int64_t c = 0; sums && c < k; c++) {
        double sum = 0, squares = 0;
        for (int64_t i = c; i < n; i += k) {
            double v = rt__emulated_element(y, rt__emulated_type(row, 2), RT_F32, i);
            sum += v;
            squares += v * v;
        }
        sums[c] = (float)sum;
        sums[k + c] = (float)squares;
    }
    return sums;
}

void rt_conv2d_grad_input(rt_stage *s, int kernel, const void *dy, const float *w, void *dx)
{
    convolve(s, kernel, dy, w, NULL, dx);
}

void rt_conv2d_grad_weight(rt_stage *s, int kernel, const void *x, const void *dy, float *dw)
{
    convolve(s, kernel, x, dy, NULL, dw);
    round_result(s, kernel, dw);
}
