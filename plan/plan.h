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

// A tensor that crosses ranks: a ring of slots that all its ranks see. Where stages are replicated, the
// tensor's micro-batches are dealt out to `stride` edges that follow each other: this one carries `first`,
// `first` + stride, ..., so that all its messages have one producer and the same consumers.
typedef struct PlanEdge {
    const char *name; // of the node, or "norm up 0-1"
    int node;         // -1: a vector of the clip norm
    int producer;     // rank
    int *consumers, n_consumers;
    int64_t bytes; // of one message in its memory layout
    int slots;
    int first, stride; // numbers of its messages: see plan_message
    int per_step; // messages a step (of a stream: plan_messages), at least 1; 0: plan_is_round
    bool eval;    // belongs to the evaluation streams
    // Which instructions of each rank touch the tensor: bit 1 << rt_opcode, [Plan.n_ranks]. The
    // producer's lowest one writes it. A consumer has RECV before its first and RELEASE after its
    // last, which is what plan_verify_streams checks.
    uint32_t *touch;
} PlanEdge;

// Where a node's output 0 lies in one stage.
typedef enum PlaceKind {
    PLACE_NONE, // this stage never touches it, or it lives inside a fused group only
    PLACE_PERSISTENT, // offset in the stage's persistent memory: parameters, statistics, accumulators, state
    PLACE_WEIGHT,  // likewise, of version 0 of a parameter that has several versions
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
    int body,
        body_end; // of asynchronous training: the instructions of a step that may be repeated
} Stream;

// A process: one replica of a stage. It runs the micro-batches whose number is its own modulo the replicas.
typedef struct PlanRank {
    int stage, replica;
    Stream train, eval;
} PlanRank;

// With replicas, the last pass (BACKWARD, or BACKWARD_WEIGHT where backward is split) of a step's last micro-batch
// runs in parts, as many as the stage has buckets of gradients: each ends where the accumulators of its
// bucket are done. It goes from the last unit to the first, so a part is known by the last unit that it
// runs, which is its lowest.
typedef struct PlanStage {
    int id, replicas;
    int first_rank;            // its replicas are that many ranks from here on
    const char *backend;       // NULL: the plan's
    int first_unit, last_unit; // contiguous cut units, both inclusive
    // Of backward; n_parts 1: it runs as a whole. 0, which plans that were read never have: so do they
    // all, and there are no replicas that exchange gradients.
    int *part_units, n_parts;
    int in_flight; // micro-batches between forward and the end of backward, at most
    int versions;  // of the weights that live at once; 0: not said, one
    double forward_s, backward_s, send_s, sync_s; // predicted, per micro-batch
    double
        weight_s; // the part of backward_s that BACKWARD_WEIGHT takes; 0: backward is not split
    double update_s; // predicted, once a step
    double load_s;   // reading a micro-batch: the first stage
    double norm_s;   // its gradients' norms, once a step
    // What the planner chose and predicts beside that, of a micro-batch; 0 where other fields say it.
    int *devices, n_devices; // by replica, indices of Plan.device_names; none: its id
    bool recompute;          // computes values of forward again in backward
    const char **again;      // the nodes that it does; n_again 0: all that backward needs
    int n_again;
    double again_s,
        again_least_s;   // adds to backward_s; a bound on what that could be; 0: not said
    int64_t again_bytes; // and takes off the memory
    double compute_s;    // what computing adds to a micro-batch's time; 0: forward + backward
    // At the boundary before; send_s: at the one behind. Of plans without streams: both directions, as
    // the cost model adds them up for a micro-batch of the pipeline.
    double receive_s;
    double time_s; // what the cost model makes of all of them; 0: their sum
    int64_t parameter_bytes;
    int64_t in_bytes, out_bytes; // across the two boundaries, one direction
    Place *places;               // [Plan.n_nodes], by node id
    int64_t persistent_bytes;    // parameters + gradients + optimizer state + statistics
    int64_t state_bytes;         // of them: all but the gradients; 0: not said
    int64_t version_bytes;       // the parameters, at its end: what each further version takes
    int64_t slot_bytes;          // activations of one micro-batch
    int64_t scratch_bytes;
    int64_t edge_bytes;    // slots of the edges that one replica produces, at most
    int64_t twin_bytes;    // of those that it touches, in the memory of its device, at most
    int64_t library_bytes; // scratch of library kernels (kernels.json)
    // Predicted: what the process takes beside all of them (code, libraries and what they keep). 0: not
    // measured. Not in plan_stage_bytes.
    int64_t process_bytes;
} PlanStage;

