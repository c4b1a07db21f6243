// What only moves elements: concat, slice, transpose and reorder as walks, pad and mask as rows of which a part is zero.
// Elements of any type of 1, 2 or 4 bytes go as they are.
//
// Sizes are a type, so that all divisions are by constants:
//     struct transpose_1 {
//         CU_BOTH cu_walk walk()
//         {
//             return {3, 0, 0, {16, 12, 64}, {768, 64, 1}, {64, 1024, 1}};
//         }
//     };
#ifndef STAGECC_CU_SHAPE_H
#define STAGECC_CU_SHAPE_H

#include <type_traits>

#include <stagecc/cu.h>

enum { CU_SHAPE_THREADS = 256, CU_WALK_RANK = 6, CU_TILE = 32, CU_TILE_LEAST = 8 };

// The dimensions that two tensors are walked along, outermost of y first, and how many elements apart neighbours lie
// in both (codegen/walk.h); y_at, x_at: where the walk begins.
struct cu_walk {
    int rank; // 1 or more, but of what is left of a walk
    int64_t y_at, x_at;
    int64_t dim[CU_WALK_RANK], y[CU_WALK_RANK], x[CU_WALK_RANK];
};

CU_BOTH int64_t cu_walk_count(const cu_walk &w)
{
    int64_t n = 1;
    for (int d = 0; d < w.rank; d++)
        n *= w.dim[d];
    return n;
}

// The dimension along which x's elements lie side by side; -1: none.
CU_BOTH int cu_walk_inner(const cu_walk &w)
{
    for (int d = w.rank - 1; d >= 0; d--)
        if (w.x[d] == 1)
            return d;
    return -1;
}

// How many neighbours may go at once, of elements of so many bytes.
CU_BOTH int cu_walk_width(const cu_walk &w, int bytes)
{
    const int last = w.rank - 1;
    if (w.y[last] != 1 || w.x[last] != 1)
        return 1;
    int64_t all = w.y_at | w.x_at | w.dim[last]; // what has to be a multiple of a power of 2
    for (int d = 0; d < last; d++)
        all |= w.y[d] | w.x[d];
    int width = 16 / bytes;
    while (all % width)
        width /= 2;
    return width;
}

// W's walk in packs of N along its last dimension.
template <typename W, int N> struct cu_walk_packs {
    CU_BOTH cu_walk walk()
    {
        cu_walk w = W::walk();
        w.dim[w.rank - 1] /= N;
        w.y[w.rank - 1] *= N;
        w.x[w.rank - 1] *= N;
        return w;
    }
};

// W's walk without its last dimension and x's innermost.
template <typename W> struct cu_walk_rest {
    CU_BOTH cu_walk walk()
    {
        const cu_walk w = W::walk();
        cu_walk rest = {0, w.y_at, w.x_at, {}, {}, {}};
        for (int d = 0; d < w.rank - 1; d++)
            if (d != cu_walk_inner(w)) {
                rest.dim[rest.rank] = w.dim[d];
                rest.y[rest.rank] = w.y[d];
                rest.x[rest.rank++] = w.x[d];
            }
        return rest;
    }
};

// Numbers of elements: no wider than they need be, since they are divided.
template <int64_t COUNT>
using cu_number = typename std::conditional<(COUNT <= INT32_MAX), uint32_t, int64_t>::type;

// Where element i of W's walk lies in y and in x, beginning with dimension D.
template <typename W, int D = W::walk().rank - 1, typename I>
CU_INLINE void cu_walk_to(I i, int64_t *y, int64_t *x)
{
    if constexpr (D < 0) {
        *y = W::walk().y_at;
        *x = W::walk().x_at;
    } else {
        constexpr int64_t DIM = W::walk().dim[D], Y = W::walk().y[D], X
        = W::walk().x[D];
        cu_walk_to<W, D - 1>(i / (I)DIM, y, x);
        *y += (int64_t)(i % (I)DIM) * Y;
        *x += (int64_t)(i % (I)DIM) * X;
    }
}

// Walks
// ----------------------------------------------------------------------------------------------

template <typename T, typename W, int N>
static __global__ void __launch_bounds__(CU_SHAPE_THREADS) cu_copy_packs(T *y, const T *x)
{
    typedef cu_walk_packs<W, N> packs;
    constexpr int64_t COUNT = cu_walk_count(packs::walk());
    typedef cu_number<COUNT> number;
    const number i = (number)blockIdx.x * CU_SHAPE_THREADS + threadIdx.x;
    if (i >= (number)COUNT)
        return;
    int64_t to, from;
    cu_walk_to<packs>(i, &to, &from);
    T item[N];
    cu_take<N>(item, x + from);
    cu_put<N>(y + to, item);
}

