// Part of <stagecc/c.h>: the recurrence of an LSTM (Hochreiter and Schmidhuber 1997, with forget gates).
//   i, f, z, o = sigmoid, sigmoid, tanh, sigmoid of (g + w h)    c' = f c + i z    h' = o tanh(c')
// A row of the state is h beside c. Steps of a sample behind its length leave the state as it is.
//
// The steps wait for each other, so a step's product has as many rows as there are samples: few. It runs from
// w as it lies, without packing. Forward takes dot products of rows of h and of w, a tile of them at a time,
// and goes on to the cells while the tile is in the cache. Backward adds up rows of w. Sums are of floats
// with fused multiply-adds; their order depends on sizes and the width of vectors only.
#ifndef STAGECC_C_LSTM_H
#define STAGECC_C_LSTM_H

// A vector of floats. C_DOT_ROWS x 4 sums of forward and C_BACK_ROWS x C_BACK_WIDE of backward fill the registers.
#if defined __AVX512F__
enum { C_FLOATS = 16, C_DOT_ROWS = 4, C_BACK_ROWS = 8, C_BACK_WIDE = 3 };
typedef __m512 c_floats;
#define C_LOAD(x) _mm512_loadu_ps(x)
#define C_STORE(x, v) _mm512_storeu_ps(x, v)
#define C_SPREAD(x) _mm512_set1_ps(x)
#define C_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#elif defined __FMA__
enum { C_FLOATS = 8, C_DOT_ROWS = 2, C_BACK_ROWS = 4, C_BACK_WIDE = 2 };
typedef __m256 c_floats;
#define C_LOAD(x) _mm256_loadu_ps(x)
#define C_STORE(x, v) _mm256_storeu_ps(x, v)
#define C_SPREAD(x) _mm256_set1_ps(x)
#define C_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#else
enum { C_FLOATS = 1, C_DOT_ROWS = 2, C_BACK_ROWS = 2, C_BACK_WIDE = 2 };
typedef float c_floats;
#define C_LOAD(x) (*(x))
#define C_STORE(x, v) (*(x) = (v))
#define C_SPREAD(x) (x)
#define C_FMA(a, b, c) rt_fma(a, b, c)
#endif

// Inlined with constant numbers of rows and vectors, so that sums stay in registers.
#define C_TILE_OF static inline __attribute__((always_inline, unused))
#define C_UNROLL _Pragma("GCC unroll 8")

enum {
    C_UNITS = 16,
    C_BACK_DEPTH = 256
}; // units whose cells are computed at once; rows of w at a time

typedef struct c_lstm_sizes {
    int64_t n, t, h; // samples, steps, features of h
    int reverse;     // from the last step to the first
} c_lstm_sizes;

// The k-th step that is taken.
C_INLINE int64_t c_lstm_step(const c_lstm_sizes *z, int64_t k)
{
    return z->reverse ? z->t - 1 - k : k;
}

// The sum of all lanes: halves upon each other.
#if defined __FMA__
C_TILE_OF float c_sum_of_8(__m256 v)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
#endif

C_TILE_OF float c_sum_of(c_floats v)
{
#if defined __AVX512F__
    return c_sum_of_8(_mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1)));
#elif defined __FMA__
    return c_sum_of_8(v);
#else
    return v;
#endif
}

// sum[r][q][u] += x[r] w[q]: `rows` rows of h features, and one row of each gate's matrix [h,h].
C_TILE_OF void c_lstm_dots(float sum[][4][C_UNITS], int64_t u, const float *x, int64_t x_row,
                           const float *w, int64_t h, int rows)
{
    c_floats part[C_DOT_ROWS][4];
    int64_t whole = h - h % C_FLOATS;
    C_UNROLL
    for (int r = 0; r < rows; r++)
        C_UNROLL
    for (int q = 0; q < 4; q++)
        part[r][q] = C_SPREAD(0);
    for (int64_t i = 0; i < whole; i += C_FLOATS)
        C_UNROLL
    for (int q = 0; q < 4; q++) {
        c_floats of_w = C_LOAD(w + q * h * h + i);
        C_UNROLL
        for (int r = 0; r < rows; r++)
            part[r][q] = C_FMA(C_LOAD(x + r * x_row + i), of_w, part[r][q]);
    }
    for (int r = 0; r < rows; r++)
        for (int q = 0; q < 4; q++) {
            float total = c_sum_of(part[r][q]);
            for (int64_t i = whole; i < h; i++)
                total = rt_fma(x[r * x_row + i], w[q * h * h + i], total);
            sum[r][q][u] += total;
        }
}

