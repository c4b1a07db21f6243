// A directory of `stagecc build` where a model is expected: what it was built from.
#ifndef STAGECC_DRIVER_PREBUILT_H
#define STAGECC_DRIVER_PREBUILT_H

#include "driver/origin.h"

typedef struct Prebuilt {
    const char *dir; // NULL: a model was given
    Plan *plan;
    Origin origin;
} Prebuilt;

// Where args' operand is a directory, args become those that build its model in the same way. Exit status.
int prebuilt_open(Arena *a, Args *args, Prebuilt *p);
// Is the model still there, as far as can be seen without reading it? false: a warning was given.
bool prebuilt_has_model(const Prebuilt *p);
// Likewise, of what was read.
bool prebuilt_same_model(const Prebuilt *p, const Job *j);
// Its stages are parts of a model that no plan cuts.
void prebuilt_fix_stages(Prebuilt *p);

#endif
