// The reference kernels in double, and the c backend's where bits have to be equal: C, for tests in C++.
#ifndef STAGECC_TESTS_CUDA_REFERENCE_H
#define STAGECC_TESTS_CUDA_REFERENCE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct Lstm { // ref_lstm_sizes
    int64_t n, t, h;
    int reverse;
} Lstm;

typedef struct Additive { // ref_additive
    int64_t n, q, k, h;
} Additive;

typedef struct Convolution { // ref_window
    int64_t n, c, h, w, k, p, q, r, s;
    int64_t stride[2], dilation[2], top, left, groups;
} Convolution;

// What adam knows of a step and of its options.
typedef struct Adam {
    double lr, clip, beta1, beta2, eps, decay;
    int decoupled;
    int64_t step;
} Adam;

// A pooling over images [n,c,h,w] -> [n,c,p,q].
typedef struct Window {
    int64_t n, c, h, w, p, q, r, s;
    int64_t stride[2], dilation[2];
    int64_t top, left, bottom, right;
    int count_include_pad;
} Window;

// Dimensions that x is walked along, and how far apart its elements lie.
typedef struct Steps {
    int rank;
    int64_t dim[6], x[6];
} Steps;

// ref_NAME of <stagecc/ref.h>, with real = double.
typedef struct Reference {
    void (*relu)(double *y, const double *x, int64_t n);
    void (*relu6)(double *y, const double *x, int64_t n);
    void (*gelu)(double *y, const double *x, int64_t n);
    void (*gelu_tanh)(double *y, const double *x, int64_t n);
    void (*sigmoid)(double *y, const double *x, int64_t n);
    void (*tanh)(double *y, const double *x, int64_t n);
    void (*relu_grad)(double *dx, const double *dy, const double *y, int64_t n);
    void (*relu6_grad)(double *dx, const double *dy, const double *y, int64_t n);
    void (*gelu_grad)(double *dx, const double *dy, const double *x, int64_t n);
    void (*gelu_tanh_grad)(double *dx, const double *dy, const double *x, int64_t n);
    void (*sigmoid_grad)(double *dx, const double *dy, const double *y, int64_t n);
    void (*tanh_grad)(double *dx, const double *dy, const double *y, int64_t n);
    void (*dropout)(double *y, const double *x, double rate, uint64_t key, int64_t n);
    void (*layer_norm)(double *y, double *mean, double *rstd, const double *x,
                       const double *gamma, const double *beta, int64_t rows, int64_t c,
                       double eps);
    void (*layer_norm_grad)(double *dx, double *dgamma, double *dbeta, const double *x,
                            const double *dy, const double *gamma, const double *mean,
                            const double *rstd, int64_t rows, int64_t c);
    void (*softmax)(double *y, const double *x, const int32_t *lengths, int64_t each,
                    int64_t rows, int64_t n, int64_t causal);
    void (*softmax_grad)(double *dx, const double *dy, const double *y, int64_t rows,
                         int64_t n);
    void (*cross_entropy)(double *loss, double *lse, const double *logits,
                          const int32_t *labels, int64_t rows, int64_t classes,
                          double smoothing);
    void (*cross_entropy_grad)(double *dlogits, const double *logits, const int32_t *labels,
                               const double *lse, const double *dloss, int64_t rows,
                               int64_t classes, double smoothing);
    void (*mse)(double *loss, const double *x, const double *t, int64_t n);
    void (*mse_grad)(double *dx, const double *x, const double *t, const double *dloss,
                     int64_t n);
    void (*batch_norm)(double *y, double *mean, double *var, const double *x,
                       const double *gamma, const double *beta, int64_t n, int64_t c,
                       int64_t pixels, double eps);
    void (*batch_norm_infer)(double *y, const double *x, const double *gamma,
                             const double *beta, const double *mean, const double *var,
                             int64_t n, int64_t c, int64_t pixels, double eps);
    void (*batch_norm_grad)(double *dx, double *dgamma, double *dbeta, const double *x,
                            const double *dy, const double *gamma, const double *mean,
                            const double *var, int64_t n, int64_t c, int64_t pixels,
                            double eps);
    void (*running_update)(double *running_mean, double *running_var, const double *mean,
                           const double *var, int64_t c, double momentum, int64_t count);
    void (*lstm)(double *y, double *gates, const double *g, const double *w, const double *s0,
                 const int32_t *lengths, const Lstm *z);
    void (*lstm_grad)(double *dg, double *ds0, double *hs, const double *dy,
                      const double *gates, const double *y, const double *w, const double *s0,
                      const int32_t *lengths, const Lstm *z);
    void (*additive_score)(double *y, const double *q, const double *k, const double *v,
                           const Additive *z);
    void (*additive_score_grad)(double *dq, double *dk, double *dv, const double *dy,
                                const double *q, const double *k, const double *v,
                                const Additive *z);
    void (*conv2d)(double *y, const double *x, const double *w, const double *b,
                   const Convolution *z);
    void (*conv2d_grad_input)(double *dx, const double *dy, const double *w,
                              const Convolution *z);
    void (*conv2d_grad_weight)(double *dw, const double *x, const double *dy,
                               const Convolution *z);
    void (*sgd)(double *param, const double *grad, double *momentum, int64_t n, double lr,
                double clip, double factor, int nesterov, double decay, int64_t next);
    void (*adam)(double *param, const double *grad, double *exp_avg, double *exp_avg_sq,
                 int64_t n, int64_t next, const Adam *adam);
    void (*max_pool2d)(double *y, int32_t *argmax, const double *x, const Window *z);
    void (*max_pool2d_grad)(double *dx, const double *dy, const int32_t *argmax,
                            const Window *z);
    void (*avg_pool2d)(double *y, const double *x, const Window *z);
    void (*avg_pool2d_grad)(double *dx, const double *dy, const Window *z);
    void (*global_avg_pool)(double *y, const double *x, int64_t planes, int64_t pixels);
    void (*global_avg_pool_grad)(double *dx, const double *dy, int64_t planes, int64_t pixels);
    void (*bias_grad)(double *db, const double *dy, int64_t before, int64_t channels,
                      int64_t after);
    void (*sum_to)(double *y, const double *x, const Steps *kept, const Steps *summed);
    void (*mask)(double *y, const double *x, const int32_t *lengths, int64_t n, int64_t before,
                 int64_t length, int64_t after);
    void (*embedding)(double *y, const int32_t *ids, const double *table, int64_t n,
                      int64_t rows, int64_t width, int64_t padding);
    void (*embedding_grad)(double *dtable, const int32_t *ids, const double *dy, int64_t n,
                           int64_t rows, int64_t width, int64_t padding);
    void (*l2_normalize)(double *y, double *factor, const double *x, int64_t rows, int64_t c,
                         double eps);
    void (*l2_normalize_grad)(double *dx, const double *dy, const double *y,
                              const double *factor, int64_t rows, int64_t c, double eps);
} Reference;