// Where one step's rows of a sample lie, and those of the step before. before NULL: zeros.
typedef struct c_lstm_rows {
    const float *g, *before;
    float *y, *gates; // gates may be NULL
    int64_t g_row, y_row, before_row;
} c_lstm_rows;

// `units` cells of one sample, from the sums of their gates.
C_TILE_OF void c_lstm_cells(float sum[4][C_UNITS], const c_lstm_rows *p, int64_t sample,
                            int64_t first, int64_t units, int64_t h)
{
    const float *c_before = p->before ? p->before + sample * p->before_row + h + first : NULL;
    float *out = p->y + sample * p->y_row + first, old[C_UNITS] = {0};
    if (c_before)
        memcpy(old, c_before, (size_t)units * sizeof *old);
    C_SIMD
    for (int64_t u = 0; u < C_UNITS; u++) {
        sum[0][u] = c_sigmoid(sum[0][u]);
        sum[1][u] = c_sigmoid(sum[1][u]);
        sum[2][u] = rt_tanh(sum[2][u]);
        sum[3][u] = c_sigmoid(sum[3][u]);
        old[u] = sum[1][u] * old[u] + sum[0][u] * sum[2][u];
    }
    memcpy(out + h, old, (size_t)units * sizeof *old);
    for (int q = 0; p->gates && q < 4; q++)
        memcpy(p->gates + sample * p->g_row + q * h + first, sum[q],
               (size_t)units * sizeof *old);
    C_SIMD
    for (int64_t u = 0; u < C_UNITS; u++)
        old[u] = sum[3][u] * rt_tanh(old[u]);
    memcpy(out, old, (size_t)units * sizeof *old);
}

// `units` cells of `rows` samples, from `sample` on.
C_TILE_OF void c_lstm_tile(const c_lstm_rows *p, const float *w, int64_t sample, int64_t first,
                           int64_t units, int64_t h, int rows)
{
    float sum[C_DOT_ROWS][4][C_UNITS] = {{{0}}};
    for (int r = 0; r < rows; r++)
        for (int q = 0; q < 4; q++)
            memcpy(sum[r][q], p->g + (sample + r) * p->g_row + q * h + first,
                   (size_t)units * sizeof(float));
    for (int64_t u = 0; p->before && u < units; u++)
        c_lstm_dots(sum, u, p->before + sample * p->before_row, p->before_row,
                    w + (first + u) * h, h, rows);
    for (int r = 0; r < rows; r++)
        c_lstm_cells(sum[r], p, sample + r, first, units, h);
}

C_TILE_OF void c_lstm_units(const c_lstm_rows *p, const float *w, int64_t n, int64_t first,
                            int64_t units, int64_t h)
{
    int64_t whole = n - n % C_DOT_ROWS;
    for (int64_t i = 0; i < whole; i += C_DOT_ROWS)
        c_lstm_tile(p, w, i, first, units, h, C_DOT_ROWS);
    for (int64_t i = whole; i < n; i++)
        c_lstm_tile(p, w, i, first, units, h, 1);
}

// A step that is behind the sample's length.
C_INLINE void c_lstm_keep(const c_lstm_rows *p, int64_t sample, int64_t h)
{
    float *out = p->y + sample * p->y_row;
    if (p->before)
        memcpy(out, p->before + sample * p->before_row, (size_t)(2 * h) * sizeof *out);
    else
        memset(out, 0, (size_t)(2 * h) * sizeof *out);
    if (p->gates)
        memset(p->gates + sample * p->g_row, 0, (size_t)(4 * h) * sizeof *out);
}

