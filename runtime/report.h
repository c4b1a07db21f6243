// What a run says of itself. Under `stagecc run`: JSON lines to STAGECC_REPORT_FD, one object a line,
// from the stage that knows (docs/runtime.md lists them). By hand: a progress line on stderr, the
// result on stdout.
#ifndef STAGECC_RUNTIME_REPORT_H
#define STAGECC_RUNTIME_REPORT_H

#include "runtime/rt.h"

void rt__report_open(rt_stage *s);  // finds STAGECC_REPORT_FD
void rt__report_start(rt_stage *s); // data and length of the run
// To an agent, of every rank: its state is there and all are, it waits for leave to begin; its image has this step.
void rt__report_warm(rt_stage *s);
void rt__report_ready(rt_stage *s);
void rt__report_saved(rt_stage *s, int64_t step);
void rt__report_step(rt_stage *s, int64_t step, int64_t samples);
void rt__report_eval(rt_stage *s);
void rt__report_checkpoint(rt_stage *s, const char *path);
void rt__report_warning(rt_stage *s, const char *text);
void rt__report_error(rt_stage *s);
void rt__report_done(rt_stage *s);

// `text` as a JSON string with its quotes, cut where it does not fit. Returns `to`.
char *rt__json_text(char *to, size_t size, const char *text);

#endif
