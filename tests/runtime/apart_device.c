// A device that is not there: its memory can be touched inside the device's own functions only, and what it was asked
// for comes when somebody waits for it; copies of messages and images end no sooner than somebody has asked often. Programs that link it in front of the runtime work on it in place of the host
// (tests/e2e/apart.py), so whatever forgets to ask the device, or to wait, ends with a signal or with other bits.
#define rt__host made_of
#include "runtime/host.c" // NOLINT(bugprone-suspicious-include): its functions, under another table
#undef rt__host

#include "runtime/plain.h"
#include "runtime/twins.h"

#include <stdio.h>
#include <stdlib.h>

extern const rt_device rt__host;

// Bytes that have been asked for: they reach `to` when somebody waits.
// Bytes that have been taken: `to` must still hold them then.
// Predictions are looked at no earlier than that, but as they are now.
typedef struct Later {
    uint64_t mark;
    bool taken, room; // room: `to` was made by room()
    bool scored;
    uint8_t *to, *bytes;
    size_t n;
    rt__predictions predictions;
    void *logits, *labels; // copies of what is in its memory
} Later;

// The copy of a message. A twin that is pulled has its bytes at once, and the slot must still hold them when it ends; a
// slot that is pushed has them no sooner than then.
typedef struct Copy {
    bool goes_on, pushed;
    int asked; // how often whether it is over
    uint8_t *bytes;
    rt__twin twin;
} Copy;

// Of an image: taken from the tensor no sooner than it is spared, or over.
typedef struct Kept {
    uint8_t *host, *bytes; // NULL: not taken yet
    const void *tensor;
    size_t n;
} Kept;

typedef struct Apart {
    Copy *copies; // [rt__twins_count]
    Kept *kept;
    size_t n_kept;
    unsigned chance, asks; // how often somebody must ask whether they are over
    uint64_t marks;
    Later *later;
    size_t n_later;
    void *room; // the one that was given last
    int inside; // so many of its functions; generated code comes back to some
} Apart;

static void protect(rt_stage *s, int how)
{
    if (mprotect(s->mapping, s->mapping_bytes, how))
        abort();
}

static void enter(rt_stage *s)
{
    if (!((Apart *)s->device_state)->inside++)
        protect(s, PROT_READ | PROT_WRITE);
}

static void leave(rt_stage *s)
{
    if (!--((Apart *)s->device_state)->inside)
        protect(s, PROT_NONE);
}

