// The recurrence of an LSTM (Hochreiter and Schmidhuber 1997, with forget gates), in float:
//   i, f, z, o = sigmoid, sigmoid, tanh, sigmoid of (g + w h)    c' = f c + i z    h' = o tanh(c')
// A row of the state is h beside c. Steps of a sample behind its length leave the state as it is.
//
// The steps wait for each other. Each is a product, which is a library's, and a launch for what is element by element
// around it, in the c backend's order of operations.
#ifndef STAGECC_CU_LSTM_H
#define STAGECC_CU_LSTM_H

#include <stagecc/cu_elementwise.cuh>

enum { CU_LSTM_THREADS = 128 };

struct cu_lstm_sizes {
    int64_t n, t; // samples, steps
    bool reverse; // from the last step to the first
};

// Rows of a step, one a sample, so many elements apart; at NULL: zeros, or not wanted.
template <typename T> struct cu_lstm_rows {
    T *at;
    int64_t apart;

    CU_MEMBER T *of(int64_t sample) const
    {
        return at + sample * apart;
    }
};

typedef cu_lstm_rows<float> cu_lstm_out;
typedef cu_lstm_rows<const float> cu_lstm_in;

// The k-th step that is taken, as a number within the sample.
static inline int64_t cu_lstm_step(const cu_lstm_sizes &z, int64_t k)
{
    return z.reverse ? z.t - 1 - k : k;
}

// Rows of `wide` elements of that step, in x[n,t,wide].
template <typename T>
static cu_lstm_rows<T> cu_lstm_at(T *x, const cu_lstm_sizes &z, int64_t k, int64_t wide)
{
    return {x ? x + cu_lstm_step(z, k) * wide : x, z.t * wide};
}

// The state before the k-th step.
template <int H>
static cu_lstm_in cu_lstm_before(const float *y, const float *s0, const cu_lstm_sizes &z,
                                 int64_t k)
{
    return k ? cu_lstm_at(y, z, k - 1, 2 * H) : cu_lstm_in{s0, 2 * H};
}

// The pack of features of a thread.
template <int H> struct cu_lstm_pack {
    static constexpr int N = cu_width<float>(H), PACKS = H / N;
    int64_t sample;
    int j; // the first feature

    CU_MEMBER cu_lstm_pack()
    {
        const int64_t pack = (int64_t)blockIdx.x * CU_LSTM_THREADS + threadIdx.x;
        sample = pack / PACKS;
        j = (int)(pack % PACKS) * N;
    }
    static int64_t blocks(int64_t n)
    {
        return cu_ceil(n * PACKS, CU_LSTM_THREADS);
    }
};

// The sums of gates become gates, and c the one behind them.
template <int N>
CU_INLINE void cu_lstm_forward(float (&gate)[4][N], float (&h)[N], float (&c)[N])
{
    CU_UNROLL
    for (int u = 0; u < N; u++) {
        gate[0][u] = c_sigmoid(gate[0][u]);
        gate[1][u] = c_sigmoid(gate[1][u]);
        gate[2][u] = rt_tanh(gate[2][u]);
        gate[3][u] = c_sigmoid(gate[3][u]);
        c[u] = gate[1][u] * c[u] + gate[0][u] * gate[2][u];
        h[u] = gate[3][u] * rt_tanh(c[u]);
    }
}

// One step forward, from sums = g + w h; sums may be gates.
template <int H>
static __global__ void __launch_bounds__(CU_LSTM_THREADS)
    cu_lstm_cells(cu_lstm_out y, cu_lstm_out gates, cu_lstm_in sums, cu_lstm_in before,
                  const int32_t *lengths, int64_t step, int64_t n)
{
    constexpr int N = cu_lstm_pack<H>::N;
    const cu_lstm_pack<H> p;
    if (p.sample >= n)
        return;
    float h[N] = {}, c[N] = {}, gate[4][N] = {};
    if (before.at)
        cu_load<N>(c, before.of(p.sample) + H + p.j);
    if (!lengths || step < lengths[p.sample]) {
        CU_UNROLL
        for (int q = 0; q < 4; q++)
            cu_load<N>(gate[q], sums.of(p.sample) + q * H + p.j);
        cu_lstm_forward(gate, h, c);
    } else if (before.at) {
        cu_load<N>(h, before.of(p.sample) + p.j);
    }
    cu_store<N>(y.of(p.sample) + p.j, h);
    cu_store<N>(y.of(p.sample) + H + p.j, c);
    if (!gates.at)
        return;
    CU_UNROLL
    for (int q = 0; q < 4; q++)
        cu_store<N>(gates.of(p.sample) + q * H + p.j, gate[q]);
}

// g[n,t,4H], w[4H,H], s0[n,2H] or NULL for zeros, lengths[n] or NULL -> y[n,t,2H], gates[n,t,4H] or NULL; then
// room[n,4H] is memory for the time being. w is product's business: product(sums, before, g) has to leave
// g[n,4H] + before[n,H] w^T in sums[n,4H].
template <int H, typename F>
static void cu_lstm(cudaStream_t stream, float *y, float *gates, float *room, const float *g,
                    const float *s0, const int32_t *lengths, const cu_lstm_sizes &z, F product)
{
    for (int64_t k = 0; k < z.t; k++) {
        const cu_lstm_in before = cu_lstm_before<H>(y, s0, z, k);
        const cu_lstm_out kept = cu_lstm_at(gates, z, k, 4 * H);
        cu_lstm_in sums = cu_lstm_at(g, z, k, 4 * H);
        if (before.at) {
            const cu_lstm_out to = gates ? kept : cu_lstm_out{room, 4 * H};
            product(to, before, sums);
            sums = {to.at, to.apart};
        }
        CU_LAUNCH((cu_lstm_cells<H>), cu_lstm_pack<H>::blocks(z.n), CU_LSTM_THREADS, stream,
                  cu_lstm_at(y, z, k, 2 * H), kept, sums, before, lengths, cu_lstm_step(z, k),
                  z.n);
    }
}

