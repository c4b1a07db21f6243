// Inside a worker: what its pieces share. The core decides (control/worker_core.h); worker.c brings it events and does
// what it says; the other files are what is done.
#ifndef STAGECC_CONTROL_WORKER_AGENT_H
#define STAGECC_CONTROL_WORKER_AGENT_H

#include "control/child.h"
#include "control/shown.h"
#include "control/worker/files.h"
#include "control/worker/start.h"
#include "control/worker/states.h"
#include "control/worker/transfer.h"
#include "control/worker/worker.h"
#include "control/zmq/net.h"

enum {
    AGENT_WHY = 400,
    MOST_FDS = 10 * MOST_RANKS + 8,
    ERROR_LINE = 4096,
    KEPT_STEPS = 4,
    MOST_COPIES = GENERATIONS * MOST_RANKS
};
#define SECOND_NS INT64_C(1000000000)

typedef struct Peer { // another worker, as the newest START names it
    bool used, up;
    CurveKey key;
    char endpoint[NET_ENDPOINT];
    NetSocket *socket;  // to it: requests and news; its own come to agent->listen
    int64_t connect_ns; // when that is made
} Peer;

typedef enum ProgramPhase {
    PROGRAM_NONE,
    PROGRAM_FILES,   // they are on their way
    PROGRAM_TENSORS, // it is asked which it has
    PROGRAM_WARM,    // it runs, and waits at the gate; nobody has asked for it yet
    PROGRAM_STATE,   // comes from other workers
    PROGRAM_KEEPS,   // its image has its state, and something that a snapshot is made of first
    PROGRAM_FILLED,  // it is there, and others of this worker lack theirs
    PROGRAM_STARTED, // and not ready
    PROGRAM_READY,
    PROGRAM_DONE // it has ended as it should, or could not be made ready
} ProgramPhase;

typedef struct Program { // of a rank of this worker, in this epoch
    ProgramPhase phase;
    int64_t since_ns; // of the phase
    Tensors tensors;
    Image *image;
    bool *lacks; // of image->tensors: comes from another worker
    int next;    // of them, to be looked for
    Beginning beginning;
    bool begins;         // `beginning` is known
    Transfer *transfers; // [n_transfers]
    int n_transfers;
    pid_t asked;                        // the program that says its tensors
    int asked_fd;                       // its end; -1: there is none
    Child child;                        // pid_fd -1: none is alive
    int64_t stands_ns;                  // since when it was seen to stand still; 0: it does not
    char error[ERROR_LINE];             // the last one that it reported
    uint64_t timed_step, timed_busy_ns; // up to there its times were told
    int64_t timed_ns;
    int64_t pictured_step; // up to there its timeline was looked at
} Program;

typedef struct Dying { // killed, not yet collected
    pid_t pid;
    int pid_fd;
    Image *image; // it may still write there; NULL: none
} Dying;

typedef struct Incoming { // a copy of a rank of another worker
    uint64_t epoch;
    Transfer transfer;
    Copy *copy;
} Incoming;

typedef struct Snapshot { // of a state of a rank of this worker, which is being made
    uint64_t epoch;       // 0: none is
    Held state;
    Copy *copy;      // NULL: there is no room yet
    Tensors tensors; // its own, once all is there
    int next;        // of them
    bool told;       // that there is none
} Snapshot;

typedef struct Kept { // a report that the master may have missed
    uint64_t epoch;
    uint32_t rank;
    char *line;
} Kept;

typedef struct Run { // the newest epoch whose START came; or one that may come next (warm.c)
    Epoch of;        // as START or WARM says it; number 0: there is none
    bool warm;       // its programs wait at the gate, or are on their way there
    Arena arena;
    Start start;
    char why[AGENT_WHY]; // it cannot be; empty: it can
    bool opened;         // what follows is there
    json_t *parts;
    const Plan *plan;
    Launch launch;
    JobMemory memory;
    uint32_t n_hosts;
    Program programs[MOST_RANKS];
    Shown shown[MOST_RANKS];
    bool *told;       // [shown_ids]
    int64_t shown_ns; // all of it
} Run;

typedef struct Agent {
    const WorkerOptions *options;
    Worker core;
    Net *net;
    NetSocket *master, *listen;
    Peer peers[MOST_WORKERS];
    Files files;
    States states;
    Streams *streams;
    TransferLine line;
    Incoming incoming[MOST_RANKS];
    Snapshot snapshots[MOST_RANKS];
    Run run, next;
    bool warmed; // that `next` is warm was told
    bool keeps;  // it is busy with snapshots
    Dying dying[4 * MOST_RANKS];
    int n_dying;
    Kept kept[KEPT_STEPS];
    int n_kept;
    bool welcomed;   // once, to say so
    const char *bad; // what was said of frames that were none
    int signal_fd, status;
    bool left, told_to_leave;
    bool finishes; // programs that have saved the last step may end by themselves
    int64_t leaves_ns, clock_ns, looked_ns, pictured_ns, worked_ns;
    uint64_t clock; // timeline_clock
    int64_t began_ns,
        told_ns; // told: of files that are on their way, or that there is no master
    char last_words[MESSAGE_WHY * 8]; // of a master that refused
    uint8_t frame[NET_MOST];
} Agent;

