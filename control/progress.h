// What a user sees of a run: one line that is rewritten on a terminal, a line now and then elsewhere,
// and a line for every evaluation, checkpoint and warning.
#ifndef STAGECC_CONTROL_PROGRESS_H
#define STAGECC_CONTROL_PROGRESS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Progress {
    bool quiet, terminal;
    bool open; // the rewritten line stands without its newline
    int64_t first_step, last_step, tokens;
    int64_t started_ns, shown_ns;
} Progress;

void progress_init(Progress *p, bool quiet);
void progress_event(Progress *p, const json_t *event);
void progress_end_line(Progress *p); // before anything else is written to stderr
int64_t progress_now_ns(void);       // CLOCK_MONOTONIC

#endif
