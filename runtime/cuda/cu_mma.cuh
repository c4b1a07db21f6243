// Products of small matrices on tensor cores, bf16 with sums in float: d[16,8] += a[16,16] b[16,8], shared out to the lanes
// of a warp as PTX has it for mma.m16n8k16. On the processor the lanes exchange what they hold.
//
// Lane l holds of d: rows l / 4 and l / 4 + 8, columns 2 (l % 4) and the next. Of a: the same rows, columns 2 (l % 4) and
// the next, and those 8 behind. Of b: column l / 4, rows as a's columns. A word holds two neighbours, the first below.
//
// How a device adds up the 16 products is its own business: bits are the same on one kind of device only.
#ifndef STAGECC_CU_MMA_H
#define STAGECC_CU_MMA_H

#include <stagecc/cu.h>

enum { CU_MMA_ROWS = 16, CU_MMA_COLUMNS = 8, CU_MMA_DEPTH = 16 };

// Row and column of d[i] of this thread.
CU_INLINE int cu_mma_row(int i)
{
    return (int)threadIdx.x % CU_WARP / 4 + i / 2 * 8;
}

CU_INLINE int cu_mma_column(int i)
{
    return (int)threadIdx.x % 4 * 2 + i % 2;
}

// f(n, i) for element i of the n-th of N products beside each other.
template <int N, typename F> CU_INLINE void cu_mma_each(F f)
{
    CU_UNROLL
    for (int n = 0; n < N; n++) {
        CU_UNROLL
        for (int i = 0; i < 4; i++)
            f(n, i);
    }
}

#ifdef __CUDACC__
CU_INLINE void cu_mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
        "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#else
struct cu_mma_lane {
    uint32_t a[4], b[2];
};

static inline double cu_mma_half(uint32_t word, int half)
{
    return (double)rt_to_float(rt_bf16{(uint16_t)(word >> 16 * half)});
}

// Sums in double: what of them a device loses is no more than a test allows for.
static inline void cu_mma_16x8x16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2])
{
    static cu_mma_lane lanes[2][CU_HOST_THREADS];
    const int self = cu_now.now;
    cu_mma_lane *lane = lanes[cu_now.fiber[self].exchanges++ % 2];
    memcpy(lane[self].a, a, sizeof a);
    memcpy(lane[self].b, b, sizeof b);
    cu_give_way(CU_AT_EXCHANGE);
    lane += self / CU_WARP * CU_WARP;
    for (int i = 0; i < 4; i++) {
        const int row = cu_mma_row(i), column = cu_mma_column(i);
        double sum = (double)d[i];
        for (int k = 0; k < CU_MMA_DEPTH; k++) {
            const uint32_t of_a = lane[row % 8 * 4 + k % 8 / 2].a[row / 8 + k / 8 * 2];
            const uint32_t of_b = lane[column * 4 + k % 8 / 2].b[k / 8];
            sum += cu_mma_half(of_a, k % 2) * cu_mma_half(of_b, k % 2);
        }
        d[i] = (float)sum;
    }
}
#endif

// Two neighbours.
CU_INLINE uint32_t cu_bf16_pair(float below, float above)
{
    return rt_to_bf16(below).bits | (uint32_t)rt_to_bf16(above).bits << 16;
}

CU_INLINE uint32_t cu_bf16_word(const rt_bf16 *at)
{
    return cu_read((const uint32_t *)(const void *)at);
}

