// What the passes partition, schedule and memory share; the schedules themselves are in plan/schedule.h.
#ifndef STAGECC_PASSES_SCHEDULE_H
#define STAGECC_PASSES_SCHEDULE_H

#include "base/text.h"
#include "passes/pass.h"
#include "plan/schedule.h"

struct MachineType; // passes/planner/planner.h

// passes/edges.c: the stage that runs n; the first one reads the data.
int node_stage(const Plan *p, const Node *n);
// passes/edges.c: fills p->edges (all but slots) and p->norm_parts from the stages' units.
void edges_find(Compile *c, Plan *p);
// passes/buckets.c: fills p->buckets and appends their edges.
void buckets_find(Compile *c, Plan *p, EdgeList *edges);
// passes/synchronise.c: appends the edges on which replicas exchange the sums of their batch norms.
void rounds_find(Compile *c, Plan *p, EdgeList *edges);
// passes/memory.c: every place of every stage, for people.
void memory_table(Text *out, const Plan *p, const Graph *g);
// Places of all stages of a plan that has streams.
void memory_place(Compile *c, Plan *p);
// Bytes that a stage may take on machines of a type (NULL: nothing is known of them); 0: no limit.
int64_t memory_limit(const Compile *c, const struct MachineType *type);
int64_t memory_limit_of(const Compile *c, const PlanStage *s); // on the machines that it has
// Of the devices on which tensors lie on machines of a type (NULL: nothing is known of them); NULL: they are the host's.
const DeviceMemory *memory_device(const Compile *c, const struct MachineType *type);
const DeviceMemory *memory_device_of(const Compile *c,
                                     const PlanStage *s); // on the machines that it has
// What the library kernels of a stage take beside their tensors, and what else its device holds of it; parameters: bytes of
// them, in all versions.
int64_t memory_library_bytes(Compile *c, PlanStage *s, int64_t parameters);
// passes/device_memory.c: of that, what a device holds whatever the stage computes; 0 where it has no memory of its own.
// loads: the stage reads the data.
int64_t memory_of_device(const Compile *c, const DeviceMemory *device, int64_t parameters,
                         bool loads);
// What calls of the stage's nodes take there, at most.
int64_t memory_of_calls(const Compile *c, const Plan *p, const PlanStage *s);
// passes/memory_report.c: what a stage, or one of its replicas, takes of a machine, by what it is for.
typedef struct StageMemory {
    int64_t persistent, older_weights, slot, scratch, edges;
    int64_t library; // of kernels beside tensors, and what else a device holds
    int in_flight;   // so many slots
    bool on_device;  // with memory of its own
} StageMemory;
int64_t stage_memory_bytes(const StageMemory *m);
StageMemory stage_memory(const PlanStage *s);
void memory_note_parts(const Compile *c, int stage, const StageMemory *m);
// Notes that name the five largest tensors (of one stage; -1: of the whole model) and their lines.
void memory_note_largest(const Compile *c, int stage);

#endif
