// Packing tensors with lifetimes into one region.
#ifndef STAGECC_PASSES_PACK_H
#define STAGECC_PASSES_PACK_H

#include "base/arena.h"

#include <stdint.h>

enum { PACK_ALIGN = 64 };

typedef struct Block {
    int64_t bytes;
    int begin, end; // moments at which it is alive, both inclusive
    int64_t offset; // out: a multiple of PACK_ALIGN
} Block;

// Bytes of the region. Blocks that are alive at one moment do not overlap. The same blocks in the same
// order give the same offsets.
int64_t pack(Arena *scratch, Block *blocks, int n);

#endif
