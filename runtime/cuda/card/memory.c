// One piece of the device's memory: the arena, and behind it all else that a stage holds there. Plans count the same
// (codegen/cuda/memory.c).
#include "runtime/cuda/card/card.h"

#include "plan/card.h"
#include "runtime/cuda/private/shared.h"
#include "runtime/twins.h"

#include <stagecc/cu_card.h>

static size_t aligned(size_t n)
{
    return (size_t)card_aligned((int64_t)n);
}

// What the program's and the runtime's own kernels need for the time being.
static size_t room_bytes(const rt_stage *s)
{
    const rt_program *p = s->program;
    int64_t most = rt__cuda_kernels(s)->room ? *rt__cuda_kernels(s)->room : 0,
            rows = p->rows * 4;
    most = rows > most ? rows : most;
    for (int i = 0; i < p->n_tensors; i++) {
        int64_t bytes = rt_card_kernels.squares_bytes(p->tensors[i].bytes / 4);
        most = bytes > most ? bytes : most;
    }
    return (size_t)most + CARD_ALIGN; // and the result of a kernel of the runtime's
}

// Of the part of the arena in which parameters lie, in all versions.
static int64_t weights_bytes(const rt_stage *s)
{
    return s->program->persistent_bytes + rt__older_weights(s->program);
}

// Behind the arena.
typedef struct Layout {
    size_t known, bad, workspace, room, narrow, data, end;
} Layout;

static Layout layout_of(const rt_stage *s, uint64_t arena)
{
    Layout l = {.known = aligned(arena)};
    l.bad = l.known + aligned(sizeof(rt__known));
    l.workspace = l.known + CARD_KNOWN;
    _Static_assert(sizeof(rt__known) + 2 * (size_t)CARD_ALIGN <= CARD_KNOWN,
                   "both have their place");
    l.room = l.workspace + RT__PRODUCT_WORKSPACE;
    l.narrow = l.room + aligned(room_bytes(s));
    l.data = l.narrow + (size_t)rt__narrow_bytes(s);
    l.end = l.data + (size_t)rt__feed_bytes(s);
    return l;
}

static int check_memory(rt_stage *s, uint64_t arena, size_t all)
{
    size_t left = 0, total = 0;
    int error = rt__card_check(s, cudaMemGetInfo(&left, &total), "ask for free memory");
    rt__card_of(s)->left = left;
    if (error || all <= left)
        return error;
    const rt_program *p = s->program;
    return rt_fail(
        s, RT_E_MEMORY,
        "stage %d needs %.1f MiB of its device, which has %.1f MiB free of %.1f: parameters, gradients and "
        "state %.1f, activations %d x %.1f, scratch %.1f, messages %.1f, libraries and copies %.1f. Use more micro-batches, "
        "a smaller batch, or more stages on more devices",
        p->stage, (double)all / 0x1p20, (double)left / 0x1p20, (double)total / 0x1p20,
        (double)weights_bytes(s) / 0x1p20, p->in_flight, (double)p->slot_bytes / 0x1p20,
        (double)p->scratch_bytes / 0x1p20, (double)rt__twins_bytes(s) / 0x1p20,
        (double)(all - arena) / 0x1p20);
}

int rt__card_make_memory(rt_stage *s, uint64_t arena)
{
    rt__card *c = rt__card_of(s);
    Layout l = layout_of(s, arena);
    int error = check_memory(s, arena, l.end);
    if (!error)
        error = rt__card_check(s, cudaMalloc((void **)&c->memory, l.end),
                               "get memory of its device");
    if (!error)
        error = rt__card_check(s, cudaMemsetAsync(c->memory, 0, l.end, c->work),
                               "clear its memory");
    if (error)
        return error;
    c->known = (rt__known *)(void *)(c->memory + l.known);
    c->bad = (int32_t *)(void *)(c->memory + l.bad);
    c->workspace = c->memory + l.workspace;
    c->room = c->memory + l.room;
    error = rt__narrow_open(s, &c->narrow, c->memory + l.narrow);
    return error ? error : rt__feed_open(s, &c->feed, c->memory + l.data);
}
