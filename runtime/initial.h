// First values of parameters and buffers. Element i of tensor NAME depends on (seed, NAME, i)
// alone, so neither the cut into stages nor the memory layout changes a bit.
#ifndef STAGECC_RUNTIME_INITIAL_H
#define STAGECC_RUNTIME_INITIAL_H

#include "runtime/kernels/draw.h"
#include "runtime/plain.h"

// Parameters, buffers and state by their rt_init rule, accumulators zero.
// Returns 0, RT__INPUT (a rule that does not fit the tensor) or RT__ENVIRONMENT.
int rt__initialise(const rt__memory *m, int64_t seed, rt__why *why);
// How the elements of t are drawn, for a device that does it itself.
rt_draw rt__draw_of(const rt_tensor *t, int64_t seed);
// Value of element i before conversion to the tensor's dtype.
double rt__initial_value(const rt_tensor *t, int64_t seed, uint64_t i);

#endif
