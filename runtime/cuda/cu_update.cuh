// Sums of gradients, and optimizers: one launch for all parameters of a stage, a row of a table each. Operations and their
// order are those of c_update.h, and so are the bits.
#ifndef STAGECC_CU_UPDATE_H
#define STAGECC_CU_UPDATE_H

#include <stagecc/cu.h>
#include <stagecc/cu_now.h>

// Elements that a block takes, and a thread at once: packs of 16 bytes, and where a tensor ends single ones.
enum { CU_UPDATE_THREADS = 256, CU_UPDATE_PART = 4096, CU_UPDATE_PACK = 4 };

// What a thread does with the elements of its block's part, of n in all: op.at<N>(i) for N of them from i on.
template <typename Op> CU_INLINE void cu_update_part(int64_t part, int64_t n, const Op &op)
{
    const int64_t begin = part * CU_UPDATE_PART, whole = n - n % CU_UPDATE_PACK;
    const int64_t end = begin + CU_UPDATE_PART < whole ? begin + CU_UPDATE_PART : whole;
    for (int64_t i = begin + (int64_t)threadIdx.x * CU_UPDATE_PACK; i < end;
         i += CU_UPDATE_THREADS * CU_UPDATE_PACK)
        op.template at<CU_UPDATE_PACK>(i);
    if (part == whole / CU_UPDATE_PART && whole + threadIdx.x < n)
        op.template at<1>(whole + threadIdx.x);
}

template <typename T> struct cu_accumulating {
    float *sum;
    const T *grad;
    bool first;

    template <int N> CU_MEMBER void at(int64_t i) const
    {
        float s[N] = {}, g[N];
        cu_load<N>(g, grad + i);
        if (!first) {
            cu_load<N>(s, sum + i);
            CU_UNROLL
            for (int k = 0; k < N; k++)
                g[k] = s[k] + g[k];
        }
        cu_store<N>(sum + i, g);
    }
};

template <typename T>
static __global__ void __launch_bounds__(CU_UPDATE_THREADS)
    cu_accumulate_kernel(float *sum, const T *grad, int64_t n, bool first)
{
    cu_update_part(blockIdx.x, n, cu_accumulating<T>{sum, grad, first});
}

// sum += grad, of float or rt_bf16. The step's first micro-batch replaces what the last step left.
template <typename T>
static void cu_accumulate(cudaStream_t stream, float *sum, const T *grad, int64_t n, bool first)
{
    CU_LAUNCH(cu_accumulate_kernel<T>, cu_ceil(n, CU_UPDATE_PART), CU_UPDATE_THREADS, stream,
              sum, grad, n, first);
}

// A parameter of n elements; all tensors begin at multiples of 16 bytes. New values are left `next` bytes from the old
// ones, in place where that is 0.
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

struct cu_sgd_options {
    float momentum, decay; // momentum 0: rows have no state
    bool nesterov;
};

struct cu_adam_options {
    float decay;                  // that is not decoupled
    float beta2, new1, new2, eps; // new1 = 1 - beta1, new2 = 1 - beta2
};

// The row that this block has a part of: the last one whose first block is not behind it.
CU_INLINE const cu_update &cu_update_row(const cu_update *rows, int n_rows)
{
    int row = 0, beyond = n_rows;
    while (beyond - row > 1) {
        const int middle = (row + beyond) / 2;
        if (rows[middle].first_block <= (int64_t)blockIdx.x)
            row = middle;
        else
            beyond = middle;
    }
    return rows[row];
}

// New values of N neighbours from element i on, in both types.
template <int N>
CU_INLINE void cu_update_param(const cu_update &u, int64_t i, int64_t next, const float *value)
{
    cu_store<N>(u.param + next + i, value);
    if (u.narrow)
        cu_store<N>(u.narrow + i, value);
}

struct cu_sgd_row {
    cu_update u;
    int64_t next; // in elements
    float lr, clip;
    cu_sgd_options o;

    template <int N> CU_MEMBER void at(int64_t i) const
    {
        float p[N], g[N], m[N];
        cu_load<N>(p, u.param + i);
        cu_load<N>(g, u.grad + i);
        CU_UNROLL
        for (int k = 0; k < N; k++) {
            g[k] = g[k] * clip;
            g[k] = o.decay != 0 ? g[k] + o.decay * p[k] : g[k];
        }
        if (u.state[0]) {
            cu_load<N>(m, u.state[0] + i);
            CU_UNROLL
            for (int k = 0; k < N; k++) {
                m[k] = o.momentum * m[k] + g[k];
                g[k] = o.nesterov ? g[k] + o.momentum * m[k] : m[k];
            }
            cu_store<N>(u.state[0] + next + i, m);
        }
        CU_UNROLL
        for (int k = 0; k < N; k++)
            p[k] = p[k] - lr * g[k];
        cu_update_param<N>(u, i, next, p);
    }
};

CU_KERNEL void __launch_bounds__(CU_UPDATE_THREADS)
    cu_sgd_kernel(const cu_update *rows, int n_rows, int64_t next, const cu_step *step,
                  cu_sgd_options o)
{
    if (step->bad && *step->bad)
        return;
    const cu_update &u = cu_update_row(rows, n_rows);
    cu_update_part(blockIdx.x - u.first_block, u.n,
                   cu_sgd_row{u, next, step->lr, step->clip, o});
}

// torch.optim.SGD. rows[n_rows] and step lie in the device's memory; blocks: of cu_update_blocks; next: in bytes.
[[maybe_unused]] static void cu_sgd(cudaStream_t stream, const cu_update *rows, int n_rows,
                                    int64_t blocks, int64_t next, const cu_step *step,
                                    cu_sgd_options o)
{
    CU_LAUNCH(cu_sgd_kernel, blocks, CU_UPDATE_THREADS, stream, rows, n_rows,
              next / (int64_t)sizeof(float), step, o);
}

struct cu_adam_row {
    cu_update u;
    int64_t next; // in elements
    cu_step step;
    cu_adam_options o;

    template <int N> CU_MEMBER void at(int64_t i) const
    {
        float p[N], g[N], m[N], v[N];
        cu_load<N>(p, u.param + i);
        cu_load<N>(g, u.grad + i);
        cu_load<N>(m, u.state[0] + i);
        cu_load<N>(v, u.state[1] + i);
        CU_UNROLL
        for (int k = 0; k < N; k++) {
            p[k] = p[k] * step.shrink;
            g[k] = g[k] * step.clip;
            g[k] = o.decay != 0 ? g[k] + o.decay * p[k] : g[k];
            m[k] = m[k] + o.new1 * (g[k] - m[k]);
            v[k] = o.beta2 * v[k] + o.new2 * g[k] * g[k];
            p[k] = p[k] - step.size * (m[k] / (sqrtf(v[k]) / step.correction + o.eps));
        }
        cu_store<N>(u.state[0] + next + i, m);
        cu_store<N>(u.state[1] + next + i, v);
        cu_update_param<N>(u, i, next, p);
    }
};

CU_KERNEL void __launch_bounds__(CU_UPDATE_THREADS)
    cu_adam_kernel(const cu_update *rows, int n_rows, int64_t next, const cu_step *step,
                   cu_adam_options o)
{
    if (step->bad && *step->bad)
        return;
    const cu_update &u = cu_update_row(rows, n_rows);
    cu_update_part(blockIdx.x - u.first_block, u.n, cu_adam_row{u, next, *step, o});
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