// g[n,t,4h], w[4h,h], s0[n,2h] or NULL for zeros, lengths[n] or NULL -> y[n,t,2h], gates[n,t,4h] or NULL.
C_KERNEL void c_lstm(float *y, float *gates, const float *g, const float *w, const float *s0,
                     const int32_t *lengths, const c_lstm_sizes *z)
{
    int64_t h = z->h;
    for (int64_t k = 0; k < z->t; k++) {
        int64_t at = c_lstm_step(z, k), old = k ? c_lstm_step(z, k - 1) : 0;
        c_lstm_rows p = {.g = g + at * 4 * h,
                         .before = k ? y + old * 2 * h : s0,
                         .y = y + at * 2 * h,
                         .gates = gates ? gates + at * 4 * h : NULL,
                         .g_row = z->t * 4 * h,
                         .y_row = z->t * 2 * h,
                         .before_row = k ? z->t * 2 * h : 2 * h};
        C_PARALLEL
        for (int64_t first = 0; first < h; first += C_UNITS)
            if (first + C_UNITS <= h)
                c_lstm_units(&p, w, z->n, first, C_UNITS, h);
            else
                c_lstm_units(&p, w, z->n, first, h - first, h);
        for (int64_t i = 0; lengths && i < z->n; i++)
            if (at >= lengths[i])
                c_lstm_keep(&p, i, h);
    }
}

// Backward
// ----------------------------------------------------------------------------------------------

// y[r][..] += x[r][k] w[k][..] over `depth` rows of w, `wide` vectors of it.
C_TILE_OF void c_lstm_add(float *y, int64_t y_row, const float *x, int64_t x_row,
                          const float *w, int64_t h, int64_t depth, int rows, int wide)
{
    c_floats sum[C_BACK_ROWS][C_BACK_WIDE];
    C_UNROLL
    for (int r = 0; r < rows; r++)
        C_UNROLL
    for (int v = 0; v < wide; v++)
        sum[r][v] = C_LOAD(y + r * y_row + v * C_FLOATS);
    for (int64_t k = 0; k < depth; k++) {
        c_floats of_w[C_BACK_WIDE];
        C_UNROLL
        for (int v = 0; v < wide; v++) {
            of_w[v] = C_LOAD(w + k * h + v * C_FLOATS);
            __builtin_prefetch(w + (k + 8) * h + v * C_FLOATS);
        }
        C_UNROLL
        for (int r = 0; r < rows; r++) {
            c_floats of_x = C_SPREAD(x[r * x_row + k]);
            C_UNROLL
            for (int v = 0; v < wide; v++)
                sum[r][v] = C_FMA(of_x, of_w[v], sum[r][v]);
        }
    }
    C_UNROLL
    for (int r = 0; r < rows; r++)
        C_UNROLL
    for (int v = 0; v < wide; v++)
        C_STORE(y + r * y_row + v * C_FLOATS, sum[r][v]);
}

// The same for all n rows.
C_TILE_OF void c_lstm_add_all(float *y, int64_t y_row, const float *x, int64_t x_row,
                              const float *w, int64_t h, int64_t depth, int64_t n, int wide)
{
    int64_t whole = n - n % C_BACK_ROWS;
    for (int64_t i = 0; i < whole; i += C_BACK_ROWS)
        c_lstm_add(y + i * y_row, y_row, x + i * x_row, x_row, w, h, depth, C_BACK_ROWS, wide);
    for (int64_t i = whole; i < n; i++)
        c_lstm_add(y + i * y_row, y_row, x + i * x_row, x_row, w, h, depth, 1, wide);
}

C_INLINE void c_lstm_add_columns(float *y, int64_t y_row, const float *x, int64_t x_row,
                                 const float *w, int64_t h, int64_t n, int64_t columns)
{
    for (int64_t k = 0; k < 4 * h; k += C_BACK_DEPTH) {
        int64_t depth = 4 * h - k < C_BACK_DEPTH ? 4 * h - k : C_BACK_DEPTH, at = 0;
        const float *rows = w + k * h, *of_x = x + k;
        if (columns == C_BACK_WIDE * C_FLOATS) {
            c_lstm_add_all(y, y_row, of_x, x_row, rows, h, depth, n, C_BACK_WIDE);
            continue;
        }
        for (; at + C_FLOATS <= columns; at += C_FLOATS)
            c_lstm_add_all(y + at, y_row, of_x, x_row, rows + at, h, depth, n, 1);
        for (; at < columns; at++)
            for (int64_t i = 0; i < n; i++)
                for (int64_t j = 0; j < depth; j++)
                    y[i * y_row + at] =
                        rt_fma(of_x[i * x_row + j], rows[j * h + at], y[i * y_row + at]);
    }
}

