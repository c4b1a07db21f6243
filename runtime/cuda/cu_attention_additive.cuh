// Additive attention (Bahdanau, Cho and Bengio, "Neural Machine Translation by Jointly Learning to Align and
// Translate", 2015), in float: scores of queries q[n,Q,H] and keys k[n,K,H], y[n,Q,K] = sum of v tanh(q + k).
#ifndef STAGECC_CU_ATTENTION_ADDITIVE_H
#define STAGECC_CU_ATTENTION_ADDITIVE_H

#include <stagecc/cu_columns.cuh>

enum { CU_ADDITIVE_THREADS = 128 };

// A warp takes a score.
template <int Q, int K, int H>
static __global__ void __launch_bounds__(cu_team_threads(CU_WARP))
    cu_additive_score_kernel(float *y, const float *q, const float *k, const float *v,
                             int64_t n)
{
    constexpr int N = cu_width<float>(H);
    const int64_t at = cu_team<CU_WARP>(), query = at / K;
    if (query >= n * Q)
        return;
    const float *a = q + query * H, *b = k + (query / Q * K + at % K) * H;
    double sum = 0;
    for (int i = cu_lane<CU_WARP>() * N; i < H; i += CU_WARP * N) {
        float x[N], other[N], weight[N], part = 0;
        cu_load<N>(x, a + i);
        cu_load<N>(other, b + i);
        cu_load<N>(weight, v + i);
        CU_UNROLL
        for (int j = 0; j < N; j++)
            part += weight[j] * rt_tanh(x[j] + other[j]);
        sum += (double)part;
    }
    sum = cu_team_sum<CU_WARP>(sum);
    if (cu_lane<CU_WARP>() == 0)
        y[at] = (float)sum;
}

template <int Q, int K, int H>
static void cu_additive_score(cudaStream_t stream, float *y, const float *q, const float *k,
                              const float *v, int64_t n)
{
    CU_LAUNCH((cu_additive_score_kernel<Q, K, H>), cu_team_blocks(CU_WARP, n * Q * K),
              cu_team_threads(CU_WARP), stream, y, q, k, v, n);
}

// Whose gradient it is: that of queries sums over keys, that of keys over queries.
template <int Q, int K> struct cu_of_queries {
    static constexpr int OWNS = Q, OTHERS = K, OWN_APART = K,
                         OTHER_APART = 1; // the last two in dy
};

template <int Q, int K> struct cu_of_keys {
    static constexpr int OWNS = K, OTHERS = Q, OWN_APART = 1, OTHER_APART = K;
};

// dx[n,OWNS,H] = sum over the others of dy v (1 - tanh^2): a thread takes a pack of features, sums in float over runs of
// CU_RUN and these in double.
template <typename Side, int H>
static __global__ void __launch_bounds__(CU_ADDITIVE_THREADS)
    cu_additive_side_kernel(float *dx, const float *dy, const float *own, const float *other,
                            const float *v, int64_t n)
{
    constexpr int N = cu_width<float>(H), PACKS = H / N, OTHERS = Side::OTHERS;
    const int64_t pack = (int64_t)blockIdx.x * CU_ADDITIVE_THREADS + threadIdx.x;
    const int64_t row = pack / PACKS, sample = row / Side::OWNS;
    const int i = (int)(pack % PACKS) * N;
    if (sample >= n)
        return;
    dy += sample * Side::OWNS * OTHERS + row % Side::OWNS * Side::OWN_APART;
    other += sample * OTHERS * H + i;
    float x[N], weight[N];
    cu_load<N>(x, own + row * H + i);
    cu_load<N>(weight, v + i);
    double sum[N] = {};
    for (int first = 0; first < OTHERS; first += CU_RUN) {
        const int end = first + CU_RUN < OTHERS ? first + CU_RUN : OTHERS;
        float run[N] = {};
        for (int j = first; j < end; j++) {
            const float d = dy[(int64_t)j * Side::OTHER_APART];
            float t[N];
            cu_load<N>(t, other + (int64_t)j * H);
            CU_UNROLL
            for (int u = 0; u < N; u++) {
                t[u] = rt_tanh(x[u] + t[u]);
                run[u] += d * weight[u] * (1 - t[u] * t[u]);
            }
        }
        CU_UNROLL
        for (int u = 0; u < N; u++)
            sum[u] += (double)run[u];
    }
    CU_UNROLL
    for (int u = 0; u < N; u++)
        x[u] = (float)sum[u];
    cu_store<N>(dx + row * H + i, x);
}

template <typename Side, int H>
static void cu_additive_side(cudaStream_t stream, float *dx, const float *dy, const float *own,
                             const float *other, const float *v, int64_t n)
{
    constexpr int PACKS = H / cu_width<float>(H);
    CU_LAUNCH((cu_additive_side_kernel<Side, H>),
              cu_ceil(n * Side::OWNS * PACKS, CU_ADDITIVE_THREADS), CU_ADDITIVE_THREADS, stream,
              dx, dy, own, other, v, n);
}

// Every score is a row of the sum, which needs one of the two that cu_column_parts takes.
template <int Q, int K, int H>
static __global__ void __launch_bounds__(CU_COLUMN_THREADS)
    cu_additive_score_grad_parts(double *part, const float *dy, const float *q, const float *k,
                                 int64_t scores)
{
    constexpr int N = cu_columns<float, H>::N;
    cu_column_parts<float, H>(part, scores, [=](float(&run)[2][N], int64_t at, int column) {
        const int64_t query = at / K, key = query / Q * K + at % K;
        float a[N], b[N];
        cu_load<N>(a, q + query * H + column);
        cu_load<N>(b, k + key * H + column);
        CU_UNROLL
        for (int i = 0; i < N; i++)
            run[0][i] += dy[at] * rt_tanh(a[i] + b[i]);
    });
}

template <int H>
static __global__ void __launch_bounds__(CU_TOTAL_THREADS)
    cu_additive_score_grad_total(float *dv, const double *part, int64_t parts)
{
    double total[2];
    const int64_t column = cu_column_total(total, part, parts, H);
    if (column >= 0)
        dv[column] = (float)total[0];
}

// dq, dk and dv may be NULL. part: cu_columns<float, H>::part_bytes(n Q K), for dv.
template <int Q, int K, int H>
static void cu_additive_score_grad(cudaStream_t stream, float *dq, float *dk, float *dv,
                                   double *part, const float *dy, const float *q,
                                   const float *k, const float *v, int64_t n)
{
    typedef cu_columns<float, H> shares;
    const int64_t scores = n * Q * K;
    if (dq)
        cu_additive_side<cu_of_queries<Q, K>, H>(stream, dq, dy, q, k, v, n);
    if (dk)
        cu_additive_side<cu_of_keys<Q, K>, H>(stream, dk, dy, k, q, v, n);
    if (!dv)
        return;
    CU_LAUNCH((cu_additive_score_grad_parts<Q, K, H>), shares::blocks(scores),
              CU_COLUMN_THREADS, stream, part, dy, q, k, scores);
    CU_LAUNCH((cu_additive_score_grad_total<H>), cu_total_blocks(H), CU_TOTAL_THREADS, stream,
              dv, part, shares::parts(scores));
}

#endif
