// stagecc launch: what its files share. launch.c says in which order things happen, launch_hosts.c what is copied and
// started where, launch_slurm.c what is particular to Slurm.
#ifndef STAGECC_DRIVER_LAUNCH_H
#define STAGECC_DRIVER_LAUNCH_H

#include "control/hostfile.h"
#include "control/remote.h"
#include "driver/driver.h"

#include <poll.h>

typedef struct Station { // a host with a worker
    const Host *host;
    const char *name, *key; // of the worker; its key file
    const char *master;     // as this host reaches it: "tcp://10.0.0.7:7070"
    bool local, started, ended;
    Remote remote;
} Station;

typedef struct Launcher {
    Arena *arena;
    Args *args;
    const char *journal, *keys; // directories
    const Hosts *hosts;
    Station *stations; // [hosts->n]
    const char *place; // of the worker's files on other hosts (driver/bundle.h)
    const char *endpoint;
} Launcher;

// Names of the workers, and where the master shall listen unless --listen says it. Exit status (reported).
int stations_name(Launcher *l);
const char *stations_listen(Launcher *l); // NULL: reported
// Copies to every other host what a worker needs. Exit status (reported).
int stations_copy(Launcher *l);
// What would be copied and started.
void stations_print(const Launcher *l);
// l->endpoint: the master listens there. Exit status (reported); those that were started run.
int stations_start(Launcher *l);
// Shows what workers say and notices those that have ended; false: all have failed.
bool stations_look(Launcher *l);
int stations_fds(const Launcher *l, struct pollfd *fds,
                 int n); // adds them; how many there are then
// Ends all; patient: they are about to end by themselves.
void stations_end(Launcher *l, bool patient);

int launch_journal(const Launcher *l); // makes its directory; exit status (reported)

// A worker on every node of the allocation. NULL: reported.
const Hosts *slurm_nodes(const Launcher *l);
// Writes the batch script that does what this command line says, and submits it. Exit status (reported).
int slurm_submit(Launcher *l);

#endif