// A place where the model may be cut: units are numbered in execution order and never split.
typedef struct PlanUnit {
    const char *name;             // of its first layer
    double forward_s, backward_s; // per micro-batch
    double weight_s;              // as in PlanStage
    double update_s;              // per step
    int64_t parameter_bytes, activation_bytes,
        cut_bytes; // cut_bytes: crossing right after this unit
    int node;      // id of its last forward node
    int part;      // of the model, that no plan of the job cuts (--parts); 0 where nobody asked
} PlanUnit;

// A library kernel as a probe on the target measured it (kernels.json).
typedef struct PlanKernel {
    const char *key;            // says all that decides it
    const char *implementation; // the library's name of what it chose
    int64_t scratch_bytes;      // beside the tensors, within one call
    int64_t kept_bytes;         // from call to call, for every weight
    double seconds;             // of one call
} PlanKernel;

// What the replicas of a stage add up together: docs/schedules.md. Its messages are edges: the parts of
// the other replicas in ascending order, then the sum, from first_edge on.
typedef enum BucketKind {
    BUCKET_GRADIENTS,
    BUCKET_STATISTICS, // averaged
    BUCKET_LOSSES,     // of the micro-batches
    BUCKET_SCORES,     // of the micro-batches of an evaluation
} BucketKind;

typedef struct PlanBucket {
    BucketKind kind;
    int stage, owner; // owner: replica
    int first_edge;
    int *nodes, n_nodes; // tensors
    int64_t bytes;
} PlanBucket;

// A gradient of tied weights that other stages get at the end of a step.
typedef struct PlanShare {
    int edge, node; // the accumulator
} PlanShare;

enum { MAX_PLAN_LEVELS = 8, MAX_PLAN_MACHINES = 1 << 20 };

// A plan of a profiled graph has no ranks, edges and places: stages, units and predictions only. Its
// units stand in such an order that those of a stage follow each other.
typedef struct Plan {
    const char *model, *source; // name; path as given
    const char *cost_model;     // "stagecc", "pipedream"; NULL: stagecc
    const char *cost_source;    // "estimate", "profile" or "measured"
    const char *backend;        // "ref", "c"; NULL: not said; where stages differ, of the first
    Options options;
    PlanKernel *kernels; // sorted by key; none: not measured, bounds are used
    int n_kernels;
    int n_nodes;
    PlanUnit *units;
    int n_units;
    PlanStage *stages;
    int n_stages;
    PlanRank *ranks; // stage by stage
    int n_ranks;
    PlanEdge *edges;
    int n_edges;
    PlanBucket *buckets; // stage by stage; not in plan.json, where their edges are
    int n_buckets;
    PlanShare *shares; // likewise
    int n_shares;
    int stream_steps; // steps of a training stream; 0: not said, one
    int norm_parts;   // gradient tensors of the whole model; 0: no clipping
    // Of plans without streams: no flush, every micro-batch is an update; what runs beside computing:
    // "none", "transfers" or "all" (synchronisation, too). NULL: none.
    bool asynchronous;
    const char *overlap;
    double compression; // what was supposed of activations as they travel; 0: nothing was said
    int *machines;      // by level, innermost first; none: as many as used
    double *bandwidths; // of each level, bytes/s; NULL: not said
    int n_levels;
    const char **device_names; // from devices.json, n_device_names; NULL: indices only
    int n_device_names;
    int machines_used;   // 0: as many as the stages have replicas
    const char *method;  // how it was found: "every cut (412 of them)"; NULL: not said
    const char *why;     // there is no plan, and why; NULL: there is one
    const char *explain; // JSON text of `plan --explain`; NULL: none
    double pipeline_s;   // of the slowest stage; 0: by the stages' predictions, for a batch
    double step_s, lower_bound_s, single_s;
    double data_parallel_s; // 0: not said
    double planning_s;
    // As measured: so many programs of the model that run on one host at once take so many times as long
    // for a micro-batch as one alone, since they share its caches and memory. 0: not measured. Noise may
    // make it less than 1; with it, programs that all run at once have the mean of what they were seen to take.
    int beside_programs;
    double beside_slowdown;
} Plan;

