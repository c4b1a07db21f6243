// The kernels of cu_card.h. A program includes this once and writes CU_CARD_KERNELS behind it.
#ifndef STAGECC_CU_CARD_CUH
#define STAGECC_CU_CARD_CUH

#include <stagecc/cu.h>
#include <stagecc/cu_card.h>
#include <stagecc/cu_elementwise.cuh>

enum { CU_CARD_THREADS = 256, CU_CARD_PART = 4096 }; // elements of a block

struct cu_parts {
    const float *at[CU_MOST_PARTS];
    int n;
};

CU_INLINE float cu_sum_at(const cu_parts &parts, int64_t i)
{
    float sum = parts.at[0][i];
    for (int k = 1; k < parts.n; k++)
        sum += parts.at[k][i];
    return sum;
}

// f(i) for this thread's elements of the block's part of n.
template <typename F> CU_INLINE void cu_each_of_part(int64_t n, F f)
{
    const int64_t begin = (int64_t)blockIdx.x * CU_CARD_PART;
    const int64_t end = begin + CU_CARD_PART < n ? begin + CU_CARD_PART : n;
    for (int64_t i = begin + threadIdx.x; i < end; i += CU_CARD_THREADS)
        f(i);
}

static cu_parts cu_parts_of(const float *const *parts, int n)
{
    cu_parts of = {};
    for (int k = 0; k < n; k++)
        of.at[k] = parts[k];
    of.n = n;
    return of;
}

// Sums
// ----------------------------------------------------------------------------------------------

CU_KERNEL void __launch_bounds__(CU_CARD_THREADS)
    cu_card_add_kernel(float *to, cu_parts parts, int64_t n, float divide)
{
    cu_each_of_part(n, [&](int64_t i) {
        const float sum = cu_sum_at(parts, i);
        to[i] = divide != 1 ? sum / divide : sum;
    });
}

static void cu_card_add(void *stream, float *to, const float *const *parts, int n_parts,
                        int64_t n, int divide)
{
    CU_LAUNCH(cu_card_add_kernel, cu_ceil(n, CU_CARD_PART), CU_CARD_THREADS,
              (cudaStream_t)stream, to, cu_parts_of(parts, n_parts), n, (float)divide);
}

CU_KERNEL void __launch_bounds__(CU_CARD_THREADS)
    cu_card_square_terms(double *term, cu_parts parts, int64_t n)
{
    double sum = 0;
    cu_each_of_part(n, [&](int64_t i) {
        const double x = (double)cu_sum_at(parts, i);
        sum += x * x;
    });
    sum = cu_team_sum<CU_CARD_THREADS>(sum);
    if (threadIdx.x == 0)
        term[blockIdx.x] = sum;
}

CU_KERNEL void __launch_bounds__(CU_CARD_THREADS)
    cu_card_add_terms(double *sum, const double *term, int64_t n)
{
    double mine = 0;
    for (int64_t i = threadIdx.x; i < n; i += CU_CARD_THREADS)
        mine += term[i];
    mine = cu_team_sum<CU_CARD_THREADS>(mine);
    if (threadIdx.x == 0)
        *sum = mine;
}

static int64_t cu_card_squares_bytes(int64_t n)
{
    return cu_ceil(n, CU_CARD_PART) * (int64_t)sizeof(double);
}

static void cu_card_squares(void *stream, double *sum, void *room, const float *const *parts,
                            int n_parts, int64_t n)
{
    double *term = (double *)room;
    const int64_t blocks = cu_ceil(n, CU_CARD_PART);
    CU_LAUNCH(cu_card_square_terms, blocks, CU_CARD_THREADS, (cudaStream_t)stream, term,
              cu_parts_of(parts, n_parts), n);
    CU_LAUNCH(cu_card_add_terms, 1, CU_CARD_THREADS, (cudaStream_t)stream, sum, term, blocks);
}

// Finite numbers
// ----------------------------------------------------------------------------------------------

// What a launch looks at, by value.
struct cu_watch_list {
    cu_watched item[CU_MOST_PARTS];
    int32_t first_block[CU_MOST_PARTS];
    int n;
};

// The largest is the same in whatever order threads come.
CU_INLINE void cu_note(int32_t *at, int32_t what)
{
#ifdef __CUDA_ARCH__
    atomicMax(at, what);
#else
    *at = *at < what ? what : *at;
#endif
}

