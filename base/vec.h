// Growing arrays in an arena. `vec_push(a, v, x)` where v is a struct with items, n, cap.
#ifndef STAGECC_BASE_VEC_H
#define STAGECC_BASE_VEC_H

#include "base/arena.h"

#define VEC(type)                                                                              \
    struct {                                                                                   \
        type *items;                                                                           \
        int n, cap;                                                                            \
    }

#define vec_push(arena, v, item)                                                               \
    do {                                                                                       \
        if ((v)->n == (v)->cap)                                                                \
            (v)->items =                                                                       \
                vec_grown((arena), (v)->items, &(v)->cap, sizeof(__typeof__(*(v)->items)));    \
        (v)->items[(v)->n++] = (item);                                                         \
    } while (0)

// The items of a full array in twice the room.
void *vec_grown(Arena *arena, const void *items, int *cap, size_t item_bytes);

#endif
