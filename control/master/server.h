// What the files of the master's shell share.
#ifndef STAGECC_CONTROL_MASTER_SERVER_H
#define STAGECC_CONTROL_MASTER_SERVER_H

#include "base/arena.h"
#include "base/vec.h"
#include "control/allow.h"
#include "control/journal.h"
#include "control/master/belief.h"
#include "control/master/master.h"
#include "control/master/worth.h"
#include "control/progress.h"
#include "control/timeline.h"
#include "control/zmq/net.h"

#ifdef STAGECC_PAGE
#include "control/page/page.h"
#else
typedef struct Page Page;
#endif

#include <stdarg.h>
#include <stdlib.h>
#include <time.h>

// A member as people and other workers know it.
typedef struct Face {
    char name[KEY_NAME + 1];
    char peer[NET_ENDPOINT]; // where other workers reach it; "": not said yet
    CurveKey key;
    uint32_t speed_milli; // as measured, smoothed; 0: not yet
    Belief speed;         // that plans are made for, in thousandths
    double busy_s;        // of a step, as measured
} Face;

typedef struct KnownPlan { // PLAN in the journal
    char name[PLAN_NAME + 1];
    const BuiltPlan *built; // NULL: not looked for yet, or gone
} KnownPlan;

typedef struct StepReport { // not saved by all yet
    int64_t step;
    uint64_t epoch;
    json_t *event;
} StepReport;

typedef struct Story { // what has happened, for people
    double at;         // unix seconds
    uint64_t epoch;    // that begins with it; 0: none
    char text[200];
} Story;

typedef struct HostClock { // CLOCK_MONOTONIC of some of the workers
    uint64_t id;
    // By how much the master's was ahead when their words came, at least: since since_ns, and in the minute before.
    int64_t least_ns[2], since_ns;
} HostClock;

typedef struct RankPicture { // what a rank did when in a step
    Timeline of;             // step 0: none
    uint32_t n;
    StepSpan spans[STEP_SPANS];
} RankPicture;
// Which plan is the best for these speeds. They hardly move, and to find it takes time.
typedef struct Thought {
    uint64_t epoch; // 0: none is known
    uint32_t speeds[MOST_WORKERS];
    const BuiltPlan *best;
    double now_s, best_s; // forecasts of the plan that runs, and of the best one
    int64_t at_ns;        // when it was last looked at
} Thought;

enum {
    MOST_PICTURES = 4, // of a rank
    MOST_REPORTS = 64,
    MOST_STORIES = 200,
    MOST_HISTORY = 2000,
    STEPS_AHEAD = 2, // programs may be beyond the one that all have saved
};

typedef struct Server {
    const MasterOptions *options;
    Arena arena;
    Net *net;
    NetSocket *door;
    Page *page; // NULL: none
    int status;
    bool ended;
    // Whom it lets in
    const AllowList *allowed;
    Arena allow_arena;
    struct timespec allow_time; // of the file
    // The journal
    Journal journal;
    uint64_t job, secret;
    bool has_job;
    VEC(KnownPlan) plans;
    // The core
    Master core;
    Face faces[MOST_WORKERS];
    int64_t clock_ns;
    // What is wanted
    Epoch
        next; // whose programs are being started; its number tells whether it still can be that
    uint64_t warm_told, warmed; // workers that were told; and have answered
    int64_t warm_ns;            // since when
    double next_promised;       // worth_epoch
    Worth worth;                // another plan because of speeds
    const BuiltPlan *preparing; // a plan for them, for which programs are built; NULL: none
    const BuiltPlan *not_worth; // the one with newcomers that was last said not to be worth it
    Thought thought;
    int wanted;              // workers; 0: as many as there are
    char told_why[PLAN_WHY]; // why there is no plan, as last said
    int64_t stopping_ns;     // since when training shall end; 0: with its last step
    bool cut;                // the steps from then on are left out
    int64_t runs_ns;         // when an epoch was last seen to run
    // Given by people
    const BuiltPlan *given;   // a plan; NULL: none, or it is over
    bool given_waits;         // until there are workers for it; else it is over without them
    char given_why[PLAN_WHY]; // what it waits for, as last said
    // Reports
    Epoch before; // the newest one: some of its reports may still come
    StepReport reports[MOST_REPORTS];
    int n_reports;
    Progress progress;
    json_t *done; // of the event
    json_t *history;
    int thinning;   // every so many steps are in it
    int64_t logged; // step
    double loss, samples_per_s;
    int failures; // errors of programs behind the same step
    int64_t failed_step;
    // For people
    Story stories[MOST_STORIES];
    int n_stories; // ever
    int changes, losses;
    uint64_t seen_epoch, seen_hold;
    uint64_t told_ends;                     // of ranks, in this epoch
    int refused;                            // frames
    int64_t refused_ns;                     // when that was last told
    RankPicture (*pictures)[MOST_PICTURES]; // [MOST_RANKS]; NULL: none yet
    uint64_t clock;                         // timeline_clock
    HostClock clocks[MOST_WORKERS];
    int n_clocks;
    MasterPhase seen_phase;
    int64_t ended_ns;  // the last epoch's; 0: none has
    double pause_s;    // from there until the next one ran
    int64_t joined_ns; // when the last one said hello
    int64_t looked_ns,
        ahead_ns; // when plans were last thought of; and what is lost with somebody
} Server;

