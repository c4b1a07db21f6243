// Greedy by size: the largest block first, each at the lowest offset that is free for all of its life
// (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020). Within a few
// percent of the lower bound on networks, and simple enough to be surely right.
#include "passes/pack.h"

#include <stdlib.h>

typedef struct Ranked {
    Block *block;
    int64_t bytes; // aligned
    int index;
} Ranked;

static int64_t aligned(int64_t bytes)
{
    return (bytes + PACK_ALIGN - 1) / PACK_ALIGN * PACK_ALIGN;
}

static int by_size(const void *x, const void *y)
{
    const Ranked *a = x, *b = y;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    if (a->block->begin != b->block->begin)
        return a->block->begin < b->block->begin ? -1 : 1;
    return a->index < b->index ? -1 : a->index > b->index;
}

// The lowest gap that fits; `placed` is ordered by offset.
static int64_t lowest_gap(const Ranked *placed, int n, const Ranked *r)
{
    int64_t at = 0;
    for (int i = 0; i < n; i++) {
        const Block *b = placed[i].block;
        if (b->end < r->block->begin || r->block->end < b->begin)
            continue;
        if (b->offset >= at + r->bytes)
            break;
        if (b->offset + placed[i].bytes > at)
            at = b->offset + placed[i].bytes;
    }
    return at;
}

int64_t pack(Arena *scratch, Block *blocks, int n)
{
    Ranked *ranked = arena_array(scratch, Ranked, n), *placed = arena_array(scratch, Ranked, n);
    int64_t size = 0;
    for (int i = 0; i < n; i++)
        ranked[i] = (Ranked){&blocks[i], aligned(blocks[i].bytes), i};
    qsort(ranked, (size_t)n, sizeof *ranked, by_size);
    for (int i = 0; i < n; i++) {
        Ranked r = ranked[i];
        r.block->offset = lowest_gap(placed, i, &r);
        size = r.block->offset + r.bytes > size ? r.block->offset + r.bytes : size;
        int k = i;
        for (; k > 0 && placed[k - 1].block->offset > r.block->offset; k--)
            placed[k] = placed[k - 1];
        placed[k] = r;
    }
    return size;
}
