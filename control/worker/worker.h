// A worker: the process on each machine that runs programs for a master and keeps their states (docs/control.md). It is
// the shell around control/worker_core.h. It ends when the job is done, when it was drained, or by SIGINT or SIGTERM.
#ifndef STAGECC_CONTROL_WORKER_WORKER_H
#define STAGECC_CONTROL_WORKER_WORKER_H

#include "control/keys.h"
#include "control/message.h"

typedef struct WorkerOptions {
    const char *master; // "tcp://host:port"
    Key key;
    const char *name; // to show: what key_name_good takes
    const char *dir;  // where what the master sends is kept
    const char *
        interface; // through which other workers reach this one; NULL: that which leads to the master
    Hello has;       // incarnation 0: one is made
    bool tied;       // to its standard input: it ends with that
    double orphan_s; // without a master for so long it gives up; 0: never
    bool quiet;
} WorkerOptions;

// Exit status; everything was reported.
int worker_run(const WorkerOptions *options);

#endif
