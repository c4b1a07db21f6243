// The pass manager. passes.def lists the passes in their order; a pass is one row and one file.
#ifndef STAGECC_PASSES_PASS_H
#define STAGECC_PASSES_PASS_H

#include "base/text.h"
#include "ir/device.h"
#include "plan/plan.h"

typedef struct LayerTime { // measured by `profile`
    const char *layer;
    double forward_s, backward_s; // a micro-batch
    double update_s;              // a step; 0: not measured
    double
        weight_s; // the part of backward_s that ran apart (passes/split.c); 0: not measured so
} LayerTime;

typedef struct ProgramCosts { // likewise, of the whole model as one program (runtime/profile.h)
    double load_s, norm_s;
    int64_t process_bytes, library_bytes;
    int beside_programs; // as in Plan
    double beside_slowdown;
} ProgramCosts;

typedef struct Compile {
    Arena *perm, *scratch;
    Graph *graph;
    Plan *plan; // filled by partition, schedule, memory
    const Options *options;
    int stages; // how many to cut into; 0: no plan wanted
    bool
        choose_replicas; // `stages` are machines: as many stages and replicas as are best there
    const int
        *fixed_cuts;     // stages-1 last units of each stage but the last, from a plan; or NULL
    const int *replicas; // of every stage; NULL: one each
    int most_parts; // cut at so many places less one, evenly chosen; 0: wherever it is allowed
    bool by_layer;  // cut where Layer.stage says, as nearly as possible
    int64_t memory_limit; // bytes a machine may take; 0: none, or what `machines` say
    int64_t bucket_bytes; // gradients that replicas exchange in one go, at least; 0: 4 MiB
    // One for each stage, at most 8 types; NULL: all alike. Their speeds and memory count.
    const struct Machines *machines;
    Images images; // as the backend wants them (passes/layout.c)
    bool fuse;     // the backend emits groups (passes/fuse.c)
    bool pitch;    // it takes logits whose rows lie apart (passes/pitch.c)
    // Does the backend compute heads of so many features as one op (passes/attention.c)? NULL: none.
    bool (*attention)(const Options *o, int64_t features);
    const LayerTime *times; // measured; NULL: estimate
    int n_times;
    ProgramCosts program; // measured with them
    double
        *layer_s; // out, by layer: forward and backward of a micro-batch; NULL: no plan wanted
    double *node_s;    // out of `cost`, by node: seconds of a micro-batch (update: of a step)
    const Plan *again; // a plan that says what stages compute again; NULL: as the options say
    // Bytes of an output in LAYOUT_KERNEL: asked of the backend by the driver. NULL: as logical.
    int64_t (*kernel_bytes)(void *user, const Node *n);
    // Of the backend: the library kernel that a node calls, by all that decides it; NULL: none.
    const char *(*kernel_key)(Arena *a, const Graph *g, const Node *n);
    const DeviceSpeed *speed; // likewise, of its devices; NULL: they are this processor's cores
    const DeviceMemory *
        device; // likewise: what a device holds; NULL: it has no memory of its own; `machines` may have others
    // Of the backend: `next`, which reads the heavy op n, is computed by the same call of a library; kept: n has other
    // readers, too. NULL: never.
    bool (*heads)(const Node *n, const Node *next, bool kept);
    void *user;
    bool no_plan; // out: errors were reported because nothing fits (exit 3)
} Compile;

typedef struct PassInfo {
    const char *name, *meaning;
    void (*run)(Compile *c);
} PassInfo;
extern const PassInfo pass_info[];
extern const int n_passes;

typedef struct PassOptions {
    const char *only;       // comma list; NULL: all
    const char *stop_after; // NULL: run to the end
    const char *dump_after; // comma list, "all" or NULL
    bool timings;           // a table on stderr at the end
} PassOptions;

// Runs the table's passes in order, verifies the graph after each, resets scratch. false: errors
// were reported. An unknown name in the options is an error that lists the names.
bool passes_run(Compile *c, const PassOptions *o);

// passes/cost.c: the time in which a stage program reads and writes so many bytes.
double cost_move_s(const Compile *c, int64_t bytes);

#define PASS(name, meaning) void pass_##name(Compile *c);
#include "passes/passes.def"

#endif
