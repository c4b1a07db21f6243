// The control protocol's messages (message.def), and the only place that reads or writes their bytes.
#ifndef STAGECC_CONTROL_MESSAGE_H
#define STAGECC_CONTROL_MESSAGE_H

#include "control/epoch.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "messages travel as they lie in memory, which has to be little-endian"
#endif

enum {
    MESSAGE_VERSION = 3,
    MESSAGE_MOST = 1 << 20, // bytes of a frame
    MESSAGE_WHY = 160,      // room for why a frame is refused
};

typedef enum WorkerPhase {
    WORKER_STOPPED,   // no program runs
    WORKER_PREPARING, // programs and states are on their way
    WORKER_READY,
    WORKER_RUNNING,
    N_WORKER_PHASES
} WorkerPhase;

typedef enum OrderKind {
    ORDER_STOP,    // end all programs
    ORDER_PREPARE, // those of the epoch: see START
    ORDER_GO,      // all are ready: train
    N_ORDERS
} OrderKind;

typedef enum DeviceKind {
    DEVICE_CPU, // the machine's processors
    DEVICE_CUDA,
    N_DEVICE_KINDS
} DeviceKind;

typedef struct MessageHeader {
    uint16_t version, id;
    uint32_t bytes; // of the frame, with this header
} MessageHeader;

typedef struct Hello {
    uint64_t incarnation; // of this process of the worker: another one after each start
    uint64_t memory_bytes;
    uint32_t slots;        // programs that it can run
    uint32_t speed_milli;  // thousandths of the speed that profiles were measured at
    char isa[16];          // as plans name it, filled up with 0
    uint32_t device, zero; // DeviceKind, whose memory it is; each slot has one of its own
} Hello;

typedef struct Welcome {
    uint64_t job;
    uint32_t worker; // its number
    uint32_t beat_ms;
} Welcome;

typedef enum RefusedKind {
    REFUSED_FULL,   // MOST_WORKERS are members
    REFUSED_NEWER,  // it knows an epoch that this journal does not
    REFUSED_DEVICE, // the job's programs are for devices of another kind
    N_REFUSED
} RefusedKind;

typedef struct Refused {
    uint64_t incarnation; // of the worker
    uint32_t why, zero;   // RefusedKind
} Refused;

typedef struct Beat {
    uint64_t incarnation;
    uint64_t epoch;     // the newest one whose START it knows, or that it was told to stop
    uint64_t committed; // as it knows
    uint32_t phase;     // WorkerPhase, in that epoch
    uint32_t n_held;
    Held held[MOST_HELD]; // the rest is 0
} Beat;

typedef struct Order {
    uint64_t epoch; // the newest one; all before it are over
    uint64_t committed;
    uint64_t saved; // all ranks hold the state behind it
    uint64_t last;  // no step beyond this one shall begin
    uint32_t what;  // OrderKind, for that epoch
    uint32_t
        ends; // 1: training ends behind `last`, whatever programs were told; 0: the epoch does
} Order;

typedef struct ProgramEnded {
    uint64_t epoch;
    uint32_t rank;
    int32_t status;
} ProgramEnded;

typedef struct Cannot {
    uint64_t epoch;
    uint32_t rank, zero;
} Cannot;

typedef struct Leave {
    uint32_t drained, zero; // not drained: the job is done
} Leave;

typedef struct Times {
    uint64_t epoch, first_step, last_step; // of both, and all between
    uint64_t busy_ns; // that the program computed in them, and did not wait
    uint32_t rank, zero;
} Times;

typedef struct Want {
    uint8_t hash[32];
    uint64_t from;
} Want;

typedef struct Piece {
    uint8_t hash[32];
    uint64_t from, whole; // bytes
} Piece;

typedef struct Command {
    uint64_t request;
} Command;

typedef struct Answer {
    uint64_t request;
    uint32_t status, zero; // ExitStatus
} Answer;

typedef struct Warmed {
    uint64_t number;    // of the epoch in WARM
    uint32_t can, zero; // 0: it has no room for them, or no program
} Warmed;

typedef struct Report {
    uint64_t epoch;
    uint32_t rank, zero;
} Report;

typedef struct Timeline { // BYTES: StepSpan (plan/steps.h)
    uint64_t epoch, step;
    uint64_t clock;   // which one its times are of: timeline_clock
    int64_t begin_ns; // of the step, for that rank
    int64_t end_ns, sent_ns;
    uint32_t rank, zero;
} Timeline;

// Between workers
// --------------------------------------------------------------------------------------------------

typedef struct
    RankStatus { // BYTES: SegmentStatus, SegmentAddress (plan/segment.h) or ShownId (control/shown.h)
    uint64_t epoch;
    uint32_t rank, zero;
} RankStatus;

typedef struct Fetch {
    uint64_t request; // as the asker counts; comes back
    uint64_t step, made, parts;
} Fetch;

typedef enum TicketAnswer {
    TICKET_HERE,
    TICKET_NOT_HELD, // nothing of that state
    N_TICKET_ANSWERS
} TicketAnswer;

typedef struct
    Ticket { // for one connection to the worker's data port (control/worker/stream.h)
    uint64_t request;
    uint8_t ticket[16];
    uint32_t port;
    uint32_t answer; // TicketAnswer
} Ticket;

typedef struct Offer {
    uint64_t epoch, step, made;
    uint32_t rank, zero;
} Offer;

