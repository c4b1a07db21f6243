// --at-least: instructions that last as long as a plan says, whatever this machine does in that time. A stage that
// is done early sleeps, so that a pipeline runs here as on machines that are not there, or slower than any of
// them, at a speed that nobody else's work changes (`stagecc run --rehearse K`).
#ifndef STAGECC_RUNTIME_PACE_H
#define STAGECC_RUNTIME_PACE_H

#include "runtime/rt.h"

// Reads options.at_least, "forward=0.012,backward=0.03": names of plan/stream.h and seconds. 0 or RT_E_INPUT.
int rt__pace_open(rt_stage *s);
// Behind an instruction that began then. The parts of a backward pass last as long as they take and count to
// the instruction that ends it. 0 or an rt_error: the job was stopped meanwhile.
int rt__pace(rt_stage *s, rt_opcode opcode, int64_t begin_ns);

#endif
