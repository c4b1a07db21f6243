// The device of programs of the cuda backend. All work of a stage is in one stream, so nothing but what is copied beside it
// (edges.c, keep.c, feed.c) needs an order of its own; the host is told what has come by events (mark, wait).
#include "runtime/cuda/card/card.h"

#include "plan/card.h"
#include "runtime/cuda/card/no_device.h"
#include "runtime/cuda/private/shared.h"
#include "runtime/plain.h"
#include "runtime/wait.h"

#include <stdlib.h>
#include <string.h>

#include <stagecc/cu_card.h>

// Results up to SMALL bytes arrive by pinned memory, so that nobody waits for them when they are asked for.
enum { PINNED = 64 << 10, SMALL = 1 << 10, MOST_ARRIVALS = PINNED / 64 };

int rt__card_check(rt_stage *s, cudaError_t status, const char *what)
{
    if (!status)
        return 0;
    char name[RT__RANK_NAME];
    return rt_fail(s, status == cudaErrorMemoryAllocation ? RT_E_MEMORY : RT_E_ENVIRONMENT,
                   "%s cannot %s: CUDA: %s (%s)", rt__rank_name(s->program, s->rank, name),
                   what, cudaGetErrorString(status), cudaGetErrorName(status));
}

int rt__card_check_launches(rt_stage *s)
{
    return rt__card_check(s, cudaGetLastError(), "launch its kernels");
}

int rt__card_make_stream(rt_stage *s, cudaStream_t *stream)
{
    return rt__card_check(s, cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking),
                          "make a stream");
}

int rt__card_make_event(rt_stage *s, cudaEvent_t *event)
{
    return rt__card_check(s, cudaEventCreateWithFlags(event, cudaEventDisableTiming),
                          "make an event");
}

void rt__card_close_stream(cudaStream_t stream)
{
    if (!stream)
        return;
    cudaStreamSynchronize(stream);
    cudaStreamDestroy(stream);
}

// Opening
// ---------------------------------------------------------------------------------------

// Ranks of a host take its devices in turn, unless STAGECC_CARD says which one.
static int choose_card(rt_stage *s)
{
    const char *wanted = getenv("STAGECC_CARD");
    int n = 0;
    rt__ways_prepare();
    cudaError_t status = cudaGetDeviceCount(&n);
    if (status || n < 1)
        return rt_fail(
            s, RT_E_ENVIRONMENT,
            "this program wants a CUDA device: %s. Run it where there is one, or build it again with "
            "--backend c",
            rt__card_why_none(status));
    int card = wanted && *wanted ? atoi(wanted) : s->rank % n;
    if (card < 0 || card >= n)
        return rt_fail(s, RT_E_ENVIRONMENT,
                       "STAGECC_CARD=%s: this host has the devices 0 to %d", wanted, n - 1);
    rt__card_of(s)->number = card;
    int error = rt__card_check(s, cudaSetDevice(card), "take its device");
    return error ? error : rt__card_check_architecture(s);
}

static int card_open(rt_stage *s, uint64_t bytes, uint8_t **arena)
{
    rt__card *c = calloc(1, sizeof *c);
    s->device_state = c;
    if (c)
        c->arrivals = calloc(MOST_ARRIVALS, sizeof *c->arrivals);
    if (!c || !c->arrivals)
        return rt_fail(s, RT_E_MEMORY, "no memory for what it knows of its device");
    int error = choose_card(s);
    if (!error)
        error = rt__card_make_stream(s, &c->work);
    for (int i = 0; i < RT__CARD_EVENTS && !error; i++)
        error = rt__card_make_event(s, &c->events[i]);
    if (!error)
        error = rt__card_check(s, cudaMallocHost((void **)&c->pinned, PINNED), "pin memory");
    if (!error)
        error = rt__card_make_memory(s, bytes);
    if (!error)
        error = rt__phases_open(s, &c->phases);
    if (!error)
        error = rt__transfers_open(s, &c->transfers);
    if (!error)
        error = rt__ways_open(s);
    if (rt__card_launches_by_hand())
        s->device = rt__card_by_hand();
    c->set.now.mb = -1; // nothing was set yet
    *arena = c->memory;
    return error;
}