// y[n,h] += x[n,4h] w[4h,h]; rows of y and x are so many elements apart.
C_KERNEL void c_lstm_product(float *y, int64_t y_row, const float *x, int64_t x_row,
                             const float *w, int64_t n, int64_t h)
{
    enum { PANEL = C_BACK_WIDE * C_FLOATS };
    C_PARALLEL
    for (int64_t at = 0; at < h; at += PANEL)
        c_lstm_add_columns(y + at, y_row, x, x_row, w + at, h, n,
                           h - at < PANEL ? h - at : PANEL);
}

// The gradient of one sample's state at a step, da[0..2h] + dy, becomes those of its gates, da, and of the
// c before it, back[h..2h]. back and before may be NULL; back's first half begins at zero.
C_INLINE void c_lstm_back(float *da, float *back, const float *dy, const float *gates,
                          const float *state, const float *before, int64_t h)
{
    C_SIMD
    for (int64_t j = 0; j < h; j++) {
        float i = gates[j], f = gates[h + j], z = gates[2 * h + j], o = gates[3 * h + j];
        float t = rt_tanh(state[h + j]), dh = da[j] + dy[j];
        float dc = da[h + j] + dy[h + j] + dh * o * (1 - t * t);
        float c = before ? before[h + j] : 0;
        da[j] = dc * z * (i * (1 - i));
        da[h + j] = dc * c * (f * (1 - f));
        da[2 * h + j] = dc * i * (1 - z * z);
        da[3 * h + j] = dh * t * (o * (1 - o));
        if (back) {
            back[j] = 0;
            back[h + j] = dc * f;
        }
    }
}

C_INLINE void c_lstm_pass(float *da, float *back, const float *dy, int64_t h)
{
    for (int64_t j = 0; back && j < 2 * h; j++)
        back[j] = da[j] + dy[j];
    memset(da, 0, (size_t)(4 * h) * sizeof *da);
}

// dg[n,t,4h]; ds0[n,2h] and hs[n,t,h], the h before each step, may be NULL. What is to be passed back to a
// step waits in its row of dg, until the step overwrites it with its own gradients.
C_KERNEL void c_lstm_grad(float *dg, float *ds0, float *hs, const float *dy, const float *gates,
                          const float *y, const float *w, const float *s0,
                          const int32_t *lengths, const c_lstm_sizes *z)
{
    int64_t h = z->h, row = z->t * 4 * h;
    for (int64_t k = z->t; k-- > 0;) {
        int64_t at = c_lstm_step(z, k), old = k ? c_lstm_step(z, k - 1) : 0;
        int64_t back_row = k ? row : 2 * h, before_row = k ? z->t * 2 * h : 2 * h;
        float *to = k ? dg + old * 4 * h : ds0;
        const float *from = k ? y + old * 2 * h : s0;
        C_PARALLEL
        for (int64_t i = 0; i < z->n; i++) {
            int64_t step = i * z->t + at;
            float *da = dg + step * 4 * h, *back = to ? to + i * back_row : NULL;
            const float *before = from ? from + i * before_row : NULL;
            if (k == z->t - 1)
                memset(da, 0, (size_t)(2 * h) * sizeof *da);
            if (hs && before)
                memcpy(hs + step * h, before, (size_t)h * sizeof *hs);
            else if (hs)
                memset(hs + step * h, 0, (size_t)h * sizeof *hs);
            if (lengths && at >= lengths[i])
                c_lstm_pass(da, back, dy + step * 2 * h, h);
            else
                c_lstm_back(da, back, dy + step * 2 * h, gates + step * 4 * h, y + step * 2 * h,
                            before, h);
        }
        if (to)
            c_lstm_product(to, back_row, dg + at * 4 * h, row, w, z->n, h);
    }
}

#endif
