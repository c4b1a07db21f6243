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
// What the library kernels of a stage take beside their tensors.
int64_t memory_library_bytes(Compile *c, PlanStage *s);
// Notes that name the five largest tensors (of one stage; -1: of the whole model) and their lines.
void memory_note_largest(const Compile *c, int stage);

#endif
