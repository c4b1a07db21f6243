// The cost model and the planner of PipeDream (Narayanan et al., "PipeDream: Generalized pipeline
// parallelism for DNN training", SOSP 2019; its optimizer_graph_hierarchical.py), for comparison and
// for people who bring their plans along. All of it, quirks included: see pipedream.c for the
// formulas and pipedream_cuts.c for the cuts it considers and the bytes it sees at them.
//
// The reference counts activation_bytes of a node both as memory and as what is sent; the tensors of
// the problem serve as edges only. Nodes of the problem are in file order, and its rules look at `kind`.
#ifndef STAGECC_PASSES_PLANNER_PIPEDREAM_H
#define STAGECC_PASSES_PLANNER_PIPEDREAM_H

#include "passes/planner/planner.h"

// Sets of nodes here are bit sets over problem->nodes of `words` words.
typedef struct PipedreamGraph {
    const Problem *problem;
    int words;
    // What the reference plans: all nodes but sources whose kind begins with `Input`, and then but
    // sinks whose kind begins with `__getitem__`.
    uint64_t *planned;
    uint64_t *ancestors, *predecessors; // [n][words], planned nodes only
    int *first, *last, *successors;     // of v: successors[first[v]] .. [last[v] - 1], likewise
    uint64_t
        *extra; // [n][words]: ancestors p of a node with a successor that is neither this node
                // nor an ancestor of it
    int *order; // [n] all nodes of the problem, topologically
} PipedreamGraph;

// Cuts the reference considers: sets of planned nodes, closed downwards, by number of nodes.
typedef struct PipedreamCuts {
    int n;
    bool all;       // they are all cuts of the graph but the empty one
    uint64_t *sets; // [n][words]
    double *seconds, *activation_bytes, *parameter_bytes; // [n] sums
    double *output_bytes;                                 // [n] pipedream_output_bytes
} PipedreamCuts;

static inline bool pipedream_planned(const PipedreamGraph *g, int v)
{
    return g->planned[v >> 6] >> (v & 63) & 1;
}

PipedreamGraph *pipedream_graph(Arena *a, const Problem *p);
// O(cut): activations of its maximal nodes and of those in `extra` of a maximal node, once each.
// What is sent over a cut within branches is over-counted. A cut holds planned nodes only.
double pipedream_output_bytes(const PipedreamGraph *g, const uint64_t *cut);
// NULL: there are more than `limit` cuts, or nodes that no cut holds since the reference does not
// come to them from its first source.
PipedreamCuts *pipedream_cuts(Arena *a, const PipedreamGraph *g, int limit);
// Nodes that are not planned join a stage: an input that of its first user, an unused item that of its
// tuple. stage[n], -1 where it is to be filled in.
void pipedream_place_rest(const PipedreamGraph *g, int *stage);

// The recurrence on machines of one kind in m->levels, under o->memory_bytes, compression, straight
// and fewer. NULL: there are too many cuts for it (pipedream_cuts, or the work in all levels).
PlanResult *pipedream_solve(Arena *a, const Problem *p, const Machines *m,
                            const CostOptions *o);
// Numbers of the stages of a flat plan (one level) whose nodes and replicas are chosen. NULL, or that a
// stage does not fit.
const char *pipedream_evaluate(Arena *a, const PipedreamGraph *g, const Machines *m,
                               const CostOptions *o, StageChoice *stages, int n_stages);
// Seconds of all planned nodes; and by level t = (t + 4 (n - 1) P / (B n) / n_in) / n.
double pipedream_single_machine(const PipedreamGraph *g);
double pipedream_data_parallel(const PipedreamGraph *g, const Machines *m);

#endif
