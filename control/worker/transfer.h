// Tensors of a state from another worker: first which there are, then those that are wanted, several requests at once.
// What is lost is asked for again; nothing for PATIENCE ends it. It knows no sockets, so it can be tested alone.
#ifndef STAGECC_CONTROL_WORKER_TRANSFER_H
#define STAGECC_CONTROL_WORKER_TRANSFER_H

#include "control/message.h"
#include "control/worker/states.h"

enum { TRANSFER_WINDOW = 16, TRANSFER_PIECE = 1 << 19, TRANSFER_WHY = 200, PATIENCE_S = 10 };

// Says a request to a worker. number: the last request's, of all transfers that share it.
typedef struct TransferLine {
    void (*ask)(void *user, uint16_t worker, const Fetch *fetch, const char *name);
    void *user;
    uint64_t number;
} TransferLine;

typedef enum TransferPhase {
    TRANSFER_NONE,
    TRANSFER_LISTING, // which tensors there are
    TRANSFER_LISTED,  // `listing` is there: say what is wanted
    TRANSFER_MOVING,
    TRANSFER_MOVED, // all is where it is wanted
    TRANSFER_FAILED // why
} TransferPhase;

typedef struct Wanted {
    const char *name;
    uint8_t *to;
    uint64_t bytes;
} Wanted;

typedef struct TransferRequest {
    uint64_t number, from, bytes; // bytes: expected
    int item;                     // of wanted; -1: the listing
} TransferRequest;

typedef struct Transfer {
    TransferPhase phase;
    uint16_t worker;
    Held state;
    char why[TRANSFER_WHY];
    Text text; // of the listing, as it comes
    Tensors tensors;
    Beginning beginning;
    Wanted *wanted;
    int n_wanted, next;
    uint64_t from; // of wanted[next]
    TransferRequest open[TRANSFER_WINDOW];
    int n_open;
    int64_t moved_ns, asked_ns;
} Transfer;

void transfer_begin(Transfer *t, uint16_t worker, const Held *state, int64_t now_ns);
// wanted: malloc'd, becomes the transfer's; what it points to outlives that.
void transfer_want(Transfer *t, Wanted *wanted, int n);
// Ask for what may be asked for.
void transfer_run(Transfer *t, TransferLine *line, int64_t now_ns);
// An answer of a worker. false: it is none to this.
bool transfer_take(Transfer *t, uint16_t from, const Message *tensor, int64_t now_ns);
void transfer_again(Transfer *t); // the connection is a new one
void transfer_release(Transfer *t);

// What a worker with these states says to a FETCH: bytes of the frame, 0: nothing.
size_t transfer_answer(const States *s, const Message *fetch, void *frame, size_t room);

#endif
