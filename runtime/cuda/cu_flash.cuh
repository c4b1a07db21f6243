// Attention on tensor cores, in bf16 with sums in float: softmax(scale q k^T) v for each head, without the matrix of scores
// (Dao, "FlashAttention-2", 2023). q, k, v and o are [n,STEPS,heads,D]. What the library's kernels do where they can.
//
// Four warps have 64 rows of a head, 16 a warp, and walk over tiles of the other operand's rows, which lie in shared memory.
// Every result belongs to one warp, which adds up tiles in ascending order: no atomics, and equal bits in every run.
#ifndef STAGECC_CU_FLASH_H
#define STAGECC_CU_FLASH_H

#include <stagecc/cu_elementwise.cuh>
#include <stagecc/cu_mma.cuh>
#include <stagecc/cu_now.cuh>
#include <stagecc/cu_row.cuh>

struct cu_attention_options {
    int64_t n; // samples
    int heads;
    float scale; // of scores
    // Of dropout behind softmax, element by element of [n,heads,STEPS,STEPS]; else not looked at.
    float rate;
    int64_t stream;
    const rt_now *now;
};

enum { CU_FLASH_ROWS = 64, CU_FLASH_THREADS = 128 };

// What a block knows of its task. With CAUSAL, step i sees steps 0 .. i.
template <int LENGTH, int WIDTH, bool CAUSAL, bool DROPS> struct cu_flash {
    static constexpr int STEPS = LENGTH, D = WIDTH;
    static_assert(D <= 128, "as many sums as there are registers");
    static constexpr int BLOCKS = (int)cu_ceil(STEPS, CU_FLASH_ROWS); // of a head
    static constexpr int TILE = 64, GRAD_TILE = D <= 64 ? 64 : 32;    // rows

    int64_t head, start; // number of the head, and its first element
    int64_t apart;       // elements between its rows
    int block, first;    // first rows of this block and this warp
    float rate;
    uint64_t key = 0;

    CU_MEMBER explicit cu_flash(const cu_attention_options &z) : rate(z.rate)
    {
        head = blockIdx.x / BLOCKS;
        apart = (int64_t)z.heads * D;
        start = head / z.heads * STEPS * apart + head % z.heads * D;
        block = (int)blockIdx.x % BLOCKS * CU_FLASH_ROWS;
        first = block + (int)threadIdx.x / CU_WARP * CU_MMA_ROWS;
        if constexpr (DROPS)
            key = cu_random_key(z.now, z.stream);
    }

    // What dropout leaves of x, which is of this row and column of softmax.
    CU_MEMBER float drop(float x, int row, int column) const
    {
        if constexpr (DROPS)
            x = c_dropout(x, rate, key, (head * STEPS + row) * STEPS + column);
        return x;
    }

    CU_MEMBER static bool sees(int row, int column)
    {
        return row < STEPS && column < STEPS && (!CAUSAL || column <= row);
    }

    // Behind the last step that one of the block's rows sees.
    CU_MEMBER int end() const
    {
        return CAUSAL && block + CU_FLASH_ROWS < STEPS ? block + CU_FLASH_ROWS : STEPS;
    }

    // The first step that sees one of the block's rows.
    CU_MEMBER int begin() const
    {
        return CAUSAL ? block : 0;
    }

    // This warp's rows of a result; row i of the thread's two is multiplied by factor[i].
    CU_MEMBER void store(rt_bf16 *to, const float (&sum)[D / CU_MMA_COLUMNS][4],
                         const float (&factor)[2]) const
    {
        CU_UNROLL
        for (int half = 0; half < 2; half++) {
            const int row = first + cu_mma_row(2 * half);
            CU_UNROLL
            for (int n = 0; n < D / CU_MMA_COLUMNS && row < STEPS; n++) {
                const float pair[2] = {sum[n][2 * half] * factor[half],
                                       sum[n][2 * half + 1] * factor[half]};
                cu_store<2>(to + start + row * apart + n * CU_MMA_COLUMNS + cu_mma_column(0),
                            pair);
            }
        }
    }
};

