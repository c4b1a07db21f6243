// The clockwork of the simulator, private to this room. Workers execute instructions in order; what an
// instruction waits for and how long it takes is said by one of two models: plan/simulate_streams.c for
// plans with streams and edges, plan/simulate_chain.c for those that have only stages and replicas.
//
// Cores are shared out evenly (processor sharing): with K threads on N cores each runs at the rate
// min(1, N/K). All run at one rate, so one virtual clock, the seconds of core that a thread which always runs
// has had, orders the ends of all instructions: a heap of virtual times is enough, and an instruction
// costs O(log workers) however often the rate changes. (Kleinrock, "Queueing Systems" vol. 2, 1976, ch. 4.)
#ifndef STAGECC_PLAN_ENGINE_H
#define STAGECC_PLAN_ENGINE_H

#include "plan/simulate.h"

typedef struct Engine Engine;

typedef struct WaitSum {
    int on; // stage
    double seconds;
} WaitSum;

typedef struct Worker {
    int stage, replica, index;
    const rt_instr *instr; // of one step
    int n;
    int64_t at, end;        // instructions done, and of all steps
    double begin_s, work_s; // of the running instruction: when, seconds of core
    bool waiting, woken, asleep, running;
    double since_s;      // waiting
    int on;              // stage it waits for
    int64_t want, state; // the model's
    // Since the end of the step that does not count:
    double counted_s, busy_s, shared_s;
    WaitSum *waits;
    int n_waits, cap_waits;
    double first_s, last_s, warm_s; // warm_s: end of its first step
    int in_flight, most_in_flight;
} Worker;

typedef struct HeapItem {
    double key;
    int worker;
} HeapItem;

typedef struct Heap {
    HeapItem *items;
    int n;
} Heap;

struct Engine {
    Arena *arena;
    const Plan *plan;
    SimOptions options;
    Worker *workers;
    int n_workers, *first_worker; // [n_stages]
    double now_s, virtual_s;
    Heap running, sleeping; // by virtual end; by time of waking
    int *ready, ready_head, n_ready;
    struct {
        SimEvent *items;
        int64_t n, cap;
    } events;
    rt_opcode last_pass; // of a micro-batch
    void *model;
    // May the worker's next instruction begin? If not, wait_for was called and the worker will be woken.
    bool (*begin)(Engine *e, Worker *w, const rt_instr *i);
    double (*work)(const Engine *e, const Worker *w, const rt_instr *i);
    void (*end)(Engine *e, Worker *w, const rt_instr *i);
};

void engine_wait(Engine *e, Worker *w, int64_t want, int on_stage);
void engine_wake(Engine *e, Worker *w); // now
void engine_wake_at(Engine *e, Worker *w, double when_s);
// false: `why` is filled.
bool engine_run(Engine *e, char *why, int why_size);

// Fill workers and functions.
void streams_model(Engine *e);
void chain_model(Engine *e, int micro_batches);
double
chain_pace(const Engine *e); // seconds by micro-batch of a pipeline that is never flushed

#endif
