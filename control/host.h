// One of several hosts of a job: starts the stage programs that belong there, keeps the job's memory of
// that host, and tells the launcher (control/hub.c) what happens. It is the program stagecc-host, which
// `stagecc deploy` brings along; it needs no stagecc and ends with its connection.
//
// What is to be done comes as JSON:
//   {"job": "0123456789abcdef", "host": 1, "hosts": [0, 1, 1],   the host of each rank
//    "n_hosts": 2, "options": ["--steps", "5"], "trace": false, "directory": "/where/stagecc/was/started",
//    "environment": {"UCX_TLS": "tcp"}, "towards": "10.0.0.7"}   messages take the interface to there
#ifndef STAGECC_CONTROL_HOST_H
#define STAGECC_CONTROL_HOST_H

// dir: of the programs and plan.json. Talks over standard input and output. Exit status.
int host_run(const char *dir);
// So long a side may be silent before the other gives it up; each says something every BEAT_S.
enum { HOST_SILENCE_S = 15, HOST_BEAT_S = 1 };

#endif
