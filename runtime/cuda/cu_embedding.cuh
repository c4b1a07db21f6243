// Rows of a table by their numbers, and the gradient of the table: the bits of the c backend, since rows are
// added in ascending order of position in both.
#ifndef STAGECC_CU_EMBEDDING_H
#define STAGECC_CU_EMBEDDING_H

#include <stagecc/cu.h>

enum {
    CU_TABLE_THREADS = 256,
    CU_TABLE_ROWS = 64,   // of the table, that a block owns in backward
    CU_TABLE_LIST = 1024, // positions of such rows, that it notes before it adds them
};

template <int WIDTH>
static __global__ void __launch_bounds__(CU_TABLE_THREADS)
    cu_embedding_kernel(float *y, const int32_t *ids, const float *table, int64_t n,
                        int64_t rows, int64_t padding)
{
    constexpr int N = cu_width<float>(WIDTH), PACKS = WIDTH / N;
    const int64_t i = (int64_t)blockIdx.x * CU_TABLE_THREADS + threadIdx.x;
    const int64_t position = i / PACKS, column = i % PACKS * N;
    if (position >= n)
        return;
    const int64_t id = ids[position];
    const bool known = id >= 0 && id < rows;
    float v[N];
    CU_UNROLL
    for (int k = 0; k < N; k++)
        v[k] = known ? 0 : __builtin_nanf("");
    if (known && id != padding)
        cu_take<N>(v, table + id * WIDTH + column);
    cu_put<N>(y + position * WIDTH + column, v);
}

// y[n,WIDTH] = table[rows,WIDTH] at ids[n], zeros where the id is `padding`. An id that is none makes its row NaN,
// which stops the run.
template <int WIDTH>
static void cu_embedding(cudaStream_t stream, float *y, const int32_t *ids, const float *table,
                         int64_t n, int64_t rows, int64_t padding)
{
    constexpr int PACKS = WIDTH / cu_width<float>(WIDTH);
    CU_LAUNCH(cu_embedding_kernel<WIDTH>, cu_ceil(n * PACKS, CU_TABLE_THREADS),
              CU_TABLE_THREADS, stream, y, ids, table, n, rows, padding);
}

// Backward
// ----------------------------------------------------------------------------------------------

// What a block has found of the positions of its rows, in ascending order, and the same by rows.
struct cu_found {
    int32_t position[CU_TABLE_LIST], by_row[CU_TABLE_LIST];
    uint8_t row[CU_TABLE_LIST];                        // of the block, of the position
    int32_t begin[CU_TABLE_ROWS], size[CU_TABLE_ROWS]; // of a row, in by_row
    int32_t votes[CU_TABLE_THREADS / CU_WARP];
};

// Every thread looks at one position, and those that are the block's go to the end of the list, which has `n` before;
// how many it has then.
CU_INLINE int cu_find_row(cu_found *found, int n, int32_t position, int row)
{
    const int lane = (int)threadIdx.x % CU_WARP, warp = (int)threadIdx.x / CU_WARP;
    const bool own = row >= 0 && row < CU_TABLE_ROWS;
    const uint32_t vote = __ballot_sync(0xffffffffu, own);
    if (lane == 0)
        found->votes[warp] = __popc(vote);
    __syncthreads();
    int at = n + __popc(vote & ((1u << lane) - 1));
    for (int w = 0; w < CU_TABLE_THREADS / CU_WARP; w++) {
        at += w < warp ? found->votes[w] : 0;
        n += found->votes[w];
    }
    if (own) {
        found->position[at] = position;
        found->row[at] = (uint8_t)row;
    }
    __syncthreads();
    return n;
}

