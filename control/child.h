// One stage program as a child process, and the lines that it reports.
#ifndef STAGECC_CONTROL_CHILD_H
#define STAGECC_CONTROL_CHILD_H

#include "control/job.h"
#include "control/launch.h"

enum { CHILD_LINE = 1 << 14 };

typedef struct Child {
    int rank;
    pid_t pid;
    int pid_fd;    // readable when it has ended; -1: ended and collected
    int report_fd; // -1: closed
    bool killed;   // by us
    int wait_status;
    char *line; // [CHILD_LINE]: what has come of the next line
    int n;
} Child;

// Start the program of a rank. 0, or -1 with errno set.
int child_start(Child *c, const Launch *l, const JobMemory *m, int rank, Arena *a);
// Read what is there; `line` is called for each whole one (terminated, without its newline).
void child_read(Child *c, void (*line)(void *user, int rank, const char *text), void *user);
void child_collect(Child *c); // after pid_fd became readable: wait_status is set
void child_kill(Child *c);
void child_release(Child *c);

#endif
