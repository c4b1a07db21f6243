// The reference kernels in double, which are C, for tests in C++.
#ifndef STAGECC_TESTS_CUDA_REFERENCE_H
#define STAGECC_TESTS_CUDA_REFERENCE_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

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
} Reference;

extern const Reference ref;

#ifdef __cplusplus
}
#endif
#endif
