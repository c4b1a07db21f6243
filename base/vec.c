#include "base/vec.h"

#include <string.h>

void *vec_grown(Arena *arena, const void *items, int *cap, size_t item_bytes)
{
    int old = *cap;
    *cap = old ? 2 * old : 8;
    void *grown = arena_alloc(arena, item_bytes * (size_t)*cap);
    if (old)
        memcpy(grown, items, item_bytes * (size_t)old);
    return grown;
}
