// What the master decides, as a plain function of (state, event, time): no I/O, no clock, no chance, no memory of its own.
// The shell around it brings events (a message, a tick, a record that is on the disk) and does the actions.
//
// It is driven by levels, not by edges: after every event it looks at what is true (who is there, what they hold, what
// the journal has confirmed) and says what shall be. docs/control.md has phases and invariants.
#ifndef STAGECC_CONTROL_MASTER_CORE_H
#define STAGECC_CONTROL_MASTER_CORE_H

#include "control/message.h"

typedef struct PublicKey {
    uint8_t bytes[32]; // public
} PublicKey;

// The journal
// ---------------------------------------------------------------------------------------

typedef enum RecordKind {
    RECORD_NONE,
    RECORD_MEMBER, // a worker has a number, or is drained
    RECORD_EPOCH,
    RECORD_COMMIT, // all parts of the state behind a step are held twice
} RecordKind;

typedef struct Record {
    uint32_t kind; // RecordKind
    uint32_t zero;
    union {
        struct {
            PublicKey key;
            uint32_t worker, zero;
            uint64_t drained; // the incarnation that shall leave; 0: none
        } member;
        Epoch epoch;
        struct {
            uint64_t epoch, step, made;
        } commit;
    };
} Record;
_Static_assert(sizeof(Record) == 8 + sizeof(Epoch), "as it lies in the journal");

// The planner
// ---------------------------------------------------------------------------------------

typedef struct PlanMember {
    uint32_t worker;
    uint64_t holds; // parts of the state that the epoch will begin with
    const Hello *has;
} PlanMember;

typedef enum PlanAnswer {
    PLAN_NEW,   // into ranks: who owns which parts
    PLAN_KEEP,  // the current one is as good
    PLAN_LATER, // not known yet; ask again
    PLAN_NONE,  // these workers can not do it
} PlanAnswer;

// For these members; now: the epoch that runs and may be kept, or NULL. Fills in worker, runs and owns
// of e->ranks, n_ranks, plan.
typedef PlanAnswer Planner(void *user, const PlanMember *members, uint32_t n, const Epoch *now,
                           Epoch *e);

typedef struct MasterConfig {
    uint64_t job;
    uint64_t parts;                 // of the model
    uint64_t first_step, last_step; // training begins behind the first: 0, or a checkpoint's
    uint32_t min_workers;
    uint32_t device;     // DeviceKind that programs are for
    uint32_t copy_every; // steps: of epochs to come
    int64_t beat_ns;     // so often each side says something
    int64_t silence_ns;  // nothing heard for so long: lost
    int64_t grace_ns;    // time to come back after a connection has ended
    int64_t start_ns;    // time to make an epoch ready
    Planner *planner;
    const char *(*name)(void *user, uint32_t worker); // as people call it; NULL: by its number
    void *user;
} MasterConfig;

// State
// ---------------------------------------------------------------------------------------------

typedef enum MasterPhase {
    MASTER_WAITING,  // nothing runs: for members, their states, a plan
    MASTER_STARTING, // an epoch is journaled; its workers make it ready
    MASTER_RUNNING,
    MASTER_DONE,
} MasterPhase;

typedef struct Member {
    PublicKey key;
    bool listed;      // in the journal
    uint64_t drained; // likewise: the incarnation that gets no more work
    uint64_t drain;   // that shall be drained
    bool here;        // has said HELLO to this master: `has` is known
    bool ended;       // its connection has, at ended_ns
    bool welcomed;    // on this connection
    bool starts;      // START is to be sent
    bool beats;       // beat is of this incarnation
    Hello has;
    Beat beat;  // the newest
    Order told; // the newest
    int64_t heard_ns, ended_ns, told_ns;
} Member;

typedef struct Master {
    MasterConfig config;
    // What the journal says
    Member members[MOST_WORKERS]; // [n_members]; listed, drained
    uint32_t n_members;
    Epoch epoch;
    uint64_t committed, committed_made;
    // The rest is forgotten with the process
    uint64_t saved; // the newest step whose state all ranks hold; committed, if that is newer
    MasterPhase phase;
    Record pending; // appended, not confirmed
    uint64_t appended;
    bool replan;           // somebody asked, joined or shall leave
    uint64_t speaking;     // members who were heard of when it was last looked
    uint64_t hold;         // the epoch ends behind this step; 0: with the job
    int64_t deadline_ns;   // of starting
    int64_t not_before_ns; // the next epoch
    uint32_t failures;     // epochs in a row that never ran
} Master;

// Events and actions
// ----------------------------------------------------------------------------------

typedef enum MasterEventKind {
    MASTER_CLOCK,     // comes at least every half beat
    MASTER_HEARD,     // message, from the worker with this key
    MASTER_GONE,      // the connection of the worker with this key has ended
    MASTER_JOURNALED, // record number `record` is on the disk
    MASTER_REPLAN,    // by command, or because of measured times
    MASTER_DRAIN,     // the worker with this key
} MasterEventKind;

typedef struct MasterEvent {
    MasterEventKind kind;
    PublicKey key;
    const Message *message;
    uint64_t record;
} MasterEvent;

typedef enum MasterActionKind {
    MASTER_SEND,   // message to the worker with this key; START gets the master's epoch
    MASTER_APPEND, // master.pending as record number `record`; then MASTER_JOURNALED
    MASTER_END,    // the job is done and everybody knows
} MasterActionKind;

typedef struct MasterAction {
    MasterActionKind kind;
    PublicKey key;
    uint64_t record;
    MessageId id;
    union {
        Welcome welcome;
        Refused refused;
        Order order;
        Leave leave;
    };
} MasterAction;

typedef struct MasterActions {
    int n;
    MasterAction list[4 * MOST_WORKERS + 4];
} MasterActions;

void master_init(Master *m, const MasterConfig *config);
// What was journaled before, in order, ahead of all events; false: it is no journal of such a job.
bool master_replay(Master *m, const Record *record);
// Begin, behind the last record.
void master_begin(Master *m, int64_t now_ns);
void master_take(Master *m, const MasterEvent *event, int64_t now_ns, MasterActions *actions);
// The first step that nobody can have begun, of which all can still be told that training ends behind it.
uint64_t master_first_free(const Master *m);
// For what or whom it waits, in words.
void master_waits(const Master *m, int64_t now_ns, char *out, size_t room);

#endif
