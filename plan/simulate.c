#include "plan/simulate.h"

#include "plan/engine.h"
#include "plan/schedule.h"

#include "base/diag.h"
#include "base/vec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_STEPS = 256 }; // between drains that are simulated

// Micro-batches of a step; of plans of graphs that are never flushed, enough to see the steady state.
static int micro_batches_of(const Plan *p, const SimOptions *o)
{
    int64_t workers = 0;
    if (o->micro_batches)
        return o->micro_batches;
    if (!p->asynchronous)
        return (int)p->options.micro_batches;
    for (int s = 0; s < p->n_stages; s++)
        workers += p->stages[s].replicas;
    return workers < 16 ? 64 : 4 * (int)workers;
}

// The plan with as many micro-batches; the given one where it has them.
static const Plan *with_micro_batches(Arena *a, const Plan *p, int micro_batches)
{
    if (micro_batches == p->options.micro_batches || p->asynchronous)
        return p;
    Plan *q = arena_copy(a, p, sizeof *p);
    Arena scratch = {0};
    q->stages = arena_copy(a, p->stages, sizeof *p->stages * (size_t)p->n_stages);
    q->ranks = arena_copy(a, p->ranks, sizeof *p->ranks * (size_t)p->n_ranks);
    q->edges = arena_copy(a, p->edges, sizeof *p->edges * (size_t)(p->n_edges));
    if (plan_has_streams(p))
        schedule_micro_batches(a, &scratch, q, micro_batches);
    for (int s = 0; s < p->n_stages; s++) // once an update, whatever their number
        q->stages[s].sync_s *= (double)p->options.micro_batches / micro_batches;
    q->options.batch = p->options.batch / p->options.micro_batches * micro_batches;
    q->options.micro_batches = micro_batches;
    arena_release(&scratch);
    return q;
}

// And with the steps between drains, as far as one has to look to see the steady state.
static const Plan *adapted(Arena *a, const Plan *p, int micro_batches)
{
    const Plan *q = with_micro_batches(a, p, micro_batches);
    int64_t drain = q->options.drain_every;
    if (plan_stream_steps(q, false) == 1)
        return q;
    Plan *longer = arena_new(a, Plan);
    *longer = schedule_of_steps(a, q, drain < MOST_STEPS ? (int)drain : MOST_STEPS);
    return longer;
}

// So that a mistake in a number ends with a message, not with the memory.
static bool size_allowed(const Plan *p, const SimOptions *o, int micro_batches, char *why,
                         int why_size)
{
    int64_t limit = o->limit ? o->limit : INT64_C(1) << 28, n = 0, replicas = 0;
    int64_t steps = plan_stream_steps(p, false) > 1 ? MOST_STEPS : 1;
    for (int s = 0; s < p->n_stages; s++) {
        n += 2 * steps * micro_batches;
        replicas += p->stages[s].replicas;
    }
    n = n * (o->steps > 1 ? o->steps : 1) + 64 * replicas;
    if (n <= limit)
        return true;
    snprintf(why, (size_t)why_size,
             "%lld forwards and backwards are too many, %lld are allowed: try fewer steps or "
             "micro-batches",
             (long long)n, (long long)limit);
    return false;
}

static bool schedule_allowed(Arena *a, const Plan *p, int micro_batches, char *why,
                             int why_size)
{
    Options o = p->options;
    o.micro_batches = micro_batches;
    const char *misfit = plan_has_streams(p) ? plan_misfit(a, p, &o) : NULL;
    snprintf(why, (size_t)why_size, "%s", misfit ? misfit : "");
    return !misfit;
}

// Every replica has at least one.
static bool enough_micro_batches(const Plan *p, int micro_batches, char *why, int why_size)
{
    for (int s = 0; plan_has_streams(p) && s < p->n_stages; s++)
        if (p->stages[s].replicas > micro_batches) {
            snprintf(why, (size_t)why_size,
                     "stage %d has %d replicas: %d micro-batch%s a step are too few", s,
                     p->stages[s].replicas, micro_batches, micro_batches > 1 ? "es" : "");
            return false;
        }
    return true;
}

typedef VEC(SimWait) Waits;

static void add_wait(Arena *a, Waits *waits, int first, SimWait wait)
{
    int i = first; // of this stage
    while (i < waits->n && waits->items[i].on != wait.on)
        i++;
    if (i == waits->n)
        vec_push(a, waits, wait);
    else
        waits->items[i].seconds += wait.seconds;
}

static int longest_first(const void *a, const void *b)
{
    const SimWait *x = a, *y = b;
    if (x->seconds != y->seconds)
        return x->seconds < y->seconds ? 1 : -1;
    return x->stage != y->stage ? x->stage - y->stage : x->on - y->on;
}

static double steps_counted(const Engine *e, const Simulation *s)
{
    if (e->plan->asynchronous)
        return s->micro_batches;
    int streams = e->options.steps > 1 ? e->options.steps - 1 : 1;
    return (double)streams * plan_stream_steps(e->plan, false);
}

