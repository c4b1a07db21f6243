// --trace: every instruction with its begin and end, as Chrome trace events (chrome://tracing,
// ui.perfetto.dev). Times are CLOCK_MONOTONIC, so the files of all stages of a host fit together.
#ifndef STAGECC_RUNTIME_TRACE_H
#define STAGECC_RUNTIME_TRACE_H

#include "runtime/rt.h"

int rt__trace_open(rt_stage *s); // room for all events is taken here; 0 or an rt_error
void rt__trace_add(rt_stage *s, const rt_instr *i, int64_t begin_ns, int64_t end_ns);
int rt__trace_write(rt_stage *s); // to options.trace; 0 or RT_E_ENVIRONMENT
void rt__trace_close(rt_stage *s);

#endif
