#define REAL double
#include <stagecc/ref.h>
#define C_THREADS 1
#include <stagecc/c.h>
#define C_BLOCK 4
#include <stagecc/c_pool.h>
#include <stagecc/cu_now.h> // hosts are C

#include "tests/kernels/cuda_reference.h"

static void lstm(double *y, double *gates, const double *g, const double *w, const double *s0,
                 const int32_t *lengths, const Lstm *z)
{
    ref_lstm(y, gates, g, w, s0, lengths,
             &(const ref_lstm_sizes){z->n, z->t, z->h, z->reverse});
}

static void lstm_grad(double *dg, double *ds0, double *hs, const double *dy,
                      const double *gates, const double *y, const double *w, const double *s0,
                      const int32_t *lengths, const Lstm *z)
{
    ref_lstm_grad(dg, ds0, hs, dy, gates, y, w, s0, lengths,
                  &(const ref_lstm_sizes){z->n, z->t, z->h, z->reverse});
}

static void additive_score(double *y, const double *q, const double *k, const double *v,
                           const Additive *z)
{
    ref_additive_score(y, q, k, v, &(const ref_additive){z->n, z->q, z->k, z->h});
}

static void additive_score_grad(double *dq, double *dk, double *dv, const double *dy,
                                const double *q, const double *k, const double *v,
                                const Additive *z)
{
    ref_additive_score_grad(dq, dk, dv, dy, q, k, v,
                            &(const ref_additive){z->n, z->q, z->k, z->h});
}

static ref_window windows(const Convolution *z)
{
    return (ref_window){.n = z->n,
                        .c = z->c,
                        .h = z->h,
                        .w = z->w,
                        .k = z->k,
                        .p = z->p,
                        .q = z->q,
                        .r = z->r,
                        .s = z->s,
                        .stride = {z->stride[0], z->stride[1]},
                        .dilation = {z->dilation[0], z->dilation[1]},
                        .top = z->top,
                        .left = z->left,
                        .groups = z->groups};
}

static void conv2d(double *y, const double *x, const double *w, const double *b,
                   const Convolution *z)
{
    const ref_window at = windows(z);
    ref_conv2d(y, x, w, b, &at);
}

static void conv2d_grad_input(double *dx, const double *dy, const double *w,
                              const Convolution *z)
{
    const ref_window at = windows(z);
    ref_conv2d_grad_input(dx, dy, w, &at);
}

static void conv2d_grad_weight(double *dw, const double *x, const double *dy,
                               const Convolution *z)
{
    const ref_window at = windows(z);
    ref_conv2d_grad_weight(dw, x, dy, &at);
}

static void adam_in_double(double *param, const double *grad, double *exp_avg,
                           double *exp_avg_sq, int64_t n, int64_t next, const Adam *adam)
{
    const ref_adam_options o = {adam->beta1, adam->beta2, adam->eps, adam->decay,
                                adam->decoupled};
    ref_adam(param, grad, exp_avg, exp_avg_sq, n, adam->lr, adam->clip, adam->step, next, &o);
}

static c_adam_options options(const Adam *adam)
{
    return (c_adam_options){adam->beta1, adam->beta2, adam->eps, adam->decay, adam->decoupled};
}

static void adam_in_float(float *param, const float *grad, float *exp_avg, float *exp_avg_sq,
                          int64_t n, int64_t next, const Adam *adam)
{
    const c_adam_options o = options(adam);
    c_adam(param, grad, exp_avg, exp_avg_sq, n, adam->lr, adam->clip, adam->step, next, &o);
}

static AdamStep adam_prepare(const Adam *adam)
{
    const c_adam_options o = options(adam);
    const c_adam_step k = c_adam_prepare(adam->lr, adam->clip, adam->step, &o);
    return (AdamStep){k.clip, k.decay, k.shrink,     k.beta2, k.new1,
                      k.new2, k.eps,   k.correction, k.size};
}

static ref_window ref_pool(const Window *z)
{
    return (ref_window){.n = z->n,
                        .c = z->c,
                        .h = z->h,
                        .w = z->w,
                        .k = z->c,
                        .p = z->p,
                        .q = z->q,
                        .r = z->r,
                        .s = z->s,
                        .stride = {z->stride[0], z->stride[1]},
                        .dilation = {z->dilation[0], z->dilation[1]},
                        .top = z->top,
                        .left = z->left,
                        .bottom = z->bottom,
                        .right = z->right,
                        .groups = 1,
                        .count_include_pad = z->count_include_pad};
}

static c_window c_pool(const Window *z)
{
    return (c_window){.planes = z->n * z->c,
                      .h = z->h,
                      .w = z->w,
                      .p = z->p,
                      .q = z->q,
                      .r = z->r,
                      .s = z->s,
                      .stride = {z->stride[0], z->stride[1]},
                      .dilation = {z->dilation[0], z->dilation[1]},
                      .top = z->top,
                      .left = z->left,
                      .bottom = z->bottom,
                      .right = z->right,
                      .count_include_pad = z->count_include_pad};
}

static void max_in_double(double *y, int32_t *argmax, const double *x, const Window *z)
{
    const ref_window window = ref_pool(z);
    ref_max_pool2d(y, argmax, x, &window);
}

static void max_grad_in_double(double *dx, const double *dy, const int32_t *argmax,
                               const Window *z)
{
    const ref_window window = ref_pool(z);
    ref_max_pool2d_grad(dx, dy, argmax, &window);
}

