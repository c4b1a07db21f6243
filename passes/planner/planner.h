// The planner: from a weighted graph and machines to a pipeline. It knows neither models nor files:
// the driver makes a Problem of a profiled graph, the partition pass one of a model's units.
//
// A plan is a chain of stages. A stage is a set of nodes that is convex (everything before it lies in
// earlier stages, everything behind it in later ones) and has one or more replicas, each on a device
// of its own, which take micro-batches in turn. Time and memory of a stage are what a cost model says
// (cost.h); the planner makes the slowest stage as fast as possible.
#ifndef STAGECC_PASSES_PLANNER_PLANNER_H
#define STAGECC_PASSES_PLANNER_PLANNER_H

#include "base/arena.h"
#include "base/diag.h"

#include <stdbool.h>
#include <stdint.h>

enum { MAX_LEVELS = 8, MAX_PROFILES = 8 };

typedef struct ProblemNode {
    const char *name;
    const char *kind; // graph.txt's description, "Conv2d(...)"; NULL: none
    double forward_s[MAX_PROFILES],
        backward_s[MAX_PROFILES]; // one micro-batch, by MachineType.profile
    double parameter_bytes;
    double activation_bytes; // kept from forward to backward, one micro-batch
} ProblemNode;

// What one node makes and others use: it is sent once to every stage boundary that it crosses.
// A tensor of no bytes is an order between nodes.
typedef struct ProblemTensor {
    int producer;
    int *users, n_users; // nodes, without repetition
    double bytes;        // of one micro-batch
} ProblemTensor;

typedef struct ProblemPair {
    int first, second; // nodes
} ProblemPair;

typedef struct Problem {
    ProblemNode *nodes;
    int n;
    ProblemTensor *tensors;
    int n_tensors;
    ProblemPair *together; // pairs that share a stage: pinned layers, forbidden cuts
    int n_together;
    int n_profiles; // how many of forward_s[] are filled
} Problem;

typedef struct MachineType {
    double speed;                      // times of the profile are divided by it
    double memory_bytes;               // 0: no limit
    int profile;                       // which times
    const char *backend;               // of programs there; NULL: all are alike
    const struct DeviceMemory *device; // that they work in (ir/device.h); NULL: the host's
} MachineType;

// Groups of machines that share a switch or a board: `size` machines of the level below make one group.
typedef struct MachineLevel {
    int size;
    double bytes_per_s; // between machines of one group that are in no smaller group together
    double latency_s;
    bool per_device; // every machine has such a link; else so many machines share one:
    int group;       // (of hosts: 0, one a host; machines_alike fills it)
} MachineLevel;

// Machines in the order in which stages take them.
typedef struct Machines {
    int n;
    MachineType *types;
    int n_types;
    int *type;                       // [n]
    MachineLevel levels[MAX_LEVELS]; // innermost first; sizes multiply to n
    int n_levels;
    // Instead of levels, from devices.json: hosts with links of their own. NULL: levels are used.
    int *host; // [n], ascending
    int n_hosts;
    MachineLevel *link; // [n_hosts * n_hosts]
} Machines;

typedef enum Overlap {
    OVERLAP_NONE,      // compute, transfers and synchronisation add up
    OVERLAP_TRANSFERS, // transfers run beside compute (default)
    OVERLAP_ALL,       // synchronisation runs beside backward, too
} Overlap;

typedef struct CostOptions {
    const char *model; // "stagecc", "pipedream"
    // Micro-batches between two updates. 0: the pipeline is never drained; every micro-batch is an
    // update, and weights are stashed (PipeDream).
    int micro_batches;
    const char *schedule; // "1f1b", "gpipe"
    Overlap overlap;
    double state_factor; // bytes of optimizer state by bytes of parameters
    double memory_bytes; // limit of every device beside its own; 0: none
    double
        compression; // activations are sent in 1/compression of their bytes; 0: pipedream ignores them
    bool straight;     // no replicas
    bool exact_stages; // straight: as many stages as machines, not fewer
    bool fewer;        // pipedream: the fewest machines at the best time (stagecc always does)
    int recompute;     // 0 never, 1 always, 2 where memory asks for it
} CostOptions;

typedef struct StageChoice {
    int *nodes, n_nodes;     // in topological order
    int *machines, replicas; // micro-batch m is machines[m % replicas]'s
    bool recompute;
    int in_flight;                // micro-batches between forward and backward, of one replica
    double forward_s, backward_s; // of one micro-batch on the slowest of its machines
    double
        compute_s; // forward and backward by the replicas: what they add to the time of a micro-batch
    double sync_s;            // gradients of the replicas
    double receive_s, send_s; // at the boundaries before and behind, both directions
    double time_s;            // what the cost model makes of the four
    double parameter_bytes, in_bytes, out_bytes;
    double memory_bytes,
        persistent_bytes; // in all; that do not depend on micro-batches in flight
} StageChoice;

typedef struct PlanResult {
    bool feasible;
    const char *why; // of infeasible
    StageChoice *stages;
    int n_stages, machines_used;
    double pipeline_time_s; // of the slowest stage
    double lower_bound_s;   // no plan under this cost model is faster
    bool exact;             // the two are equal
    const char *method;     // "every cut (412 of them)", "18 orders"
    double data_parallel_time_s, single_machine_time_s; // of one stage on all machines, on one
} PlanResult;

// planner/search.c
PlanResult *planner_solve(Arena *a, const Problem *p, const Machines *m, const CostOptions *o);
// planner/evaluate.c: fills all numbers of stages whose nodes, machines (and recompute) are chosen, by the
// definitions, apart from the search. NULL, or what is wrong: a node left out or twice, not convex, a machine
// twice, memory.
const char *planner_evaluate(Arena *a, const Problem *p, const Machines *m,
                             const CostOptions *o, StageChoice *stages, int n_stages);
double stages_time_s(const StageChoice *stages, int n); // of the slowest, once evaluated

// planner/problem.c
// NULL, or what is wrong: a cycle, numbers that are negative or not finite.
const char *problem_check(Arena *a, const Problem *p);
// Machines of `n_levels` levels, all alike: `-n 4 2 -b 1e10 1e9`.
Machines *machines_alike(Arena *a, const int *sizes, const double *bytes_per_s, int n_levels);
// Whether memory is limited on any of them.
bool machines_limited(const Machines *m, const CostOptions *o);
// The links on the way from one machine to another; how many. On levels its own of every level up to the one
// that has both in one group; between hosts, and within one, what was measured from end to end.
int machines_way(const Machines *m, int from, int to, const MachineLevel *way[MAX_LEVELS]);

#endif
