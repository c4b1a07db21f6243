#include "runtime/cuda/card/narrow.h"

#include "runtime/cuda/card/card.h"

#include <stdlib.h>

#include <stagecc/cu_card.h>

typedef struct Copied {
    int64_t offset, bytes; // of the parameter
    int64_t at;            // of its copy
} Copied;

typedef struct Computed { // no parameter, as a weight that is normalized
    const void *of;
    int64_t n;
    void *at; // its copy, since the last call that read it
} Computed;

struct rt__narrow {
    uint8_t *memory;
    int64_t version_bytes;
    Copied *copied; // parameters, by offset
    int n;
    bool stale; // parameters were written since their copies were made
    Computed *computed;
    int n_computed;
};

// Bytes of a version's copies.
static int64_t version_bytes(const rt_program *p)
{
    int64_t bytes = 0;
    for (int i = 0; i < p->n_tensors; i++)
        if (p->tensors[i].role == RT_PARAM)
            bytes += (int64_t)segment_round_up((uint64_t)p->tensors[i].bytes, RT_ALIGN) / 2;
    return bytes;
}

int64_t rt__narrow_bytes(const rt_stage *s)
{
    const rt_program *p = s->program;
    int64_t versions = p->versions > 1 ? p->versions : 1;
    return p->activations == RT_BF16 ? card_narrow_bytes(2 * version_bytes(p) * versions) : 0;
}

static int by_offset(const void *a, const void *b)
{
    int64_t x = ((const Copied *)a)->offset, y = ((const Copied *)b)->offset;
    return (x > y) - (x < y);
}

int rt__narrow_open(rt_stage *s, rt__narrow **made, uint8_t *memory)
{
    const rt_program *p = s->program;
    if (p->activations != RT_BF16)
        return 0;
    rt__narrow *w = *made = calloc(1, sizeof *w);
    if (w)
        w->copied = calloc((size_t)p->n_tensors + 1, sizeof *w->copied);
    if (!w || !w->copied)
        return rt_fail(s, RT_E_MEMORY, "no memory for what it knows of its parameters");
    w->memory = memory;
    w->version_bytes = version_bytes(p);
    int64_t at = 0;
    for (int i = 0; i < p->n_tensors; i++) {
        const rt_tensor *t = &p->tensors[i];
        if (t->role != RT_PARAM)
            continue;
        w->copied[w->n++] = (Copied){t->offset, t->bytes, at};
        at += (int64_t)segment_round_up((uint64_t)t->bytes, RT_ALIGN) / 2;
    }
    qsort(w->copied, (size_t)w->n, sizeof *w->copied, by_offset);
    return 0;
}

void rt__narrow_close(rt__narrow *made)
{
    if (!made)
        return;
    for (int i = 0; i < made->n_computed; i++)
        cudaFree(made->computed[i].at);
    free(made->computed);
    free(made->copied);
    free(made);
}

// Of which version, and how far from the begin of persistent memory it would lie in the first one.
static int64_t version_of(const rt_stage *s, const void *param, int64_t *offset)
{
    const rt_program *p = s->program;
    *offset = (const uint8_t *)param - s->arena;
    if (*offset < p->persistent_bytes || p->versions <= 1)
        return 0;
    int64_t beyond = *offset - p->persistent_bytes;
    *offset = p->persistent_bytes - p->version_bytes + beyond % p->version_bytes;
    return 1 + beyond / p->version_bytes;
}

void *rt__card_narrow(const rt_stage *s, const void *param)
{
    const rt__narrow *w = rt__card_of(s)->narrow;
    int64_t offset;
    if (!w)
        return NULL;
    int64_t version = version_of(s, param, &offset);
    int low = 0, beyond = w->n; // the last one that does not begin behind it
    while (beyond - low > 1) {
        int middle = (low + beyond) / 2;
        if (w->copied[middle].offset <= offset)
            low = middle;
        else
            beyond = middle;
    }
    const Copied *c = &w->copied[low];
    return w->memory + version * w->version_bytes + c->at + (offset - c->offset) / 2;
}

// Are these bytes of parameters? Then of the persistent memory or of other versions.
static bool is_weight(const rt_stage *s, const void *at)
{
    const rt_program *p = s->program;
    const uint8_t *begin = s->arena;
    return (const uint8_t *)at >= begin &&
           (const uint8_t *)at < begin + p->persistent_bytes + rt__older_weights(p);
}

void rt__narrow_written(rt_stage *s, const void *to)
{
    rt__narrow *w = rt__card_of(s)->narrow;
    if (w)
        w->stale |= is_weight(s, to);
}

void rt__narrow_moved(rt_stage *s, const void *to, const void *from)
{
    const rt__card *c = rt__card_of(s);
    const rt__narrow *w = c->narrow;
    int64_t offset;
    if (!w || !is_weight(s, to) || !is_weight(s, from))
        return;
    rt__card_check(s,
                   cudaMemcpyAsync(w->memory + version_of(s, to, &offset) * w->version_bytes,
                                   w->memory + version_of(s, from, &offset) * w->version_bytes,
                                   (size_t)w->version_bytes, cudaMemcpyDeviceToDevice, c->work),
                   "copy a version");
}

void rt__narrow_refresh(rt_stage *s)
{
    const rt__card *c = rt__card_of(s);
    rt__narrow *w = c->narrow;
    if (!w || !w->stale)
        return;
    for (int i = 0; i < w->n; i++) {
        const float *param = rt_persistent(s, w->copied[i].offset);
        rt_card_kernels.narrow(c->work, rt__card_narrow(s, param), param,
                               w->copied[i].bytes / 4);
    }
    w->stale = false;
}

static void *place_of_computed(rt_stage *s, rt__narrow *w, const void *floats, int64_t n)
{
    for (int i = 0; i < w->n_computed; i++)
        if (w->computed[i].of == floats && w->computed[i].n == n)
            return w->computed[i].at;
    Computed *more = realloc(w->computed, (size_t)(w->n_computed + 1) * sizeof *more);
    if (!more) {
        rt_fail(s, RT_E_MEMORY, "no memory for what it knows of computed weights");
        return NULL;
    }
    w->computed = more;
    void *at = NULL;
    if (rt__card_check(s, cudaMalloc(&at, (size_t)n * sizeof(rt_bf16)),
                       "get memory for a computed weight"))
        return NULL;
    more[w->n_computed++] = (Computed){floats, n, at};
    return at;
}

const void *rt__narrow_of(rt_stage *s, const void *floats, int64_t n)
{
    rt__card *c = rt__card_of(s);
    if (is_weight(s, floats))
        return rt__card_narrow(s, floats);
    void *at = place_of_computed(s, c->narrow, floats, n);
    if (at)
        rt_card_kernels.narrow(c->work, at, floats, n);
    return at;
}