static void card_close(rt_stage *s)
{
    rt__card *c = rt__card_of(s);
    if (!c)
        return;
    if (c->work)
        cudaStreamSynchronize(c->work);
    rt__ways_close(s, c->ways);
    rt__phases_close(c->phases);
    rt__transfers_close(s, c->transfers);
    rt__keeping_close(c->keeping);
    rt__feed_close(c->feed);
    for (int i = 0; i < c->n_constants; i++) {
        cudaFree(c->constants[i].at);
        free(c->constants[i].copy);
    }
    for (int i = 0; i < RT__CARD_EVENTS; i++)
        if (c->events[i])
            cudaEventDestroy(c->events[i]);
    rt__card_drop_stamps(c);
    rt__narrow_close(c->narrow);
    cudaFree(c->memory);
    cudaFreeHost(c->pinned);
    if (c->work)
        cudaStreamDestroy(c->work);
    free(c->constants);
    free(c->arrivals);
    free(c);
    s->device_state = NULL;
}

// Marks, and what has come
// ----------------------------------------------------------------------------------

static uint64_t card_mark(rt_stage *s)
{
    rt__card *c = rt__card_of(s);
    rt__card_check_launches(s);
    rt__card_check(s, cudaEventRecord(c->events[c->marks % RT__CARD_EVENTS], c->work),
                   "record an event");
    return c->marks++;
}

static bool come(rt_stage *s, void *event)
{
    return rt__card_reached(s, event);
}

int rt__card_await(rt_stage *s, cudaEvent_t event)
{
    if (!rt__card_of(s)->ways)
        return rt__card_check(s, cudaEventSynchronize(event), "go on");
    return rt__wait_until(s, "work of its device", come, event);
}

// An event that was recorded again since stands for a later mark, which is good enough.
static int card_wait(rt_stage *s, uint64_t mark)
{
    rt__card *c = rt__card_of(s);
    int error = rt__card_await(s, c->events[mark % RT__CARD_EVENTS]);
    int n = 0;
    for (; !error && n < c->n_arrivals && c->arrivals[n].mark <= mark; n++)
        memcpy(c->arrivals[n].to, c->arrivals[n].from, c->arrivals[n].n);
    memmove(c->arrivals, c->arrivals + n, (size_t)(c->n_arrivals - n) * sizeof *c->arrivals);
    c->n_arrivals -= n;
    if (!c->n_arrivals)
        c->pinned_at = 0;
    return error ? error : (int)s->error;
}

static void wait_for_all(rt_stage *s)
{
    card_wait(s, card_mark(s));
}

// Bytes
// -----------------------------------------------------------------------------------------

static void copy(rt_stage *s, void *to, const void *from, size_t n, enum cudaMemcpyKind kind)
{
    rt__card_check(s, cudaMemcpyAsync(to, from, n, kind, rt__card_of(s)->work), "copy");
}

static void card_put(rt_stage *s, void *tensor, const void *host, size_t n)
{
    if (rt__feed_put(s, tensor, host, n))
        return;
    copy(s, tensor, host, n, cudaMemcpyHostToDevice);
    rt__narrow_written(s, tensor);
}

static void card_get(rt_stage *s, void *host, const void *tensor, size_t n)
{
    rt__card *c = rt__card_of(s);
    size_t bytes = (n + 63) / 64 * 64;
    if (n > SMALL) { // copied before the call returns, where the host's memory is not pinned
        if (c->ways)
            wait_for_all(s);
        copy(s, host, tensor, n, cudaMemcpyDeviceToHost);
        return;
    }
    if (c->pinned_at + bytes > PINNED || c->n_arrivals == MOST_ARRIVALS)
        wait_for_all(s);
    copy(s, c->pinned + c->pinned_at, tensor, n, cudaMemcpyDeviceToHost);
    c->arrivals[c->n_arrivals++] = (rt__arrival){c->marks, host, c->pinned + c->pinned_at, n};
    c->pinned_at += bytes;
}

static void card_move(rt_stage *s, void *to, const void *from, size_t n)
{
    if (to == from)
        return;
    copy(s, to, from, n, cudaMemcpyDeviceToDevice);
    rt__narrow_moved(s, to, from);
}

static void card_zero(rt_stage *s, void *tensor, size_t n)
{
    rt__card_check(s, cudaMemsetAsync(tensor, 0, n, rt__card_of(s)->work), "clear a tensor");
}

