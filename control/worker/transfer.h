// A state from another worker: it is asked for a ticket, and a stream brings first which tensors there are, then those that
// are wanted. What is lost is asked for again; nothing for PATIENCE_S ends it.
#ifndef STAGECC_CONTROL_WORKER_TRANSFER_H
#define STAGECC_CONTROL_WORKER_TRANSFER_H

#include "control/message.h"
#include "control/worker/stream.h"

enum { TRANSFER_WHY = 200 };

// How it reaches workers. number: of the last request, of all transfers that share it.
typedef struct TransferLine {
    void (*ask)(void *user, uint16_t worker, const Fetch *fetch);
    Stream *(*open)(void *user, uint16_t worker, const Ticket *ticket);
    void *user;
    uint64_t number;
} TransferLine;

typedef enum TransferPhase {
    TRANSFER_NONE,
    TRANSFER_ASKING,
    TRANSFER_COMING, // the listing
    TRANSFER_LISTED, // `tensors` are there: say what is wanted
    TRANSFER_MOVING,
    TRANSFER_MOVED, // all is where it is wanted
    TRANSFER_FAILED // why
} TransferPhase;

typedef struct Wanted {
    const char *name;
    uint8_t *to;
    uint64_t bytes;
} Wanted;

typedef struct Transfer {
    TransferPhase phase;
    uint16_t worker;
    Held state;
    char why[TRANSFER_WHY];
    Tensors tensors;
    Beginning beginning;
    Wanted *wanted; // by name
    int n_wanted;
    Stream *stream;
    uint64_t request, moved; // bytes, as last seen
    int64_t moved_ns, asked_ns;
} Transfer;

void transfer_begin(Transfer *t, uint16_t worker, const Held *state, int64_t now_ns);
// wanted: by name, malloc'd, becomes the transfer's; what it points to outlives that.
void transfer_want(Transfer *t, Wanted *wanted, int n);
// Goes on with what may go on.
void transfer_run(Transfer *t, TransferLine *line, int64_t now_ns);
// An answer of a worker. false: it is none to this.
bool transfer_take(Transfer *t, TransferLine *line, uint16_t from, const Ticket *ticket,
                   int64_t now_ns);
void transfer_again(Transfer *t); // the connection for requests is a new one
void transfer_release(Transfer *t);

// What a worker with these states says to a FETCH.
Ticket transfer_answer(States *s, Streams *streams, const Fetch *fetch, int64_t now_ns);

#endif