// ledger.c
int ledger_open(Server *s);
void ledger_append(Server *s, uint64_t record); // core.pending; then the core is told
uint32_t ledger_plan(Server *s, const BuiltPlan *built);
const BuiltPlan *ledger_built(Server *s, uint32_t plan); // NULL: its programs are gone
int ledger_last_step(Server *s, int64_t last_step);
// plans.c
PlanAnswer plans_choose(void *server, const PlanMember *members, uint32_t n, const Epoch *now,
                        Epoch *e);
void plans_tick(Server *s); // now and then
// next.c
void next_heard(Server *s, uint32_t worker, const Warmed *m);
// given.c: plans that people give
void given_begin(Server *s); // of a master that has just begun
// Of a directory, by command; the answer's text. false: why not.
bool given_take(Server *s, const char *dir, char text[PLAN_WHY]);
void given_end(Server *s); // plans are made as usual
// Where there is no other plan: does it wait for workers? Then why.
bool given_lacks(const Server *s, char why[PLAN_WHY]);
// start.c
char *start_text(Server *s, const Epoch *e); // of START and WARM, malloc'd
// speeds.c
// Seconds of a step that the plan expects this rank to compute.
double speeds_expected(const Server *s, const BuiltPlan *built, uint32_t rank);
double speeds_planned(const BuiltPlan *built, uint32_t rank); // of its machine, in thousandths
void speeds_recall(Server *s);                                // of a master that has just begun
void speeds_begin(Server *s);                                 // an epoch
void speeds_heard(Server *s, uint32_t worker, const Times *t);
uint32_t speeds_of(const Server *s, uint32_t worker); // thousandths, for a plan
// members.c
bool members_admit(void *server, const CurveKey key);
uint32_t members_find(const Server *s, const PublicKey *key); // core.n_members: nobody
void members_hello(Server *s, const CurveKey key, const Message *m);
const char *members_name(const Server *s, uint32_t worker);
const char *members_called(void *server, uint32_t worker); // the same, for the core
// reports.c
void reports_begin(Server *s); // of a master that has just begun
void reports_heard(Server *s, uint32_t worker, const Message *m);
void reports_tell(Server *s); // those up to the step that all have saved
void reports_end(Server *s);
// timeline.c
void timeline_heard(Server *s, uint32_t worker, const Message *m, int64_t now_ns);
json_t *timeline_json(Server *s); // docs/page.md has its fields; null: nothing is known yet
void timeline_end(Server *s);
// story.c
void story(Server *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void story_look(Server *s); // at what has changed
// show.c: the status page
int show_open(Server *s);     // exit status
int show_fd(const Server *s); // readable: show_serve; -1: no page
void show_serve(Server *s);
void show_close(Server *s);
// status.c
json_t *status_json(Server *s);
void commands_heard(Server *s, const CurveKey key, const Message *m);
// master.c
// Training ends in good order, behind a step that nobody has begun; false: it has not begun, and there is nothing to end.
bool server_stop(Server *s, const char *why);
void server_take(Server *s, const MasterEvent *event);
void server_send(Server *s, const CurveKey key, const Message *m);

#endif
