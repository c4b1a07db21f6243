#ifndef STAGECC_DRIVER_PLAN_MAKER_H
#define STAGECC_DRIVER_PLAN_MAKER_H

#include "control/master/master.h"
#include "driver/driver.h"

typedef struct MakerState MakerState;

// Builds args' model into journal/plans. profile: of `stagecc profile`; NULL: costs are estimated.
PlanMaker plan_maker(Arena *a, const Args *args, const char *journal, const char *profile);

#endif