// The item that this block has a part of: the last one whose first block is not behind it.
CU_KERNEL void __launch_bounds__(CU_CARD_THREADS)
    cu_card_watch_kernel(int32_t *bad, cu_watch_list list)
{
    int item = list.n - 1;
    while (list.first_block[item] > (int32_t)blockIdx.x)
        item--;
    const cu_watched &w = list.item[item];
    const int64_t begin = ((int64_t)blockIdx.x - list.first_block[item]) * CU_CARD_PART;
    const int64_t end = begin + CU_CARD_PART < w.n ? begin + CU_CARD_PART : w.n;
    bool finite = true;
    for (int64_t i = begin + threadIdx.x; i < end; i += CU_CARD_THREADS) {
        uint32_t bits;
        memcpy(&bits, w.at + i, sizeof bits);
        finite = finite && (bits & 0x7f800000) != 0x7f800000;
    }
    if (!finite)
        cu_note(bad, w.what);
}

static void cu_card_watch(void *stream, int32_t *bad, const cu_watched *items, int n)
{
    cu_watch_list list = {};
    int64_t blocks = 0;
    for (; list.n < n; list.n++) {
        list.item[list.n] = items[list.n];
        list.first_block[list.n] = (int32_t)blocks;
        blocks += cu_ceil(items[list.n].n, CU_CARD_PART);
    }
    if (blocks > 0)
        CU_LAUNCH(cu_card_watch_kernel, blocks, CU_CARD_THREADS, (cudaStream_t)stream, bad,
                  list);
}

// Ranks of labels: how many classes come before them. -1: the row has none; `classes`: its logit is not a number.
// ----------------------------------------------------------------------------------------------

template <typename T>
static __global__ void __launch_bounds__(CU_CARD_THREADS)
    cu_card_rank(int32_t *rank, const T *logits, const int32_t *labels, int64_t classes,
                 int64_t apart)
{
    const T *row = logits + (int64_t)blockIdx.x * apart;
    const int64_t label = labels[blockIdx.x];
    const bool is_class = label >= 0 && label < classes;
    const float own = is_class ? cu_to_float(row[label]) : 0;
    int before = 0;
    for (int64_t c = threadIdx.x; is_class && c < classes; c += CU_CARD_THREADS) {
        const float x = cu_to_float(row[c]);
        before += x > own || (x == own && c < label);
    }
    before = cu_team_sum<CU_CARD_THREADS>(before);
    if (threadIdx.x == 0)
        rank[blockIdx.x] = label < 0 ? -1 : is_class && own == own ? before : (int32_t)classes;
}

CU_KERNEL void __launch_bounds__(CU_CARD_THREADS)
    cu_card_count(cu_hits *hits, const int32_t *rank, int64_t rows, int64_t classes)
{
    int counted = 0, first = 0, fifth = 0;
    for (int64_t r = threadIdx.x; r < rows; r += CU_CARD_THREADS) {
        counted += rank[r] >= 0;
        first += rank[r] == 0;
        fifth += rank[r] >= 0 && rank[r] < 5 && rank[r] < classes;
    }
    counted = cu_team_sum<CU_CARD_THREADS>(counted);
    first = cu_team_sum<CU_CARD_THREADS>(first);
    fifth = cu_team_sum<CU_CARD_THREADS>(fifth);
    if (threadIdx.x == 0)
        *hits = {(uint64_t)counted, (uint64_t)first, (uint64_t)fifth};
}

static void cu_card_score(void *stream, cu_hits *hits, int32_t *room, const void *logits,
                          int is_bf16, const int32_t *labels, int64_t rows, int64_t classes,
                          int64_t row)
{
    if (is_bf16)
        CU_LAUNCH(cu_card_rank<rt_bf16>, rows, CU_CARD_THREADS, (cudaStream_t)stream, room,
                  (const rt_bf16 *)logits, labels, classes, row);
    else
        CU_LAUNCH(cu_card_rank<float>, rows, CU_CARD_THREADS, (cudaStream_t)stream, room,
                  (const float *)logits, labels, classes, row);
    CU_LAUNCH(cu_card_count, 1, CU_CARD_THREADS, (cudaStream_t)stream, hits, room, rows,
              classes);
}

// Copies of parameters in bf16, where the host has written the parameters; gradients that come in bf16
// ----------------------------------------------------------------------------------------------

CU_KERNEL void __launch_bounds__(CU_CARD_THREADS)
    cu_card_narrow_kernel(rt_bf16 *to, const float *from, int64_t n)
{
    cu_each_of_part(n, [&](int64_t i) { to[i] = rt_to_bf16(from[i]); });
}

static void cu_card_narrow(void *stream, void *to, const float *from, int64_t n)
{
    CU_LAUNCH(cu_card_narrow_kernel, cu_ceil(n, CU_CARD_PART), CU_CARD_THREADS,
              (cudaStream_t)stream, (rt_bf16 *)to, from, n);
}

