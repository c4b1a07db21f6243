// A list of chunks, each twice the size of the one before, so that n allocations cost O(n).
#include "base/arena.h"

#include "base/diag.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ArenaChunk {
    ArenaChunk *next;
    size_t size, used;
    alignas(max_align_t) unsigned char data[];
};

static ArenaChunk *chunk_new(ArenaChunk *next, size_t size)
{
    ArenaChunk *c = malloc(sizeof *c + size);
    if (!c)
        fatal("out of memory (%zu bytes)", size);
    c->next = next;
    c->size = size;
    c->used = 0;
    return c;
}

void *arena_alloc(Arena *a, size_t bytes)
{
    CHECK(bytes < PTRDIFF_MAX / 4, "arena", "absurd allocation of %zu bytes", bytes);
    size_t align = alignof(max_align_t), need = (bytes + align - 1) / align * align;
    ArenaChunk *c = a->chunk;
    if (!c || c->size - c->used < need) {
        size_t size = c ? c->size * 2 : 1 << 16;
        if (size > 1 << 24)
            size = 1 << 24;
        c = a->chunk = chunk_new(a->chunk, size > need ? size : need);
    }
    void *p = c->data + c->used;
    c->used += need;
    a->total += need;
    memset(p, 0, need);
    return p;
}

void *arena_copy(Arena *a, const void *data, size_t bytes)
{
    void *p = arena_alloc(a, bytes);
    if (bytes)
        memcpy(p, data, bytes);
    return p;
}

char *arena_strndup(Arena *a, const char *s, size_t n)
{
    char *p = arena_alloc(a, n + 1);
    memcpy(p, s, n);
    return p;
}

char *arena_strdup(Arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_vprintf(Arena *a, const char *format, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, again);
    va_end(again);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, format, ap);
    return p;
}

char *arena_printf(Arena *a, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    char *p = arena_vprintf(a, format, ap);
    va_end(ap);
    return p;
}

void arena_reset(Arena *a)
{
    ArenaChunk *keep = a->chunk;
    if (keep) {
        for (ArenaChunk *c = keep->next, *next; c; c = next) {
            next = c->next;
            free(c);
        }
        keep->next = NULL;
        keep->used = 0;
    }
    a->total = 0;
}

void arena_release(Arena *a)
{
    arena_reset(a);
    free(a->chunk);
    a->chunk = NULL;
}