// Who asks too early leaves an error behind, which would be taken for that of a launch. Whoever captures must not ask.
bool rt__card_reached(rt_stage *s, cudaEvent_t event)
{
    if (rt__card_of(s)->capturing || rt__card_check_launches(s))
        return false;
    cudaError_t status = cudaEventQuery(event);
    if (status != cudaErrorNotReady)
        return !rt__card_check(s, status, "go on");
    (void)cudaGetLastError();
    return false;
}

// Work
// -------------------------------------------------------------------------------------------

static void card_run(rt_stage *s, rt__code *code, int mb)
{
    rt__card *c = rt__card_of(s);
    rt__narrow_refresh(s);
    rt__card_set_known(s, mb);
    rt__phases_run(s, c->phases, code, mb);
}

// NOLINTNEXTLINE(readability-function-size): rt_device says what its arguments are
static void card_add(rt_stage *s, void *to, const void *const *parts, int n_parts, int64_t n,
                     rt_dtype dtype, int divide)
{
    if (dtype != RT_F32 || n_parts > CU_MOST_PARTS)
        rt_fail(s, RT_E_BUG, "a sum of %d parts of type %s", n_parts, rt__dtype_name(dtype));
    else
        rt_card_kernels.add(rt__card_of(s)->work, to, (const float *const *)parts, n_parts, n,
                            divide);
}

static void card_squares(rt_stage *s, double *sum, const void *const *parts, int n_parts,
                         int64_t n, rt_dtype dtype)
{
    rt__card *c = rt__card_of(s);
    if (dtype != RT_F32 || n_parts > CU_MOST_PARTS) {
        rt_fail(s, RT_E_BUG, "squares of %d parts of type %s", n_parts, rt__dtype_name(dtype));
        return;
    }
    double *there = (double *)(void *)c->room;
    rt_card_kernels.squares(c->work, there, c->room + CARD_ALIGN, (const float *const *)parts,
                            n_parts, n);
    card_get(s, sum, there, sizeof *sum);
}

static void card_watch(rt_stage *s, const rt__watched *items, int n)
{
    _Static_assert((int)RT_MOST_WATCHED == (int)CU_MOST_PARTS, "in one launch");
    cu_watched some[RT_MOST_WATCHED];
    int held = 0;
    for (int i = 0; i < n; i++)
        if (items[i].dtype == RT_F32)
            some[held++] = (cu_watched){items[i].tensor, items[i].n, items[i].what};
    rt_card_kernels.watch(rt__card_of(s)->work, rt__card_of(s)->bad, some, held);
}

static void card_noted(rt_stage *s, int32_t *what)
{
    card_get(s, what, rt__card_of(s)->bad, sizeof *what);
}

static void card_score(rt_stage *s, rt__hits *hits, const rt__predictions *p)
{
    rt__card *c = rt__card_of(s);
    _Static_assert(sizeof(cu_hits) == sizeof(rt__hits), "the same");
    rt_card_kernels.score(c->work, (cu_hits *)(void *)c->room,
                          (int32_t *)(void *)(c->room + CARD_ALIGN), p->logits,
                          p->type == RT_BF16, p->labels, p->rows, p->classes, p->row);
    card_get(s, hits, c->room, sizeof *hits);
}

const rt_device rt__cuda_device = {
    .name = "cuda",
    .apart = true,
    .lag = 1,
    .portion = INT64_C(1) << 40,
    .open = card_open,
    .close = card_close,
    .run = card_run,
    .put = card_put,
    .get = card_get,
    .move = card_move,
    .zero = card_zero,
    .room = rt__card_room,
    .add = card_add,
    .squares = card_squares,
    .watch = card_watch,
    .noted = card_noted,
    .finder = "STAGECC_CUDA_LAUNCH=1",
    .score = card_score,
    .pull = rt__card_pull,
    .left = rt__card_left,
    .push = rt__card_push,
    .moved = rt__card_moved,
    .connect = rt__card_connect,
    .reuse = rt__ways_reuse,
    .progress = rt__ways_progress,
    .stamp = rt__card_stamp,
    .beside = rt__card_beside,
    .share = rt__card_share,
    .keep = rt__card_keep,
    .spare = rt__card_spare,
    .kept = rt__card_kept,
    .mark = card_mark,
    .wait = card_wait,
};
