// ZeroMQ, loaded by the commands that need it. `zmq.curve_keypair(…)` is zmq_curve_keypair.
#ifndef STAGECC_CONTROL_ZMQ_LIBRARY_H
#define STAGECC_CONTROL_ZMQ_LIBRARY_H

#include <stdbool.h>
#include <zmq.h>

typedef struct Zmq {
#define FUNCTION(name) __typeof__(&zmq_##name) name;
#include "control/zmq/zmq.def"
#undef FUNCTION
} Zmq;

extern Zmq zmq; // filled by zmq_load

// false: it cannot be loaded; an error was reported.
bool zmq_load(void);

#endif