static void *need(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

static Later *add_later(rt_stage *s, void *to, size_t n)
{
    Apart *a = s->device_state;
    a->later = need(realloc(a->later, (a->n_later + 1) * sizeof *a->later));
    Later *l = &a->later[a->n_later++];
    *l = (Later){.mark = a->marks, .to = to, .bytes = need(malloc(n + 1)), .n = n};
    return l;
}

static void later(rt_stage *s, void *to, const void *bytes, size_t n)
{
    memcpy(add_later(s, to, n)->bytes, bytes, n);
    memset(to, 0xff, n);
}

static void drop(Later *l)
{
    if (l->room)
        free(l->to);
    free(l->bytes);
    free(l->logits);
    free(l->labels);
}

static void check_kept(const void *at, const void *bytes, size_t n)
{
    if (!memcmp(at, bytes, n))
        return;
    fprintf(stderr, "apart: %zu bytes were overwritten before they were waited for\n", n);
    abort();
}

static void finish(rt_stage *s, Later *l)
{
    if (l->scored)
        made_of.score(s, (rt__hits *)(void *)l->bytes, &l->predictions);
    if (l->taken)
        check_kept(l->to, l->bytes, l->n);
    else
        memcpy(l->to, l->bytes, l->n);
    drop(l);
}

static int apart_open(rt_stage *s, uint64_t bytes, uint8_t **arena)
{
    int error = made_of.open(s, bytes, arena);
    if (error)
        return error;
    Apart *a = s->device_state = need(calloc(1, sizeof *a));
    a->copies = need(calloc((size_t)rt__twins_count(s) + 1, sizeof *a->copies));
    a->chance = (unsigned)s->rank;
    protect(s, PROT_NONE);
    return 0;
}

// A run that failed waits for nothing any more.
static void apart_close(rt_stage *s)
{
    Apart *a = s->device_state;
    for (size_t i = 0; a && i < a->n_later; i++)
        drop(&a->later[i]);
    for (int i = 0; a && i < rt__twins_count(s); i++)
        free(a->copies[i].bytes);
    for (size_t i = 0; a && i < a->n_kept; i++)
        free(a->kept[i].bytes);
    if (a) {
        free(a->copies);
        free(a->kept);
        free(a->later);
        free(a->room);
    }
    free(a);
    s->device_state = NULL;
    made_of.close(s);
}

static void apart_run(rt_stage *s, rt__code *code, int mb)
{
    enter(s);
    code(s, mb);
    leave(s);
}

static void apart_put(rt_stage *s, void *tensor, const void *host, size_t n)
{
    Apart *a = s->device_state;
    enter(s);
    memcpy(tensor, host, n);
    Later *l = add_later(s, (void *)(uintptr_t)host, n);
    memcpy(l->bytes, host, n);
    l->taken = true;
    l->room = host == a->room;
    a->room = l->room ? NULL : a->room;
    leave(s);
}

static void apart_get(rt_stage *s, void *host, const void *tensor, size_t n)
{
    enter(s);
    later(s, host, tensor, n);
    leave(s);
}

static void apart_move(rt_stage *s, void *to, const void *from, size_t n)
{
    enter(s);
    made_of.move(s, to, from, n);
    leave(s);
}

static void apart_zero(rt_stage *s, void *tensor, size_t n)
{
    enter(s);
    made_of.zero(s, tensor, n);
    leave(s);
}

static void *apart_room(rt_stage *s, void *tensor, size_t n)
{
    Apart *a = s->device_state;
    (void)tensor;
    free(a->room);
    a->room = need(malloc(n));
    memset(a->room, 0xff, n);
    return a->room;
}

static void apart_add(rt_stage *s, void *to, const void *const *parts, int n_parts, int64_t n,
                      rt_dtype dtype, int divide)
{
    enter(s);
    made_of.add(s, to, parts, n_parts, n, dtype, divide);
    leave(s);
}

static void apart_squares(rt_stage *s, double *sum, const void *const *parts, int n_parts,
                          int64_t n, rt_dtype dtype)
{
    double now;
    enter(s);
    made_of.squares(s, &now, parts, n_parts, n, dtype);
    leave(s);
    later(s, sum, &now, sizeof now);
}

static bool apart_finite(rt_stage *s, const void *tensor, int64_t n, rt_dtype dtype)
{
    enter(s);
    bool all = made_of.finite(s, tensor, n, dtype);
    leave(s);
    return all;
}

static void *copy_of(const void *bytes, int64_t n)
{
    return memcpy(need(malloc((size_t)n + 1)), bytes, (size_t)n);
}

static void apart_score(rt_stage *s, rt__hits *hits, const rt__predictions *p)
{
    Later *l = add_later(s, hits, sizeof *hits);
    enter(s);
    l->scored = true;
    l->predictions = *p;
    l->predictions.logits = l->logits =
        copy_of(p->logits, p->rows * p->classes * rt__dtype_bytes(p->type));
    l->predictions.labels = l->labels = copy_of(p->labels, p->rows * 4);
    leave(s);
    memset(hits, 0xff, sizeof *hits);
}

static void end(Copy *c)
{
    if (c->goes_on && c->pushed)
        memcpy(c->twin.slot, c->bytes, c->twin.bytes);
    else if (c->goes_on)
        check_kept(c->twin.slot, c->bytes, c->twin.bytes);
    free(c->bytes);
    *c = (Copy){0};
}

static Copy *begin(rt_stage *s, const rt__twin *t, bool pushed)
{
    Copy *c = &((Apart *)s->device_state)->copies[t->number];
    end(c);
    *c = (Copy){.goes_on = true,
                .pushed = pushed,
                .bytes = copy_of(pushed ? t->at : t->slot, (int64_t)t->bytes),
                .twin = *t};
    return c;
}

static void apart_pull(rt_stage *s, const rt__twin *t)
{
    Copy *c = begin(s, t, false);
    enter(s);
    memcpy(t->at, c->bytes, t->bytes);
    leave(s);
}

static void apart_left(rt_stage *s, const rt__twin *t)
{
    enter(s);
    memset(t->at, 0xff, t->bytes);
    leave(s);
}

static void apart_push(rt_stage *s, const rt__twin *t)
{
    enter(s);
    begin(s, t, true);
    leave(s);
    memset(t->slot, 0xff, t->bytes);
}

static bool apart_moved(rt_stage *s, const rt__twin *t)
{
    Copy *c = &((Apart *)s->device_state)->copies[t->number];
    enum { OFTEN = 8 }; // more often than by instructions that wait for nothing
    if (c->goes_on && ++c->asked < OFTEN)
        return false;
    end(c);
    return true;
}

static int apart_share(rt_stage *s, void *host, size_t n)
{
    (void)s, (void)host, (void)n;
    return 0;
}

static void apart_keep(rt_stage *s, void *host, const void *tensor, size_t n)
{
    enum { MOST_ASKS = 300 }; // of some instructions, or of several steps
    Apart *a = s->device_state;
    a->kept = need(realloc(a->kept, (a->n_kept + 1) * sizeof *a->kept));
    a->kept[a->n_kept++] = (Kept){.host = host, .tensor = tensor, .n = n};
    memset(host, 0xff, n);
    a->chance = a->chance * 1664525 + 1013904223;
    a->asks = (a->chance >> 16) % MOST_ASKS;
}

static void apart_spare(rt_stage *s)
{
    Apart *a = s->device_state;
    enter(s);
    for (size_t i = 0; i < a->n_kept; i++)
        if (!a->kept[i].bytes)
            a->kept[i].bytes = copy_of(a->kept[i].tensor, (int64_t)a->kept[i].n);
    leave(s);
}

static bool apart_kept(rt_stage *s)
{
    Apart *a = s->device_state;
    if (a->asks && a->asks--)
        return false;
    apart_spare(s);
    for (size_t i = 0; i < a->n_kept; i++) {
        memcpy(a->kept[i].host, a->kept[i].bytes, a->kept[i].n);
        free(a->kept[i].bytes);
    }
    a->n_kept = 0;
    return true;
}

static uint64_t apart_mark(rt_stage *s)
{
    Apart *a = s->device_state;
    return a->marks++;
}

static int apart_wait(rt_stage *s, uint64_t mark)
{
    Apart *a = s->device_state;
    size_t n = 0;
    while (n < a->n_later && a->later[n].mark <= mark)
        finish(s, &a->later[n++]);
    if (n) // else there may be no list
        memmove(a->later, a->later + n, (a->n_later - n) * sizeof *a->later);
    a->n_later -= n;
    return 0;
}

const rt_device rt__host = {
    .name = "apart",
    .apart = true,
    .lag = 1,
    .portion = 4104,
    .open = apart_open,
    .close = apart_close,
    .run = apart_run,
    .put = apart_put,
    .get = apart_get,
    .move = apart_move,
    .zero = apart_zero,
    .room = apart_room,
    .add = apart_add,
    .squares = apart_squares,
    .finite = apart_finite,
    .score = apart_score,
    .pull = apart_pull,
    .left = apart_left,
    .push = apart_push,
    .moved = apart_moved,
    .share = apart_share,
    .keep = apart_keep,
    .spare = apart_spare,
    .kept = apart_kept,
    .mark = apart_mark,
    .wait = apart_wait,
};
