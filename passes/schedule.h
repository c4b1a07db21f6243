// The schedules: in which order a stage runs the micro-batches of a step. A row of the table gives
// the order of FORWARD and BACKWARD; messages are added by what the edges say (passes/schedule.c), so
// a new schedule is a row and a function (docs/schedules.md).
#ifndef STAGECC_PASSES_SCHEDULE_H
#define STAGECC_PASSES_SCHEDULE_H

#include "base/text.h"
#include "passes/pass.h"

typedef struct ScheduleInfo {
    const char *name, *meaning;
    // Micro-batches between forward and backward, at most.
    int (*in_flight)(int stages, int stage, int micro_batches);
    // Writes micro_batches FORWARDs and as many BACKWARDs, each ascending.
    void (*order)(int stages, int stage, int micro_batches, rt_instr *out);
} ScheduleInfo;
extern const ScheduleInfo schedule_info[];
extern const int n_schedules;
const ScheduleInfo *schedule_find(const char *name); // NULL: unknown

// passes/edges.c: fills p->edges (all but slots) and p->norm_parts from the stages' units.
void edges_find(Compile *c, Plan *p);
// passes/slots.c: the fewest slots of every training edge with which no stage ever waits for a slot
// that unbounded rings would have given it. Needs the training streams.
void edges_choose_slots(Arena *scratch, Plan *p);

// passes/memory.c: every place of every stage, for people.
void memory_table(Text *out, const Plan *p, const Graph *g);
// Notes that name the five largest tensors (of one stage; -1: of the whole model) and their lines.
void memory_note_largest(const Compile *c, int stage);

#endif
