// Growing arrays in an arena. `vec_push(a, v, x)` where v is a struct with items, n, cap.
#ifndef STAGECC_BASE_VEC_H
#define STAGECC_BASE_VEC_H

#include "base/arena.h"

#include <string.h>

#define VEC(type)                                                                              \
    struct {                                                                                   \
        type *items;                                                                           \
        int n, cap;                                                                            \
    }

#define vec_push(arena, v, item)                                                               \
    do {                                                                                       \
        if ((v)->n == (v)->cap) {                                                              \
            int cap_ = (v)->cap ? 2 * (v)->cap : 8;                                            \
            void *grown_ = arena_alloc((arena), sizeof *(v)->items * (size_t)cap_);            \
            if ((v)->n)                                                                        \
                memcpy(grown_, (v)->items, sizeof *(v)->items *(size_t)(v)->n);                \
            (v)->items = grown_;                                                               \
            (v)->cap = cap_;                                                                   \
        }                                                                                      \
        (v)->items[(v)->n++] = (item);                                                         \
    } while (0)

#endif
