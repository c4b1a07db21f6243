// Arena: bump allocation with one lifetime. The compiler owns two, `perm` (as long as the graph)
// and `scratch` (reset after every pass); nothing else in the compiler calls malloc.
#ifndef STAGECC_BASE_ARENA_H
#define STAGECC_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

typedef struct ArenaChunk ArenaChunk;
typedef struct Arena {
    ArenaChunk *chunk; // newest first
    size_t total;      // bytes handed out since the last reset
} Arena;

// All memory is zeroed and aligned for any type. Running out of memory ends the process (exit 2).
void *arena_alloc(Arena *a, size_t bytes);
void *arena_copy(Arena *a, const void *data, size_t bytes);
char *arena_strdup(Arena *a, const char *s);
char *arena_strndup(Arena *a, const char *s, size_t n);
char *arena_printf(Arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(Arena *a, const char *format, va_list ap)
    __attribute__((format(printf, 2, 0)));
void arena_reset(Arena *a);   // forget everything, keep one chunk for reuse
void arena_release(Arena *a); // give everything back

#define arena_new(a, type) ((type *)arena_alloc((a), sizeof(type)))
#define arena_array(a, type, n) ((type *)arena_alloc((a), sizeof(type) * (size_t)(n)))

#endif
