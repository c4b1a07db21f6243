// The device of programs that run on this processor: all is done when a call returns.
#include "runtime/device.h"

#include "runtime/bf16.h"
#include "runtime/machine.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

// Memory
// -----------------------------------------------------------------------------------------

// Whole huge pages where the arena is large: fewer faults now, fewer TLB misses later. It is touched here.
static int host_open(rt_stage *s, uint64_t bytes, uint8_t **arena)
{
    bool huge = bytes >= UINT64_C(16) * HUGE_PAGE;
    char name[RT__RANK_NAME];
    int error = rt__machine_fits(s, bytes);
    if (error)
        return error;
    s->mapping_bytes = segment_round_up(bytes + 1, SEGMENT_PAGE) + (huge ? HUGE_PAGE : 0);
    s->mapping = mmap(NULL, s->mapping_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (s->mapping == MAP_FAILED) {
        s->mapping = NULL;
        return rt_fail(s, RT_E_MEMORY, "%s: cannot map %zu bytes: %s",
                       rt__rank_name(s->program, s->rank, name), s->mapping_bytes,
                       strerror(errno));
    }
    uintptr_t begin = (uintptr_t)s->mapping;
    *arena = (uint8_t *)(huge ? segment_round_up(begin, HUGE_PAGE) : begin);
    if (huge)
        madvise(*arena, bytes, MADV_HUGEPAGE);
    for (uint64_t at = 0; at < bytes; at += SEGMENT_PAGE)
        *(volatile uint8_t *)(*arena + at) = 0;
    return 0;
}

static void host_close(rt_stage *s)
{
    if (s->mapping)
        munmap(s->mapping, s->mapping_bytes);
    s->mapping = NULL;
}

static void host_move(rt_stage *s, void *to, const void *from, size_t n)
{
    (void)s;
    if (to != from)
        memcpy(to, from, n);
}

static void host_zero(rt_stage *s, void *tensor, size_t n)
{
    (void)s;
    memset(tensor, 0, n);
}

static void *host_room(rt_stage *s, void *tensor, size_t n)
{
    (void)s, (void)n;
    return tensor;
}

// Work
// -------------------------------------------------------------------------------------------

static void host_run(rt_stage *s, rt__code *code, int mb)
{
    code(s, mb);
}

static uint64_t host_mark(rt_stage *s)
{
    (void)s;
    return 0;
}

static int host_wait(rt_stage *s, uint64_t mark)
{
    (void)s, (void)mark;
    return 0;
}

// Sums
// ---------------------------------------------------------------------------------------------

// Elements that are added up in one go.
enum { BLOCK = 1024 };

// Squares: what device.h says of their order.
enum { LANES = 256, WARP = 32, PART = 4096 };

// Of 32 neighbouring lanes those 16 apart, then 8, 4, 2 and 1; then from one such sum to the next.
static double join(double lane[LANES])
{
    double sum = 0;
    for (int first = 0; first < LANES; first += WARP) {
        for (int apart = WARP / 2; apart; apart /= 2)
            for (int i = first; i < first + apart; i++)
                lane[i] += lane[i + apart];
        sum = first ? sum + lane[first] : lane[first];
    }
    return sum;
}

// Both types differ in nothing but their name.
#define SUMS(real)                                                                             \
    static void add_##real(real to[], const void *const *parts, int n_parts, int64_t n,        \
                           int divide)                                                         \
    {                                                                                          \
        real sum[BLOCK * sizeof(double) / sizeof(real)];                                       \
        memcpy(sum, parts[0], (size_t)n * sizeof *sum);                                        \
        for (int r = 1; r < n_parts; r++) {                                                    \
            const real *x = parts[r];                                                          \
            for (int64_t i = 0; i < n; i++)                                                    \
                sum[i] += x[i];                                                                \
        }                                                                                      \
        if (divide != 1)                                                                       \
            for (int64_t i = 0; i < n; i++)                                                    \
                sum[i] /= (real)divide;                                                        \
        memcpy(to, sum, (size_t)n * sizeof *sum);                                              \
    }                                                                                          \
    static void add_squares_##real(double lane[LANES], const real *x, int64_t n)               \
    {                                                                                          \
        int64_t i = 0;                                                                         \
        for (; i + LANES <= n; i += LANES)                                                     \
            for (int k = 0; k < LANES; k++)                                                    \
                lane[k] += (double)x[i + k] * (double)x[i + k];                                \
        for (int k = 0; i + k < n; k++)                                                        \
            lane[k] += (double)x[i + k] * (double)x[i + k];                                    \
    }                                                                                          \
    static double squares_of_part_##real(const void *const *parts, int n_parts, int64_t at,    \
                                         int64_t n)                                            \
    {                                                                                          \
        double lane[LANES] = {0};                                                              \
        real sum[PART];                                                                        \
        const real *x = (const real *)parts[0] + at;                                           \
        for (int k = 1; k < n_parts; k++) {                                                    \
            const real *other = (const real *)parts[k] + at;                                   \
            for (int64_t i = 0; i < n; i++)                                                    \
                sum[i] = x[i] + other[i];                                                      \
            x = sum;                                                                           \
        }                                                                                      \
        add_squares_##real(lane, x, n);                                                        \
        return join(lane);                                                                     \
    }                                                                                          \
    static double squares_##real(const void *const *parts, int n_parts, int64_t n)             \
    {                                                                                          \
        double lane[LANES] = {0};                                                              \
        for (int64_t at = 0; at < n; at += PART)                                               \
            lane[at / PART % LANES] +=                                                         \
                squares_of_part_##real(parts, n_parts, at, n - at < PART ? n - at : PART);     \
        return join(lane);                                                                     \
    }
