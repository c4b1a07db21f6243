// What both ends of a stream share.
#ifndef STAGECC_CONTROL_WORKER_STREAM_INSIDE_H
#define STAGECC_CONTROL_WORKER_STREAM_INSIDE_H

#include "control/worker/stream.h"

#include <stdatomic.h>

// So much goes into a socket or out of it by one call: of 64 KiB, copying takes a third more.
enum { STREAM_PIECE = 1 << 20 };

typedef struct Seal {
    uint32_t crc32c, whole;
} Seal;

void streams_tell(Streams *s); // streams_fd becomes readable
// This thread gives way to programs, which wait for copies only when those come a step late.
void stream_give_way(void);
// Send and receive calls fail when nothing moves for so long; what is small is not held back.
void stream_bound(int fd, int seconds);

#endif
