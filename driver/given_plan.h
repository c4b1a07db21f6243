// Plans that people give a job: directories of `stagecc build`. Checked, and kept among those that its master builds.
#ifndef STAGECC_DRIVER_GIVEN_PLAN_H
#define STAGECC_DRIVER_GIVEN_PLAN_H

#include "control/master/master.h"
#include "driver/driver.h"

#define GIVEN_PLAN "given-" // so their names begin: given-PROGRAMS-PARTS

// What all plans of a job have in common.
typedef struct JobModel {
    const Plan *plan;    // of any cut: its options, its units with their parts and times
    uint64_t graph;      // Job.graph_hash
    const char *profile; // where its times are; NULL: nowhere
    bool goes_on; // a plan that was kept before has its parts, whatever those of `plan` are
} JobModel;

// Into PLANS/given-…, with the parts and times of the job. Its name; NULL: it cannot be one of this job's, and why.
const char *given_plan_keep(Arena *a, const JobModel *job, const char *dir, const char *plans,
                            char why[PLAN_WHY]);

#endif
