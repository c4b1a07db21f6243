// The schedules: in which order a stage runs the micro-batches of a stream, and which weights each of
// them sees. A row here and a file of plan/schedules/ give both; messages are added by what the edges
// say (plan/schedule.c; docs/schedules.md).
#ifndef STAGECC_PLAN_SCHEDULE_H
#define STAGECC_PLAN_SCHEDULE_H

#include "plan/plan.h"

// schedule_<id> is in plan/schedules/.
//    id                  name                  meaning
#define SCHEDULES(X)                                                                           \
    X(1f1b, "1f1b", "one forward, one backward in turn: few micro-batches in flight")          \
    X(gpipe, "gpipe", "all forwards, then all backwards: every micro-batch in flight")         \
    X(zb_h1, "zb-h1", "1f1b whose gradients of weights fill bubbles, a pass of their own")     \
    X(interleaved, "interleaved",                                                              \
      "1f1b in which each machine has several parts of the model (--virtual-stages)")          \
    X(pipedream, "pipedream",                                                                  \
      "1f1b without flushes; every stage keeps the weights of what it has in flight")          \
    X(pipedream_vertical, "pipedream-vertical",                                                \
      "likewise, and all stages use the version that stage 0 has chosen")                      \
    X(pipedream_2bw, "pipedream-2bw",                                                          \
      "1f1b without flushes; all stages use the weights of the step before")

enum { MAX_VIRTUAL_STAGES = 16 };

// As --schedule takes them: "auto", and the names of all.
#define SCHEDULE_WORD(id, name, meaning) " " name
#define SCHEDULE_WORDS "auto" SCHEDULES(SCHEDULE_WORD)

// One replica of a stage, as schedules see it: its micro-batches are numbered from 0.
typedef struct ScheduleAt {
    int stages, stage, micro_batches, virtual_stages;
    int replica, replicas, behind,
        ranks; // of the stage; of it and of all after it together (schedule_behind); of all stages
} ScheduleAt;

// Seconds of one micro-batch on every machine of a balanced pipeline.
typedef struct PassTimes {
    double forward_s, backward_s, weight_s; // backward_s: of both its parts, if it has two
} PassTimes;

typedef struct ScheduleRules {
    // Micro-batches between forward and the end of backward, at most, of so many in the stream.
    int (*in_flight)(const ScheduleAt *at);
    // Writes micro_batches FORWARDs, as many BACKWARDs and, where backward is split, BACKWARD_WEIGHTs,
    // each ascending. Where stages of one machine take turns, RECV before what waits for the turn of
    // another stage, which is the operand `edge`, and SEND behind what another stage waits for; `mb` counts
    // those of the same two. Gives the end: at most 6 for a micro-batch.
    rt_instr *(*order)(const ScheduleAt *at, rt_instr *out);
    // NULL: synchronous, the stream is a step and ends with a flush. Else the weights that a
    // micro-batch sees have the updates of all steps that ended `lag` micro-batches before it.
    int (*lag)(const ScheduleAt *at, int per_step);
    bool alone; // asynchronous, and no stage may have replicas
    // Backward is split: BACKWARD makes what other stages wait for, BACKWARD_WEIGHT the gradients of
    // weights (passes/split.c).
    bool splits;
    bool interleaves; // several stages on each machine, stage s on machine s mod machines
    // What a machine waits from drain to drain, as published, and its share of the step in words.
    double (*bubble_s)(int machines, int virtual_stages, const PassTimes *t);
    const char *bubble_share;
} ScheduleRules;

#define X(id, name, meaning) extern const ScheduleRules schedule_##id;
SCHEDULES(X)
#undef X

typedef struct ScheduleInfo {
    const char *name, *meaning;
    const ScheduleRules *rules;
} ScheduleInfo;
extern const ScheduleInfo schedule_info[];
extern const int n_schedules;
const ScheduleInfo *schedule_find(const char *name); // NULL: unknown
const ScheduleRules *schedule_rules(const Options *o);

// Forwards until everyone from this stage on is busy, shared out over its replicas: without them, the
// number of stages from here on.
int schedule_depth(const ScheduleAt *at);
// Fills the stage with `flight` forwards, then a backward after each forward, then drains; the pass of
// the weights, if backward is split, stays `behind` micro-batches behind. Gives the end of what it wrote.
typedef struct Turns {
    int flight, micro_batches;
    bool splits;
    int behind;
} Turns;
rt_instr *schedule_turns(Turns t, rt_instr *out);
// `bubble_s` of schedules that only fill and drain the pipeline: (S-1)(F + B) / V.
double schedule_fill_s(int machines, int virtual_stages, const PassTimes *t);

// --schedule auto stands for a synchronous one, which the driver chooses before the passes need to know which.
bool schedule_open(const Options *o);
bool schedule_asynchronous(const Options *o);
bool schedule_replicates(const Options *o); // its stages may have replicas
bool schedule_splits(const Options *o);
bool schedule_synchronises(const Options *o); // replicas of a stage exchange statistics
// Ranks from a stage with so many replicas on, where so many are behind it. Who is synchronised needs all
// micro-batches of a round before one of them is done: then each stage counts in whole rounds.
int schedule_behind(const Options *o, int behind, int replicas);
// The last instruction of a micro-batch: BACKWARD, or BACKWARD_WEIGHT.
rt_opcode schedule_last_pass(const Options *o);
// What follows from schedule, micro-batches and stages before any stream exists: steps of a written
// stream, micro-batches between forward and backward (at: of a step), and versions of the weights.
int schedule_steps(const Options *o, int stages, int ranks);
int schedule_in_flight(const Options *o, ScheduleAt at);
int schedule_versions(const Options *o, ScheduleAt at);
// Machines that so many stages run on.
int schedule_machines(const Options *o, int stages);
// NULL, or why the schedule cannot run in so many stages with so many replicas (NULL: one each).
const char *schedule_misfit(Arena *a, const Options *o, int stages, const int *replicas);
const char *plan_misfit(Arena *a, const Plan *p, const Options *o); // of its stages

// As schedules see a rank of the plan, whose stages have their replicas; micro_batches: of a step.
ScheduleAt schedule_at(const Plan *p, const PlanRank *r);
// How many of the micro-batches belong to a replica: the numbers replica, replica + replicas, ...
int schedule_share(int micro_batches, int replicas, int replica);
// In-flight micro-batches, versions, streams and slots of all ranks, from the plan's schedule,
// micro-batches and edges (whose per_step is set). Streams are allocated in `perm`.
void schedule_write(Arena *perm, Arena *scratch, Plan *p);
// The plan with another number of micro-batches of the same size: a larger batch. Edges, streams and
// slots are made anew; predicted times stay, for they are those of one micro-batch.
void schedule_micro_batches(Arena *perm, Arena *scratch, Plan *p, int micro_batches);
// The plan with asynchronous training streams of so many steps, as the runtime repeats and leaves out.
Plan schedule_of_steps(Arena *a, const Plan *p, int steps);

int common_multiple(int a, int b); // the least one
// plan/deal.c: the edges of a tensor that crosses stages. `whole` names a stage as its producer, and has
// the touch of every stage; the edges' per_step follows from the plan's micro-batches.
typedef VEC(PlanEdge) EdgeList;
void edge_deal(Arena *a, const Plan *p, const PlanEdge *whole, EdgeList *out);
void edges_deal_again(Arena *a, Arena *scratch, Plan *p); // for another number of micro-batches

// plan/slots.c: the fewest slots of every training edge with which no rank ever waits for a slot
// that unbounded rings would have given it. Needs the training streams.
void edges_choose_slots(Arena *scratch, Plan *p);

#endif
