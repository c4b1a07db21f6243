// Large matrix products by one level of Strassen's algorithm: 7 products of quarters instead of 8.
//
//   P0 = (A0 + A3) (B0 + B3)    C0 = P0 + P3 - P4 + P6        quarters: 0 1
//   P1 = (A2 + A3)  B0          C1 = P2 + P4                            2 3
//   P2 =  A0       (B1 - B3)    C2 = P1 + P3
//   P3 =  A3       (B2 - B0)    C3 = P0 - P1 + P2 + P5
//   P4 = (A0 + A1)  B3
//   P5 = (A2 - A0) (B0 + B1)    The sums cost little because they are formed on the way of the operands
//   P6 = (A1 - A3) (B2 + B3)    into packed panels, and each product goes right from registers to its quarters.
//
// A block of A is packed whole, in panels of ROWS rows, and stays in the second or third cache; B is packed a
// panel of COLUMNS columns at a time, which stays in the second. Threads share out B's panels, and each packs A for
// itself: to wait for another's half takes longer. Every element of C is the same sum with any number of
// them.
#include "runtime/kernels/private/strassen.h"

#if defined __AVX512F__ && defined __AVX512DQ__
#include "runtime/kernels/private/strassen_pack.h"

#include <omp.h>

typedef struct Job {
    const rt_product *p;
    const float *a, *b, *bias;
    float *c;
    int64_t m, n, k; // of a quarter
} Job;

typedef struct Block { // of a quarter of A, packed
    int64_t first_row, rows, first_column, depth;
    float *packed; // [panels][PRODUCTS][ROWS x depth]
} Block;

typedef struct Target { // where a product is added
    int quarter;
    bool minus, first; // first: nothing of this quarter is there yet
} Target;

static const struct {
    int n;
    Target to[2];
} targets[PRODUCTS] = {
    {2, {{0, false, true}, {3, false, true}}},
    {2, {{2, false, true}, {3, true, false}}},
    {2, {{1, false, true}, {3, false, false}}},
    {2, {{0, false, false}, {2, false, false}}},
    {2, {{0, true, false}, {1, false, false}}},
    {1, {{3, false, false}}},
    {1, {{0, false, false}}},
};

// How long the pieces are where `whole` is cut into as few as can be, each a multiple of `step`.
static int64_t piece(int64_t whole, int64_t most, int64_t step)
{
    int64_t n = (whole + most - 1) / most, even = (whole + n - 1) / n;
    return (even + step - 1) / step * step;
}

static void pack_a(const Job *j, const Block *b)
{
    int64_t panel = b->depth * ROWS * PRODUCTS;
    float *to = b->packed;
    bool lie_whole = j->p->a[3] == 1;
    int64_t step = lie_whole ? ROWS : 2 * ROWS;
    for (int64_t r = 0; r < b->rows; r += step, to += panel * (step / ROWS)) {
        Quarters x = quarters(j->a, j->p->a, j->m, j->k, b->first_row + r, b->first_column);
        if (lie_whole)
            pack_rows_of_a(to, &x, b->rows - r, b->depth);
        else
            pack_columns_of_a(to, &x, b->rows - r, b->depth);
    }
}

// Products of panels
// --------------------------------------------------------------------------------

typedef struct Tile { // of C
    float *at;
    int64_t row; // elements from one to the next
    int64_t rows, columns;
    const float *bias; // of its first column, where it is to be added; NULL
    bool minus, fresh; // fresh: what lies there does not count
} Tile;

INLINE __m512 with_sign(__m512 x, bool minus)
{
    return minus ? _mm512_sub_ps(_mm512_setzero_ps(), x) : x;
}

// c = old + x in the vector at column l of row r.
INLINE void add_vector(const Tile *t, int64_t r, int64_t l, __m512 x, __mmask16 m)
{
    float *c = t->at + r * t->row + l;
    __m512 old = t->fresh ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(m, c);
    if (t->bias)
        old = _mm512_add_ps(old, _mm512_maskz_loadu_ps(m, t->bias + l));
    _mm512_mask_storeu_ps(c, m, _mm512_add_ps(old, with_sign(x, t->minus)));
}

INLINE void add_sums(const Tile *t, __m512 sum[ROWS][WIDE])
{
    bool whole = t->rows >= ROWS && t->columns >= COLUMNS;
    UNROLL
    for (int64_t r = 0; r < ROWS; r++)
        UNROLL
    for (int64_t v = 0; v < WIDE; v++)
        if (whole)
            add_vector(t, r, v * VECTOR, sum[r][v], 0xffff);
        else if (r < t->rows)
            add_vector(t, r, v * VECTOR, sum[r][v], mask(t->columns - v * VECTOR));
}

typedef struct Left { // a panel of A
    const float *at;
    int64_t row, column; // elements from one to the next
} Left;

// The product of a panel of A and one of B.
INLINE void multiply(Left left, const float *b, int64_t depth, const Tile tiles[2], int n_tiles)
{
    const float *a = left.at;
    __m512 sum[ROWS][WIDE];
    UNROLL
    for (int64_t r = 0; r < ROWS; r++)
        UNROLL
    for (int64_t v = 0; v < WIDE; v++)
        sum[r][v] = _mm512_setzero_ps();
    for (int64_t i = 0; i < depth; i++, a += left.column, b += COLUMNS) {
        __m512 right[WIDE];
        UNROLL
        for (int64_t v = 0; v < WIDE; v++)
            right[v] = _mm512_load_ps(b + v * VECTOR);
        UNROLL
        for (int64_t r = 0; r < ROWS; r++) {
            __m512 x = _mm512_set1_ps(a[r * left.row]);
            UNROLL
            for (int64_t v = 0; v < WIDE; v++)
                sum[r][v] = _mm512_fmadd_ps(x, right[v], sum[r][v]);
        }
    }
    add_sums(&tiles[0], sum);
    if (n_tiles > 1)
        add_sums(&tiles[1], sum);
}

