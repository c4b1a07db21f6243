// Sums of gradients, and optimizers: one launch for all parameters of a stage, a row of a table each. Operations and their
// order are those of c_update.h, and so are the bits.
#ifndef STAGECC_CU_UPDATE_H
#define STAGECC_CU_UPDATE_H

#include <stagecc/cu.h>

enum { CU_UPDATE_THREADS = 256, CU_UPDATE_PART = 4096 }; // elements that a block takes

// The step's first micro-batch replaces what the last step left.
CU_KERNEL void __launch_bounds__(CU_UPDATE_THREADS)
    cu_accumulate_kernel(float *sum, const float *grad, int64_t n, bool first)
{
    const int64_t begin = (int64_t)blockIdx.x * CU_UPDATE_PART;
    const int64_t end = begin + CU_UPDATE_PART < n ? begin + CU_UPDATE_PART : n;
    for (int64_t i = begin + threadIdx.x; i < end; i += CU_UPDATE_THREADS)
        sum[i] = first ? grad[i] : sum[i] + grad[i];
}

[[maybe_unused]] static void cu_accumulate(cudaStream_t stream, float *sum, const float *grad,
                                           int64_t n, bool first)
{
    CU_LAUNCH(cu_accumulate_kernel, cu_ceil(n, CU_UPDATE_PART), CU_UPDATE_THREADS, stream, sum,
              grad, n, first);
}

// A parameter of n elements. New values are left `next` bytes from the old ones, in place where that is 0.
struct cu_update {
    float *param;
    const float *grad;
    float *state[2]; // sgd: momentum, or NULL; adam: exp_avg, exp_avg_sq
    rt_bf16 *narrow; // the new values once more in bf16, for products; NULL: nobody wants them
    int64_t n;
    int64_t first_block; // of the launch
};

// Gives every row its blocks, on the host; their number in all.
[[maybe_unused]] static int64_t cu_update_blocks(cu_update *rows, int n_rows)
{
    int64_t blocks = 0;
    for (int k = 0; k < n_rows; k++) {
        rows[k].first_block = blocks;
        blocks += cu_ceil(rows[k].n, CU_UPDATE_PART);
    }
    return blocks;
}

// What an update has to know of its step, in the device's memory, so that a launch that was captured once is right
// at every step.
struct cu_step {
    float lr, clip;
    float shrink, correction,
        size;    // adam: 1 - lr decay where it is decoupled, else 1; sqrt(1 - beta2^step);
                 // lr / (1 - beta1^step)
    int32_t bad; // not 0: a loss or a gradient was not finite, and the update writes nothing
};

struct cu_sgd_options {
    float momentum, decay; // momentum 0: rows have no state
    bool nesterov;
};

struct cu_adam_options {
    float decay;                  // that is not decoupled
    float beta2, new1, new2, eps; // new1 = 1 - beta1, new2 = 1 - beta2
};

// f(row, i) for the elements of this thread.
template <typename F> CU_INLINE void cu_update_each(const cu_update *rows, int n_rows, F f)
{
    int row = 0,
        beyond = n_rows; // the row is the last one whose first block is not behind this one
    while (beyond - row > 1) {
        const int middle = (row + beyond) / 2;
        if (rows[middle].first_block <= (int64_t)blockIdx.x)
            row = middle;
        else
            beyond = middle;
    }
    const cu_update u = rows[row];
    const int64_t begin = ((int64_t)blockIdx.x - u.first_block) * CU_UPDATE_PART;
    const int64_t end = begin + CU_UPDATE_PART < u.n ? begin + CU_UPDATE_PART : u.n;
    for (int64_t i = begin + threadIdx.x; i < end; i += CU_UPDATE_THREADS)
        f(u, i);
}

CU_INLINE void cu_update_param(const cu_update &u, int64_t i, int64_t next, float value)
{
    u.param[next + i] = value;
    if (u.narrow)
        u.narrow[i] = rt_to_bf16(value);
}

CU_KERNEL void __launch_bounds__(CU_UPDATE_THREADS)
    cu_sgd_kernel(const cu_update *rows, int n_rows, int64_t next, const cu_step *step,
                  cu_sgd_options o)
{
    if (step->bad)
        return;
    const float lr = step->lr, clip = step->clip;
    cu_update_each(rows, n_rows, [=](const cu_update &u, int64_t i) {
        float g = u.grad[i] * clip;
        g = o.decay != 0 ? g + o.decay * u.param[i] : g;
        if (u.state[0]) {
            const float m = o.momentum * u.state[0][i] + g;
            u.state[0][next + i] = m;
            g = o.nesterov ? g + o.momentum * m : m;
        }
        cu_update_param(u, i, next, u.param[i] - lr * g);
    });
}

// torch.optim.SGD. rows[n_rows] and step lie in the device's memory; blocks: of cu_update_blocks; next: in bytes.
[[maybe_unused]] static void cu_sgd(cudaStream_t stream, const cu_update *rows, int n_rows,
                                    int64_t blocks, int64_t next, const cu_step *step,
                                    cu_sgd_options o)
{
    CU_LAUNCH(cu_sgd_kernel, blocks, CU_UPDATE_THREADS, stream, rows, n_rows,
              next / (int64_t)sizeof(float), step, o);
}

CU_KERNEL void __launch_bounds__(CU_UPDATE_THREADS)
    cu_adam_kernel(const cu_update *rows, int n_rows, int64_t next, const cu_step *step,
                   cu_adam_options o)
{
    if (step->bad)
        return;
    const cu_step k = *step;
    cu_update_each(rows, n_rows, [=](const cu_update &u, int64_t i) {
        const float p = u.param[i] * k.shrink;
        float g = u.grad[i] * k.clip;
        g = o.decay != 0 ? g + o.decay * p : g;
        const float m = u.state[0][i] + o.new1 * (g - u.state[0][i]);
        const float v = o.beta2 * u.state[1][i] + o.new2 * g * g;
        u.state[0][next + i] = m;
        u.state[1][next + i] = v;
        cu_update_param(u, i, next, p - k.size * (m / (sqrtf(v) / k.correction + o.eps)));
    });
}

// torch.optim.Adam, and AdamW where decay is decoupled.
[[maybe_unused]] static void cu_adam(cudaStream_t stream, const cu_update *rows, int n_rows,
                                     int64_t blocks, int64_t next, const cu_step *step,
                                     cu_adam_options o)
{
    CU_LAUNCH(cu_adam_kernel, blocks, CU_UPDATE_THREADS, stream, rows, n_rows,
              next / (int64_t)sizeof(float), step, o);
}

#endif
