// CUDA devices of a host, as the program stagecc-card tells of them (runtime/cuda/ceilings/).
#ifndef STAGECC_DRIVER_CARDS_H
#define STAGECC_DRIVER_CARDS_H

#include "base/arena.h"

#include <stdint.h>

typedef struct Card {
    const char *name;     // "NVIDIA H200"
    int64_t memory_bytes; // free
    // Measured; 0: nobody asked.
    double flops, bf16_flops; // of products
    double bytes_per_s;       // of its memory, read and written
    double to_bytes_per_s;    // from the host's pinned memory
    double from_bytes_per_s;  // into it
} Card;

// What stages may take of so much free memory: a tenth stays for what grows while a program runs.
int64_t cards_usable(int64_t free_bytes);
// From what the program printed, a line each. How many; 0: it is not understood.
int cards_read(Arena *a, const char *text, Card **out);
// Of this machine, for `n` programs at once, one on each. Exit status (reported). With STAGECC_CUDA=emulated memory is the
// machine's.
int cards_here(Arena *a, int n, uint64_t *memory_bytes);

#endif
