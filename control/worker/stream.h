// Bytes of states between workers: over TCP, past the control plane, since what is large is neither worth its encryption nor
// its processor time. Whoever is to have a state gets a ticket by the control plane (FETCH, TICKET), which the port takes once.
//
//   the taker: ticket | the giver: u64 bytes of the listing, listing, seal | tensor, seal | tensor, seal …
//
// Tensors come in the order of their names. A seal is {u32 CRC32C of what stands before it, u32 1: it was whole while it was
// sent}; numbers are little-endian. Each connection has a thread of its own, which waits and copies at low priority and looks
// at nothing but its own parcel or places; all functions here are for one other thread, which decides.
#ifndef STAGECC_CONTROL_WORKER_STREAM_H
#define STAGECC_CONTROL_WORKER_STREAM_H

#include "control/worker/parcel.h"

enum { TICKET_BYTES = 16, PATIENCE_S = 10, MOST_LISTING = 1 << 26 };

typedef struct Streams Streams;
typedef struct Stream Stream;

// A port at this address ("10.0.0.3", "::1"), any free one. NULL with errno set.
Streams *streams_open(const char *address);
uint16_t streams_port(const Streams *s);
int streams_fd(const Streams *s); // readable once something has come of what is under way
void streams_seen(Streams *s);    // not any more
void streams_close(Streams *s);   // all that come (Stream) are closed before

// Giving
// ---------------------------------------------------------------------------------------

// Somebody may come for it with the ticket. false: no memory; the parcel stays the caller's.
bool streams_give(Streams *s, Parcel *p, int64_t now_ns, uint8_t ticket[TICKET_BYTES]);
// One that has been sent, or that nobody has come for within PATIENCE_S: the caller's again. NULL: none.
Parcel *streams_back(Streams *s, int64_t now_ns);

// Taking
// ---------------------------------------------------------------------------------------

typedef enum StreamPhase {
    STREAM_COMING, // the connection, then the listing
    STREAM_LISTED, // it is there: say where tensors go
    STREAM_MOVING,
    STREAM_DONE,
    STREAM_FAILED // cut off, spoilt, or not whole any more
} StreamPhase;

typedef struct StreamPlace {
    uint8_t *to; // NULL: to nowhere
    uint64_t bytes;
} StreamPlace;

// NULL with errno set. It says what comes of it by its phase.
Stream *stream_open(Streams *s, const char *host, uint16_t port,
                    const uint8_t ticket[TICKET_BYTES]);
StreamPhase stream_phase(const Stream *t);
uint64_t stream_moved(const Stream *t); // bytes so far
const char *stream_listing(const Stream *t, size_t *bytes);
// For all tensors in the order of the listing's names. places: malloc'd, becomes the stream's.
void stream_into(Stream *t, StreamPlace *places, int n);
void stream_close(Stream *t); // from then on nothing is written

#endif
