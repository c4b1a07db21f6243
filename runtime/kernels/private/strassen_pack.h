// How Strassen's algorithm packs its operands: the sums of their quarters, side by side in panels as the loop
// over products reads them. Not installed; strassen.c says more.
#ifndef STAGECC_RUNTIME_STRASSEN_PACK_H
#define STAGECC_RUNTIME_STRASSEN_PACK_H

#include <immintrin.h>
#include <stdint.h>

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

enum {
    VECTOR = 16, // floats
    ROWS = 8,    // of a panel of A; ROWS x WIDE sums fill the registers
    WIDE = 3,    // vectors of a panel of B
    COLUMNS = WIDE * VECTOR,
    BLOCK_ROWS = 384, // of A at most, and columns of it
    BLOCK_DEPTH = 384,
    PRODUCTS = 7,
    AHEAD = 8,                                      // rows that are fetched early
    A_FLOATS = PRODUCTS * BLOCK_ROWS * BLOCK_DEPTH, // of a thread
    B_FLOATS = PRODUCTS * BLOCK_DEPTH * COLUMNS,
};

typedef struct Quarters {
    const float *at[4];
    int64_t row, column; // elements from one to the next
} Quarters;

INLINE int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

// The first `n` elements of a vector.
INLINE __mmask16 mask(int64_t n)
{
    return (__mmask16)(n >= VECTOR ? 0xffff : n <= 0 ? 0 : (1u << n) - 1);
}

static Quarters quarters(const float *x, const int64_t *stride, int64_t rows, int64_t columns,
                         int64_t row, int64_t column)
{
    Quarters q = {.row = stride[2], .column = stride[3]};
    for (int i = 0; i < 4; i++)
        q.at[i] = x + ((i >> 1) * rows + row) * q.row + ((i & 1) * columns + column) * q.column;
    return q;
}

// Panels of A
// -------------------------------------------------------------------------------------------

INLINE void sums_of_a(__m512 out[PRODUCTS], __m512 q[4])
{
    out[0] = _mm512_add_ps(q[0], q[3]);
    out[1] = _mm512_add_ps(q[2], q[3]);
    out[2] = q[0];
    out[3] = q[3];
    out[4] = _mm512_add_ps(q[0], q[1]);
    out[5] = _mm512_sub_ps(q[2], q[0]);
    out[6] = _mm512_sub_ps(q[1], q[3]);
}

INLINE void sums_of_b(__m512 out[PRODUCTS], __m512 q[4])
{
    out[0] = _mm512_add_ps(q[0], q[3]);
    out[1] = q[0];
    out[2] = _mm512_sub_ps(q[1], q[3]);
    out[3] = _mm512_sub_ps(q[2], q[0]);
    out[4] = q[3];
    out[5] = _mm512_add_ps(q[0], q[1]);
    out[6] = _mm512_add_ps(q[2], q[3]);
}

INLINE void load(__m512 out[4], const Quarters *x, int64_t at, __mmask16 m)
{
    UNROLL
    for (int q = 0; q < 4; q++)
        out[q] = _mm512_maskz_loadu_ps(m, x->at[q] + at);
}

INLINE void fetch(const Quarters *x, int64_t at)
{
    for (int q = 0; q < 4; q++)
        __builtin_prefetch(x->at[q] + at, 0, 2);
}

// Rows that lie whole: a panel is [ROWS][depth].
static void pack_rows_of_a(float *to, const Quarters *x, int64_t rows, int64_t depth)
{
    for (int64_t r = 0; r < ROWS; r++)
        for (int64_t i = 0; i < depth; i += VECTOR) {
            __mmask16 inside = mask(depth - i);
            __m512 q[4], out[PRODUCTS];
            load(q, x, r * x->row + i, r < rows ? inside : 0);
            sums_of_a(out, q);
            UNROLL
            for (int p = 0; p < PRODUCTS; p++)
                _mm512_mask_storeu_ps(to + (p * ROWS + r) * depth + i, inside, out[p]);
        }
}

