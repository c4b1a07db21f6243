// The optimal contiguous split of a model's units over machines, each of which runs one stage. best[taken][u]
// is the least possible time of the slowest stage that holds the units before u, where `taken` says how
// many machines of every type are in use; a dynamic program over both finds it exactly. Among all splits whose
// slowest stage is that fast, a second program takes the one that moves the fewest bytes. Where nothing
// fits into the memory, a third one says how much would be needed.
//
// The planner of profiled graphs (passes/planner) looks at cuts, this pass at runs of units, since it
// knows more: what a stage reads is sent to it straight from where it is made, past the stages between,
// and a stage's memory is what the memory pass will make of it. Stage s holds its own number of
// micro-batches in flight, which the number of machines in use tells. A stage that shall have replicas
// takes as many machines of one type, and each of them a part of the micro-batches.
#include "base/clock.h"
#include "passes/planner/planner.h"
#include "passes/ranges.h"
#include "passes/schedule.h"

#include <math.h>

typedef enum Goal {
    LEAST_TIME,   // of the slowest stage
    LEAST_BYTES,  // moved between stages, in all, where no stage is slower than `bound`
    LEAST_MEMORY, // of the largest stage
} Goal;

typedef struct Search {
    Compile *c;
    Ranges ranges;
    int stages;
    int *first_rank; // [stages + 1] machines that the stages before take
    const MachineType *types;
    int n_types, *have, *stride; // machines of every type; what one more adds to `taken`
    int n_taken, *stage;         // [n_taken] the stage that comes next; -1: no whole number
    double bound;                // LEAST_BYTES: seconds
    double *best;                // [n_taken][units + 1]
    int *from;                   // likewise: the first unit of the last stage
    uint8_t *on;                 // likewise: the type that it runs on
} Search;

static int replicas_of(const Search *s, int stage)
{
    return s->first_rank[stage + 1] - s->first_rank[stage];
}

static int64_t memory(const Search *s, const Range *r, int stage)
{
    int replicas = replicas_of(s, stage);
    const Options *o = &s->c->plan->options;
    ScheduleAt at = {.stages = s->stages,
                     .stage = stage,
                     .micro_batches = schedule_share((int)o->micro_batches, replicas, 0),
                     .replicas = replicas,
                     .behind = s->first_rank[s->stages] - s->first_rank[stage]};
    return range_memory(&s->ranges, r, replicas, schedule_in_flight(o, at),
                        schedule_versions(o, s->stages, stage));
}

static bool fits(const Search *s, const Range *r, int stage, const MachineType *type)
{
    int64_t limit = s->c->memory_limit, own = (int64_t)type->memory_bytes;
    if (own && (!limit || own < limit))
        limit = own;
    return !limit || memory(s, r, stage) <= limit;
}

// Machines compute at their own speed; what they send travels alike. Replicas share the micro-batches, and
// sum up their gradients once a step.
static double seconds(const Search *s, const Range *r, int stage, const MachineType *type)
{
    int replicas = replicas_of(s, stage);
    return (r->compute_s / type->speed + range_send_s(r)) / replicas +
           range_sync_s(&s->ranges, r, replicas);
}

// What a stage adds to the goal; infinite: it must not be.
static double value(const Search *s, Goal goal, const Range *r, int stage,
                    const MachineType *type)
{
    switch (goal) {
    case LEAST_TIME: return fits(s, r, stage, type) ? seconds(s, r, stage, type) : INFINITY;
    case LEAST_BYTES:
        return fits(s, r, stage, type) && seconds(s, r, stage, type) <= s->bound ? (double)r->in
                                                                                 : INFINITY;
    case LEAST_MEMORY: return (double)memory(s, r, stage);
    }
    return INFINITY;
}

// One more stage, on machines of type t.
static void relax_on(Search *s, Goal goal, const Range *r, int taken, int t)
{
    int width = s->ranges.n + 1, stage = s->stage[taken];
    double before = s->best[taken * width + r->first];
    double own = value(s, goal, r, stage, &s->types[t]);
    double all = goal == LEAST_BYTES ? before + own : fmax(before, own);
    int to = (taken + replicas_of(s, stage) * s->stride[t]) * width + r->last + 1;
    if (all < s->best[to]) {
        s->best[to] = all;
        s->from[to] = r->first;
        s->on[to] = (uint8_t)t;
    }
}

