// What START says beside the epoch, as JSON of the master:
//
//   {"job": "0123456789abcdef",           SegmentHeader.job of this epoch
//    "directory": "/where/it/was/started", files are named as there
//    "model": "mlp",                       to show
//    "files": [["plan.json", "<sha256>", 4711], ["parts.json", …], ["stage0", …], …],
//    "options": ["--data", …],             for every program
//    "rehearse": 0,                        Launch.rehearse
//    "peers": [[0, "tcp://10.0.0.3:41234", "<public key>"], …]}   other workers and this one
#ifndef STAGECC_CONTROL_WORKER_START_H
#define STAGECC_CONTROL_WORKER_START_H

#include "base/arena.h"
#include "control/curve.h"
#include "control/worker/files.h"

enum { START_WHY = 120 };

typedef struct StartPeer {
    uint16_t worker;
    const char *endpoint;
    CurveKey key;
} StartPeer;

typedef struct Start {
    uint64_t job;
    const char *directory, *model;
    double rehearse;
    File *files;
    const char **options;
    StartPeer *peers;
    int n_files, n_options, n_peers;
} Start;

// All of it lies in the arena. false: why.
bool start_parse(Arena *a, Start *s, const char *text, size_t bytes, char why[START_WHY]);

#endif
