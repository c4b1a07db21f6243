// What a rank did when in a step, as its program leaves it in the job's memory for the agent (control/worker/timeline.c).
//
// Agents of different hosts look now and then, each when it likes, and yet the picture of a pipeline needs the same step of
// all ranks. So they take the roundest step (by powers of two) of those done since they last looked: of any two multiples
// of 2^n that follow each other one is rounder, hence at n steps a look each multiple of the next power of two above n is
// taken by everybody. The program keeps for each roundness the newest step that has it, which is all that they can want.
#ifndef STAGECC_PLAN_STEPS_H
#define STAGECC_PLAN_STEPS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { STEP_SPANS = 256, STEPS_KEPT = 10 }; // roundness beyond the last one is like it

typedef struct StepSpan {
    int64_t begin_ns, end_ns; // CLOCK_MONOTONIC
    uint32_t mb;              // of its step; of a bucket, its number
    uint8_t opcode;           // rt_opcode; RT_N_OPCODES: a wait between instructions
    uint8_t waiting;          // 0, or for whom it waits: SEGMENT_WAITS_FOR_…
    uint16_t zero;
} StepSpan;

// From when the step might begin, as far as this rank is concerned, to the end of its update. Spans follow each other and
// do not overlap; what lies between them is nothing worth telling.
typedef struct StepPicture {
    int64_t step; // 0: none
    int64_t begin_ns, end_ns;
    uint32_t n, zero;
    StepSpan spans[STEP_SPANS];
} StepPicture;

// Words of the picture are written and read one by one; the version tells whether they belong together.
typedef struct StepKept {
    _Atomic uint64_t version; // odd: it is being written
    _Atomic uint64_t words[sizeof(StepPicture) / 8];
    uint8_t pad[24];
} StepKept;

_Static_assert(sizeof(StepSpan) == 24 && offsetof(StepSpan, mb) == 16, "as it travels");
_Static_assert(offsetof(StepSpan, opcode) == 20 && offsetof(StepSpan, waiting) == 21,
               "as it travels");
_Static_assert(offsetof(StepPicture, spans) == 32, "no holes");
_Static_assert(sizeof(StepPicture) == 32 + 24 * STEP_SPANS, "no holes");
_Static_assert(sizeof(StepKept) % 64 == 0, "cache lines of their own");

static inline size_t step_words(uint32_t n)
{
    uint32_t spans = n < STEP_SPANS ? n : STEP_SPANS;
    return (offsetof(StepPicture, spans) + spans * sizeof(StepSpan)) / 8;
}

// The place of a step > 0 among the STEPS_KEPT.
static inline int step_roundness(int64_t step)
{
    int zeros = __builtin_ctzll((unsigned long long)step);
    return zeros < STEPS_KEPT ? zeros : STEPS_KEPT - 1;
}

// By one writer. No word is seen before the odd version, none behind the even one.
static inline void step_write(StepKept *to, const StepPicture *from)
{
    uint64_t version = atomic_load_explicit(&to->version, memory_order_relaxed);
    const char *bytes = (const char *)from;
    atomic_store_explicit(&to->version, version + 1, memory_order_relaxed);
    for (size_t i = 0; i < step_words(from->n); i++) {
        uint64_t word;
        memcpy(&word, bytes + 8 * i, 8);
        atomic_store_explicit(&to->words[i], word, memory_order_release);
    }
    atomic_store_explicit(&to->version, version + 2, memory_order_release);
}

// false: there is none, or it was written meanwhile.
static inline bool step_read(StepPicture *to, const StepKept *from)
{
    uint64_t version = atomic_load_explicit(&from->version, memory_order_acquire);
    size_t head = offsetof(StepPicture, spans) / 8, n = head;
    if (!version || version % 2)
        return false;
    for (size_t i = 0; i < n; i++) {
        uint64_t word = atomic_load_explicit(&from->words[i], memory_order_acquire);
        memcpy((char *)to + 8 * i, &word, 8);
        if (i == head - 1)
            n = step_words(to->n);
    }
    return atomic_load_explicit(&from->version, memory_order_relaxed) == version &&
           to->n <= STEP_SPANS;
}

// Which of a rank's STEPS_KEPT an agent shall take that has seen all up to step `seen`; -1: none. *newest: up to there it
// has seen all then.
static inline int step_choose(const StepKept *kept, int64_t seen, int64_t *newest)
{
    int chosen = -1;
    *newest = seen;
    for (int i = 0; i < STEPS_KEPT; i++) {
        uint64_t word = atomic_load_explicit(&kept[i].words[0], memory_order_acquire);
        int64_t step = (int64_t)word; // the first word: StepPicture.step
        if (step <= seen)
            continue;
        chosen = i;
        *newest = step > *newest ? step : *newest;
    }
    return chosen;
}

#endif