static void avg_in_double(double *y, const double *x, const Window *z)
{
    const ref_window window = ref_pool(z);
    ref_avg_pool2d(y, x, &window);
}

static void avg_grad_in_double(double *dx, const double *dy, const Window *z)
{
    const ref_window window = ref_pool(z);
    ref_avg_pool2d_grad(dx, dy, &window);
}

static void max_in_float(float *y, int32_t *argmax, const float *x, const Window *z)
{
    const c_window window = c_pool(z);
    c_max_pool2d_plain(y, argmax, x, &window);
}

static void max_grad_in_float(float *dx, const float *dy, const int32_t *argmax,
                              const Window *z)
{
    const c_window window = c_pool(z);
    c_max_pool2d_grad_plain(dx, dy, argmax, &window);
}

static void avg_in_float(float *y, const float *x, const Window *z)
{
    const c_window window = c_pool(z);
    c_avg_pool2d_plain(y, x, &window);
}

static void avg_grad_in_float(float *dx, const float *dy, const Window *z)
{
    const c_window window = c_pool(z);
    c_avg_pool2d_grad_plain(dx, dy, &window);
}

static ref_walk steps(const Steps *s)
{
    ref_walk walk = {.rank = s->rank};
    memcpy(walk.dim, s->dim, sizeof s->dim);
    memcpy(walk.a, s->x, sizeof s->x);
    return walk;
}

static void sum_in_double(double *y, const double *x, const Steps *kept, const Steps *summed)
{
    const ref_walk outer = steps(kept), inner = steps(summed);
    ref_sum_to(y, x, &outer, &inner);
}

static void embedding_grad_of_bits(float *dtable, const int32_t *ids, const uint16_t *dy,
                                   int64_t n, int64_t rows, int64_t width, int64_t padding,
                                   int first)
{
    c_embedding_grad_bf16(dtable, ids, (const rt_bf16 *)dy, n, rows, width, padding, first);
}

static void encode_int8_of_bits(uint8_t *message, const uint16_t *x, int64_t n)
{
    c_encode_int8_bf16(message, (const rt_bf16 *)x, n);
}

static void decode_int8_of_bits(uint16_t *x, const uint8_t *message, int64_t n)
{
    c_decode_int8_bf16((rt_bf16 *)x, message, n);
}

const Reference ref = {
    .relu = ref_relu,
    .relu6 = ref_relu6,
    .gelu = ref_gelu,
    .gelu_tanh = ref_gelu_tanh,
    .sigmoid = ref_sigmoid,
    .tanh = ref_tanh,
    .relu_grad = ref_relu_grad,
    .relu6_grad = ref_relu6_grad,
    .gelu_grad = ref_gelu_grad,
    .gelu_tanh_grad = ref_gelu_tanh_grad,
    .sigmoid_grad = ref_sigmoid_grad,
    .tanh_grad = ref_tanh_grad,
    .dropout = ref_dropout,
    .layer_norm = ref_layer_norm,
    .layer_norm_grad = ref_layer_norm_grad,
    .softmax = ref_softmax,
    .softmax_grad = ref_softmax_grad,
    .cross_entropy = ref_cross_entropy,
    .cross_entropy_grad = ref_cross_entropy_grad,
    .mse = ref_mse,
    .mse_grad = ref_mse_grad,
    .batch_norm = ref_batch_norm,
    .batch_norm_infer = ref_batch_norm_infer,
    .batch_norm_grad = ref_batch_norm_grad,
    .running_update = ref_running_update,
    .lstm = lstm,
    .lstm_grad = lstm_grad,
    .additive_score = additive_score,
    .additive_score_grad = additive_score_grad,
    .conv2d = conv2d,
    .conv2d_grad_input = conv2d_grad_input,
    .conv2d_grad_weight = conv2d_grad_weight,
    .sgd = ref_sgd,
    .adam = adam_in_double,
    .max_pool2d = max_in_double,
    .max_pool2d_grad = max_grad_in_double,
    .avg_pool2d = avg_in_double,
    .avg_pool2d_grad = avg_grad_in_double,
    .global_avg_pool = ref_global_avg_pool,
    .global_avg_pool_grad = ref_global_avg_pool_grad,
    .bias_grad = ref_bias_grad,
    .sum_to = sum_in_double,
    .mask = ref_mask,
    .embedding = ref_embedding,
    .embedding_grad = ref_embedding_grad,
    .l2_normalize = ref_l2_normalize,
    .l2_normalize_grad = ref_l2_normalize_grad,
};

const CBackend c_backend = {
    .accumulate = c_accumulate,
    .sgd = c_sgd,
    .sgd_momentum = c_sgd_momentum,
    .adam_prepare = adam_prepare,
    .adam = adam_in_float,
    .max_pool2d = max_in_float,
    .max_pool2d_grad = max_grad_in_float,
    .avg_pool2d = avg_in_float,
    .avg_pool2d_grad = avg_grad_in_float,
    .embedding = c_embedding,
    .embedding_grad = c_embedding_grad,
    .embedding_grad_bf16 = embedding_grad_of_bits,
    .bf16 = {c_encode_bf16, c_decode_bf16, NULL, NULL},
    .f16 = {c_encode_f16, c_decode_f16, NULL, NULL},
    .int8 = {c_encode_int8, c_decode_int8, encode_int8_of_bits, decode_int8_of_bits},
};
