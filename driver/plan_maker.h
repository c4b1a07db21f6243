#ifndef STAGECC_DRIVER_PLAN_MAKER_H
#define STAGECC_DRIVER_PLAN_MAKER_H

#include "driver/given_plan.h"

typedef struct MakerState MakerState;

// Builds args' model into journal/plans. profile: of `stagecc profile`; NULL: costs are estimated. What job points to
// stays.
PlanMaker plan_maker(Arena *a, const Args *args, const JobModel *job, const char *journal,
                     const char *profile);

#endif
