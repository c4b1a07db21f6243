// A flat plan under PipeDream's formulas (pipedream.c), from its nodes and replicas alone: for plans
// that were found in another way than by the recurrence, and to check those of the recurrence.
#include "passes/planner/pipedream.h"

#include <math.h>

typedef struct Sums {
    double parameters, activations;
} Sums;

static Sums add_up(const PipedreamGraph *g, StageChoice *s, uint64_t *cut)
{
    Sums sums = {0};
    s->forward_s = s->backward_s = 0;
    for (int i = 0; i < s->n_nodes; i++) {
        int v = s->nodes[i];
        const ProblemNode *n = &g->problem->nodes[v];
        if (!pipedream_planned(g, v))
            continue;
        cut[v >> 6] |= UINT64_C(1) << (v & 63);
        s->forward_s += n->forward_s[0];
        s->backward_s += n->backward_s[0];
        sums.parameters += n->parameter_bytes;
        sums.activations += n->activation_bytes;
    }
    return sums;
}

static double transfer_s(const Machines *m, const CostOptions *o, double bytes, int replicas)
{
    if (o->compression <= 0)
        return 0;
    return 2 * bytes / (m->levels[0].bytes_per_s * replicas * o->compression);
}

// `behind`: machines of the stages behind. false: it does not fit.
static bool fill(const Machines *m, const CostOptions *o, StageChoice *s, Sums sums, int behind)
{
    int r = s->replicas;
    double limit = o->memory_bytes > 0 ? o->memory_bytes : m->types[0].memory_bytes;
    s->compute_s = (s->forward_s + s->backward_s) / r;
    s->sync_s = 4.0 * (r - 1) * sums.parameters / (m->levels[0].bytes_per_s * r) / r;
    s->time_s = fmax(s->compute_s + s->sync_s, fmax(s->receive_s, s->send_s));
    s->parameter_bytes = sums.parameters;
    s->in_flight = (behind + r - 1) / r + 1;
    s->memory_bytes = (s->in_flight - 1) * (sums.parameters + sums.activations);
    return limit <= 0 || s->memory_bytes <= limit;
}

const char *pipedream_evaluate(Arena *a, const PipedreamGraph *g, const Machines *m,
                               const CostOptions *o, StageChoice *stages, int n_stages)
{
    uint64_t *cut = arena_array(a, uint64_t, g->words);
    const char *why = NULL;
    double sent = 0;
    int behind = m->n;
    for (int i = 0; i < n_stages; i++) {
        StageChoice *s = &stages[i];
        Sums sums = add_up(g, s, cut);
        s->in_bytes = sent;
        s->out_bytes = sent = i < n_stages - 1 ? pipedream_output_bytes(g, cut) : 0;
        s->receive_s = transfer_s(m, o, s->in_bytes, s->replicas);
        s->send_s = i ? transfer_s(m, o, s->out_bytes, s->replicas) : 0;
        behind -= s->replicas;
        if (!fill(m, o, s, sums, behind) && !why)
            why = arena_printf(a, "stage %d holds %.0f bytes by PipeDream's rule", i,
                               s->memory_bytes);
    }
    return why;
}
