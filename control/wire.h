// What the launcher and its hosts say to each other, over the pipes of ssh, srun or sh: framed messages,
// each about one rank or about the host. ssh has authenticated and encrypts them.
#ifndef STAGECC_CONTROL_WIRE_H
#define STAGECC_CONTROL_WIRE_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

//    NAME     id  contents
#define WIRE_MESSAGES(X)                                                                       \
    X(JOB, 1, "to a host: what to start, as JSON (control/host.h)")                            \
    X(STATUS, 2, "a rank's SegmentStatus")                                                     \
    X(ADDRESS, 3, "a rank's SegmentAddress, before the status of its first barrier")           \
    X(ROUNDS, 4, "u64: SegmentHeader.rounds of a host, or what it shall be")                   \
    X(ABORT, 5, "u32: SegmentHeader.abort; the rank is who failed")                            \
    X(KILL, 6, "to a host: end all programs at once")                                          \
    X(REPORT, 7, "to the launcher: a line of JSON of a rank")                                  \
    X(ENDED, 8, "to the launcher: WireEnded of a rank")                                        \
    X(TRACE, 9, "to the launcher: more of a rank's timeline")                                  \
    X(BEAT, 10, "nothing: this side is alive")                                                 \
    X(ID, 11, "of an edge from this rank: ShownId (control/shown.h)")
typedef enum WireKind {
#define X(NAME, id, contents) WIRE_##NAME = id,
    WIRE_MESSAGES(X)
#undef X
} WireKind;

typedef struct WireHeader { // little-endian
    uint16_t version, kind;
    uint32_t bytes; // behind this header
    uint32_t rank;
} WireHeader;
_Static_assert(sizeof(WireHeader) == 12, "as it travels");

typedef struct WireEnded {
    int32_t wait_status, pid;
    uint32_t killed; // by the host, when it was told to
} WireEnded;
_Static_assert(sizeof(WireEnded) == 12, "as it travels");

enum { WIRE_VERSION = 2, WIRE_MOST = 1 << 20 };
// A host begins with this line; whatever its shell has printed before is skipped.
#define WIRE_GREETING "stagecc-host 2\n"

typedef struct Wire {
    int in_fd, out_fd; // not blocking; -1: closed
    Text in, out;
    bool greeted; // the greeting was seen
} Wire;

void wire_init(Wire *w, int in_fd, int out_fd, bool greeted);
void wire_release(Wire *w); // closes both
void wire_put(Wire *w, WireKind kind, int rank, const void *data, size_t bytes);
// Write what the pipe takes; false: nobody reads any more.
bool wire_flush(Wire *w);
// Take what has come; false: the end, or no messages of this version.
bool wire_read(Wire *w, void (*take)(void *user, const WireHeader *h, const void *data),
               void *user);

#endif
