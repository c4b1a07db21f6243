// The cost model `pipedream`, one level of alike machines (hierarchies: pipedream.c), as the optimizer
// of PipeDream has it (Narayanan et al., "PipeDream: generalized pipeline parallelism for DNN
// training", SOSP 2019), quirks included, so that plans can be compared:
//
//   time      max((C + 4 (r-1) P / (B r)) / r, 2 O(begin) / (B r c), 2 O(end) / (B r c)); the first stage is not
//             charged for what it sends, and without a compression ratio c nobody is
//   memory    ceil(machines behind / r) (A + P) must fit: one micro-batch too few, so the last stage always does
#include "passes/planner/moves.h"

#include <string.h>

void cost_pipedream(const Standing *s, Move *m)
{
    const CostOptions *o = s->options;
    double r = s->replicas, b = s->sync.bytes_per_s;
    m->in_flight = (s->behind + s->replicas - 1) / s->replicas;
    m->rows[0] =
        (MoveRow){.compute = 1 / r, .parameters = 4 * (r - 1) / (b * r) / r, .timed = true};
    m->n_rows = 1;
    m->in_bytes = m->out_bytes = 0;
    if (o->compression > 0 && m->begin == BEGIN_LATER)
        m->in_bytes = m->out_bytes = 2 / (b * r * o->compression);
    if (o->memory_bytes > 0 && m->in_flight)
        m->rows[m->n_rows++] = (MoveRow){
            .parameters = m->in_flight, .activations = m->in_flight, .budget = o->memory_bytes};
}

const CostModel cost_models[] = {
    {"stagecc", "true cuts, both directions, memory of the schedule, unequal machines",
     cost_stagecc},
    {"pipedream", "the formulas of PipeDream's optimizer, for comparison", cost_pipedream},
};
const int n_cost_models = sizeof cost_models / sizeof *cost_models;

const CostModel *cost_model_find(const char *name)
{
    for (int i = 0; i < n_cost_models; i++)
        if (!strcmp(cost_models[i].name, name))
            return &cost_models[i];
    return NULL;
}
