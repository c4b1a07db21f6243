// What the programs of a directory were made from, beside plan.json with its options: origin.json, which `stagecc master
// DIR` reads.
//
//   {"model": "/where/it/is/model.c", "graph": "0123456789abcdef",     ir_hash of what was read
//    "options": [["define", "DEPTH=18"], …],                           of the command line
//    "tensors": {"conv1.weight": 0, …}}                                that outlive a step, and the unit each is in
#ifndef STAGECC_DRIVER_ORIGIN_H
#define STAGECC_DRIVER_ORIGIN_H

#include "driver/driver.h"

enum { ORIGIN_WHY = 256 };

typedef struct OriginTensor {
    const char *name;
    int unit;
} OriginTensor;

typedef struct Origin {
    const char *model; // absolute
    uint64_t graph;
    const Given *options; // [n_options], whatever plan.json does not say; files are absolute
    OriginTensor *tensors;
    int n_options, n_tensors;
} Origin;

// Of a job that was compiled; lives in its arena.
Origin origin_of(const Job *j);
int origin_write(const Origin *o, const char *dir); // exit status
// parts.json: which part of the model, by the plan's units, each tensor is in (docs/control.md). Exit status.
int origin_write_parts(const Origin *o, const Plan *p, const char *dir);
// false: why.
bool origin_read(Arena *a, const char *dir, Origin *o, char why[ORIGIN_WHY]);

#endif