static void fill_stages(const Engine *e, Simulation *s, Waits *waits)
{
    const Plan *p = e->plan;
    for (int i = 0, stage = 0, first = 0; stage < p->n_stages; stage++) {
        SimStage *out = &s->stages[stage];
        double share = 1 / (steps_counted(e, s) * p->stages[stage].replicas);
        out->first_s = e->workers[i].first_s;
        for (; i < e->n_workers && e->workers[i].stage == stage; i++) {
            const Worker *w = &e->workers[i];
            s->worker_stage[i] = stage;
            out->busy_s += w->busy_s * share;
            out->shared_s += w->shared_s * share;
            out->first_s = w->first_s < out->first_s ? w->first_s : out->first_s;
            out->last_s = w->last_s > out->last_s ? w->last_s : out->last_s;
            if (w->most_in_flight > out->in_flight)
                out->in_flight = w->most_in_flight;
            for (int k = 0; k < w->n_waits; k++)
                add_wait(e->arena, waits, first,
                         (SimWait){stage, w->waits[k].on, w->waits[k].seconds * share});
        }
        first = waits->n;
        PlanStage held = p->stages[stage];
        held.in_flight = out->in_flight;
        out->memory_bytes = plan_stage_bytes(&held) + held.process_bytes;
    }
}

static double step_seconds(const Engine *e, Simulation *s)
{
    double warm_s = 0;
    for (int i = 0; i < e->n_workers; i++) {
        const Worker *w = &e->workers[i];
        s->end_s = w->last_s > s->end_s ? w->last_s : s->end_s;
        warm_s = w->warm_s > warm_s ? w->warm_s : warm_s;
    }
    return e->plan->asynchronous ? chain_pace(e) : (s->end_s - warm_s) / steps_counted(e, s);
}

// Of machines that take the mean of what these take.
static double formula(const Plan *p, int micro_batches)
{
    PassTimes t = {0};
    int machines = schedule_machines(&p->options, p->n_stages);
    for (int i = 0; i < p->n_stages; i++) {
        t.forward_s += p->stages[i].forward_s / machines;
        t.backward_s += p->stages[i].backward_s / machines;
        t.weight_s += p->stages[i].weight_s / machines;
    }
    double work_s = micro_batches * (t.forward_s + t.backward_s);
    double bubble_s =
        schedule_rules(&p->options)->bubble_s(machines, p->n_stages / machines, &t);
    return work_s > 0 ? bubble_s / (work_s + bubble_s) : -1;
}

static void fill_totals(const Engine *e, Simulation *s)
{
    const Plan *p = e->plan;
    double busy_s = 0, work_s = 0;
    bool straight = true;
    s->step_s = step_seconds(e, s);
    s->micro_s = p->asynchronous ? s->step_s : s->step_s / s->micro_batches;
    for (int i = 0; i < p->n_stages; i++) {
        SimStage *stage = &s->stages[i];
        stage->wait_s = s->step_s > stage->busy_s ? s->step_s - stage->busy_s : 0;
        busy_s += stage->busy_s * p->stages[i].replicas;
        work_s += (stage->busy_s - stage->shared_s) * p->stages[i].replicas;
        straight &= p->stages[i].replicas == 1;
        if (stage->busy_s > s->stages[s->bottleneck].busy_s)
            s->bottleneck = i;
    }
    int all = s->micro_batches * plan_stream_steps(p, false);
    double machine_s = s->step_s * schedule_machines(&p->options, e->n_workers);
    s->bubble = machine_s > busy_s ? 1 - busy_s / machine_s : 0;
    s->formula = straight && !p->asynchronous ? formula(p, all) : -1;
    s->cores_busy = -1;
    if (e->options.cores > 0 && s->step_s > 0)
        s->cores_busy = work_s * (double)p->options.threads / e->options.cores / s->step_s;
}

static Simulation *results(Engine *e, int micro_batches)
{
    Simulation *s = arena_new(e->arena, Simulation);
    Waits waits = {0};
    s->plan = e->plan;
    s->micro_batches = micro_batches;
    s->n_workers = e->n_workers;
    s->stages = arena_array(e->arena, SimStage, e->plan->n_stages);
    s->worker_stage = arena_array(e->arena, int, e->n_workers);
    fill_stages(e, s, &waits);
    fill_totals(e, s);
    s->waits = waits.items;
    s->n_waits = waits.n;
    if (waits.n)
        qsort(waits.items, (size_t)waits.n, sizeof *waits.items, longest_first);
    s->events = e->events.items;
    s->n_events = e->events.n;
    return s;
}

Simulation *simulation_run(Arena *a, const Plan *p, const SimOptions *o, char *why,
                           int why_size)
{
    int micro_batches = micro_batches_of(p, o);
    if (!enough_micro_batches(p, micro_batches, why, why_size) ||
        !size_allowed(p, o, micro_batches, why, why_size) ||
        !schedule_allowed(a, p, micro_batches, why, why_size))
        return NULL;
    Engine e = {.arena = a, .plan = adapted(a, p, micro_batches), .options = *o};
    if (p->asynchronous || e.options.steps < 1)
        e.options.steps = 1;
    if (plan_has_streams(p))
        streams_model(&e);
    else
        chain_model(&e, micro_batches);
    return engine_run(&e, why, why_size) ? results(&e, micro_batches) : NULL;
}

double plan_simulate(const Plan *p)
{
    Arena arena = {0};
    char why[256];
    const Simulation *s = simulation_run(&arena, p, &(SimOptions){.steps = 2}, why, sizeof why);
    CHECK(s, "simulation", "%s", why);
    double step_s = s->step_s;
    arena_release(&arena);
    return step_s;
}