// A block turns a square of CU_TILE, which it reads along x's innermost dimension and writes along y's.
template <typename T, typename W>
static __global__ void __launch_bounds__(CU_SHAPE_THREADS) cu_copy_tiles(T *y, const T *x)
{
    constexpr int INNER = cu_walk_inner(W::walk()), LAST = W::walk().rank - 1;
    constexpr int64_t WIDE = W::walk().dim[INNER], HIGH = W::walk().dim[LAST];
    constexpr int64_t Y_ROW = W::walk().y[INNER], X_ROW = W::walk().x[LAST];
    constexpr uint32_t ACROSS = (uint32_t)cu_ceil(WIDE, CU_TILE),
                       DOWN = (uint32_t)cu_ceil(HIGH, CU_TILE);
    constexpr int WARPS = CU_SHAPE_THREADS / CU_WARP;
    __shared__ T
        tile[CU_TILE][CU_TILE + 1]; // one more: the lanes of a column lie in different banks
    const int64_t left = (int64_t)(blockIdx.x % ACROSS) * CU_TILE,
                  top = (int64_t)(blockIdx.x / ACROSS % DOWN) * CU_TILE;
    const int lane = (int)threadIdx.x % CU_WARP, warp = (int)threadIdx.x / CU_WARP;
    int64_t to, from;
    cu_walk_to<cu_walk_rest<W>>((uint32_t)(blockIdx.x / ACROSS / DOWN), &to, &from);
    CU_UNROLL
    for (int r = warp; r < CU_TILE; r += WARPS)
        if (left + lane < WIDE && top + r < HIGH)
            tile[r][lane] = x[from + (top + r) * X_ROW + left + lane];
    __syncthreads();
    CU_UNROLL
    for (int r = warp; r < CU_TILE; r += WARPS)
        if (left + r < WIDE && top + lane < HIGH)
            y[to + (left + r) * Y_ROW + top + lane] = tile[lane][r];
}

// y = x along W's walk, at the elements of y that it comes by. The last dimension lies side by side in y, another one or
// the same in x.
template <typename T, typename W> static void cu_copy(cudaStream_t stream, T *y, const T *x)
{
    constexpr cu_walk w = W::walk();
    constexpr int last = w.rank - 1, inner = cu_walk_inner(w);
    constexpr bool turned = inner >= 0 && inner != last && w.y[last] == 1 &&
                            w.dim[inner] >= CU_TILE_LEAST && w.dim[last] >= CU_TILE_LEAST;
    if constexpr (turned) {
        const int64_t squares = cu_ceil(w.dim[inner], CU_TILE) * cu_ceil(w.dim[last], CU_TILE);
        CU_LAUNCH((cu_copy_tiles<T, W>), squares * cu_walk_count(cu_walk_rest<W>::walk()),
                  CU_SHAPE_THREADS, stream, y, x);
    } else {
        constexpr int N = cu_walk_width(w, (int)sizeof(T));
        CU_LAUNCH((cu_copy_packs<T, W, N>), cu_ceil(cu_walk_count(w) / N, CU_SHAPE_THREADS),
                  CU_SHAPE_THREADS, stream, y, x);
    }
}

// Rows of which a part is zero
// ----------------------------------------------------------------------------------------------

// The pack of N elements that a thread takes of rows of ROW elements: its row and its place there; false: none is
// left.
template <int N, int64_t ROW>
CU_INLINE bool cu_row_pack(int64_t rows, int64_t *row, int64_t *at)
{
    const int64_t i = (int64_t)blockIdx.x * CU_SHAPE_THREADS + threadIdx.x;
    *row = i / (ROW / N);
    *at = i % (ROW / N) * N;
    return *row < rows;
}

template <typename T, int64_t ROW, int64_t BEGIN, int64_t LENGTH, int N>
static __global__ void __launch_bounds__(CU_SHAPE_THREADS)
    cu_pad_kernel(T *y, const T *x, int64_t rows)
{
    int64_t row, at;
    if (!cu_row_pack<N, ROW>(rows, &row, &at))
        return;
    T item[N] = {};
    if (at >= BEGIN && at < BEGIN + LENGTH)
        cu_take<N>(item, x + row * LENGTH + at - BEGIN);
    cu_put<N>(y + row * ROW + at, item);
}

// y[rows,ROW] = x[rows,LENGTH] from column BEGIN on, and zeros around it.
template <typename T, int64_t ROW, int64_t BEGIN, int64_t LENGTH>
static void cu_pad(cudaStream_t stream, T *y, const T *x, int64_t rows)
{
    constexpr int N = cu_width<T>(ROW | BEGIN | LENGTH);
    CU_LAUNCH((cu_pad_kernel<T, ROW, BEGIN, LENGTH, N>),
              cu_ceil(rows * (ROW / N), CU_SHAPE_THREADS), CU_SHAPE_THREADS, stream, y, x,
              rows);
}

template <typename T, int64_t LENGTH, int64_t AFTER, int N>
static __global__ void __launch_bounds__(CU_SHAPE_THREADS)
    cu_mask_kernel(T *y, const T *x, const int32_t *lengths, int64_t before, int64_t rows)
{
    int64_t row, at;
    if (!cu_row_pack<N, LENGTH * AFTER>(rows, &row, &at))
        return;
    const int64_t kept = (int64_t)lengths[row / before] * AFTER;
    T item[N];
    cu_take<N>(item, x + row * LENGTH * AFTER + at);
    CU_UNROLL
    for (int i = 0; i < N; i++)
        item[i] = at + i < kept ? item[i] : T{};
    cu_put<N>(y + row * LENGTH * AFTER + at, item);
}

// x[samples,before,LENGTH,AFTER] -> y, zero where the index along LENGTH is lengths[sample] or more.
template <typename T, int64_t LENGTH, int64_t AFTER>
static void cu_mask(cudaStream_t stream, T *y, const T *x, const int32_t *lengths,
                    int64_t samples, int64_t before)
{
    constexpr int N = cu_width<T>(LENGTH * AFTER);
    const int64_t rows = samples * before;
    CU_LAUNCH((cu_mask_kernel<T, LENGTH, AFTER, N>),
              cu_ceil(rows * (LENGTH * AFTER / N), CU_SHAPE_THREADS), CU_SHAPE_THREADS, stream,
              y, x, lengths, before, rows);
}

#endif
