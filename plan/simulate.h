// A plan as a discrete-event simulation: every replica of every stage executes its stream, waits for
// messages as the runtime would, and takes the predicted times. plan/engine.h does the work.
#ifndef STAGECC_PLAN_SIMULATE_H
#define STAGECC_PLAN_SIMULATE_H

#include "base/text.h"
#include "plan/plan.h"

typedef struct SimOptions {
    int micro_batches; // of a step; 0: the plan's
    int steps;     // streams; of more than one, the first is not counted: it fills the rings
    int cores;     // of the host that runs all programs; 0: every program has one of its own
    int64_t limit; // forwards and backwards of all stages; 0: 2^28
    bool events;   // keep what ran when
} SimOptions;

typedef struct SimEvent { // an instruction that took time
    double begin_s, end_s;
    uint32_t step, mb;
    int worker;
    uint8_t opcode;
} SimEvent;

typedef struct SimWait { // a replica of `stage`, a step
    int stage, on;       // `on` was late by `seconds` in all
    double seconds;
} SimWait;

// Of one replica and one step, on average.
typedef struct SimStage {
    double busy_s;   // between begin and end of its instructions
    double shared_s; // the part of it that others had its core for, or slowed it down
    double wait_s;   // the rest of the step
    double first_s,
        last_s;    // begin of the first event, end of the last, of the whole simulation
    int in_flight; // micro-batches between forward and backward, at most
    int64_t memory_bytes;
} SimStage;

typedef struct Simulation {
    const Plan *plan;
    SimStage *stages;  // [plan->n_stages]
    int *worker_stage; // stage of every replica
    int n_workers;
    int micro_batches; // that were simulated; of a plan without streams and updates in between: all
    double step_s;     // of micro-batch to micro-batch where every one is an update
    double micro_s; // seconds by micro-batch
    double bubble;  // waiting share of all machines
    // Share that the schedule's authors give for equal stages in a straight pipeline; negative: none
    double formula;
    double
        cores_busy; // share of the cores' time that is used, at the pace of a program alone; negative: as SimOptions.cores is 0
    double end_s;   // of everything
    int bottleneck; // the stage that is busy longest
    SimWait *waits; // longest first
    int n_waits;
    SimEvent *events; // in order of their ends
    int64_t n_events;
} Simulation;

// Of an instruction of a stage, with its share of the messages: what the simulator takes for those that
// have a time of their own; 0: it depends on others (sums, parts of backward), or it only waits.
double plan_instruction_seconds(const PlanStage *s, rt_opcode opcode);
// NULL: `why` says what is wrong (a deadlock, more instructions than the limit).
Simulation *simulation_run(Arena *a, const Plan *p, const SimOptions *o, char *why,
                           int why_size);

// plan/timeline.c. Chrome's trace events (the first `most` of them), and a Gantt chart that is bounded in size
// whatever was simulated. Both say how many events they leave out.
void timeline_trace(Text *out, const Simulation *s, int64_t most);
void timeline_svg(Text *out, const Simulation *s);

#endif
