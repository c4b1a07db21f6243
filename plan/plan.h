// The plan: which stage runs what, what crosses between stages, in which order, and where every
// tensor lies. Written by the passes partition, schedule and memory; read by codegen, run and
// simulate; stored as plan.json. Nodes are named by their ids, so this room knows no IR.
#ifndef STAGECC_PLAN_PLAN_H
#define STAGECC_PLAN_PLAN_H

#include "base/arena.h"
#include "base/vec.h"
#include "plan/options.h"
#include "plan/stream.h"

#include <stdbool.h>
#include <stdint.h>

// A tensor that crosses stages: a ring of slots that all its stages see.
typedef struct PlanEdge {
    const char *name; // of the node, or "norm up 0-1"
    int node;         // -1: a vector of the clip norm
    int producer;     // stage
    int *consumers, n_consumers;
    int64_t bytes; // of one message in its memory layout
    int slots;
    int per_step; // messages a step: micro_batches, or 1
    bool eval;    // belongs to the evaluation streams
    // Which instructions of each stage touch the tensor: bit 1 << rt_opcode, [Plan.n_stages]. The
    // producer's lowest one writes it. A consumer has RECV before its first and RELEASE after its
    // last, which is what plan_verify_streams checks.
    uint16_t *touch;
} PlanEdge;

// Where a node's output 0 lies in one stage.
typedef enum PlaceKind {
    PLACE_NONE, // this stage never touches it, or it lives inside a fused group only
    PLACE_PERSISTENT, // offset in the stage's persistent memory: parameters, statistics, accumulators, state
    PLACE_SLOT,    // offset in the memory of one micro-batch in flight (lives until backward)
    PLACE_SCRATCH, // offset in memory shared by all instructions (lives within one)
    PLACE_EDGE,    // slot of an edge (`offset` is not used)
} PlaceKind;

typedef struct Place {
    PlaceKind kind;
    int edge;       // PLACE_EDGE: index in Plan.edges, else -1
    int64_t offset; // bytes, 64-aligned
    int64_t bytes;
} Place;

typedef struct Stream {
    rt_instr *instr;
    int n;
} Stream;

typedef struct PlanStage {
    int id, replicas;
    int first_unit, last_unit; // contiguous cut units, both inclusive
    int in_flight;             // micro-batches between forward and backward, at most
    double forward_s, backward_s, send_s, sync_s; // predicted, per micro-batch
    double update_s;                              // predicted, once a step
    Stream train, eval;
    Place *places;            // [Plan.n_nodes], by node id
    int64_t persistent_bytes; // parameters + gradients + optimizer state + statistics
    int64_t slot_bytes;       // activations of one micro-batch
    int64_t scratch_bytes;
    int64_t edge_bytes;    // slots of the edges it produces
    int64_t library_bytes; // scratch of library kernels (kernels.json)
} PlanStage;

// A place where the model may be cut: units are numbered in execution order and never split.
typedef struct PlanUnit {
    const char *name;             // of its first layer
    double forward_s, backward_s; // per micro-batch
    double update_s;              // per step
    int64_t parameter_bytes, activation_bytes,
        cut_bytes; // cut_bytes: crossing right after this unit
    int node;      // id of its last forward node
} PlanUnit;

// A library kernel as a probe on the target measured it (kernels.json).
typedef struct PlanKernel {
    const char *key;            // says all that decides it
    const char *implementation; // the library's name of what it chose
    int64_t scratch_bytes;      // beside the tensors, within one call
    int64_t kept_bytes;         // from call to call, for every weight
    double seconds;             // of one call
} PlanKernel;

typedef struct Plan {
    const char *model, *source; // name; path as given
    const char *cost_source;    // "estimate", "profile" or "measured"
    const char *backend;        // "ref", "c"; NULL: not said
    Options options;
    PlanKernel *kernels; // sorted by key; none: not measured, bounds are used
    int n_kernels;
    int n_nodes;
    PlanUnit *units;
    int n_units;
    PlanStage *stages;
    int n_stages;
    PlanEdge *edges;
    int n_edges;
    int norm_parts; // gradient tensors of the whole model; 0: no clipping
    double step_s, lower_bound_s, single_s;
    double planning_s;
} Plan;

// plan/kernels.c: false: reported.
bool plan_read_kernels(Arena *a, Plan *p, const char *file);
const PlanKernel *plan_kernel(const Plan *p, const char *key); // NULL: not measured

int plan_stage_of_unit(const Plan *p, int unit);
int64_t plan_stage_bytes(const PlanStage *s); // arena, library scratch, the edges it produces
// Of all that decides the programs: everything but names of files and predicted seconds.
uint64_t plan_hash(const Plan *p);
// Predicted seconds of one training step: the streams run with the stages' predicted times.
double plan_simulate(const Plan *p);
// plan.json, as in docs/formats.md. `stages[].nodes` are unit names. Read back needs no model:
// stages, edges, streams and options are complete, places are not.
char *plan_to_json(const Plan *p);                                  // malloc'd text
Plan *plan_from_json(Arena *a, const char *file, const char *text); // NULL: reported

// Walks all streams together with rings of bounded slots. false: `why` says what is wrong: an
// unmatched message, a deadlock (who waits for what), a slot read before it was received or after it
// was released, micro-batches out of order, more in flight than `in_flight`.
bool plan_verify_streams(const Plan *p, bool eval, char *why, int why_size);

#endif