// plan/kernels.c: false: reported.
bool plan_read_kernels(Arena *a, Plan *p, const char *file);
const PlanKernel *plan_kernel(const Plan *p, const char *key); // NULL: not measured

// Instructions and edges: a plan of a model. That of a profiled graph (graph.txt) has stages alone.
bool plan_has_streams(const Plan *p);
// From the stages' replicas: ranks, whose streams are empty, and first_rank of every stage.
void plan_number_ranks(Arena *a, Plan *p);
int plan_machines_used(const Plan *p);
// Fills edge_bytes, and twin_bytes of a stage whose tensors lie in the memory of a device (runtime/twins.h).
void plan_count_edges(const Plan *p, PlanStage *s, bool apart);
// "stage 1", of replicated stages "stage 1, replica 0". Returns buffer.
const char *plan_rank_name(const Plan *p, int rank, char *buffer, int size);
// Which message of a step of the edge belongs to a micro-batch; -1: it is another edge's.
static inline int plan_message(const PlanEdge *e, int64_t mb)
{
    return mb % e->stride == e->first ? (int)(mb / e->stride) : -1;
}
// On it a replica gives another one the sums of its batch norms (docs/schedules.md, "Batch norm of a round"). The
// instructions that touch it exchange them, as many as they are, and no other names it: `first` is -1.
static inline bool plan_is_round(const PlanEdge *e)
{
    return e->per_step == 0;
}
// The instructions of a rank that do: bit 1 << rt_opcode.
uint32_t plan_rounds(const Plan *p, int rank);
bool plan_reduces(const PlanEdge *e, int rank); // it is a bucket's, and the rank takes part
// By how much a step moves on the number of such an instruction: micro-batches, or buckets.
int plan_step_numbers(const Plan *p, int rank, const rt_instr *i);
int plan_stage_of_unit(const Plan *p, int unit);
int plan_device(const Plan *p, int rank); // that the plan puts it on
// Of all ranks on a device; predicted seconds of what a rank computes in a step.
int64_t plan_device_bytes(const Plan *p, int device);
double plan_rank_seconds(const Plan *p, int rank);
int plan_part_of_unit(const PlanStage *s, int unit);
// Predicted seconds of backward from one part up to another, without the latter.
double plan_parts_seconds(const Plan *p, const PlanStage *s, int part, int end);
int plan_stream_steps(const Plan *p, bool eval);  // of a stream: 1 in evaluation
int plan_micro_batches(const Plan *p, bool eval); // of a stream
int plan_own_micro_batches(const Plan *p, const PlanRank *r, bool eval); // of those, the rank's
int plan_messages(const Plan *p, const PlanEdge *e); // of an edge in a stream
int64_t plan_weight_bytes(const PlanStage *s);       // of the versions beside the newest
int64_t plan_stage_bytes(const PlanStage *s); // arena, library scratch, the edges it produces
const char *plan_backend(const Plan *p, const PlanStage *s);
bool plan_mixes_backends(const Plan *p);       // stages have some of their own
double plan_stage_seconds(const PlanStage *s); // time_s, or what is predicted
double plan_pipeline_seconds(const Plan *p); // pipeline_s, or of the slowest stage for a batch
int64_t plan_bytes(double bytes); // rounded, and no more than a plan may hold (1 PiB)
// Of all that decides the programs: everything but names of files and predicted seconds.
uint64_t plan_hash(const Plan *p);
// Predicted seconds of a training step behind the first, so that steps which overlap count as they do: the streams
// run with the stages' predicted times (plan/simulate.h tells more).
double plan_simulate(const Plan *p);
// plan.json, as in docs/formats.md. `stages[].nodes` are unit names. Read back needs no model:
// stages, edges, streams and options are complete, places are not.
char *plan_to_json(const Plan *p);                                  // malloc'd text
Plan *plan_from_json(Arena *a, const char *file, const char *text); // NULL: reported

// Walks all streams together with rings of bounded slots. false: `why` says what is wrong: an
// unmatched message, a deadlock (who waits for what), a slot read before it was received or after it
// was released, micro-batches out of order, more in flight than `in_flight`, weights of a version
// that is not there or not that of the forward, a body that does not go on where it began.
bool plan_verify_streams(const Plan *p, bool eval, char *why, int why_size);

#endif