static void fetch_tile(const Tile *t)
{
    for (int64_t r = 0; r < least(t->rows, ROWS); r++)
        for (int64_t v = 0; v < WIDE; v++)
            __builtin_prefetch(t->at + r * t->row + v * VECTOR, 1, 2);
}

static Tile tile_of(const Job *j, const Block *b, Target to, int64_t row, int64_t column)
{
    const rt_product *p = j->p;
    bool first = to.first && b->first_column == 0;
    int64_t c = (to.quarter & 1) * j->n + column;
    int64_t r = (to.quarter >> 1) * j->m + b->first_row + row;
    return (Tile){.at = j->c + r * p->c[2] + c,
                  .row = p->c[2],
                  .rows = b->rows - row,
                  .columns = j->n - column,
                  .bias = first && j->bias ? j->bias + c : NULL,
                  .minus = to.minus,
                  .fresh = first && !p->add};
}

// A block of A by a panel of B, which are the columns from `column` on.
static void multiply_block(const Job *j, const Block *b, const float *panel, int64_t column)
{
    const float *a = b->packed;
    for (int64_t row = 0; row < b->rows; row += ROWS)
        for (int p = 0; p < PRODUCTS; p++, a += ROWS * b->depth) {
            Tile tiles[2];
            for (int i = 0; i < targets[p].n; i++) {
                tiles[i] = tile_of(j, b, targets[p].to[i], row, column);
                fetch_tile(&tiles[i]);
            }
            const float *right = panel + p * b->depth * COLUMNS;
            if (j->p->a[3] == 1)
                multiply((Left){a, b->depth, 1}, right, b->depth, tiles, targets[p].n);
            else
                multiply((Left){a, 1, ROWS}, right, b->depth, tiles, targets[p].n);
        }
}

// What one thread computes of every quarter of C.
typedef struct Part {
    int64_t first_row, last_row, first_column, last_column; // last: the first behind it
} Part;

static void compute_part(const Job *j, Part part, float *packed)
{
    int64_t deep = piece(j->k, BLOCK_DEPTH, VECTOR),
            high = piece(j->m, BLOCK_ROWS, (int64_t)2 * ROWS);
    float *panel = packed + A_FLOATS;
    for (int64_t k = 0; k < j->k; k += deep)
        for (int64_t m = part.first_row; m < part.last_row; m += high) {
            Block b = {m, least(high, part.last_row - m), k, least(deep, j->k - k), packed};
            pack_a(j, &b);
            for (int64_t n = part.first_column; n < part.last_column; n += COLUMNS) {
                Quarters x = quarters(j->b, j->p->b, j->k, j->n, k, n);
                if (x.column == 1)
                    pack_rows_of_b(panel, &x, j->n - n, b.depth);
                else
                    pack_columns_of_b(panel, &x, j->n - n, b.depth);
                multiply_block(j, &b, panel, n);
            }
        }
}

// Where share `i` of `shares` begins when `whole` is shared out in steps.
static int64_t begin_of(int64_t whole, int64_t step, int64_t i, int64_t shares)
{
    int64_t steps = (whole + step - 1) / step;
    return least(whole, steps * i / shares * step);
}

// Threads stand in columns and, where there are more threads than panels, in rows too.
static Part part_of(const Job *j, int64_t thread, int64_t threads)
{
    int64_t across = threads;
    while (threads % across != 0 || across * COLUMNS > j->n + COLUMNS - 1)
        across--;
    int64_t down = threads / across, row = thread / across, column = thread % across;
    return (Part){begin_of(j->m, (int64_t)2 * ROWS, row, down),
                  begin_of(j->m, (int64_t)2 * ROWS, row + 1, down),
                  begin_of(j->n, COLUMNS, column, across),
                  begin_of(j->n, COLUMNS, column + 1, across)};
}

void rt__strassen(const StrassenCall *t)
{
    const rt_product *p = t->p;
    const Job j = {p, t->a, t->b, t->bias, t->c, p->m / 2, p->n / 2, p->k / 2};
#pragma omp parallel num_threads(t->threads)
    {
        int64_t me = omp_get_thread_num();
        compute_part(&j, part_of(&j, me, omp_get_num_threads()),
                     t->scratch + me * (A_FLOATS + B_FLOATS));
    }
}

size_t rt__strassen_scratch(int threads)
{
    return (size_t)threads * (A_FLOATS + B_FLOATS) * sizeof(float);
}

bool rt__strassen_suits(const rt_product *p)
{
    return p->batch[0] * p->batch[1] == 1 && p->m % 2 + p->n % 2 + p->k % 2 == 0 &&
           (p->a[2] == 1 || p->a[3] == 1) && (p->b[2] == 1 || p->b[3] == 1) && p->c[3] == 1 &&
           __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
}

#else

size_t rt__strassen_scratch(int threads)
{
    return 0 * (size_t)threads;
}

bool rt__strassen_suits(const rt_product *p)
{
    (void)p;
    return false;
}

void rt__strassen(const StrassenCall *call)
{
    (void)call;
}

#endif
