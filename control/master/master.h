// `stagecc master`: the shell around control/master_core.h (docs/control.md). One thread that waits for frames, hands
// them to the core, writes what it decides into the journal and tells it to the workers.
#ifndef STAGECC_CONTROL_MASTER_MASTER_H
#define STAGECC_CONTROL_MASTER_MASTER_H

#include "control/keys.h"
#include "control/master_core.h"
#include "plan/plan.h"

#include <jansson.h>

enum { PLAN_NAME = 64, PLAN_WHY = 256, SPEED_ONE = 1000 };

// What a plan is made for. In the order of the plan's devices: the fastest first, then the largest.
typedef struct Machine {
    uint32_t speed_milli;  // thousandths of the speed that times were measured at
    uint64_t memory_bytes; // that a program may take
} Machine;

typedef struct PlanFile {
    const char *name, *path, *sha256; // 64 hexadecimal digits
    int64_t bytes;
} PlanFile;

// A plan whose programs are built. Its rank's device is the index of the machine that it is for.
typedef struct BuiltPlan {
    const char *name; // of its directory, at most PLAN_NAME characters
    const Plan *plan;
    const Machine *machines; // [n_machines] that it was made for
    int n_machines;
    bool given;            // by people: machines of any speed run it
    const PlanFile *files; // plan.json, parts.json and the programs; none: it is a sketch
    int n_files;
} BuiltPlan;

typedef enum PlanUrgency {
    PLAN_SKETCHED, // the plan alone, its programs need not be there
    PLAN_IN_CASE,  // that somebody is lost
    PLAN_WANTED,   // beside training
    PLAN_MISSED,   // nobody trains without it
} PlanUrgency;

typedef struct PlanWish {
    const Machine *machines; // [n]
    int n;
    PlanUrgency urgency;
} PlanWish;

// Who makes plans: the driver, which knows the compiler. Nothing here waits.
typedef struct PlanMaker {
    void *user;
    // PLAN_NEW: *out, which stays. PLAN_LATER: it is being built, ask again. PLAN_NONE: it cannot be, and why.
    PlanAnswer (*find)(void *user, const PlanWish *wish, const BuiltPlan **out,
                       char why[PLAN_WHY]);
    // All that are built for machines, not given, from 0; NULL: there are no more.
    const BuiltPlan *(*built)(void *user, int i);
    // One that was built by an earlier master; NULL: it is gone.
    const BuiltPlan *(*named)(void *user, const char *name);
    // One that people give: a directory of `stagecc build`. NULL: it is none of this job's, and why.
    const BuiltPlan *(*given)(void *user, const char *dir, char why[PLAN_WHY]);
    void (*tick)(void *user); // looks after what is being built
} PlanMaker;

typedef struct MasterOptions {
    const char *listen; // "tcp://0.0.0.0:7070"
    Key key;
    const char *page;    // "127.0.0.1:7071"; NULL: no status page
    const char *allow;   // file: whom it lets in
    const char *journal; // directory, there already
    const char *model;   // name
    int n_parts;         // of the model, at most MOST_PARTS
    DeviceKind device;   // that programs are for
    int min_workers, max_workers;
    int copy_every;             // steps: whose states are copied and committed
    const char *const *options; // [n_options] of every program
    int n_options;
    double rehearse;               // Launch.rehearse
    int64_t first_step, last_step; // last -1: the programs will say (--epochs)
    PlanMaker maker;
    const BuiltPlan *plan; // given, that training begins with; NULL: whatever is best
    bool plan_only;        // there is no other one: the model is not here
    // What programs report of steps that all have saved: "step" in order, each once, "eval", "checkpoint", "done". The last ones before a master ended
    // come again.
    void (*event)(void *user, const json_t *event);
    void *user;
    bool quiet;       // no progress
    int listening_fd; // once it listens, its endpoint is written there; 0: nowhere
} MasterOptions;

// Until the job is done. Exit status; errors were reported.
int master_run(const MasterOptions *o);

#endif
