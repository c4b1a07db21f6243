// devices.json as the machines that a plan is made for.
#ifndef STAGECC_DRIVER_MACHINES_H
#define STAGECC_DRIVER_MACHINES_H

#include "passes/planner/planner.h"
#include "plan/devices.h"

const Devices *devices_read(Arena *a, const char *file); // NULL: reported
// Devices of one host stand side by side. profile[device]: which times are its own, so that its speed does not
// count; 0: those of the problem, by its speed. names: of the machines. NULL: a link is missing, reported.
Machines *machines_of_devices(Arena *a, const Devices *d, const char *file, const int *profile,
                              const char ***names);

#endif
