// What a plan costs, from the definitions alone: sums over the nodes of every stage, tensors by who
// makes and who uses them, machines as they are listed. Nothing here is shared with the search, so that
// each checks the other.
#include "passes/planner/evaluate_links.h"

#include <math.h>
#include <string.h>

typedef struct Evaluation {
    Arena *arena;
    const Problem *p;
    const Machines *m;
    const CostOptions *o;
    StageChoice *stages;
    int n_stages;
    int *stage_of;   // [p->n]
    double *crosses; // [n_stages + 1] bytes at the boundary before each stage
    Traffic *traffic;
} Evaluation;

static const char *assign(Evaluation *e)
{
    e->stage_of = arena_array(e->arena, int, e->p->n + 1);
    memset(e->stage_of, -1, sizeof(int) * (size_t)e->p->n);
    for (int s = 0; s < e->n_stages; s++)
        for (int i = 0; i < e->stages[s].n_nodes; i++) {
            int v = e->stages[s].nodes[i];
            if (v < 0 || v >= e->p->n)
                return arena_printf(e->arena, "stage %d has node %d of %d", s, v, e->p->n);
            if (e->stage_of[v] >= 0)
                return arena_printf(e->arena, "%s is in two stages", e->p->nodes[v].name);
            e->stage_of[v] = s;
        }
    for (int v = 0; v < e->p->n; v++)
        if (e->stage_of[v] < 0)
            return arena_printf(e->arena, "%s is in no stage", e->p->nodes[v].name);
    return NULL;
}

static const char *check_order(const Evaluation *e)
{
    for (int t = 0; t < e->p->n_tensors; t++) {
        const ProblemTensor *tensor = &e->p->tensors[t];
        for (int u = 0; u < tensor->n_users; u++)
            if (e->stage_of[tensor->users[u]] < e->stage_of[tensor->producer])
                return arena_printf(e->arena, "%s uses %s, which a later stage makes",
                                    e->p->nodes[tensor->users[u]].name,
                                    e->p->nodes[tensor->producer].name);
    }
    for (int i = 0; i < e->p->n_together; i++)
        if (e->stage_of[e->p->together[i].first] != e->stage_of[e->p->together[i].second])
            return arena_printf(e->arena, "%s and %s are in different stages",
                                e->p->nodes[e->p->together[i].first].name,
                                e->p->nodes[e->p->together[i].second].name);
    return NULL;
}

static const char *check_machines(const Evaluation *e)
{
    bool *taken = arena_array(e->arena, bool, e->m->n + 1);
    for (int s = 0; s < e->n_stages; s++) {
        const StageChoice *stage = &e->stages[s];
        if (!stage->n_nodes || stage->replicas < 1)
            return arena_printf(e->arena, "stage %d has no nodes or no machines", s);
        for (int i = 0; i < stage->replicas; i++) {
            int d = stage->machines[i];
            if (d < 0 || d >= e->m->n || taken[d])
                return arena_printf(e->arena, "machine %d is taken twice, or there is none", d);
            taken[d] = true;
        }
    }
    return NULL;
}

// A tensor crosses every boundary between the stage that makes it and the last that uses it.
static void find_crossing(Evaluation *e)
{
    e->crosses = arena_array(e->arena, double, e->n_stages + 2);
    for (int t = 0; t < e->p->n_tensors; t++) {
        const ProblemTensor *tensor = &e->p->tensors[t];
        int from = e->stage_of[tensor->producer], to = from;
        for (int u = 0; u < tensor->n_users; u++)
            to = e->stage_of[tensor->users[u]] > to ? e->stage_of[tensor->users[u]] : to;
        for (int s = from + 1; s <= to; s++)
            e->crosses[s] += tensor->bytes;
    }
}

// What stage s pays at its boundary with stage `other`.
static double transfer_s(const Evaluation *e, int s, int other)
{
    if (other < 0 || other >= e->n_stages)
        return 0;
    double bytes = e->crosses[s > other ? s : other], latency = 0;
    double c = e->o->compression > 0 ? e->o->compression : 1;
    double of_byte = traffic_busiest(e->traffic, &e->stages[s], &e->stages[other], &latency);
    return 2 * bytes / c * of_byte + 2 * latency / e->stages[s].replicas;
}

static double slowest(const Evaluation *e, const StageChoice *s, double *memory)
{
    double speed = INFINITY;
    *memory = e->o->memory_bytes > 0 ? e->o->memory_bytes : INFINITY;
    for (int i = 0; i < s->replicas; i++) {
        const MachineType *t = &e->m->types[e->m->type[s->machines[i]]];
        speed = fmin(speed, t->speed);
        *memory = t->memory_bytes > 0 ? fmin(*memory, t->memory_bytes) : *memory;
    }
    return speed;
}