// worker.c
void agent_say(const Agent *g, const char *format, ...) __attribute__((format(printf, 2, 3)));
int64_t agent_now(void);
// "tcp://10.0.0.7:7070" or "tcp://[::1]:7070": what stands before the port. false: nothing does.
bool agent_host_of(const char *endpoint, char host[NET_ENDPOINT]);
// The programs that this worker runs in the epoch of `run`; for (rank = agent_next(g, -1); rank >= 0; …).
int agent_next(const Agent *g, int rank);
int agent_next_of(const Agent *g, const Run *r, int rank); // likewise, of another run

// events.c
void agent_take(Agent *g, const WorkerEvent *event); // an event for the core; does what it says
void agent_hear(Agent *g, const NetEvent *event);
void agent_leave(Agent *g);
bool agent_tell_master(Agent *g, const Message *m);

// peers.c
void peers_adopt(Agent *g, const Start *s);           // it names them
void peers_work(Agent *g, int64_t now_ns);            // connects to them
int peers_of_key(const Agent *g, const CurveKey key); // -1: nobody's
int peers_of_socket(const Agent *g, const NetSocket *s);
bool peers_tell(Agent *g, uint16_t worker, const Message *m);
void peers_close(Agent *g);

// run.c
void run_adopt(Agent *g, const Message *start);      // a new epoch
void run_expect(Agent *g, Run *r, const Message *m); // what START or WARM says
bool run_open(Agent *g, Run *r);                     // its plan is here; false: r->why
void run_close(Agent *g, Run *r);

// prepare.c
void prepare_begin(Agent *g, uint32_t rank);
void prepare_work(Agent *g, Run *r, int64_t now_ns); // of all ranks
void prepare_stop(Agent *g, Program *p);

// warm.c
void warm_adopt(Agent *g, const Message *warm);
void warm_work(Agent *g, int64_t now_ns);
void warm_drop(Agent *g);                       // its programs end
bool warm_take(Agent *g, const Message *start); // it is this epoch: `run` from now on

// programs.c
bool program_start(Run *r, uint32_t rank); // false with errno set
void programs_stop(Agent *g, Run *r);      // kill all, at once
void programs_limit(Agent *g, const WorkerAction *limit);
void programs_end(Agent *g);                           // those of the epoch
int programs_fds(Agent *g, struct pollfd *fds, int n); // adds them; how many there are then
void programs_poll(Agent *g);                 // those that have said something or ended
void programs_look(Agent *g, int64_t now_ns); // for those that stand still
bool programs_alive(const Agent *g);
void programs_say_again(Agent *g); // to a master that has just come
void programs_forget(Agent *g);    // what was kept for that
void programs_wait(Agent *g);      // until all that were killed are gone

// timeline.c
void timeline_work(Agent *g, int64_t now_ns);

// copies.c
void copies_offer(Agent *g, const WorkerAction *a);
void copies_offered(Agent *g, uint16_t from, const Offer *offer);
void copies_work(Agent *g, int64_t now_ns);
void copies_stop(Agent *g, bool all); // those of epochs that are over, or all
void copies_init(Agent *g);
// Bytes of those that this worker will get or make in the epoch of a run that is opened. How many.
int copies_to_come(const Agent *g, const Run *r, uint64_t bytes[MOST_COPIES]);
bool copies_make_room(Agent *g, const Run *r); // for some of them at a time; true: for all
void copies_fetched(Agent *g, const CurveKey key, const Fetch *fetch); // somebody wants parts
bool copies_take(Agent *g, uint16_t from,
                 const Ticket *ticket);       // for a transfer of copies or of programs
void copies_again(Agent *g, uint16_t worker); // its connection is a new one

// snapshot.c
// Of what the image of its program has; unless it is under way.
void snapshots_begin(Agent *g, uint32_t rank, uint64_t step, uint64_t made);
bool snapshots_work(Agent *g); // true: there is more to do

// relay.c
void relay_work(Agent *g, int64_t now_ns);
void relay_take(Agent *g, uint16_t from, const Message *m);
void relay_again(Agent *g); // all of it, to a peer that is there again

#endif
