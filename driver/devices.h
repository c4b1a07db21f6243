// stagecc devices: what is measured of hosts and of the links between them, and how.
#ifndef STAGECC_DRIVER_DEVICES_H
#define STAGECC_DRIVER_DEVICES_H

#include "control/hostfile.h"
#include "control/remote.h"
#include "driver/cards.h"
#include "driver/driver.h"

#include "plan/devices.h"

#include <jansson.h>

typedef struct Measured {
    double value, spread; // a median; how far 80 % of the samples lie apart, relative to it
} Measured;

typedef struct LinkFigures {
    double bytes_per_s;
    Measured latency_s;
    double bandwidth_spread;
} LinkFigures;

typedef struct HostFigures {
    int cores;
    double free_cores; // idle before anything was started
    int64_t memory_bytes;
    Measured step_s; // forward and backward of the model, in all slots at once; 0: not measured
    Card card;       // device=cuda: of all of its devices the least of every figure
    LinkFigures inside;
} HostFigures;

typedef struct Session {
    Arena *arena;
    const Args *args;
    Hosts hosts;
    HostFigures *figures; // [hosts.n]
    int threads;          // of each slot
    const char *links;    // the program stagecc-links
    const char *card;     // the program stagecc-card
    const char *dir;      // for files of this session
    const char *program;  // the model's
    int64_t steps;        // that a run of it takes
    double alone_s;       // step_s on the first host with one slot: its speed is 1
    LinkFigures *between; // [hosts.n * hosts.n], of the upper triangle
} Session;

// driver/devices_ask.c
const char *devices_token(Arena *a); // 24 hexadecimal digits that nobody guesses
// A program is sent to a host, started there, and removed. `before` starts processes in the
// background and adds them to $p; `after` runs when all have ended well. "$d" is a directory of its own,
// "$d/p" the program.
const char *devices_script(Arena *a, const char *before, const char *after);
typedef struct Question {
    const char *host, *script, *input;
    const char *what; // "measuring its speed"
    double limit_s;
    const char *answer; // what it printed, in the session's arena
} Question;
// All at once, on hosts that differ. Exit status; errors were reported with host and remedy.
int devices_ask(Session *s, Question *q, int n);
// A member of a line of JSON that one of our programs printed.
double devices_number(const json_t *o, const char *key);
// A line about what is being done; nothing under --json.
void devices_progress(const Session *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// What is measured, in this order. Exit status.
int devices_hosts(Session *s);               // cores, memory
int devices_cards(Session *s);               // driver/devices_card.c
int devices_build_model(Session *s);         // driver/devices_speed.c
const char *devices_model(const Session *s); // its source
int devices_speeds(Session *s);              // also alone_s
int devices_links_inside(Session *s);        // driver/devices_links.c
int devices_links_between(Session *s);

// driver/devices_card.c: seconds of forward and backward of the model on devices like these, by estimate; 0: an error was
// reported.
double devices_estimate(Session *s, const Card *card);
const char *devices_card_words(const Session *s, int host); // what was measured of a host's

// driver/devices_report.c
Devices *devices_of(Session *s); // of what was measured
void devices_print(const Session *s, const Devices *d);
void devices_warn(const Session *s); // of figures that are not what they could be

#endif