static void relax(Search *s, Goal goal, const Range *r)
{
    bool ends = r->last == s->ranges.n - 1;
    for (int taken = 0; taken < s->n_taken - 1; taken++) {
        int stage = s->stage[taken];
        if (s->best[taken * (s->ranges.n + 1) + r->first] == INFINITY || stage < 0 ||
            ends != (stage == s->stages - 1))
            continue;
        for (int t = 0; t < s->n_types; t++)
            if (taken / s->stride[t] % (s->have[t] + 1) + replicas_of(s, stage) <= s->have[t])
                relax_on(s, goal, r, taken, t);
    }
}

// The best value; infinite where no split is possible.
static double search(Search *s, Goal goal)
{
    int n = s->ranges.n, size = s->n_taken * (n + 1);
    for (int i = 0; i < size; i++)
        s->best[i] = INFINITY;
    s->best[0] = 0;
    for (int first = 0; first < n; first++) {
        if (first && !s->ranges.cut[first - 1])
            continue;
        ranges_begin(&s->ranges, first);
        for (int last = first; last < n; last++) {
            const Range *r = ranges_extend(&s->ranges);
            if (s->ranges.cut[last] || last == n - 1)
                relax(s, goal, r);
        }
    }
    return s->best[size - 1];
}

static Loc model_loc(const Compile *c)
{
    return (Loc){c->graph->file ? c->graph->file : c->plan->source, 0, 0};
}

static bool enough_units(Search *s)
{
    int most = 1;
    for (int u = 0; u < s->ranges.n; u++)
        most += s->ranges.cut[u];
    if (!s->ranges.n)
        error_at(model_loc(s->c),
                 "the model computes nothing: there is nothing to cut into stages");
    else if (s->stages > most)
        error_at(model_loc(s->c),
                 "%d stages are too many: the model has %d units and %d place%s to cut, so at "
                 "most %d stage%s (users of one parameter stay together, and so do predictions "
                 "and loss)",
                 s->stages, s->ranges.n, most - 1, most == 2 ? "" : "s", most,
                 most == 1 ? "" : "s");
    return s->ranges.n && s->stages <= most;
}

static void report_memory(Search *s)
{
    char limit[32], need[32];
    int64_t least = (int64_t)search(s, LEAST_MEMORY);
    error_at(model_loc(s->c),
             "no cut into %d stages fits: %s a stage are allowed, and the best cut needs %s; "
             "try more "
             "stages or smaller micro-batches",
             s->stages, human_bytes(limit, s->c->memory_limit), human_bytes(need, least));
    memory_note_largest(s->c, -1);
}

// The last units of all stages, into cuts[stages], and their types of machines.
static bool find_cuts(Search *s, int *cuts, int *on)
{
    s->bound = search(s, LEAST_TIME);
    if (s->bound == INFINITY) {
        report_memory(s);
        return false;
    }
    double slowest = s->bound;
    s->bound *=
        1 + 1e-9; // sums in another order differ in the last bits: equal is nearly equal
    CHECK(search(s, LEAST_BYTES) < INFINITY, "partition", "the optimal split was lost");
    s->bound = slowest;
    int u = s->ranges.n, taken = s->n_taken - 1;
    for (int stage = s->stages - 1; stage >= 0; stage--) {
        int at = taken * (s->ranges.n + 1) + u;
        cuts[stage] = u - 1;
        on[stage] = s->on[at];
        u = s->from[at];
        taken -= replicas_of(s, stage) * s->stride[s->on[at]];
    }
    return true;
}

// The stage that the source wants every unit in. A unit is in that of its first node that says one, and
// stages never fall: a loop may have joined layers of two.
static int *wanted_stages(const Search *s)
{
    const Graph *g = s->c->graph;
    int *stage = arena_array(s->c->scratch, int, s->ranges.n + 1);
    for (int u = 0; u < s->ranges.n; u++)
        stage[u] = -1;
    for (int i = 0; i < g->nodes.n; i++) {
        const Node *n = g->nodes.items[i];
        bool says = n->phase == PHASE_FORWARD && !node_is(n, 'L') && n->layer && n->unit >= 0;
        if (says && stage[n->unit] < 0)
            stage[n->unit] = n->layer->stage;
    }
    for (int u = 0, least = 0; u < s->ranges.n; u++)
        stage[u] = least = stage[u] > least ? stage[u] : least;
    return stage;
}

