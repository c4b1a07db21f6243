// The schedules: in which order a stage runs the micro-batches of a stream, and which weights each of
// them sees. A row of the table gives both; messages are added by what the edges say
// (plan/schedule.c), so a new schedule is a row and a function or two (docs/schedules.md).
#ifndef STAGECC_PLAN_SCHEDULE_H
#define STAGECC_PLAN_SCHEDULE_H

#include "plan/plan.h"

// One replica of a stage, as schedules see it: its micro-batches are numbered from 0.
typedef struct ScheduleAt {
    int stages, stage, micro_batches;
    int replica, replicas, behind,
        ranks; // of the stage; of it and of all after it together; of all stages
} ScheduleAt;

typedef struct ScheduleInfo {
    const char *name, *meaning;
    // Micro-batches between forward and backward, at most, of so many in the stream.
    int (*in_flight)(const ScheduleAt *at);
    // Writes micro_batches FORWARDs and as many BACKWARDs, each ascending.
    void (*order)(const ScheduleAt *at, rt_instr *out);
    // NULL: synchronous, the stream is a step and ends with a flush. Else the weights that a
    // micro-batch sees have the updates of all steps that ended `lag` micro-batches before it.
    int (*lag)(const ScheduleAt *at, int per_step);
    bool alone; // asynchronous, and no stage may have replicas
} ScheduleInfo;
extern const ScheduleInfo schedule_info[];
extern const int n_schedules;
const ScheduleInfo *schedule_find(const char *name); // NULL: unknown

// Fills the stage with `flight` forwards, then a backward after each forward, then drains: every
// schedule here is one of these.
void schedule_alternate(int flight, int micro_batches, rt_instr *out);

bool schedule_asynchronous(const Options *o);
// What follows from schedule, micro-batches and stages before any stream exists: steps of a written
// stream, micro-batches between forward and backward (at: of a step), and versions of the weights.
int schedule_steps(const Options *o, int stages, int ranks);
int schedule_in_flight(const Options *o, ScheduleAt at);
int schedule_versions(const Options *o, ScheduleAt at);
// NULL, or why the schedule cannot run in so many stages with so many replicas (NULL: one each).
const char *schedule_misfit(Arena *a, const Options *o, int stages, const int *replicas);

// How many of the micro-batches belong to a replica: the numbers replica, replica + replicas, ...
int schedule_share(int micro_batches, int replicas, int replica);
// In-flight micro-batches, versions, streams and slots of all ranks, from the plan's schedule,
// micro-batches and edges (whose per_step is set). Streams are allocated in `perm`.
void schedule_write(Arena *perm, Arena *scratch, Plan *p);
// The plan with another number of micro-batches of the same size: a larger batch. Edges, streams and
// slots are made anew; predicted times stay, for they are those of one micro-batch.
void schedule_micro_batches(Arena *perm, Arena *scratch, Plan *p, int micro_batches);
// The plan with asynchronous training streams of so many steps, no fewer than it has.
Plan schedule_unrolled(Arena *a, const Plan *p, int steps);

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
