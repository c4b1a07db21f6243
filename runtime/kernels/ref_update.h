// Part of <stagecc/ref.h>: sums of gradients and optimizers, as PyTorch 2 defines them. Their
// arithmetic is that of the parameters, in PyTorch's order of operations.
#ifndef STAGECC_REF_UPDATE_H
#define STAGECC_REF_UPDATE_H

// The step's first micro-batch replaces what the last step left.
REF void ref_accumulate(real *sum, const real *grad, int64_t n, int first)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] = first ? grad[i] : sum[i] + grad[i];
}

// Optimizers leave new values `next` bytes from the old ones (rt_next), which is in place where it is 0.
REF real *ref_at_next(real *at, int64_t next)
{
    return (real *)(void *)((char *)at + next);
}

// torch.optim.SGD; momentum NULL: none.
REF void ref_sgd(real *param, const real *grad, real *momentum, int64_t n, real lr, real clip,
                 real factor, int nesterov, real decay, int64_t next)
{
    real *to = ref_at_next(param, next);
    real *momentum_to = momentum ? ref_at_next(momentum, next) : NULL;
    for (int64_t i = 0; i < n; i++) {
        real g = grad[i] * clip;
        if (decay != 0)
            g += decay * param[i];
        if (momentum) {
            real m = factor * momentum[i] + g;
            momentum_to[i] = m;
            g = nesterov ? g + factor * m : m;
        }
        to[i] = param[i] - lr * g;
    }
}

// torch.optim.Adam, and AdamW where decay is decoupled from the gradient.
typedef struct ref_adam_options {
    double beta1, beta2, eps, decay;
    int decoupled;
} ref_adam_options;

REF void ref_adam(real *param, const real *grad, real *exp_avg, real *exp_avg_sq, int64_t n,
                  double lr, double clip, int64_t step, int64_t next, const ref_adam_options *o)
{
    real *to = ref_at_next(param, next), *avg_to = ref_at_next(exp_avg, next);
    real *avg_sq_to = ref_at_next(exp_avg_sq, next);
    real correction = (real)sqrt(1 - pow(o->beta2, (double)step));
    real size = (real)(lr / (1 - pow(o->beta1, (double)step)));
    for (int64_t i = 0; i < n; i++) {
        real g = grad[i] * (real)clip, p = param[i];
        if (o->decay != 0 && o->decoupled)
            p *= (real)(1 - lr * o->decay);
        else if (o->decay != 0)
            g += (real)o->decay * p;
        real m = exp_avg[i] + (real)(1 - o->beta1) * (g - exp_avg[i]);
        real v = (real)o->beta2 * exp_avg_sq[i] + (real)(1 - o->beta2) * g * g;
        real root = (real)sqrt((double)v) / correction + (real)o->eps;
        avg_to[i] = m;
        avg_sq_to[i] = v;
        to[i] = p - size * (m / root);
    }
}

#endif
