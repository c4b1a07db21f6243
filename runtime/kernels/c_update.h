// Part of <stagecc/c.h>: sums of gradients and optimizers, as PyTorch 2 defines them, in its order of
// operations, in one pass over the parameter.
#ifndef STAGECC_C_UPDATE_H
#define STAGECC_C_UPDATE_H

enum { C_PART = 16384 }; // elements that a thread takes at a time

// The step's first micro-batch replaces what the last step left.
C_KERNEL void c_accumulate(float *sum, const float *grad, int64_t n, int first)
{
    C_PARALLEL
    for (int64_t at = 0; at < n; at += C_PART) {
        int64_t end = n - at < C_PART ? n : at + C_PART;
        if (first) {
            memcpy(sum + at, grad + at, (size_t)(end - at) * sizeof *sum);
            continue;
        }
        C_SIMD
        for (int64_t i = at; i < end; i++)
            sum[i] += grad[i];
    }
}

// Optimizers leave new values `next` bytes from the old ones (rt_next), which is in place where it is 0.
C_INLINE float *c_at_next(float *at, int64_t next)
{
    return (float *)(void *)((char *)at + next);
}

// torch.optim.SGD without momentum.
C_KERNEL void c_sgd(float *param, const float *grad, int64_t n, float lr, float clip,
                    float decay, int64_t next)
{
    float *to = c_at_next(param, next);
    C_PARALLEL
    for (int64_t at = 0; at < n; at += C_PART) {
        int64_t end = n - at < C_PART ? n : at + C_PART;
        C_SIMD
        for (int64_t i = at; i < end; i++) {
            float g = grad[i] * clip;
            g = decay != 0 ? g + decay * param[i] : g;
            to[i] = param[i] - lr * g;
        }
    }
}

C_KERNEL void c_sgd_momentum(float *param, const float *grad, float *momentum, int64_t n,
                             float lr, float clip, float factor, float decay, int nesterov,
                             int64_t next)
{
    float *to = c_at_next(param, next), *momentum_to = c_at_next(momentum, next);
    C_PARALLEL
    for (int64_t at = 0; at < n; at += C_PART) {
        int64_t end = n - at < C_PART ? n : at + C_PART;
        C_SIMD
        for (int64_t i = at; i < end; i++) {
            float g = grad[i] * clip;
            g = decay != 0 ? g + decay * param[i] : g;
            float m = factor * momentum[i] + g;
            momentum_to[i] = m;
            to[i] = param[i] - lr * (nesterov ? g + factor * m : m);
        }
    }
}

// torch.optim.Adam, and AdamW where decay is decoupled from the gradient.
typedef struct c_adam_options {
    double beta1, beta2, eps, decay;
    int decoupled;
} c_adam_options;

typedef struct c_adam_step { // of one step, rounded
    float clip, decay, shrink, beta2, new1, new2, eps, correction, size;
} c_adam_step;

C_INLINE c_adam_step c_adam_prepare(double lr, double clip, int64_t step,
                                    const c_adam_options *o)
{
    bool coupled = o->decay != 0 && !o->decoupled;
    return (c_adam_step){
        .clip = (float)clip,
        .decay = coupled ? (float)o->decay : 0,
        .shrink = o->decoupled ? (float)(1 - lr * o->decay) : 1,
        .beta2 = (float)o->beta2,
        .new1 = (float)(1 - o->beta1),
        .new2 = (float)(1 - o->beta2),
        .eps = (float)o->eps,
        .correction = (float)sqrt(1 - pow(o->beta2, (double)step)),
        .size = (float)(lr / (1 - pow(o->beta1, (double)step))),
    };
}

C_KERNEL void c_adam(float *param, const float *grad, float *exp_avg, float *exp_avg_sq,
                     int64_t n, double lr, double clip, int64_t step, int64_t next,
                     const c_adam_options *o)
{
    float *to = c_at_next(param, next), *avg_to = c_at_next(exp_avg, next);
    float *avg_sq_to = c_at_next(exp_avg_sq, next);
    const c_adam_step k = c_adam_prepare(lr, clip, step, o);
    C_PARALLEL
    for (int64_t at = 0; at < n; at += C_PART) {
        int64_t end = n - at < C_PART ? n : at + C_PART;
        C_SIMD
        for (int64_t i = at; i < end; i++) {
            float p = param[i] * k.shrink, g = grad[i] * k.clip;
            g = k.decay != 0 ? g + k.decay * p : g;
            float m = exp_avg[i] + k.new1 * (g - exp_avg[i]);
            float v = k.beta2 * exp_avg_sq[i] + k.new2 * g * g;
            avg_to[i] = m;
            avg_sq_to[i] = v;
            to[i] = p - k.size * (m / (sqrtf(v) / k.correction + k.eps));
        }
    }
}

#endif