// Backward
// ----------------------------------------------------------------------------------------------

// Gates become their gradients; grad, of h and c, becomes what is left of it for the state before: nothing for h, which
// is the product's, and the forget gate's share for c.
template <int N>
CU_INLINE void cu_lstm_backward(float (&gate)[4][N], float (&grad)[2][N], const float (&c)[N],
                                const float (&before)[N])
{
    CU_UNROLL
    for (int u = 0; u < N; u++) {
        const float i = gate[0][u], f = gate[1][u], z = gate[2][u], o = gate[3][u];
        const float t = rt_tanh(c[u]), dh = grad[0][u], dc = grad[1][u] + dh * o * (1 - t * t);
        gate[0][u] = dc * z * (i * (1 - i));
        gate[1][u] = dc * before[u] * (f * (1 - f));
        gate[2][u] = dc * i * (1 - z * z);
        gate[3][u] = dh * t * (o * (1 - o));
        grad[0][u] = 0;
        grad[1][u] = dc * f;
    }
}

// Tensors of a step; back: what is passed on to the step before, whose first half a product then adds to.
struct cu_lstm_step_grad {
    cu_lstm_out da, back, h;
    cu_lstm_in dy, gates, state, before;
};

// The gradient of the state, da[0..2H] (zero at the last step) + dy, becomes those of the gates, da, and of the c before
// it, back[H..2H].
template <int H>
static __global__ void __launch_bounds__(CU_LSTM_THREADS)
    cu_lstm_back(cu_lstm_step_grad at, const int32_t *lengths, int64_t step, bool last,
                 int64_t n)
{
    constexpr int N = cu_lstm_pack<H>::N;
    const cu_lstm_pack<H> p;
    if (p.sample >= n)
        return;
    float *da = at.da.of(p.sample) + p.j;
    float grad[2][N] = {}, more[N], state[2][N] = {}, gate[4][N] = {}, c[N];
    CU_UNROLL
    for (int half = 0; half < 2; half++) {
        if (!last)
            cu_load<N>(grad[half], da + half * H);
        cu_load<N>(more, at.dy.of(p.sample) + half * H + p.j);
        CU_UNROLL
        for (int u = 0; u < N; u++)
            grad[half][u] += more[u];
        if (at.before.at)
            cu_load<N>(state[half], at.before.of(p.sample) + half * H + p.j);
    }
    if (at.h.at)
        cu_store<N>(at.h.of(p.sample) + p.j, state[0]);
    if (!lengths || step < lengths[p.sample]) {
        CU_UNROLL
        for (int q = 0; q < 4; q++)
            cu_load<N>(gate[q], at.gates.of(p.sample) + q * H + p.j);
        cu_load<N>(c, at.state.of(p.sample) + H + p.j);
        cu_lstm_backward(gate, grad, c, state[1]);
    }
    CU_UNROLL
    for (int q = 0; q < 4; q++)
        cu_store<N>(da + q * H, gate[q]);
    CU_UNROLL
    for (int half = 0; at.back.at && half < 2; half++)
        cu_store<N>(at.back.of(p.sample) + half * H + p.j, grad[half]);
}

// dg[n,t,4H]; ds0[n,2H] and h[n,t,H], the h before each step, may be NULL. What is to be passed back to a step waits in its
// row of dg, until the step overwrites it with its own gradients. product(back, da) has to add
// da[n,4H] w to back[n,H].
template <int H, typename F>
static void cu_lstm_grad(cudaStream_t stream, float *dg, float *ds0, float *h, const float *dy,
                         const float *gates, const float *y, const float *s0,
                         const int32_t *lengths, const cu_lstm_sizes &z, F product)
{
    for (int64_t k = z.t; k-- > 0;) {
        const cu_lstm_out da = cu_lstm_at(dg, z, k, 4 * H);
        const cu_lstm_out back = k ? cu_lstm_at(dg, z, k - 1, 4 * H) : cu_lstm_out{ds0, 2 * H};
        const cu_lstm_step_grad at = {da,
                                      back,
                                      cu_lstm_at(h, z, k, H),
                                      cu_lstm_at(dy, z, k, 2 * H),
                                      cu_lstm_at(gates, z, k, 4 * H),
                                      cu_lstm_at(y, z, k, 2 * H),
                                      cu_lstm_before<H>(y, s0, z, k)};
        CU_LAUNCH((cu_lstm_back<H>), cu_lstm_pack<H>::blocks(z.n), CU_LSTM_THREADS, stream, at,
                  lengths, cu_lstm_step(z, k), k == z.t - 1, z.n);
        if (back.at)
            product(back, cu_lstm_in{da.at, da.apart});
    }
}

#endif
