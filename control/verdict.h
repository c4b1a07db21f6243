// What becomes of a job: its programs' reports and ends in, what the user sees and the exit status out.
// Of all errors the one that came first and is no echo of another's counts.
#ifndef STAGECC_CONTROL_VERDICT_H
#define STAGECC_CONTROL_VERDICT_H

#include "control/job.h"
#include "control/launch.h"
#include "control/progress.h"

// How much an error says: an echo is about another stage's end.
enum Rank { NOTHING, ECHO, STOPPED, CAUSE };

typedef struct Verdict {
    const Launch *launch;
    Arena *arena;
    const SegmentStatus *statuses; // [n_stages]: what each was doing
    Progress progress;
    int signals; // that the launcher has had
    // The job is to end because of this stage (n_stages: the launcher).
    void (*end)(void *user, int stage, int status);
    void *user;
    // The error that counts
    enum Rank rank;
    int status, stage;
    const char *message;
} Verdict;

// A child whose end was seen.
typedef struct Ended {
    int stage, wait_status;
    long pid;
    bool killed; // by us
} Ended;

// message NULL: the user was told already.
void verdict_error(Verdict *v, enum Rank rank, int status, int stage, const char *message);
void verdict_line(void *verdict, int stage, const char *text); // a report
void verdict_ended(Verdict *v, const Ended *e);
void verdict_show(Verdict *v); // the error that counts, to the user and to launch->event

#endif