// The list by rows: a thread a row.
CU_INLINE void cu_sort_by_row(cu_found *found, int n)
{
    const int row = (int)threadIdx.x;
    int size = 0, begin = 0;
    for (int i = 0; row < CU_TABLE_ROWS && i < n; i++)
        size += found->row[i] == row;
    if (row < CU_TABLE_ROWS)
        found->size[row] = size;
    __syncthreads();
    for (int r = 0; row < CU_TABLE_ROWS && r < row; r++)
        begin += found->size[r];
    if (row < CU_TABLE_ROWS)
        found->begin[row] = begin;
    for (int i = 0; row < CU_TABLE_ROWS && i < n; i++)
        if (found->row[i] == row)
            found->by_row[begin++] = found->position[i];
    __syncthreads();
}

// Adds what is in the list to the rows of the table that begin at `dtable`.
template <typename T, int WIDTH>
CU_INLINE void cu_add_rows(float *dtable, const T *dy, const cu_found *found)
{
    constexpr int N = cu_width<T>(WIDTH), PACKS = WIDTH / N;
    constexpr int WIDE = PACKS < CU_TABLE_THREADS ? PACKS : CU_TABLE_THREADS,
                  HIGH = CU_TABLE_THREADS / WIDE;
    if ((int)threadIdx.x >= WIDE * HIGH)
        return;
    for (int row = (int)threadIdx.x / WIDE; row < CU_TABLE_ROWS; row += HIGH) {
        const int begin = found->begin[row], end = begin + found->size[row];
        for (int at = (int)threadIdx.x % WIDE * N; begin < end && at < WIDTH; at += WIDE * N) {
            float *to = dtable + (int64_t)row * WIDTH + at, sum[N], v[N];
            cu_load<N>(sum, to);
            for (int i = begin; i < end; i++) {
                cu_load<N>(v, dy + (int64_t)found->by_row[i] * WIDTH + at);
                CU_UNROLL
                for (int k = 0; k < N; k++)
                    sum[k] += v[k];
            }
            cu_store<N>(to, sum);
        }
    }
}

template <typename T, int WIDTH>
static __global__ void __launch_bounds__(CU_TABLE_THREADS)
    cu_embedding_grad_kernel(float *dtable, const int32_t *ids, const T *dy, int64_t n,
                             int64_t rows, int64_t padding, bool first)
{
    constexpr int N = cu_width<float>(WIDTH);
    __shared__ cu_found found;
    const int64_t begin = (int64_t)blockIdx.x * CU_TABLE_ROWS;
    const int64_t rest = rows - begin,
                  own = rest < CU_TABLE_ROWS ? rest : (int64_t)CU_TABLE_ROWS;
    float *to = dtable + begin * WIDTH;
    const float zero[N] = {};
    for (int64_t at = (int64_t)threadIdx.x * N; first && at < own * WIDTH;
         at += (int64_t)CU_TABLE_THREADS * N)
        cu_put<N>(to + at, zero);
    int noted = 0;
    for (int64_t at = 0; at < n; at += CU_TABLE_THREADS) {
        const int64_t position = at + threadIdx.x, id = position < n ? ids[position] : -1;
        const bool wanted = id >= begin && id < begin + own && id != padding;
        noted = cu_find_row(&found, noted, (int32_t)position, wanted ? (int)(id - begin) : -1);
        if (noted <= CU_TABLE_LIST - CU_TABLE_THREADS && at + CU_TABLE_THREADS < n)
            continue; // there is room for more
        cu_sort_by_row(&found, noted);
        cu_add_rows<T, WIDTH>(to, dy, &found);
        noted = 0;
    }
}

// dtable[rows,WIDTH] at ids[n] += dy[n,WIDTH], in ascending order of position, but not row `padding`; `first` makes dtable 0
// before. n is below 2^31.
template <typename T, int WIDTH>
static void cu_embedding_grad(cudaStream_t stream, float *dtable, const int32_t *ids,
                              const T *dy, int64_t n, int64_t rows, int64_t padding, bool first)
{
    CU_LAUNCH((cu_embedding_grad_kernel<T, WIDTH>), cu_ceil(rows, CU_TABLE_ROWS),
              CU_TABLE_THREADS, stream, dtable, ids, dy, n, rows, padding, first);
}

#endif
