// From an operation graph to an execution plan: which of the library's engines runs it, and how its knobs stand. That
// depends on the graph, the library and the card alone; nothing is ever timed here, so all stages choose alike.
#ifndef STAGECC_CUDA_ENGINES_H
#define STAGECC_CUDA_ENGINES_H

#include "runtime/cuda/card/operations.h"

// Engines that round more than they must, and are allowed to. Those that add up in another order every time, or in less
// than float, never are.
enum {
    DNN_CORES = 1, // tensor cores, operands in fewer bits
    DNN_FAST = 2,  // Winograd's algorithm, Fourier transforms
};

enum { DNN_IMPLEMENTATION = 320 }; // room for its text

typedef struct DnnPlan {
    DnnParts parts; // the graph's and its own
    DnnDesc plan;   // one of them; NULL: none could be made, and parts.why says why
    int64_t workspace_bytes;
    // Engine and knobs: "e6 k40=2 k41=1".
    char implementation[DNN_IMPLEMENTATION];
} DnnPlan;

// The names of what is allowed, as heuristics have them, at most `most`: how many. Not all of them make plans.
int rt__dnn_list(DnnParts *parts, DnnDesc graph, unsigned allowed,
                 char (*names)[DNN_IMPLEMENTATION], int most);

// Each makes a plan of the parts' graph; false: there is none like that.
// The first that is allowed, of the library's heuristics and then of their fallbacks.
bool rt__dnn_choose(DnnPlan *p, DnnDesc graph, unsigned allowed);
// Exactly this one, if it is allowed.
bool rt__dnn_choose_named(DnnPlan *p, DnnDesc graph, const char *implementation,
                          unsigned allowed);
// As it was made before: nothing is compiled. The library refuses what is of another version or card.
bool rt__dnn_choose_kept(DnnPlan *p, const char *json, size_t bytes,
                         const char *implementation);

// For rt__dnn_choose_kept; the caller frees it. NULL: no memory, or the library does not want to.
char *rt__dnn_json(const DnnPlan *p, size_t *bytes);

#endif
