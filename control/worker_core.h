// What a worker's agent does, as a plain function of (state, event, time), like control/master_core.h. The agent owns the
// memory of the states; its programs end with the epoch, the states do not.
//
// It follows the newest epoch that it hears of and nobody else; without the master it goes on as far as it may (two steps
// beyond the one that all ranks hold: the first is saved, the second has everything but its update), and waits there.
//
// A program writes the state behind step n over that behind n - 2. Where not every state is copied, the worker
// keeps a snapshot of those that are, so that programs need not wait until copies are with others.
#ifndef STAGECC_CONTROL_WORKER_CORE_H
#define STAGECC_CONTROL_WORKER_CORE_H

#include "control/message.h"

typedef struct WorkerConfig {
    Hello has;
    int64_t retry_ns;  // a copy of which nothing came is sent again
    int64_t orphan_ns; // without a master for so long it gives up; 0: never
} WorkerConfig;

typedef struct Worker {
    WorkerConfig config;
    bool connected, welcomed, left;
    uint64_t job; // 0: of none yet
    uint32_t number;
    WorkerPhase phase;
    Epoch epoch;
    uint64_t ready; // ranks of mine
    uint64_t committed, last;
    uint64_t everywhere; // the newest step whose state all ranks hold
    bool ends;           // training does, behind `last`
    Held held[MOST_HELD];
    uint32_t n_held;
    uint64_t saved[MOST_RANKS]; // the newest step of my programs
    uint64_t kept[MOST_RANKS];  // of what is before this one snapshots are not needed, or there
    uint64_t copied[MOST_RANKS];   // step whose state was sent to the copier
    int64_t copied_ns[MOST_RANKS]; // when that was
    int64_t beat_ns, told_ns, heard_ns;
} Worker;

typedef enum WorkerEventKind {
    WORKER_CLOCK,     // comes at least every half beat
    WORKER_CONNECTED, // to the master
    WORKER_CUT,       // from it
    WORKER_HEARD,     // message
    WORKER_PREPARED, // epoch, rank: its state is in my memory and the program waits; failed: it does not
    WORKER_SAVED,   // epoch, rank: the state behind step is in my memory
    WORKER_KEPT,    // epoch, rank: a snapshot of the state behind step is in my memory
    WORKER_ENDED,   // epoch, rank: the program has ended, with status
    WORKER_ARRIVED, // epoch, rank, step, made: a copy of another worker's state is in my memory
} WorkerEventKind;

typedef struct WorkerEvent {
    WorkerEventKind kind;
    const Message *message;
    uint64_t epoch;
    uint32_t rank;
    uint64_t step, made;
    bool failed;
    int32_t status;
} WorkerEvent;

typedef enum WorkerActionKind {
    WORKER_SEND,    // message; HELLO gets a name
    WORKER_PREPARE, // rank: get the parts of its state from worker.epoch.source, start its program
    WORKER_LIMIT, // programs end behind `last`, may begin steps up to `begin` and update up to `update`
    WORKER_KEEP,  // rank: make a snapshot of its state (step, made), unless that is under way
    WORKER_COPY,  // rank: send its state (step, made) to its copier, unless that is under way
    WORKER_END,   // kill all programs, at once
    WORKER_LEAVE, // end
} WorkerActionKind;

typedef struct WorkerAction {
    WorkerActionKind kind;
    uint32_t rank;
    uint64_t step, made;
    uint64_t begin, update, last;
    MessageId id;
    union {
        Hello hello;
        Beat beat;
        ProgramEnded ended;
        Cannot cannot;
    };
} WorkerAction;

typedef struct WorkerActions {
    int n;
    WorkerAction list[3 * MOST_RANKS + 8];
} WorkerActions;

void worker_init(Worker *w, const WorkerConfig *config, int64_t now_ns);
void worker_take(Worker *w, const WorkerEvent *event, int64_t now_ns, WorkerActions *actions);
// May a copy of this rank come into memory, before WORKER_ARRIVED?
bool worker_takes_copy(const Worker *w, uint64_t epoch, uint32_t rank);
// Is this state of a part one that is kept? The memory of others may be written over.
bool worker_holds(const Worker *w, uint64_t step, uint64_t made, uint32_t part);

#endif
