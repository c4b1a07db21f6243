// Part of <stagecc/ref.h>: the recurrence of an LSTM (Hochreiter and Schmidhuber 1997, with forget gates).
// The part of the gates that comes from the input is given; with h and c of the step before,
//   i, f, z, o = sigmoid, sigmoid, tanh, sigmoid of (g + w h)    c' = f c + i z    h' = o tanh(c')
// A row of the state is h beside c. Steps of a sample behind its length leave the state as it is.
#ifndef STAGECC_REF_LSTM_H
#define STAGECC_REF_LSTM_H

typedef struct ref_lstm_sizes {
    int64_t n, t, h; // samples, steps, features of h
    int reverse;     // from the last step to the first
} ref_lstm_sizes;

// Row of the k-th step that is taken.
static inline int64_t ref_lstm_row(const ref_lstm_sizes *z, int64_t sample, int64_t k)
{
    return sample * z->t + (z->reverse ? z->t - 1 - k : k);
}

// The state before the k-th step; NULL: zeros.
static inline const real *ref_lstm_before(const ref_lstm_sizes *z, const real *y,
                                          const real *s0, int64_t sample, int64_t k)
{
    if (k)
        return y + ref_lstm_row(z, sample, k - 1) * 2 * z->h;
    return s0 ? s0 + sample * 2 * z->h : NULL;
}

static inline bool ref_lstm_counts(const ref_lstm_sizes *z, const int32_t *lengths,
                                   int64_t sample, int64_t k)
{
    return !lengths || ref_lstm_row(z, 0, k) < lengths[sample];
}

static inline double ref_sigmoid_of(double x)
{
    return 1 / (1 + exp(-x));
}

static inline double ref_lstm_gate(const real *g, const real *w, const real *before, int64_t h)
{
    double sum = (double)*g;
    for (int64_t i = 0; before && i < h; i++)
        sum += (double)before[i] * (double)w[i];
    return sum;
}

static inline void ref_lstm_cell(real *out, real *gates, const double a[4], double c_before,
                                 int64_t j, int64_t h)
{
    const double gate[4] = {ref_sigmoid_of(a[0]), ref_sigmoid_of(a[1]), tanh(a[2]),
                            ref_sigmoid_of(a[3])};
    double c = gate[1] * c_before + gate[0] * gate[2];
    out[j] = (real)(gate[3] * tanh(c));
    out[h + j] = (real)c;
    for (int q = 0; gates && q < 4; q++)
        gates[q * h + j] = (real)gate[q];
}

// g[n,t,4h], w[4h,h], s0[n,2h] or NULL for zeros, lengths[n] or NULL -> y[n,t,2h], gates[n,t,4h] or NULL.
REF void ref_lstm(real *y, real *gates, const real *g, const real *w, const real *s0,
                  const int32_t *lengths, const ref_lstm_sizes *z)
{
    int64_t h = z->h;
    for (int64_t i = 0; i < z->n * z->t; i++) {
        int64_t sample = i / z->t, k = i % z->t, row = ref_lstm_row(z, sample, k);
        const real *before = ref_lstm_before(z, y, s0, sample, k);
        real *out = y + row * 2 * h, *kept = gates ? gates + row * 4 * h : NULL;
        bool counts = ref_lstm_counts(z, lengths, sample, k);
        for (int64_t j = 0; j < h && counts; j++) {
            double a[4];
            for (int64_t q = 0; q < 4; q++)
                a[q] =
                    ref_lstm_gate(g + row * 4 * h + q * h + j, w + (q * h + j) * h, before, h);
            ref_lstm_cell(out, kept, a, before ? (double)before[h + j] : 0, j, h);
        }
        for (int64_t j = 0; j < 2 * h && !counts; j++)
            out[j] = before ? before[j] : 0;
        for (int64_t j = 0; j < 4 * h && !counts && kept; j++)
            kept[j] = 0;
    }
}

// One step back: the gradient of its state (rest, and dy) becomes those of the gates, da, and of the c
// before it, back[h + j].
static inline void ref_lstm_back(real *da, real *back, const real *rest, const real *dy,
                                 const real *gates, const real *state, const real *before,
                                 int64_t h)
{
    for (int64_t j = 0; j < h; j++) {
        double i = (double)gates[j], f = (double)gates[h + j], z = (double)gates[2 * h + j],
               o = (double)gates[3 * h + j], t = tanh((double)state[h + j]),
               c = before ? (double)before[h + j] : 0;
        double dh = (double)rest[j] + (double)dy[j];
        double dc = (double)rest[h + j] + (double)dy[h + j] + dh * o * (1 - t * t);
        da[j] = (real)(dc * z * i * (1 - i));
        da[h + j] = (real)(dc * c * f * (1 - f));
        da[2 * h + j] = (real)(dc * i * (1 - z * z));
        da[3 * h + j] = (real)(dh * t * o * (1 - o));
        if (back)
            back[h + j] = (real)(dc * f);
    }
}

// dg[n,t,4h]; ds0[n,2h] and hs[n,t,h], the h before each step, may be NULL. What is to be passed back to a
// step waits in its row of dg, until the step overwrites it with its own gradients.
REF void ref_lstm_grad(real *dg, real *ds0, real *hs, const real *dy, const real *gates,
                       const real *y, const real *w, const real *s0, const int32_t *lengths,
                       const ref_lstm_sizes *z)
{
    int64_t h = z->h;
    for (int64_t i = 0; i < z->n * z->t; i++) {
        int64_t sample = i / z->t, k = z->t - 1 - i % z->t, row = ref_lstm_row(z, sample, k);
        const real *before = ref_lstm_before(z, y, s0, sample, k);
        real *da = dg + row * 4 * h, *back = ds0 ? ds0 + sample * 2 * h : NULL;
        if (k)
            back = dg + ref_lstm_row(z, sample, k - 1) * 4 * h;
        if (k == z->t - 1)
            memset(da, 0, (size_t)(2 * h) * sizeof *da);
        for (int64_t j = 0; hs && j < h; j++)
            hs[row * h + j] = before ? before[j] : 0;
        if (!ref_lstm_counts(z, lengths, sample, k)) {
            for (int64_t j = 0; back && j < 2 * h; j++)
                back[j] = da[j] + dy[row * 2 * h + j];
            memset(da, 0, (size_t)(4 * h) * sizeof *da);
            continue;
        }
        ref_lstm_back(da, back, da, dy + row * 2 * h, gates + row * 4 * h, y + row * 2 * h,
                      before, h);
        if (back)
            ref_row(back, da, 1, w, h, 1, h, 4 * h);
    }
}

#endif