// Offsets of all fields but the first; nothing lies between or behind them.
LAYOUT(MessageHeader, id, 2);
LAYOUT(MessageHeader, bytes, 4);
LAYOUT(Hello, memory_bytes, 8);
LAYOUT(Hello, slots, 16);
LAYOUT(Hello, speed_milli, 20);
LAYOUT(Hello, isa, 24);
LAYOUT(Hello, device, 40);
LAYOUT(Hello, zero, 44);
LAYOUT(Welcome, worker, 8);
LAYOUT(Welcome, beat_ms, 12);
LAYOUT(Refused, why, 8);
LAYOUT(Refused, zero, 12);
LAYOUT(Beat, epoch, 8);
LAYOUT(Beat, committed, 16);
LAYOUT(Beat, phase, 24);
LAYOUT(Beat, n_held, 28);
LAYOUT(Beat, held, 32);
LAYOUT(Order, committed, 8);
LAYOUT(Order, saved, 16);
LAYOUT(Order, last, 24);
LAYOUT(Order, what, 32);
LAYOUT(Order, ends, 36);
LAYOUT(ProgramEnded, rank, 8);
LAYOUT(ProgramEnded, status, 12);
LAYOUT(Cannot, rank, 8);
LAYOUT(Cannot, zero, 12);
LAYOUT(Leave, zero, 4);
LAYOUT(Times, first_step, 8);
LAYOUT(Times, last_step, 16);
LAYOUT(Times, busy_ns, 24);
LAYOUT(Times, rank, 32);
LAYOUT(Times, zero, 36);
LAYOUT(Want, from, 32);
LAYOUT(Piece, from, 32);
LAYOUT(Piece, whole, 40);
LAYOUT(Answer, status, 8);
LAYOUT(Answer, zero, 12);
LAYOUT(Warmed, can, 8);
LAYOUT(Warmed, zero, 12);
LAYOUT(Report, rank, 8);
LAYOUT(Report, zero, 12);
LAYOUT(Timeline, step, 8);
LAYOUT(Timeline, clock, 16);
LAYOUT(Timeline, begin_ns, 24);
LAYOUT(Timeline, end_ns, 32);
LAYOUT(Timeline, sent_ns, 40);
LAYOUT(Timeline, rank, 48);
LAYOUT(Timeline, zero, 52);
LAYOUT(RankStatus, rank, 8);
LAYOUT(RankStatus, zero, 12);
LAYOUT(Fetch, step, 8);
LAYOUT(Fetch, made, 16);
LAYOUT(Fetch, parts, 24);
LAYOUT(Ticket, ticket, 8);
LAYOUT(Ticket, port, 24);
LAYOUT(Ticket, answer, 28);
LAYOUT(Offer, step, 8);
LAYOUT(Offer, made, 16);
LAYOUT(Offer, rank, 24);
LAYOUT(Offer, zero, 28);
_Static_assert(sizeof(MessageHeader) == 8, "as it travels");
_Static_assert(sizeof(Hello) == 48, "as it travels");
_Static_assert(sizeof(Welcome) == 16, "as it travels");
_Static_assert(sizeof(Refused) == 16, "as it travels");
_Static_assert(sizeof(Beat) == 224, "as it travels");
_Static_assert(sizeof(Order) == 40, "as it travels");
_Static_assert(sizeof(ProgramEnded) == 16, "as it travels");
_Static_assert(sizeof(Cannot) == 16, "as it travels");
_Static_assert(sizeof(Leave) == 8, "as it travels");
_Static_assert(sizeof(Times) == 40, "as it travels");
_Static_assert(sizeof(Want) == 40, "as it travels");
_Static_assert(sizeof(Piece) == 48, "as it travels");
_Static_assert(sizeof(Command) == 8, "as it travels");
_Static_assert(sizeof(Answer) == 16, "as it travels");
_Static_assert(sizeof(Warmed) == 16, "as it travels");
_Static_assert(sizeof(Report) == 16, "as it travels");
_Static_assert(sizeof(Timeline) == 56, "as it travels");
_Static_assert(sizeof(RankStatus) == 16, "as it travels");
_Static_assert(sizeof(Fetch) == 32, "as it travels");
_Static_assert(sizeof(Ticket) == 32, "as it travels");
_Static_assert(sizeof(Offer) == 32, "as it travels");

typedef enum MessageId {
#define MESSAGE(NAME, name, id, FROM, Struct, REST, most, meaning) MESSAGE_##NAME = id,
#include "control/message.def"
#undef MESSAGE
} MessageId;

typedef enum MessageFrom { FROM_WORKER, FROM_MASTER, FROM_CLIENT, FROM_PEER } MessageFrom;

typedef struct Message {
    MessageId id;
    union {
#define MESSAGE(NAME, name, id, FROM, Struct, REST, most, meaning) Struct name;
#include "control/message.def"
#undef MESSAGE
    };
    const char *rest; // within the frame; text is not ended by 0
    size_t rest_bytes;
} Message;

// Bytes of the frame of a message of this kind, before its text.
size_t message_bytes(MessageId id);
const char *message_name(MessageId id);
// Write a message as a frame; its bytes, or 0 where room is too small or the table does not allow it.
size_t message_put(void *frame, size_t room, const Message *m);
// Read a frame that somebody of this kind has sent; false: why it is none that the table allows. Reads nothing beyond
// bytes and keeps nothing but m->rest, which points into the frame.
bool message_check(const void *frame, size_t bytes, MessageFrom from, Message *m,
                   char why[MESSAGE_WHY]);

#endif
