// Sums over the rows of x[rows,C], of K terms for every column at the same time: of gradients of a norm's parameters,
// of the statistics of a batch norm. Or of many such x side by side, x[outer,rows,C].
//
// Two steps. First every block sums up a part of the rows for some neighbouring columns: a thread in float
// over runs of CU_RUN rows, and these in double. Then one block adds up the parts of 32 columns. Which rows
// are a part depends on sizes only, and every sum has one order, so the bits are the same on every device.
#ifndef STAGECC_CU_COLUMNS_H
#define STAGECC_CU_COLUMNS_H

#include <stagecc/cu.h>

enum { CU_RUN = 16, CU_COLUMN_THREADS = 256, CU_TOTAL_COLUMNS = 32, CU_TOTAL_SLICES = 16 };

// How rows of C elements of type T are shared out to blocks and threads.
template <typename T, int C> struct cu_columns {
    static constexpr int N = cu_width<T>(C), PACKS = C / N;
    // A block takes all packs of a row, or an even share of about 64 of them; its threads take as many rows
    // at a time as there are threads for, and some are left over.
    static constexpr int GROUPS = (int)cu_ceil(PACKS, 64), WIDE = (int)cu_ceil(PACKS, GROUPS);
    static constexpr int HIGH = CU_COLUMN_THREADS / WIDE;

    // About 512 blocks in all, which is enough for every device; none takes less than four runs a thread.
    CU_BOTH int64_t rows_of_part(int64_t rows, int64_t outer = 1)
    {
        int64_t even = cu_ceil(rows, cu_ceil(512, GROUPS * outer)),
                least = 4 * (int64_t)CU_RUN * HIGH;
        return even > least ? even : least;
    }
    CU_BOTH int64_t parts(int64_t rows, int64_t outer = 1)
    {
        return cu_ceil(rows, rows_of_part(rows, outer));
    }
    CU_BOTH int64_t blocks(int64_t rows, int64_t outer = 1)
    {
        return outer * parts(rows, outer) * GROUPS;
    }
    // Of the sums of all parts, double[parts][k][outer][C].
    CU_BOTH int64_t part_bytes(int64_t rows, int64_t outer = 1, int k = 2)
    {
        return parts(rows, outer) * k * outer * C * (int64_t)sizeof(double);
    }

    // The rows of this thread's block.
    CU_MEMBER static int64_t begin(int64_t rows)
    {
        return (int64_t)blockIdx.x / GROUPS * rows_of_part(rows);
    }
    CU_MEMBER static int64_t end(int64_t rows)
    {
        int64_t next = begin(rows) + rows_of_part(rows);
        return next < rows ? next : rows;
    }
    // Of this thread: its first column, and its first row from `begin`, from where it takes every HIGH-th; row < 0:
    // it is left over.
    CU_MEMBER static int column()
    {
        return ((int)blockIdx.x % GROUPS * WIDE + (int)threadIdx.x % WIDE) * N;
    }
    CU_MEMBER static int row()
    {
        return (int)threadIdx.x < WIDE * HIGH && column() < C ? (int)threadIdx.x / WIDE : -1;
    }
    // f(at) for all packs of this thread, which is not left over; `at`: where a pack begins.
    template <typename F> CU_MEMBER static void each(int64_t rows, F f)
    {
        const int64_t last = end(rows);
        for (int64_t r = begin(rows) + row(); r < last; r += HIGH)
            f(r * C + column());
    }
};

// Sums over rows begin .. end-1, in a block of CU_COLUMN_THREADS: in sum[K][N] of its threads of row 0.
// terms(run, row, column) adds the terms of N neighbours to run[K][N].
template <typename T, int C, int K, int N, typename F>
CU_INLINE void cu_column_sums(double (&sum)[K][N], int64_t begin, int64_t end, F terms)
{
    typedef cu_columns<T, C> shares;
    constexpr int STEP = shares::HIGH * CU_RUN;
    static_assert(N == shares::N, "a sum for each of a thread's columns");
    const int column = shares::column(), row = shares::row();
    CU_UNROLL
    for (int k = 0; k < K; k++) {
        CU_UNROLL
        for (int i = 0; i < N; i++)
            sum[k][i] = 0;
    }
    for (int64_t first = begin + row; row >= 0 && first < end; first += STEP) {
        float run[K][N] = {};
        for (int64_t r = first; r < first + STEP && r < end; r += shares::HIGH)
            terms(run, r, column);
        CU_UNROLL
        for (int k = 0; k < K; k++) {
            CU_UNROLL
            for (int i = 0; i < N; i++)
                sum[k][i] += (double)run[k][i];
        }
    }
    // What the threads of a column have, in ascending order of their rows.
    __shared__ double other[K][CU_COLUMN_THREADS];
    CU_UNROLL
    for (int i = 0; i < N; i++) {
        CU_UNROLL
        for (int k = 0; k < K; k++)
            other[k][threadIdx.x] = sum[k][i];
        __syncthreads();
        CU_UNROLL
        for (int k = 0; k < K; k++)
            for (int h = 1; row == 0 && h < shares::HIGH; h++)
                sum[k][i] += other[k][(int)threadIdx.x + h * shares::WIDE];
        __syncthreads();
    }
}

// The first step, as the body of a kernel of cu_columns::blocks blocks.
template <typename T, int C, typename F>
CU_INLINE void cu_column_parts(double *part, int64_t rows, F terms)
{
    typedef cu_columns<T, C> shares;
    double sum[2][shares::N];
    cu_column_sums<T, C>(sum, shares::begin(rows), shares::end(rows), terms);
    double *to = part + (int64_t)blockIdx.x / shares::GROUPS * 2 * C + shares::column();
    CU_UNROLL
    for (int i = 0; i < shares::N; i++)
        if (shares::row() == 0) {
            to[i] = sum[0][i];
            to[C + i] = sum[1][i];
        }
}

// The second step, as the body of a kernel of cu_total_blocks blocks of CU_TOTAL_THREADS: the sums over all parts
// of one column, in total[K] of one thread a column. That column is the result; the other threads get -1.
CU_BOTH int64_t cu_total_blocks(int64_t c)
{
    return cu_ceil(c, CU_TOTAL_COLUMNS);
}

enum { CU_TOTAL_THREADS = CU_TOTAL_COLUMNS * CU_TOTAL_SLICES };

template <int K>
CU_INLINE int64_t cu_column_total(double (&total)[K], const double *part, int64_t parts,
                                  int64_t c)
{
    __shared__ double other[K][CU_TOTAL_THREADS];
    const int64_t column =
        (int64_t)blockIdx.x * CU_TOTAL_COLUMNS + threadIdx.x % CU_TOTAL_COLUMNS;
    const int slice = (int)threadIdx.x / CU_TOTAL_COLUMNS;
    CU_UNROLL
    for (int k = 0; k < K; k++) {
        total[k] = 0;
        for (int64_t p = slice; column < c && p < parts; p += CU_TOTAL_SLICES)
            total[k] += part[(p * K + k) * c + column];
        other[k][threadIdx.x] = total[k];
    }
    __syncthreads();
    if (slice > 0 || column >= c)
        return -1;
    CU_UNROLL
    for (int k = 0; k < K; k++)
        for (int s = 1; s < CU_TOTAL_SLICES; s++)
            total[k] += other[k][(int)threadIdx.x + s * CU_TOTAL_COLUMNS];
    return column;
}

#endif
