// How loops with a norm walk over the channels of an image or of vectors [N,C].
#ifndef STAGECC_CODEGEN_C_CHANNELS_H
#define STAGECC_CODEGEN_C_CHANNELS_H

#include "codegen/c/loop.h"

typedef struct Channels {
    int64_t blocks, per_run, width; // blocks of `width` channels; per_run divides blocks
    int64_t n, pixels;
    int64_t n_step, block_step, pixel_step; // elements from one to the next
} Channels;

Channels channels_of(const Emit *e, const Node *norm);
// Channels lie next to each other, not pixels.
bool channels_side_by_side(const Channels *c);
int64_t largest_divisor(int64_t n, int64_t limit); // that is not above the limit

// "n * 401408 + (a + b) * 50176 + p * 16", of the loops' variables: runs a, samples n, blocks of a run
// b, and pixels p where asked for.
const char *channels_place(Emit *e, const Channels *c, bool pixel);
// A channel within the run: "b * 16 + l", with lane "l" or "".
const char *channels_index(Emit *e, const Channels *c, const char *lane);
// A tensor of one number per channel, at the run; "NULL" for NULL.
const char *channels_vector(Emit *e, const Channels *c, const Node *n);
// Open the loops over samples and blocks; returns by how much that indents.
int channels_open(Emit *e, const Channels *c);

#endif