// The nearest place to cut, behind `before`, that leaves a place for each of `more` cuts. -1: there is none.
static int nearest_cut(const Search *s, int unit, int before, int more)
{
    int n = s->ranges.n, last = n - 1;
    for (int left = more + 1; left && last > 0;)
        left -= s->ranges.cut[--last];
    for (int d = 0; d < n; d++) {
        if (unit - d > before && unit - d <= last && s->ranges.cut[unit - d])
            return unit - d;
        if (unit + d > before && unit + d <= last && s->ranges.cut[unit + d])
            return unit + d;
    }
    return -1;
}

static bool take_wanted_cuts(Search *s, int *cuts, int *on)
{
    const int *stage = wanted_stages(s);
    int before = -1, moved = 0;
    for (int i = 0; i < s->stages - 1; i++) {
        int u = before;
        while (u + 1 < s->ranges.n && stage[u + 1] <= i)
            u++;
        cuts[i] = nearest_cut(s, u < 0 ? 0 : u, before, s->stages - 2 - i);
        CHECK(cuts[i] > before, "partition", "there is no place for cut %d", i);
        moved += cuts[i] != u;
        before = cuts[i];
        on[i] = s->c->machines ? s->c->machines->type[s->first_rank[i]] : 0;
    }
    cuts[s->stages - 1] = s->ranges.n - 1;
    on[s->stages - 1] = s->c->machines ? s->c->machines->type[s->first_rank[s->stages - 1]] : 0;
    if (moved)
        note_at(model_loc(s->c),
                "%d of the %d cuts %s moved to the nearest place: a loop of several layers is "
                "not divided, nor predictions from the loss",
                moved, s->stages - 1, moved == 1 ? "was" : "were");
    s->bound = search(s, LEAST_TIME);
    return true;
}

// Stages of a plan that was made before stand on the machines as these are listed.
static bool take_fixed_cuts(Search *s, int *cuts, int *on)
{
    for (int i = 0; i < s->stages; i++) {
        int last = i == s->stages - 1 ? s->ranges.n - 1 : s->c->fixed_cuts[i];
        int before = i ? cuts[i - 1] : -1;
        bool inside = last > before && last < s->ranges.n;
        if (!inside || (i < s->stages - 1 && !s->ranges.cut[last])) {
            error_at(
                model_loc(s->c),
                "the plan cuts after unit %d, where this model (%d units) cannot be cut: make "
                "the plan again with `stagecc plan`",
                last, s->ranges.n);
            return false;
        }
        cuts[i] = last;
        on[i] = s->c->machines ? s->c->machines->type[s->first_rank[i]] : 0;
    }
    s->bound = search(s, LEAST_TIME);
    return true;
}

// The first machines of its type that no stage has: what the stage runs on.
static void take_machines(const Search *s, PlanStage *stage, int type, bool *taken)
{
    const Machines *m = s->c->machines;
    stage->n_devices = stage->replicas;
    stage->devices = arena_array(s->c->perm, int, stage->n_devices);
    for (int i = 0, d = 0; i < stage->n_devices; i++) {
        while (taken[d] || (m && m->type[d] != type))
            d++;
        stage->devices[i] = d;
        taken[d] = true;
    }
}

// Of a micro-batch of the step, as the search counts it.
static void fill_sync(const Search *s, PlanStage *stage, const Range *r)
{
    double own = stage->forward_s + stage->backward_s;
    if (stage->replicas == 1)
        return;
    stage->sync_s = range_sync_s(&s->ranges, r, stage->replicas);
    stage->compute_s = own / stage->replicas;
    stage->time_s = (own + stage->send_s) / stage->replicas + stage->sync_s;
}

