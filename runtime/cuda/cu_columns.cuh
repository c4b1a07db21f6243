// Sums over the rows of x[rows,C], two for every column at the same time: of gradients of a norm's parameters, of the
// statistics of a batch norm.
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
    static __host__ __device__ constexpr int64_t rows_of_part(int64_t rows)
    {
        int64_t even = cu_ceil(rows, cu_ceil(512, GROUPS)), least = 4 * (int64_t)CU_RUN * HIGH;
        return even > least ? even : least;
    }
    static __host__ __device__ constexpr int64_t parts(int64_t rows)
    {
        return cu_ceil(rows, rows_of_part(rows));
    }
    static __host__ __device__ constexpr int64_t blocks(int64_t rows)
    {
        return parts(rows) * GROUPS;
    }
    // Of the sums of all parts, double[parts][2][C].
    static __host__ __device__ constexpr int64_t part_bytes(int64_t rows)
    {
        return parts(rows) * 2 * C * (int64_t)sizeof(double);
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
};

// The first step, as the body of a kernel of cu_columns::blocks blocks of CU_COLUMN_THREADS. terms(run, row,
// column) adds the terms of N neighbours to run[2][N].
template <typename T, int C, typename F>
CU_INLINE void cu_column_parts(double *part, int64_t rows, F terms)
{
    typedef cu_columns<T, C> shares;
    constexpr int N = shares::N, STEP = shares::HIGH * CU_RUN;
    const int column = shares::column(), row = shares::row();
    const int64_t begin = shares::begin(rows), end = shares::end(rows);
    double sum[2][N] = {};
    for (int64_t first = begin + row; row >= 0 && first < end; first += STEP) {
        float run[2][N] = {};
        for (int64_t r = first; r < first + STEP && r < end; r += shares::HIGH)
            terms(run, r, column);
        CU_UNROLL
        for (int i = 0; i < N; i++) {
            sum[0][i] += (double)run[0][i];
            sum[1][i] += (double)run[1][i];
        }
    }
    // What the threads of a column have, in ascending order of their rows.
    __shared__ double other[2][CU_COLUMN_THREADS];
    double *to = part + (int64_t)blockIdx.x / shares::GROUPS * 2 * C + column;
    CU_UNROLL
    for (int i = 0; i < N; i++) {
        other[0][threadIdx.x] = sum[0][i];
        other[1][threadIdx.x] = sum[1][i];
        __syncthreads();
        if (row == 0) {
            for (int k = 1; k < shares::HIGH; k++) {
                sum[0][i] += other[0][threadIdx.x + k * shares::WIDE];
                sum[1][i] += other[1][threadIdx.x + k * shares::WIDE];
            }
            to[i] = sum[0][i];
            to[C + i] = sum[1][i];
        }
        __syncthreads();
    }
}

// The second step, as the body of a kernel of cu_total_blocks blocks of cu_total_threads: the sums over all parts
// of one column, in total[2] of one thread a column. That column is the result; the other threads get -1.
CU_BOTH int64_t cu_total_blocks(int64_t c)
{
    return cu_ceil(c, CU_TOTAL_COLUMNS);
}

enum { CU_TOTAL_THREADS = CU_TOTAL_COLUMNS * CU_TOTAL_SLICES };

CU_INLINE int cu_column_total(double *total, const double *part, int64_t parts, int c)
{
    __shared__ double other[2][CU_TOTAL_THREADS];
    const int column = (int)(blockIdx.x * CU_TOTAL_COLUMNS + threadIdx.x % CU_TOTAL_COLUMNS);
    const int slice = (int)threadIdx.x / CU_TOTAL_COLUMNS;
    total[0] = total[1] = 0;
    for (int64_t k = slice; column < c && k < parts; k += CU_TOTAL_SLICES) {
        total[0] += part[k * 2 * c + column];
        total[1] += part[k * 2 * c + c + column];
    }
    other[0][threadIdx.x] = total[0];
    other[1][threadIdx.x] = total[1];
    __syncthreads();
    if (slice > 0 || column >= c)
        return -1;
    for (int k = 1; k < CU_TOTAL_SLICES; k++) {
        total[0] += other[0][threadIdx.x + k * CU_TOTAL_COLUMNS];
        total[1] += other[1][threadIdx.x + k * CU_TOTAL_COLUMNS];
    }
    return column;
}

#endif