// ROWS rows of D elements in shared memory, apart so that no two lanes of a warp want the same bank.
template <int ROWS, int D> struct alignas(16) cu_tile {
    static_assert(D % CU_MMA_DEPTH == 0, "whole products");
    rt_bf16 at[ROWS][D + 8];

    // From row `first` of x[rows,..], whose rows are `apart` elements apart; zeros behind its end. By all threads of a
    // block, with barriers around it.
    template <int THREADS>
    CU_MEMBER void load(const rt_bf16 *x, int64_t apart, int first, int rows)
    {
        constexpr int PACKS = D / 8;
        for (int i = (int)threadIdx.x; i < ROWS * PACKS; i += THREADS) {
            const int row = i / PACKS, j = i % PACKS * 8;
            uint4 pack = {0, 0, 0, 0};
            if (first + row < rows)
                pack = cu_read((const uint4 *)(const void *)(x + (first + row) * apart + j));
            cu_write((uint4 *)(void *)&at[row][j], pack);
        }
    }

    // b of the product with the transposed tile: columns are rows of the tile from `row` on, from element k on.
    CU_MEMBER void columns(uint32_t (&b)[2], int row, int k) const
    {
        const int lane = (int)threadIdx.x % CU_WARP;
        const rt_bf16 *from = &at[row + lane / 4][k + lane % 4 * 2];
        b[0] = cu_bf16_word(from);
        b[1] = cu_bf16_word(from + 8);
    }

    // b of the product with the tile as it lies: its rows from `row` on, columns from `column` on.
    CU_MEMBER void rows(uint32_t (&b)[2], int row, int column) const
    {
        const int lane = (int)threadIdx.x % CU_WARP, k = row + lane % 4 * 2;
        const int j = column + lane / 4;
        b[0] = at[k][j].bits | (uint32_t)at[k + 1][j].bits << 16;
        b[1] = at[k + 8][j].bits | (uint32_t)at[k + 9][j].bits << 16;
    }
};

// The 16 rows of D elements that a warp multiplies tiles by, in registers.
template <int D> struct cu_mma_rows {
    uint32_t word[D / CU_MMA_DEPTH][4];

    // Rows from `first` on, as cu_tile::load.
    CU_MEMBER void load(const rt_bf16 *x, int64_t apart, int first, int rows)
    {
        cu_mma_each<D / CU_MMA_DEPTH>([&](int k, int i) {
            const int row = first + cu_mma_row(i % 2 * 2);
            const int j = k * CU_MMA_DEPTH + cu_mma_column(0) + i / 2 * 8;
            word[k][i] = row < rows ? cu_bf16_word(x + row * apart + j) : 0;
        });
    }

    // sum[16,ROWS] += these rows by the transposed tile.
    template <int ROWS>
    CU_MEMBER void dot(float (&sum)[ROWS / CU_MMA_COLUMNS][4],
                       const cu_tile<ROWS, D> &tile) const
    {
        CU_UNROLL
        for (int k = 0; k < D / CU_MMA_DEPTH; k++) {
            CU_UNROLL
            for (int n = 0; n < ROWS / CU_MMA_COLUMNS; n++) {
                uint32_t b[2];
                tile.columns(b, n * CU_MMA_COLUMNS, k * CU_MMA_DEPTH);
                cu_mma_16x8x16(sum[n], word[k], b);
            }
        }
    }
};

// sum[16,D] += p[16,ROWS], rounded to bf16, by the tile. d of one product is a of the next as it lies.
template <int ROWS, int D>
CU_INLINE void cu_mma_mix(float (&sum)[D / CU_MMA_COLUMNS][4],
                          const float (&p)[ROWS / CU_MMA_COLUMNS][4],
                          const cu_tile<ROWS, D> &tile)
{
    CU_UNROLL
    for (int k = 0; k < ROWS / CU_MMA_DEPTH; k++) {
        uint32_t a[4];
        CU_UNROLL
        for (int i = 0; i < 4; i++)
            a[i] = cu_bf16_pair(p[2 * k + i / 2][i % 2 * 2], p[2 * k + i / 2][i % 2 * 2 + 1]);
        CU_UNROLL
        for (int n = 0; n < D / CU_MMA_COLUMNS; n++) {
            uint32_t b[2];
            tile.rows(b, k * CU_MMA_DEPTH, n * CU_MMA_COLUMNS);
            cu_mma_16x8x16(sum[n], a, b);
        }
    }
}

#endif