CU_KERNEL void __launch_bounds__(CU_CARD_THREADS)
    cu_card_widen_kernel(float *to, const rt_bf16 *from, int64_t n)
{
    cu_each_of_part(n, [&](int64_t i) { to[i] = rt_to_float(from[i]); });
}

static void cu_card_widen(void *stream, float *to, const void *from, int64_t n)
{
    CU_LAUNCH(cu_card_widen_kernel, cu_ceil(n, CU_CARD_PART), CU_CARD_THREADS,
              (cudaStream_t)stream, to, (const rt_bf16 *)from, n);
}

// Products whose library has no epilogue
// ----------------------------------------------------------------------------------------------

template <typename T>
static __global__ void __launch_bounds__(CU_CARD_THREADS) cu_card_finish_kernel(cu_product p)
{
    T *c = (T *)p.c, *aux = (T *)p.aux;
    const T *bias = (const T *)p.bias;
    cu_each_of_part(p.batch[0] * p.batch[1] * p.m * p.n, [&](int64_t i) {
        const int64_t column = i % p.n, row = i / p.n % p.m, batch = i / p.n / p.m;
        const int64_t at = batch / p.batch[1] * p.apart[0] + batch % p.batch[1] * p.apart[1] +
                           row * p.apart[2] + column;
        const float x = cu_to_float(c[at]) + (bias ? cu_to_float(bias[column]) : 0);
        if (aux)
            aux[at] = cu_from_float<T>(x);
        c[at] = cu_from_float<T>(p.relu ? c_relu(x) : p.gelu ? c_gelu_tanh(x) : x);
    });
}

static void cu_card_finish(void *stream, const cu_product *p)
{
    const int64_t blocks = cu_ceil(p->batch[0] * p->batch[1] * p->m * p->n, CU_CARD_PART);
    if (p->is_bf16)
        CU_LAUNCH(cu_card_finish_kernel<rt_bf16>, blocks, CU_CARD_THREADS, (cudaStream_t)stream,
                  *p);
    else
        CU_LAUNCH(cu_card_finish_kernel<float>, blocks, CU_CARD_THREADS, (cudaStream_t)stream,
                  *p);
}

// Bits of two runs
// ----------------------------------------------------------------------------------------------

CU_KERNEL void __launch_bounds__(CU_CARD_THREADS)
    cu_card_compare_kernel(int32_t *differ, const uint32_t *a, const uint32_t *b, int64_t words)
{
    bool same = true;
    cu_each_of_part(words, [&](int64_t i) { same = same && a[i] == b[i]; });
    if (!same)
        cu_note(differ, 1);
}

static void cu_card_compare(void *stream, int32_t *differ, const uint32_t *a, const uint32_t *b,
                            int64_t words)
{
    CU_LAUNCH(cu_card_compare_kernel, cu_ceil(words, CU_CARD_PART), CU_CARD_THREADS,
              (cudaStream_t)stream, differ, a, b, words);
}

// Words by value: a launch that is under way has them, whatever the host does next.
struct cu_words {
    uint32_t word[CU_MOST_BYTES / 4];
};

CU_KERNEL void __launch_bounds__(CU_MOST_BYTES / 4)
    cu_card_set_kernel(uint32_t *to, cu_words from, int words)
{
    if ((int)threadIdx.x < words)
        to[threadIdx.x] = from.word[threadIdx.x];
}

static void cu_card_set(void *stream, void *to, const void *from, int n)
{
    cu_words words = {};
    memcpy(&words, from, (size_t)n);
    CU_LAUNCH(cu_card_set_kernel, 1, CU_MOST_BYTES / 4, (cudaStream_t)stream, (uint32_t *)to,
              words, n / 4);
}

#ifdef __CUDA_ARCH_LIST__
#define CU_ARCHITECTURES CU_TEXT_OF(__CUDA_ARCH_LIST__)
#else
#define CU_ARCHITECTURES ""
#endif
#define CU_TEXT_OF(...) CU_TEXT(__VA_ARGS__)
#define CU_TEXT(...) #__VA_ARGS__

#define CU_CARD_KERNELS                                                                        \
    extern "C" const cu_card rt_card_kernels = {                                               \
        CU_ARCHITECTURES, cu_card_set,     cu_card_narrow,        cu_card_widen,               \
        cu_card_add,      cu_card_squares, cu_card_squares_bytes, cu_card_watch,               \
        cu_card_score,    cu_card_finish,  cu_card_compare};

#endif
