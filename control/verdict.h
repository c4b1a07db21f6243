// What becomes of a job: its programs' reports and ends in, what the user sees and the exit status out.
// Of all errors the one that came first and is no echo of another's counts.
#ifndef STAGECC_CONTROL_VERDICT_H
#define STAGECC_CONTROL_VERDICT_H

#include "control/job.h"
#include "control/launch.h"
#include "control/progress.h"

// How much an error says: an echo is about another stage's end.
enum Weight { NOTHING, ECHO, STOPPED, CAUSE };

typedef struct Verdict {
    const Launch *launch;
    Arena *arena;
    const SegmentStatus *statuses; // [n_ranks]: what each was doing
    Progress progress;
    int signals; // that the launcher has had
    int restarts_left;
    bool killed; // a rank was, by nobody of ours: with restarts left, that is no error
    // The job is to end because of this rank (n_ranks: the launcher).
    void (*end)(void *user, int rank, int status);
    void *user;
    // The error that counts
    enum Weight weight;
    int status, rank;
    const char *message;
} Verdict;

// A child whose end was seen.
typedef struct Ended {
    int rank, wait_status;
    long pid;
    bool killed; // by us
} Ended;

// message NULL: the user was told already.
void verdict_error(Verdict *v, enum Weight weight, int status, int rank, const char *message);
void verdict_line(void *verdict, int rank, const char *text); // a report
void verdict_ended(Verdict *v, const Ended *e);
bool verdict_restarts(const Verdict *v);
void verdict_show(Verdict *v); // the error that counts, to the user and to launch->event

#endif
