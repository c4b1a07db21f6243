// Input languages. One folder each; a Frontend turns a file into a graph of forward nodes.
#ifndef STAGECC_FRONTEND_FRONTEND_H
#define STAGECC_FRONTEND_FRONTEND_H

#include "ir/graph.h"

// The stage in which a plan puts a node of a profiled graph.
typedef struct NodeStage {
    const char *node;
    int stage;
} NodeStage;

// What the command line says about the model.
typedef struct ModelOptions {
    const char *const *defines; // "IMAGE=32", as behind -D
    int n_defines;
    const char *const
        *include_dirs; // where the model's own headers are looked for, as behind -I
    int n_include_dirs;
    int64_t micro_batch;    // samples: dimension 0 of every sample tensor
    const char *header_dir; // holds stagecc/model.h
    DType real;             // what the model calls F32: F32, or F64 for a run in double
    // Of profiled graphs:
    Shape input;             // of one sample, as --input says; rank 0: found from the file
    const NodeStage *stages; // from a plan, in place of the file's own; n_stages, 0: none
    int n_stages;
} ModelOptions;

typedef struct Frontend {
    const char *name;
    bool (*probe)(const char *path, const char *text); // is this file of my language?
    // NULL: errors were reported at their places. The graph lives in the arena.
    Graph *(*parse)(Arena *arena, const char *path, const char *text,
                    const ModelOptions *options);
} Frontend;

extern const Frontend *const frontends[]; // ends with NULL

#endif
