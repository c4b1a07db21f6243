// Runs the programs of a plan on several hosts: a stagecc-host on each (control/host.h), reached by
// ssh, srun or sh, and the launcher in their middle. It brings the statuses of ranks from each host to
// all others, watches over hosts as launch.c does over programs, and decides at which step all stop.
#ifndef STAGECC_CONTROL_HUB_H
#define STAGECC_CONTROL_HUB_H

#include "control/hostfile.h"
#include "control/launch.h"

typedef struct HubPlace {
    const char *host;   // as in the hostfile
    const char *script; // starts its stagecc-host (control/remote.h)
} HubPlace;

typedef struct Hub {
    Launch launch;
    const HubPlace *places; // [n_places]
    int n_places;
    const int *place_of; // [n_ranks]
} Hub;

// Exit status of the job. The first error was shown.
int hub_run(const Hub *hub);
// Which host runs which rank: the devices that the plan names, where all of them are slots of these
// hosts ("h1", "h1-0"), else in order, as many on each as it has slots. Stages for CUDA devices are on hosts with
// device=cuda alone, others are not. Into place_of, and card_of: as Launch.cards. false: reported, there are not enough
// slots.
bool hub_place(const Hosts *hosts, const Plan *plan, int *place_of, int *card_of);

#endif
