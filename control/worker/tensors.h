// Which tensors a state consists of: those of a program (`PROGRAM --tensors`), or those that a worker lists; and which
// part of the model each belongs to.
#ifndef STAGECC_CONTROL_WORKER_TENSORS_H
#define STAGECC_CONTROL_WORKER_TENSORS_H

#include "base/arena.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum { TENSORS_WHY = 160 };

typedef struct StateTensor {
    const char *name, *layout;
    uint64_t at, bytes; // within a generation of an image, or the block of a copy
    uint32_t part;
} StateTensor;

typedef struct Tensors { // sorted by name
    Arena arena;
    StateTensor *items;
    int n;
    uint64_t generation_bytes; // of the image, or of the block
} Tensors;

// The part of the longest layer's name in `parts` (names to numbers) that is this one, or stands before a dot in it.
// -1: there is none.
int part_of(const json_t *parts, const char *name);

// false: why. What was there is released.
bool tensors_of_program(Tensors *t, const char *json, const json_t *parts,
                        char why[TENSORS_WHY]);
// Of `{"tensors": [[name, part, bytes, layout], …]}`; their places in a block are made up.
bool tensors_of_listing(Tensors *t, const json_t *listing, char why[TENSORS_WHY]);
bool tensors_same(const Tensors *a, const Tensors *b); // names and sizes
// The same, at other places: of a block that has nothing else. What was there is released.
void tensors_packed(Tensors *t, const Tensors *of);
const StateTensor *tensors_find(const Tensors *t, const char *name); // NULL: it has none
void tensors_release(Tensors *t);

#endif
