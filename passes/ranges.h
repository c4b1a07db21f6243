// What a run of consecutive units would take as a stage: time, transfers, memory. Runs that begin with
// the same unit are asked for in growing order, which costs O(tensors) for all of them together.
#ifndef STAGECC_PASSES_RANGES_H
#define STAGECC_PASSES_RANGES_H

#include "passes/schedule.h"
#include "passes/values.h"

typedef struct Range {
    int first, last;  // units
    double compute_s; // forward and backward of one micro-batch, codecs included
    double forward_s; // the part of forward
    int64_t in, out;  // bytes in which activations come from earlier and go to later units
    int64_t decoded, encoded; // bytes that codecs read and write for them
    int64_t persistent;       // bytes
    int64_t parameters;       // the part of them that weights take
    int64_t gradients;        // bytes of accumulators, among those
    int64_t saved;            // bytes that wait for backward, per micro-batch
    int64_t stays;            // the part of them that waits even if forward is computed again
    int64_t late;             // bytes that wait for gradients of weights, where they run apart
    int64_t made_late;        // the part of them that backward makes
    int64_t scratch;          // bytes that live within one instruction, at the worst moment
    int64_t shared,
        sent; // bytes of gradients of tied weights that are exchanged once a step; of them its own
} Range;

typedef struct Crossing { // an activation
    int made, last;       // the unit that makes it, the last that reads it
    int *readers, n_readers,
        next;                   // units after `made`, ascending; the first not before the run
    int64_t bytes, sent, coded; // in memory, in a message; what a codec reads and writes for it
    bool stays, saved, late,
        kept; // backward reads it; so does the unit that makes it, though others got a message
} Crossing;

typedef struct TiedPart { // a parameter, its state, or the gradient of a use
    int unit;             // that it is counted with
    int64_t bytes;
    bool gradient;
} TiedPart;

typedef struct Tied { // a parameter whose users may be in several stages
    VEC(TiedPart) parts;
    VEC(int) users; // units
} Tied;

typedef struct Ranges {
    const Compile *c;
    int n;               // units
    bool *cut;           // [n]: the model may be cut right after this unit
    double *work;        // [n + 1] sums of compute_s before the unit
    double *forward;     // [n + 1] likewise
    int64_t *persistent; // [n + 1] likewise
    int64_t *parameters; // [n + 1] likewise
    int64_t *gradients;  // [n + 1] likewise
    int64_t *late;       // [n + 1] likewise: backward's values that gradients of weights read
    int64_t *scratch;    // [n]
    Crossing *tensors;
    int n_tensors;
    int *by_last,
        *last_at; // indices of tensors ordered by `last`; those of unit u from last_at[u]
    VEC(Tied) tied;
    int64_t *leaving; // [n] bytes of messages made there and read later
    int64_t *encoded; // [n] bytes that codecs move for those
    int64_t *keeping; // [n] bytes made there that are sent and wait for backward, too
    // [n] Bytes of messages from before the run that this unit is the first to read; that codecs move for them.
    int64_t *arriving, *decoded;
    Range run;
} Ranges;

Ranges ranges_of(Compile *c);
void ranges_begin(Ranges *r, int first); // an empty run before `first`
const Range *ranges_extend(Ranges *r);   // by one unit
const Range *range_of(Ranges *r, int first, int last);

// Seconds that a stage spends on one micro-batch. Both ends of a boundary pay for what crosses it.
double range_send_s(const Range *r);
// What encoding and decoding the run's messages takes, in forward as in backward.
double range_codec_s(const Ranges *all, const Range *r);
// A micro-batch's part of what it takes once a step to sum up the gradients of so many replicas, and to
// exchange those of tied weights.
double range_sync_s(const Ranges *all, const Range *r, int replicas);
// What is left of the run if a stage computes its forward again in backward: then all its activations live
// within one instruction, and a micro-batch in flight keeps what the stage received.
Range range_again(const Range *r);
// Of the run as a stage, or as one of its replicas, with so many micro-batches in flight and versions of its
// weights, in the memory of a device (NULL: the host's); packing, and what calls of libraries need, aside.
StageMemory range_memory(const Ranges *all, const Range *r, int replicas, int in_flight,
                         int versions, const DeviceMemory *device);

#endif