// Columns that lie whole: a panel is [depth][ROWS], and a vector is a row of two.
static void pack_columns_of_a(float *to, const Quarters *x, int64_t rows, int64_t depth)
{
    float *other = to + PRODUCTS * ROWS * depth;
    for (int64_t i = 0; i < depth; i++) {
        __m512 q[4], out[PRODUCTS];
        fetch(x, (i + AHEAD) * x->column);
        load(q, x, i * x->column, mask(rows));
        sums_of_a(out, q);
        UNROLL
        for (int p = 0; p < PRODUCTS; p++) {
            int64_t at = (p * depth + i) * ROWS;
            _mm256_storeu_ps(to + at, _mm512_castps512_ps256(out[p]));
            if (rows > ROWS)
                _mm256_storeu_ps(other + at, _mm512_extractf32x8_ps(out[p], 1));
        }
    }
}

// Panels of B
// -------------------------------------------------------------------------------------------

// Rows that lie whole. to: [PRODUCTS][depth][COLUMNS]
static void pack_rows_of_b(float *to, const Quarters *x, int64_t columns, int64_t depth)
{
    for (int64_t i = 0; i < depth; i++)
        for (int64_t l = 0; l < COLUMNS; l += VECTOR) {
            __m512 q[4], out[PRODUCTS];
            fetch(x, (i + AHEAD) * x->row + l);
            load(q, x, i * x->row + l, mask(columns - l));
            sums_of_b(out, q);
            UNROLL
            for (int p = 0; p < PRODUCTS; p++)
                _mm512_store_ps(to + (p * depth + i) * COLUMNS + l, out[p]);
        }
}

// Pairs of vectors trade every other element, pair, four, eight.
INLINE void transpose(__m512 r[VECTOR])
{
    __m512 t[VECTOR];
    UNROLL
    for (int i = 0; i < VECTOR; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    UNROLL
    for (int i = 0; i < VECTOR; i += 4)
        for (int k = 0; k < 2; k++) {
            __m512d low = _mm512_castps_pd(t[i + k]), high = _mm512_castps_pd(t[i + k + 2]);
            r[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high));
            r[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
        }
    UNROLL
    for (int i = 0; i < 4; i++)
        for (int half = 0; half < VECTOR; half += 8) {
            t[half + i] = _mm512_shuffle_f32x4(r[half + i], r[half + 4 + i], 0x88);
            t[half + 4 + i] = _mm512_shuffle_f32x4(r[half + i], r[half + 4 + i], 0xdd);
        }
    UNROLL
    for (int i = 0; i < 8; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0x88);
        r[8 + i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0xdd);
    }
}

// The same where columns lie whole.
static void pack_columns_of_b(float *to, const Quarters *x, int64_t columns, int64_t depth)
{
    for (int64_t l = 0; l < COLUMNS; l += VECTOR)
        for (int64_t i = 0; i < depth; i += VECTOR) {
            __m512 square[4][VECTOR];
            int64_t at = l * x->column + i;
            for (int q = 0; q < 4; q++) {
                UNROLL
                for (int c = 0; c < VECTOR; c++) {
                    const float *from = x->at[q] + at + c * x->column;
                    __builtin_prefetch(from + 2 * VECTOR, 0, 2);
                    square[q][c] =
                        _mm512_maskz_loadu_ps(l + c < columns ? mask(depth - i) : 0, from);
                }
                transpose(square[q]);
            }
            for (int64_t c = 0; c < least(VECTOR, depth - i); c++) {
                __m512 q[4] = {square[0][c], square[1][c], square[2][c], square[3][c]},
                       out[PRODUCTS];
                sums_of_b(out, q);
                UNROLL
                for (int p = 0; p < PRODUCTS; p++)
                    _mm512_store_ps(to + (p * depth + i + c) * COLUMNS + l, out[p]);
            }
        }
}

#endif
