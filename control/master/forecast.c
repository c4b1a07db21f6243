// What a step would take by a plan on these workers, as fast as they are believed to be: the planner's own simulation, with
// each stage's times for the slowest worker that runs it.
#include "control/master/seats.h"

#include <math.h>

// So much longer than planned does this worker compute.
static double slower(const Server *s, const BuiltPlan *built, uint32_t rank, uint32_t worker)
{
    return speeds_planned(built, rank) / fmax(1, speeds_of(s, worker));
}

double forecast_step(const Server *s, const BuiltPlan *built, const uint32_t *workers)
{
    Arena arena = {0};
    Plan p = *built->plan;
    p.stages = arena_copy(&arena, p.stages, sizeof *p.stages * (size_t)p.n_stages);
    for (int i = 0; i < p.n_stages; i++) {
        PlanStage *stage = &p.stages[i];
        double most = 0;
        for (int r = stage->first_rank; r < stage->first_rank + stage->replicas; r++)
            most = fmax(most, slower(s, built, (uint32_t)r, workers[r]));
        stage->forward_s *= most;
        stage->backward_s *= most;
        stage->weight_s *= most;
        stage->update_s *= most;
        stage->load_s *= most;
        stage->norm_s *= most;
    }
    double step_s = plan_simulate(&p);
    arena_release(&arena);
    return step_s;
}
