// What a worker gives another one of a state: which tensors there are, and where they lie while somebody takes them.
#ifndef STAGECC_CONTROL_WORKER_PARCEL_H
#define STAGECC_CONTROL_WORKER_PARCEL_H

#include "base/text.h"
#include "control/worker/states.h"

typedef struct Parcel {
    Text
        listing; // JSON: {"seed": 1, "cursor": [epoch, index], "tensors": [[name, part, bytes, layout], …]}
    Found *tensors; // [n], by name, as listed; what they lie in is pinned
    int n;
} Parcel;

// Of the parts of a state that are here. NULL: nothing is.
Parcel *parcel_new(States *s, const Held *state);
void parcel_free(Parcel *p);

// What a listing says. false: why.
bool parcel_read(const char *listing, size_t bytes, Tensors *tensors, Beginning *beginning,
                 char why[TENSORS_WHY]);

#endif
