// The memory in which a program keeps what it knows behind its last two steps (runtime/image.h), as a worker's agent
// makes it for a program and reads it while the program works. Both sides are here, so this header includes nothing
// of either.
//
//   ImageHeader | generation 0 | generation 1        a generation: the program's persistent memory, then a copy of
//                                                    its statistics; `PROGRAM --tensors FILE` says where each lies
//
// Who may write when:
// - Before the program starts, its agent: the tensors of a generation, seed, cursor and everything else of the
//   header, the step of that generation and the magic last. A file without the magic (all zero) is an empty one.
// - From then on the program alone, until it has ended: it writes -1 as a generation's step before it touches the
//   first byte of it, and the step when the last one is there. The agent may read a generation while it has the step
//   of a state that the program is not allowed to overwrite (SegmentHeader.may_update). A program
//   overwrites the state behind step n in its update of step n + 2, or behind it; one that works in place accumulators and what
//   lies between tensors in both at any time.
// - When it has ended, or was killed, the agent again. A generation without a step is of no use.
#ifndef STAGECC_PLAN_IMAGE_H
#define STAGECC_PLAN_IMAGE_H

#include <stdatomic.h>
#include <stdint.h>

#define IMAGE_MAGIC UINT64_C(0x3174617473676174) // "tagstat1", little-endian
enum { IMAGE_PAGE = 4096, GENERATIONS = 2 };

typedef struct ImageGeneration {
    _Atomic int64_t step;  // -1: none
    uint64_t epoch, index; // of the data: first sample of the next step
} ImageGeneration;

typedef struct ImageHeader {
    _Atomic uint64_t magic;
    uint64_t plan; // segment_plan_number
    uint32_t rank, reserved;
    uint64_t bytes; // of a generation: whole pages
    int64_t seed;
    ImageGeneration generation[GENERATIONS];
} ImageHeader;
_Static_assert(sizeof(ImageHeader) == 88, "agreed by agents and programs");

// Of the whole image.
static inline uint64_t image_bytes(uint64_t generation_bytes)
{
    return IMAGE_PAGE + GENERATIONS * generation_bytes;
}

static inline uint8_t *image_generation(ImageHeader *h, int generation)
{
    return (uint8_t *)h + IMAGE_PAGE + (uint64_t)generation * h->bytes;
}

static inline int64_t image_step(const ImageHeader *h, int generation)
{
    return atomic_load(&h->generation[generation].step);
}

static inline void image_set_step(ImageHeader *h, int generation, int64_t step)
{
    atomic_store(&h->generation[generation].step, step);
}

// 0 where none has a step.
static inline int image_newest(const ImageHeader *h)
{
    return image_step(h, 1) > image_step(h, 0);
}

// The generation that has the state behind this step; -1: none.
static inline int image_find(const ImageHeader *h, int64_t step)
{
    for (int g = 0; g < GENERATIONS; g++)
        if (step >= 0 && image_step(h, g) == step)
            return g;
    return -1;
}

#endif