extern const Reference ref;

typedef struct AdamStep { // c_adam_step
    float clip, decay, shrink, beta2, new1, new2, eps, correction, size;
} AdamStep;

// A codec of <stagecc/transfer.h>.
typedef struct CCodec {
    void (*encode)(uint8_t *message, const float *x, int64_t n);
    void (*decode)(float *x, const uint8_t *message, int64_t n);
    void (*encode_bf16)(uint8_t *message, const uint16_t *x, int64_t n); // NULL: not of bf16
    void (*decode_bf16)(uint16_t *x, const uint8_t *message, int64_t n);
} CCodec;

// c_NAME of <stagecc/c.h>, in float; elements of bf16 as bits.
typedef struct CBackend {
    void (*accumulate)(float *sum, const float *grad, int64_t n, int first);
    void (*sgd)(float *param, const float *grad, int64_t n, float lr, float clip, float decay,
                int64_t next);
    void (*sgd_momentum)(float *param, const float *grad, float *momentum, int64_t n, float lr,
                         float clip, float factor, float decay, int nesterov, int64_t next);
    AdamStep (*adam_prepare)(const Adam *adam);
    void (*adam)(float *param, const float *grad, float *exp_avg, float *exp_avg_sq, int64_t n,
                 int64_t next, const Adam *adam);
    void (*max_pool2d)(float *y, int32_t *argmax, const float *x, const Window *z);
    void (*max_pool2d_grad)(float *dx, const float *dy, const int32_t *argmax, const Window *z);
    void (*avg_pool2d)(float *y, const float *x, const Window *z);
    void (*avg_pool2d_grad)(float *dx, const float *dy, const Window *z);
    void (*embedding)(float *y, const int32_t *ids, const float *table, int64_t n, int64_t rows,
                      int64_t width, int64_t padding);
    void (*embedding_grad)(float *dtable, const int32_t *ids, const float *dy, int64_t n,
                           int64_t rows, int64_t width, int64_t padding, int first);
    void (*embedding_grad_bf16)(float *dtable, const int32_t *ids, const uint16_t *dy,
                                int64_t n, int64_t rows, int64_t width, int64_t padding,
                                int first);
    CCodec bf16, f16, int8;
} CBackend;

extern const CBackend c_backend;

#ifdef __cplusplus
}
#endif
#endif
