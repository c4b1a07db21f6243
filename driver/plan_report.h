// What people read of a plan of a profiled graph: words, table, picture, explanation.
#ifndef STAGECC_DRIVER_PLAN_REPORT_H
#define STAGECC_DRIVER_PLAN_REPORT_H

#include "driver/graph_problem.h"

// driver/plan_words.c
// "812 us", "12.3 ms", "1.20 s"; "1.5 GB/s": into out (at least 32 bytes), which is returned.
char *human_seconds(char *out, double seconds);
char *human_rate(char *out, double bytes_per_s);
const char *devices_text(Arena *a, const Plan *p, const PlanStage *s); // "0-3, 6", "gpu0, gpu1"
int plan_bottleneck(const Plan *p);                                    // its slowest stage
// What most of a stage's time is: "compute", "synchronisation", "receiving", "sending".
const char *stage_limit(const PlanStage *s);
double stage_limit_s(const PlanStage *s); // how much of it
double plan_gap(const Plan *p);           // how far above the lower bound, 0.01: 1 %

// driver/plan_table.c: stages with what they cost, and what the plan is worth.
void plan_table(Text *out, const Plan *p);

// driver/plan_picture.c: for Graphviz; profile nodes by Plan.units[].node.
void plan_picture(Text *out, const Plan *p, const Profile *profile);

// driver/plan_output.c: all files of the plan into args->out, and the table or JSON on stdout. Exit status.
// explanation: text behind the table; NULL: none.
int plan_output(Arena *a, const Plan *p, const Profile *profile, const Args *args,
                const char *explanation);

// driver/what_if.c: the planner again, with one thing changed each. Not all are tried when planning is slow.
typedef struct WhatIf {
    const char *what;
    double time_s; // a micro-batch of the pipeline; infinite: no plan
} WhatIf;
typedef struct WhatIfs {
    VEC(WhatIf) tried; // fastest first
    VEC(const char *) left_out;
} WhatIfs;
WhatIfs what_helps(Arena *a, const GraphProblem *g, const PlanResult *r); // more of something
WhatIfs other_plans(Arena *a, const GraphProblem *g, const PlanResult *r);
// The time when the last layers of stage k go to stage k + 1 (earlier), or the first ones of that to k: as
// few as change the stages' computing. Infinite: not possible.
double shifted_cut(const GraphProblem *g, const PlanResult *r, int k, bool earlier);

// driver/explain.c: why this plan, and what would help. Sets plan->explain (JSON); the same as text into out.
void explain_plan(Arena *a, Plan *plan, const GraphProblem *g, const PlanResult *r, Text *out);

// driver/infeasible.c: why there is none, with the layer that fits nowhere or what is missing.
const char *why_no_plan(Arena *a, const GraphProblem *g, const PlanResult *r);

#endif