SUMS(float)
SUMS(double)

// NOLINTNEXTLINE(readability-function-size): rt_device says what its arguments are
static void host_add(rt_stage *s, void *to, const void *const *parts, int n_parts, int64_t n,
                     rt_dtype dtype, int divide)
{
    (void)s;
    if (dtype == RT_F64)
        add_double(to, parts, n_parts, n, divide);
    else
        add_float(to, parts, n_parts, n, divide);
}

static void host_squares(rt_stage *s, double *sum, const void *const *parts, int n_parts,
                         int64_t n, rt_dtype dtype)
{
    (void)s;
    *sum =
        dtype == RT_F64 ? squares_double(parts, n_parts, n) : squares_float(parts, n_parts, n);
}

// Finite numbers
// ------------------------------------------------------------------------------------

// Exponents of all ones, counted without branches so that the loop is a vector loop.
static bool finite_f32(const uint32_t *x, int64_t n)
{
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++)
        bad |= (x[i] & 0x7f800000) == 0x7f800000;
    return !bad;
}

static bool finite_f64(const uint64_t *x, int64_t n)
{
    uint64_t bad = 0;
    for (int64_t i = 0; i < n; i++)
        bad |= (x[i] & 0x7ff0000000000000) == 0x7ff0000000000000;
    return !bad;
}

static bool host_finite(rt_stage *s, const void *tensor, int64_t n, rt_dtype dtype)
{
    (void)s;
    return dtype == RT_F64 ? finite_f64(tensor, n) : finite_f32(tensor, n);
}

// Predictions
// ---------------------------------------------------------------------------------------

// How many classes come before the label; `classes` where its logit is not a number.
#define RANK(name, type, real, get)                                                            \
    static int64_t rank_##name(const type *row, int64_t classes, int64_t label)                \
    {                                                                                          \
        real own = get(row[label]);                                                            \
        if (isnan(own))                                                                        \
            return classes;                                                                    \
        int64_t rank = 0;                                                                      \
        for (int64_t c = 0; c < classes; c++)                                                  \
            rank += get(row[c]) > own || (get(row[c]) == own && c < label);                    \
        return rank;                                                                           \
    }
RANK(float, float, float, )
RANK(double, double, double, )
RANK(bf16, rt_bf16, float, rt_to_float)
#undef RANK

static int64_t rank_of_label(const rt__predictions *p, int64_t row)
{
    int64_t label = p->labels[row], first = row * p->row;
    if (label >= p->classes)
        return p->classes;
    if (p->type == RT_F64)
        return rank_double((const double *)p->logits + first, p->classes, label);
    if (p->type == RT_BF16)
        return rank_bf16((const rt_bf16 *)p->logits + first, p->classes, label);
    return rank_float((const float *)p->logits + first, p->classes, label);
}

static void host_score(rt_stage *s, rt__hits *hits, const rt__predictions *p)
{
    (void)s;
    *hits = (rt__hits){0};
    for (int64_t row = 0; row < p->rows; row++) {
        if (p->labels[row] < 0)
            continue;
        int64_t rank = rank_of_label(p, row);
        hits->first += rank < 1 && rank < p->classes;
        hits->fifth += rank < 5 && rank < p->classes;
        hits->rows++;
    }
}

const rt_device rt__host = {
    .name = "host",
    .portion = BLOCK * sizeof(double),
    .open = host_open,
    .close = host_close,
    .run = host_run,
    .put = host_move,
    .get = host_move,
    .move = host_move,
    .zero = host_zero,
    .room = host_room,
    .add = host_add,
    .squares = host_squares,
    .finite = host_finite,
    .score = host_score,
    .mark = host_mark,
    .wait = host_wait,
};
