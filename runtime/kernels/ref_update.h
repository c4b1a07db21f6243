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

// torch.optim.SGD; momentum NULL: none.
REF void ref_sgd(real *param, const real *grad, real *momentum, int64_t n, real lr, real clip,
                 real factor, int nesterov, real decay)
{
    for (int64_t i = 0; i < n; i++) {
        real g = grad[i] * clip;
        if (decay != 0)
            g += decay * param[i];
        if (momentum) {
            momentum[i] = factor * momentum[i] + g;
            g = nesterov ? g + factor * momentum[i] : momentum[i];
        }
        param[i] -= lr * g;
    }
}

// torch.optim.Adam, and AdamW where decay is decoupled from the gradient.
typedef struct ref_adam_options {
    double beta1, beta2, eps, decay;
    int decoupled;
} ref_adam_options;

REF void ref_adam(real *param, const real *grad, real *exp_avg, real *exp_avg_sq, int64_t n,
                  double lr, double clip, int64_t step, const ref_adam_options *o)
{
    real correction = (real)sqrt(1 - pow(o->beta2, (double)step));
    real size = (real)(lr / (1 - pow(o->beta1, (double)step)));
    for (int64_t i = 0; i < n; i++) {
        real g = grad[i] * (real)clip;
        if (o->decay != 0 && o->decoupled)
            param[i] *= (real)(1 - lr * o->decay);
        else if (o->decay != 0)
            g += (real)o->decay * param[i];
        exp_avg[i] += (real)(1 - o->beta1) * (g - exp_avg[i]);
        exp_avg_sq[i] = (real)o->beta2 * exp_avg_sq[i] + (real)(1 - o->beta2) * g * g;
        real root = (real)sqrt((double)exp_avg_sq[i]) / correction + (real)o->eps;
        param[i] -= size * (exp_avg[i] / root);
    }
}

#endif