static double sync_s(const Evaluation *e, const StageChoice *s)
{
    int r = s->replicas;
    double latency = 0, of_byte = traffic_ring(e->traffic, s, &latency);
    double once = 2.0 * (r - 1) / r * s->parameter_bytes * of_byte + 2.0 * (r - 1) * latency;
    return once / (e->o->micro_batches ? e->o->micro_batches : r);
}

static void add_up(const Evaluation *e, StageChoice *s, double *activations)
{
    int profile = e->m->types[e->m->type[s->machines[0]]].profile;
    s->forward_s = s->backward_s = s->parameter_bytes = *activations = 0;
    for (int i = 0; i < s->n_nodes; i++) {
        const ProblemNode *n = &e->p->nodes[s->nodes[i]];
        s->forward_s += n->forward_s[profile];
        s->backward_s += n->backward_s[profile];
        s->parameter_bytes += n->parameter_bytes;
        *activations += n->activation_bytes;
    }
}

static double stage_time(const Evaluation *e, const StageChoice *s)
{
    double forward = s->forward_s / s->replicas;
    double transfers = fmax(s->receive_s, s->send_s);
    switch (e->o->overlap) {
    case OVERLAP_NONE: return s->compute_s + s->sync_s + s->receive_s + s->send_s;
    case OVERLAP_TRANSFERS: return fmax(s->compute_s + s->sync_s, transfers);
    case OVERLAP_ALL: return fmax(fmax(s->compute_s, forward + s->sync_s), transfers);
    }
    return INFINITY;
}

static int flight(const Evaluation *e, int s)
{
    int machines = 0, r = e->stages[s].replicas, m = e->o->micro_batches;
    for (int i = s; i < e->n_stages; i++)
        machines += e->stages[i].replicas;
    int steady = (machines + r - 1) / r, share = (m + r - 1) / r;
    bool gpipe = e->o->schedule && !strcmp(e->o->schedule, "gpipe");
    return !m ? steady : gpipe || share < steady ? share : steady;
}

static const char *evaluate_stage(const Evaluation *e, int k)
{
    StageChoice *s = &e->stages[k];
    double activations, memory, speed = slowest(e, s, &memory);
    for (int i = 1; i < s->replicas; i++)
        if (e->m->types[e->m->type[s->machines[i]]].profile !=
            e->m->types[e->m->type[s->machines[0]]].profile)
            return arena_printf(e->arena, "stage %d is on machines with different profiles", k);
    add_up(e, s, &activations);
    s->forward_s /= speed;
    s->backward_s /= speed;
    s->compute_s =
        (s->forward_s + s->backward_s + (s->recompute ? s->forward_s : 0)) / s->replicas;
    s->in_bytes = e->crosses[k];
    s->out_bytes = e->crosses[k + 1];
    s->sync_s = sync_s(e, s);
    s->receive_s = transfer_s(e, k, k - 1);
    s->send_s = transfer_s(e, k, k + 1);
    s->in_flight = flight(e, k);
    double versions = e->o->micro_batches ? 1 : s->in_flight;
    s->memory_bytes = (versions + 1 + e->o->state_factor) * s->parameter_bytes;
    s->memory_bytes +=
        s->recompute ? activations + s->in_bytes * s->in_flight : activations * s->in_flight;
    s->time_s = stage_time(e, s);
    if (s->memory_bytes > memory * (1 + 1e-12))
        return arena_printf(e->arena, "stage %d needs %.0f bytes, its machines have %.0f", k,
                            s->memory_bytes, memory);
    return NULL;
}

double stages_time_s(const StageChoice *stages, int n)
{
    double slowest = 0;
    for (int s = 0; s < n; s++)
        slowest = fmax(slowest, stages[s].time_s);
    return slowest;
}

const char *planner_evaluate(Arena *a, const Problem *p, const Machines *m,
                             const CostOptions *o, StageChoice *stages, int n_stages)
{
    Evaluation e = {.arena = a, .p = p, .m = m, .o = o, .stages = stages, .n_stages = n_stages};
    const char *why = assign(&e);
    why = why ? why : check_order(&e);
    why = why ? why : check_machines(&e);
    if (why)
        return why;
    find_crossing(&e);
    e.traffic = traffic_new(a, m);
    for (int s = 0; s < n_stages; s++) {
        const char *wrong = evaluate_stage(&e, s);
        why = why ? why : wrong;
    }
    return why;
}