// The four lanes that have a row in common.
template <typename F> CU_INLINE float cu_quad_reduce(float x, F op)
{
    x = op(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return op(x, __shfl_xor_sync(0xffffffffu, x, 2));
}

// Forward
// ----------------------------------------------------------------------------------------------

// Of the thread's two rows: the largest score so far, and its own part of the sum of exp(score - largest).
struct cu_flash_state {
    float largest[2] = {-__builtin_inff(), -__builtin_inff()}, sum[2] = {};
};

// Scores p of a tile become exp(score - largest); what was added up before shrinks to the new largest one.
template <int P, int N, typename Sees>
CU_INLINE void cu_flash_softmax(float (&p)[P][4], float (&mix)[N][4], cu_flash_state &s,
                                float scale, Sees sees)
{
    float largest[2] = {s.largest[0], s.largest[1]}, shrink[2];
    cu_mma_each<P>([&](int n, int i) {
        const bool seen = sees(cu_mma_row(i), n * CU_MMA_COLUMNS + cu_mma_column(i));
        p[n][i] = seen ? p[n][i] * scale : -__builtin_inff();
        largest[i / 2] = cu_larger()(largest[i / 2], p[n][i]);
    });
    CU_UNROLL
    for (int half = 0; half < 2; half++) {
        largest[half] = cu_quad_reduce(largest[half], cu_larger());
        // NaN in rows behind the last step, which see nothing; they are nowhere stored.
        shrink[half] = rt_exp(s.largest[half] - largest[half]);
        s.largest[half] = largest[half];
        s.sum[half] *= shrink[half];
    }
    cu_mma_each<P>([&](int n, int i) {
        p[n][i] = rt_exp(p[n][i] - largest[i / 2]);
        s.sum[i / 2] += p[n][i];
    });
    cu_mma_each<N>([&](int n, int i) { mix[n][i] *= shrink[i / 2]; });
}

template <typename Flash>
static __global__ void __launch_bounds__(CU_FLASH_THREADS)
    cu_attention_kernel(rt_bf16 *o, float *lse, const rt_bf16 *q, const rt_bf16 *k,
                        const rt_bf16 *v, cu_attention_options z)
{
    constexpr int STEPS = Flash::STEPS, D = Flash::D;
    __shared__ cu_tile<Flash::TILE, D> keys, values;
    const Flash at(z);
    cu_mma_rows<D> queries;
    queries.load(q + at.start, at.apart, at.first, STEPS);
    float mix[D / CU_MMA_COLUMNS][4] = {};
    cu_flash_state state;
    for (int key = 0; key < at.end(); key += Flash::TILE) {
        __syncthreads(); // the last tile may go
        keys.template load<CU_FLASH_THREADS>(k + at.start, at.apart, key, STEPS);
        values.template load<CU_FLASH_THREADS>(v + at.start, at.apart, key, STEPS);
        __syncthreads();
        float p[Flash::TILE / CU_MMA_COLUMNS][4] = {};
        queries.dot(p, keys);
        cu_flash_softmax(p, mix, state, z.scale, [=](int row, int column) {
            return Flash::sees(at.first + row, key + column);
        });
        cu_mma_each<Flash::TILE / CU_MMA_COLUMNS>([&](int n, int i) {
            const int column = key + n * CU_MMA_COLUMNS + cu_mma_column(i);
            p[n][i] = at.drop(p[n][i], at.first + cu_mma_row(i), column);
        });
        cu_mma_mix<Flash::TILE>(mix, p, values);
    }
    float factor[2];
    CU_UNROLL
    for (int half = 0; half < 2; half++) {
        const float sum = cu_quad_reduce(state.sum[half], cu_plus());
        const int row = at.first + cu_mma_row(2 * half);
        factor[half] = 1 / sum;
        if (row < STEPS && cu_mma_column(0) == 0)
            lse[at.head * STEPS + row] = state.largest[half] + rt_log(sum);
    }
    at.store(o, mix, factor);
}

// lse[n,heads,STEPS]: the log of the sum of exp, which the gradient needs.
template <int STEPS, int D, bool CAUSAL, bool DROPS>
static void cu_attention(cudaStream_t stream, rt_bf16 *o, float *lse, const rt_bf16 *q,
                         const rt_bf16 *k, const rt_bf16 *v, const cu_attention_options &z)
{
    typedef cu_flash<STEPS, D, CAUSAL, DROPS> flash;
    CU_LAUNCH((cu_attention_kernel<flash>), z.n * z.heads * flash::BLOCKS, CU_FLASH_THREADS,
              stream, o, lse, q, k, v, z);
}

// Backward. With s = scale q k^T, p = exp(s - lse) and dp = do v^T: ds = p (dp - delta), delta = the sum of do o over a row;
// dq = scale ds k, dk = scale ds^T q, dv = p^T do. Scores are computed once for dq and once for dk and dv.
// ----------------------------------------------------------------------------------------------

// delta[n,heads,STEPS]; a warp takes a row.
template <typename Flash>
static __global__ void __launch_bounds__(cu_team_threads(CU_WARP))
    cu_attention_delta(float *delta, const rt_bf16 *dy, const rt_bf16 *o, int64_t rows,
                       int heads)
{
    constexpr int STEPS = Flash::STEPS, D = Flash::D;
    const int64_t r = cu_team<CU_WARP>(), head = r % heads, step = r / heads % STEPS;
    if (r >= rows)
        return;
    cu_row<rt_bf16, D, CU_WARP> a, b;
    a.load(dy + r * D);
    b.load(o + r * D);
    const double sum = a.product(b);
    if (cu_lane<CU_WARP>() == 0)
        delta[(r / heads / STEPS * heads + head) * STEPS + step] = (float)sum;
}

template <typename Flash>
static __global__ void __launch_bounds__(CU_FLASH_THREADS)
    cu_attention_grad_queries(rt_bf16 *dq, const float *delta, const float *lse,
                              const rt_bf16 *dy, const rt_bf16 *q, const rt_bf16 *k,
                              const rt_bf16 *v, cu_attention_options z)
{
    constexpr int STEPS = Flash::STEPS, D = Flash::D, TILE = Flash::GRAD_TILE;
    __shared__ cu_tile<TILE, D> keys, values;
    const Flash at(z);
    cu_mma_rows<D> queries, grads;
    queries.load(q + at.start, at.apart, at.first, STEPS);
    grads.load(dy + at.start, at.apart, at.first, STEPS);
    float of_lse[2] = {}, of_delta[2] = {};
    CU_UNROLL
    for (int half = 0; half < 2; half++) {
        const int row = at.first + cu_mma_row(2 * half);
        if (row < STEPS) {
            of_lse[half] = lse[at.head * STEPS + row];
            of_delta[half] = delta[at.head * STEPS + row];
        }
    }
    float sum[D / CU_MMA_COLUMNS][4] = {};
    for (int key = 0; key < at.end(); key += TILE) {
        __syncthreads();
        keys.template load<CU_FLASH_THREADS>(k + at.start, at.apart, key, STEPS);
        values.template load<CU_FLASH_THREADS>(v + at.start, at.apart, key, STEPS);
        __syncthreads();
        float p[TILE / CU_MMA_COLUMNS][4] = {}, dp[TILE / CU_MMA_COLUMNS][4] = {};
        queries.dot(p, keys);
        grads.dot(dp, values);
        cu_mma_each<TILE / CU_MMA_COLUMNS>([&](int n, int i) {
            const int row = at.first + cu_mma_row(i);
            const int column = key + n * CU_MMA_COLUMNS + cu_mma_column(i);
            const float e = rt_exp(p[n][i] * z.scale - of_lse[i / 2]);
            const float d = at.drop(dp[n][i], row, column) - of_delta[i / 2];
            p[n][i] = Flash::sees(row, column) ? e * d : 0;
        });
        cu_mma_mix<TILE>(sum, p, keys);
    }
    const float factor[2] = {z.scale, z.scale};
    at.store(dq, sum, factor);
}

// Here rows are keys, and tiles have queries.
template <typename Flash>
static __global__ void __launch_bounds__(CU_FLASH_THREADS)
    cu_attention_grad_keys(rt_bf16 *dk, rt_bf16 *dv, const float *delta, const float *lse,
                           const rt_bf16 *dy, const rt_bf16 *q, const rt_bf16 *k,
                           const rt_bf16 *v, cu_attention_options z)
{
    constexpr int STEPS = Flash::STEPS, D = Flash::D, TILE = Flash::GRAD_TILE;
    __shared__ cu_tile<TILE, D> queries, grads;
    __shared__ float of_lse[TILE], of_delta[TILE];
    const Flash at(z);
    cu_mma_rows<D> keys, values;
    keys.load(k + at.start, at.apart, at.first, STEPS);
    values.load(v + at.start, at.apart, at.first, STEPS);
    float sum_k[D / CU_MMA_COLUMNS][4] = {}, sum_v[D / CU_MMA_COLUMNS][4] = {};
    for (int query = at.begin(); query < STEPS; query += TILE) {
        __syncthreads();
        queries.template load<CU_FLASH_THREADS>(q + at.start, at.apart, query, STEPS);
        grads.template load<CU_FLASH_THREADS>(dy + at.start, at.apart, query, STEPS);
        if ((int)threadIdx.x < TILE && query + (int)threadIdx.x < STEPS) {
            of_lse[threadIdx.x] = lse[at.head * STEPS + query + threadIdx.x];
            of_delta[threadIdx.x] = delta[at.head * STEPS + query + threadIdx.x];
        }
        __syncthreads();
        float p[TILE / CU_MMA_COLUMNS][4] = {}, dp[TILE / CU_MMA_COLUMNS][4] = {};
        keys.dot(p, queries);
        values.dot(dp, grads);
        cu_mma_each<TILE / CU_MMA_COLUMNS>([&](int n, int i) {
            const int column = n * CU_MMA_COLUMNS + cu_mma_column(i);
            const int row = at.first + cu_mma_row(i), from = query + column;
            const bool seen = Flash::sees(from, row);
            const float e = seen ? rt_exp(p[n][i] * z.scale - of_lse[column]) : 0;
            p[n][i] = at.drop(e, from, row);
            dp[n][i] = seen ? e * (at.drop(dp[n][i], from, row) - of_delta[column]) : 0;
        });
        cu_mma_mix<TILE>(sum_v, p, grads);
        cu_mma_mix<TILE>(sum_k, dp, queries);
    }
    const float factor[2] = {z.scale, z.scale}, one[2] = {1, 1};
    if (dk)
        at.store(dk, sum_k, factor);
    if (dv)
        at.store(dv, sum_v, one);
}

// o and lse are those of forward. delta[n,heads,STEPS]: memory for the time being. dq, dk and dv may be NULL.
template <int STEPS, int D, bool CAUSAL, bool DROPS>
static void cu_attention_grad(cudaStream_t stream, rt_bf16 *dq, rt_bf16 *dk, rt_bf16 *dv,
                              float *delta, const rt_bf16 *dy, const rt_bf16 *q,
                              const rt_bf16 *k, const rt_bf16 *v, const rt_bf16 *o,
                              const float *lse, const cu_attention_options &z)
{
    typedef cu_flash<STEPS, D, CAUSAL, DROPS> flash;
    const int64_t blocks = z.n * z.heads * flash::BLOCKS, rows = z.n * z.heads * STEPS;
    CU_LAUNCH((cu_attention_delta<flash>), cu_team_blocks(CU_WARP, rows),
              cu_team_threads(CU_WARP), stream, delta, dy, o, rows, z.heads);
    if (dq)
        CU_LAUNCH((cu_attention_grad_queries<flash>), blocks, CU_FLASH_THREADS, stream, dq,
                  delta, lse, dy, q, k, v, z);
    if (dk || dv)
        CU_LAUNCH((cu_attention_grad_keys<flash>), blocks, CU_FLASH_THREADS, stream, dk, dv,
                  delta, lse, dy, q, k, v, z);
}

#endif
