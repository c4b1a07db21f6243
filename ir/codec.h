// How a tensor may travel between stages in fewer bytes: what the ops `encode` and `decode`, the transfer pass and
// the planner know of --transfer. What the bytes mean, and how far off a tensor can be, is in
// runtime/kernels/transfer.h.
#ifndef STAGECC_IR_CODEC_H
#define STAGECC_IR_CODEC_H

#include <stdint.h>

typedef struct Codec {
    const char *name; // "int8"
    int ratio;        // about so many times fewer bytes than float32
    int code_bytes;   // of an element
    int scale_bytes;  // of a block of CODEC_BLOCK elements, or of what is left of one
} Codec;

enum { CODEC_BLOCK = 64 };

const Codec *codec_find(const char *name); // NULL: there is none of that name
const Codec *codec_of_ratio(double ratio); // NULL: none has this ratio
int64_t codec_bytes(const Codec *c,
                    int64_t elements); // of a message; elements are at most 2^60

#endif