static void fill_stages(Search *s, const int *cuts, const int *on)
{
    Plan *p = s->c->plan;
    bool *taken = arena_array(s->c->scratch, bool, s->first_rank[s->stages]);
    double update_s = 0;
    p->n_stages = s->stages;
    p->stages = arena_array(s->c->perm, PlanStage, s->stages);
    for (int i = 0; i < s->stages; i++) {
        PlanStage *stage = &p->stages[i];
        *stage = (PlanStage){.id = i,
                             .replicas = replicas_of(s, i),
                             .first_unit = i ? cuts[i - 1] + 1 : 0,
                             .last_unit = cuts[i]};
        for (int u = stage->first_unit; u <= stage->last_unit; u++) {
            stage->forward_s += p->units[u].forward_s;
            stage->backward_s += p->units[u].backward_s;
            stage->update_s += p->units[u].update_s;
        }
        double speed = s->types[on[i]].speed;
        const Range *r = range_of(&s->ranges, stage->first_unit, stage->last_unit);
        stage->forward_s += range_codec_s(&s->ranges, r);
        stage->backward_s += range_codec_s(&s->ranges, r);
        stage->forward_s /= speed;
        stage->backward_s /= speed;
        stage->update_s /= speed;
        take_machines(s, stage, on[i], taken);
        stage->send_s = range_send_s(r);
        fill_sync(s, stage, r);
        update_s += speed * stage->update_s;
    }
    plan_number_ranks(s->c->perm, p);
    double micro_batches = (double)p->options.micro_batches;
    p->single_s = micro_batches * s->ranges.work[s->ranges.n] + update_s;
    p->lower_bound_s = micro_batches * (s->bound < INFINITY ? s->bound : 0);
}

// Without machines there are as many as the stages take, all alike.
static void find_machines(Search *s)
{
    static const MachineType alike = {.speed = 1};
    const Machines *m = s->c->machines;
    Arena *a = s->c->scratch;
    s->types = m ? m->types : &alike;
    s->n_types = m ? m->n_types : 1;
    s->have = arena_array(a, int, s->n_types);
    s->stride = arena_array(a, int, s->n_types);
    s->have[0] = m ? 0 : s->first_rank[s->stages];
    for (int d = 0; m && d < m->n; d++)
        s->have[m->type[d]]++;
    s->n_taken = 1;
    for (int t = 0; t < s->n_types; t++) {
        s->stride[t] = s->n_taken;
        s->n_taken *= s->have[t] + 1;
    }
    s->stage = arena_array(a, int, s->n_taken);
    for (int taken = 0; taken < s->n_taken; taken++) {
        int used = 0, stage = 0;
        for (int t = 0; t < s->n_types; t++)
            used += taken / s->stride[t] % (s->have[t] + 1);
        while (s->first_rank[stage] < used)
            stage++;
        s->stage[taken] = s->first_rank[stage] == used ? stage : -1;
    }
}

// false: a replica would have nothing to do.
static bool find_replicas(Search *s)
{
    int64_t micro_batches = s->c->options->micro_batches;
    s->first_rank = arena_array(s->c->scratch, int, s->stages + 1);
    for (int i = 0; i < s->stages; i++) {
        int replicas = s->c->replicas ? s->c->replicas[i] : 1;
        s->first_rank[i + 1] = s->first_rank[i] + replicas;
        if (replicas <= micro_batches)
            continue;
        error_at(model_loc(s->c),
                 "stage %d has %d replicas and a step has %lld micro-batch%s: each needs one "
                 "at least; use more of them (--micro-batches) or fewer replicas",
                 i, replicas, (long long)micro_batches, micro_batches > 1 ? "es" : "");
        return false;
    }
    return true;
}

void pass_partition(Compile *c)
{
    Plan *p = c->plan;
    if (!c->stages || !p)
        return;
    double begin = clock_seconds();
    Search s = {.c = c, .ranges = ranges_of(c), .stages = c->stages};
    if (!find_replicas(&s))
        return;
    const char *misfit =
        schedule_misfit(c->scratch, c->options, c->stages, s.first_rank[c->stages]);
    if (misfit)
        error_at(NO_LOC, "%s", misfit);
    if (misfit || !enough_units(&s)) {
        c->no_plan = true;
        return;
    }
    find_machines(&s);
    size_t size = (size_t)s.n_taken * (size_t)(s.ranges.n + 1);
    s.best = arena_array(c->scratch, double, size);
    s.from = arena_array(c->scratch, int, size);
    s.on = arena_array(c->scratch, uint8_t, size);
    int *cuts = arena_array(c->scratch, int, s.stages),
        *on = arena_array(c->scratch, int, s.stages);
    bool good = c->by_layer     ? take_wanted_cuts(&s, cuts, on)
                : c->fixed_cuts ? take_fixed_cuts(&s, cuts, on)
                                : find_cuts(&s, cuts, on);
    c->no_plan |= !good && !c->fixed_cuts;
    if (good)
        fill_stages(&s, cuts, on);
    p->planning_s = clock_seconds() - begin;
}
