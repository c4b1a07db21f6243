// The optimal contiguous split of a model's units over machines, each of which runs one stage. best[taken][u]
// is the least possible time of the slowest stage that holds the units before u, where `taken` says how
// many machines of every type are in use; a dynamic program over both finds it exactly. Among all splits whose
// slowest stage is that fast, a second program takes the one that moves the fewest bytes. Where nothing
// fits into the memory, a third one says how much would be needed.
//
// The planner of profiled graphs (passes/planner) looks at cuts, this pass at runs of units, since it
// knows more: what a stage reads is sent to it straight from where it is made, past the stages between,
// and a stage's memory is what the memory pass will make of it. Stage s holds its own number of
// micro-batches in flight, which the number of machines in use tells. A stage with replicas takes as many
// machines of one type, and each of them a part of the micro-batches. How many replicas a stage has is
// given, or chosen with the cuts: then a split is good when a whole step is fast. Before a stage begins, and
// after it has ended, one micro-batch passes all others; between them it is busy with all of its own. So with w
// seconds of a micro-batch in stage s, W of them in all, and M micro-batches over r replicas, a step takes
//
//   W + the largest of (ceil(M / r) - 1) w + sync
//
// which is (M + S - 1) w where S stages are balanced and have no replicas. Without flushes, the slowest stage alone
// says how fast it is; then the replicas of a stage divide M (plan/schedule.c).
#include "base/clock.h"
#include "passes/planner/planner.h"
#include "passes/ranges.h"
#include "passes/schedule.h"

#include <math.h>
#include <string.h>

typedef enum Goal {
    LEAST_TIME,   // of the slowest stage
    LEAST_STEP,   // what a step takes beside one micro-batch in all stages
    LEAST_BYTES,  // moved between processes, in all, where no stage is slower than `bound`
    LEAST_MEMORY, // of the largest stage
} Goal;

typedef struct Search {
    Compile *c;
    Ranges ranges;
    bool asynchronous;
    int stages;      // -1: not known yet, replicas are chosen
    int *first_rank; // [stages + 1] machines that the stages before take
    int n_machines;
    const MachineType *types;
    int n_types, *have, *stride; // machines of every type; what one more adds to `taken`
    int n_taken, *used;          // [n_taken] machines of all types
    double bound;                // LEAST_BYTES: seconds
    bool bounding;               // as if memory were free
    double *best;                // [n_taken][units + 1]
    int *from;                   // likewise: the first unit of the last stage
    int *replicas;               // likewise: of that stage
    uint8_t *on;                 // likewise: the type that it runs on
} Search;

typedef struct Spot { // where a stage may stand: behind so many machines, on some of one type
    int used, stage, replicas;
    const MachineType *type;
} Spot;

static bool chooses_replicas(const Search *s)
{
    return s->stages < 0;
}

static int replicas_of(const Search *s, int stage)
{
    return s->first_rank[stage + 1] - s->first_rank[stage];
}

// Micro-batches of a step that the busiest of so many replicas has.
static int share_of(const Search *s, int replicas)
{
    return schedule_share((int)s->c->options->micro_batches, replicas, 0);
}

// As schedules count ranks. Where replicas are being chosen, those of the stages behind are not known yet.
static int ranks_from(const Search *s, int stage)
{
    const Options *o = &s->c->plan->options;
    int ranks = 0;
    if (!schedule_synchronises(o))
        return s->n_machines - s->first_rank[stage];
    for (int i = s->stages; i-- > stage;)
        ranks = schedule_behind(o, ranks, replicas_of(s, i));
    return ranks;
}

static StageMemory memory_parts(const Search *s, const Range *r, const Spot *spot)
{
    const Options *o = &s->c->plan->options;
    bool known = !chooses_replicas(s);
    int stages = known ? s->stages : s->n_machines;
    int behind = s->n_machines - spot->used - spot->replicas;
    ScheduleAt at = {.stages = stages,
                     .stage = spot->stage,
                     .micro_batches = share_of(s, spot->replicas),
                     .replicas = spot->replicas,
                     .behind = known ? ranks_from(s, spot->stage)
                                     : schedule_behind(o, behind, spot->replicas),
                     .ranks = known ? ranks_from(s, 0) : s->n_machines,
                     .virtual_stages = (int)o->virtual_stages};
    return range_memory(&s->ranges, r, spot->replicas, schedule_in_flight(o, at),
                        schedule_versions(o, at), memory_device(s->c, spot->type));
}

static int64_t memory(const Search *s, const Range *r, const Spot *spot)
{
    const StageMemory parts = memory_parts(s, r, spot);
    return stage_memory_bytes(&parts);
}

// Of a stage that computes its forward again.
static int64_t memory_again(const Search *s, const Range *r, const Spot *spot)
{
    const Range again = range_again(r);
    return memory(s, &again, spot);
}

static bool recomputes(const Search *s, const char *how)
{
    return !strcmp(s->c->options->recompute, how);
}

// How much of its forward a stage computes again: all, or what it takes to fit, as if all bytes were worth
// the same (the pass `recompute` knows better). Infinite: it does not fit.
static double share_again(const Search *s, const Range *r, const Spot *spot)
{
    int64_t limit = memory_limit(s->c, spot->type);
    bool always = recomputes(s, "always");
    if (s->bounding || !limit)
        return always && !s->bounding;
    int64_t need = always ? 0 : memory(s, r, spot);
    if (!always && need <= limit)
        return 0;
    int64_t least = always || recomputes(s, "auto") ? memory_again(s, r, spot) : need;
    if (least > limit)
        return INFINITY;
    return always ? 1 : (double)(need - limit) / (double)(need - least);
}

// Of a micro-batch of the step, of which the busiest replica has its share, `first` of them aside. Machines
// compute at their own speed; what they send travels alike. Replicas sum up their gradients once a step.
static double seconds(const Search *s, const Range *r, const Spot *spot, int first)
{
    double again = share_again(s, r, spot);
    if (again == INFINITY)
        return INFINITY;
    double own = (share_of(s, spot->replicas) - first) / (double)s->c->options->micro_batches;
    double compute_s = (r->compute_s + again * r->forward_s) / spot->type->speed;
    return (compute_s + range_send_s(r)) * own + range_sync_s(&s->ranges, r, spot->replicas);
}

static double bytes_moved(const Search *s, const Range *r, const Spot *spot)
{
    return (double)s->c->options->micro_batches * (double)r->in +
           2.0 * (spot->replicas - 1) * (double)r->gradients;
}

static double least_memory(const Search *s, const Range *r, const Spot *spot)
{
    int64_t plain = memory(s, r, spot);
    int64_t again = recomputes(s, "never") ? plain : memory_again(s, r, spot);
    return (double)(recomputes(s, "always") || again < plain ? again : plain);
}

// What a stage adds to the goal; infinite: it must not be.
static double value(const Search *s, Goal goal, const Range *r, const Spot *spot)
{
    if (goal == LEAST_MEMORY)
        return least_memory(s, r, spot);
    bool flushed = chooses_replicas(s) && !s->asynchronous;
    bool of_step = goal == LEAST_STEP || (goal == LEAST_BYTES && flushed);
    double own = seconds(s, r, spot, of_step);
    if (goal != LEAST_BYTES)
        return own;
    return own <= s->bound ? bytes_moved(s, r, spot) : INFINITY;
}

// One more stage, on machines of type t.
static void relax_on(Search *s, Goal goal, const Range *r, int taken, Spot spot, int t)
{
    int width = s->ranges.n + 1;
    spot.type = &s->types[t];
    double before = s->best[taken * width + r->first];
    double own = value(s, goal, r, &spot);
    double all = goal == LEAST_BYTES ? before + own : fmax(before, own);
    int to = (taken + spot.replicas * s->stride[t]) * width + r->last + 1;
    if (all < s->best[to]) {
        s->best[to] = all;
        s->from[to] = r->first;
        s->replicas[to] = spot.replicas;
        s->on[to] = (uint8_t)t;
    }
}

// The stage that stands behind so many machines; false: they are no whole number of stages. Where replicas are
// chosen the fewest and the most come back, else the same number twice.
static bool next_spot(const Search *s, int used, Spot *least, int *most)
{
    int stage = 0;
    if (chooses_replicas(s)) {
        int left = s->n_machines - used, all = (int)s->c->options->micro_batches;
        *least = (Spot){.used = used, .stage = used, .replicas = 1};
        *most = left < all ? left : all;
        return true;
    }
    while (s->first_rank[stage] < used)
        stage++;
    if (s->first_rank[stage] != used)
        return false;
    *most = replicas_of(s, stage);
    *least = (Spot){.used = used, .stage = stage, .replicas = *most};
    return true;
}

// Without flushes a step is dealt out to replicas like any other.
static bool deals_alike(const Search *s, int replicas)
{
    return !s->asynchronous || s->c->options->micro_batches % replicas == 0;
}

static void relax(Search *s, Goal goal, const Range *r)
{
    bool ends = r->last == s->ranges.n - 1;
    for (int taken = 0; taken < s->n_taken - 1; taken++) {
        Spot spot;
        int most, used = s->used[taken];
        if (s->best[taken * (s->ranges.n + 1) + r->first] == INFINITY ||
            !next_spot(s, used, &spot, &most))
            continue;
        for (; spot.replicas <= most; spot.replicas++) {
            bool may = ends == (used + spot.replicas == s->n_machines) &&
                       deals_alike(s, spot.replicas);
            for (int t = 0; t < s->n_types && may; t++)
                if (taken / s->stride[t] % (s->have[t] + 1) + spot.replicas <= s->have[t])
                    relax_on(s, goal, r, taken, spot, t);
        }
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
    int64_t replicas = s->c->options->micro_batches;
    bool too_many = chooses_replicas(s) ? s->n_machines > most * replicas : s->stages > most;
    if (!s->ranges.n)
        error_at(model_loc(s->c),
                 "the model computes nothing: there is nothing to cut into stages");
    else if (too_many && chooses_replicas(s))
        error_at(model_loc(s->c),
                 "%d machines are too many: the model has %d place%s to cut, so at most %d "
                 "stage%s, and a step has %lld micro-batches, so a stage has at most %lld "
                 "replicas; use more micro-batches (--micro-batches)",
                 s->n_machines, most - 1, most == 2 ? "" : "s", most, most == 1 ? "" : "s",
                 (long long)replicas, (long long)replicas);
    else if (too_many)
        error_at(model_loc(s->c),
                 "%d stages are too many: the model has %d units and %d place%s to cut, so at "
                 "most %d stage%s (%s)",
                 s->stages, s->ranges.n, most - 1, most == 2 ? "" : "s", most,
                 most == 1 ? "" : "s",
                 schedule_asynchronous(s->c->options)
                     ? "users of one parameter stay together where updates do not wait for all "
                       "gradients, and so do predictions and loss"
                     : "predictions and loss stay together");
    return s->ranges.n && !too_many;
}

// What stages are allowed, which devices may say; infinite: there is no limit.
static const char *limits_text(const Search *s)
{
    char low[32], high[32];
    double least = INFINITY, most = 0;
    for (int t = 0; t < s->n_types; t++) {
        int64_t bytes = memory_limit(s->c, &s->types[t]);
        least = fmin(least, bytes ? (double)bytes : INFINITY);
        most = fmax(most, bytes ? (double)bytes : INFINITY);
    }
    CHECK(least < INFINITY, "partition", "nothing fits, and there is no limit");
    human_bytes(low, (int64_t)least);
    if (most == INFINITY)
        return arena_printf(s->c->scratch, "%s or more", low);
    human_bytes(high, (int64_t)most);
    return least < most ? arena_printf(s->c->scratch, "%s to %s", low, high)
                        : arena_strdup(s->c->scratch, low);
}

// The stages of the last search, from its tables.
static void take_found(Search *s, int *cuts, int *on)
{
    int u = s->ranges.n, taken = s->n_taken - 1, stages = 0, rank = s->n_machines;
    for (int at; u > 0; u = s->from[at]) {
        at = taken * (s->ranges.n + 1) + u;
        rank -= s->replicas[at];
        s->first_rank[stages] = rank;
        cuts[stages] = u - 1;
        on[stages++] = s->on[at];
        taken -= s->replicas[at] * s->stride[s->on[at]];
    }
    for (int i = 0, k = stages - 1; i <= k; i++, k--) { // they came from the last to the first
        int first = s->first_rank[i], cut = cuts[i], type = on[i];
        s->first_rank[i] = s->first_rank[k], cuts[i] = cuts[k], on[i] = on[k];
        s->first_rank[k] = first, cuts[k] = cut, on[k] = type;
    }
    s->first_rank[stages] = s->n_machines;
    s->stages = stages;
}

// What the largest stage of the cut that was found last takes, as `least_memory` counts it.
static void note_largest_stage(Search *s)
{
    int *cuts = arena_array(s->c->scratch, int, s->n_machines),
        *on = arena_array(s->c->scratch, int, s->n_machines), stages = s->stages, largest = 0;
    StageMemory most = {0};
    take_found(s, cuts, on);
    int found = s->stages;
    s->stages = stages; // -1 counts differently
    for (int i = 0; i < found; i++) {
        int used = s->first_rank[i];
        Range r = *range_of(&s->ranges, i ? cuts[i - 1] + 1 : 0, cuts[i]);
        Spot spot = {.used = used,
                     .stage = chooses_replicas(s) ? used : i,
                     .replicas = s->first_rank[i + 1] - used,
                     .type = &s->types[on[i]]};
        if ((double)memory(s, &r, &spot) > least_memory(s, &r, &spot))
            r = range_again(&r);
        StageMemory own = memory_parts(s, &r, &spot);
        if (stage_memory_bytes(&own) <= stage_memory_bytes(&most))
            continue;
        most = own;
        largest = i;
    }
    memory_note_parts(s->c, largest, &most);
}

static void report_memory(Search *s)
{
    char need[32];
    double least = search(s, LEAST_MEMORY);
    bool always = recomputes(s, "always");
    const char *all = always ? " even if all is computed again" : "",
               *hint = recomputes(s, "never") ? ", --recompute auto" : "";
    if (least == INFINITY && chooses_replicas(s) && s->asynchronous) {
        error_at(
            model_loc(s->c),
            "no plan without flushes takes all %d machines: the replicas of a stage divide "
            "the %lld micro-batches of a step; use other numbers of either",
            s->n_machines, (long long)s->c->options->micro_batches);
        return;
    }
    if (least == INFINITY) {
        error_at(model_loc(s->c),
                 "the replicas of a stage want devices that are alike, and these have no place "
                 "for them: choose fewer replicas, or leave the choice to -n");
        return;
    }
    const char *limit = limits_text(s);
    human_bytes(need, (int64_t)least);
    if (chooses_replicas(s))
        error_at(
            model_loc(s->c),
            "no plan on %d machine%s fits: %s each are allowed, and the best one needs %s%s; "
            "try more machines%s or smaller micro-batches",
            s->n_machines, s->n_machines > 1 ? "s" : "", limit, need, all, hint);
    else
        error_at(
            model_loc(s->c),
            "no cut into %d stages fits: %s a stage are allowed, and the best cut needs %s%s; "
            "try more stages%s or smaller micro-batches",
            s->stages, limit, need, all, hint);
    note_largest_stage(s);
    memory_note_largest(s->c, -1);
}

// Of the slowest stage, in any plan. Computing again takes more.
static double least_time(Search *s)
{
    s->bounding = !recomputes(s, "never");
    double seconds = search(s, LEAST_TIME);
    s->bounding = false;
    return seconds;
}

// The last units of all stages, into cuts[stages], and their types of machines. Where no cut fits, computing
// again in segments may still help: that is for the pass `recompute` to tell.
static bool find_cuts(Search *s, int *cuts, int *on)
{
    double slowest = search(s, LEAST_TIME);
    if (slowest == INFINITY &&
        (!recomputes(s, "auto") || search(s, LEAST_MEMORY) == INFINITY)) {
        report_memory(s);
        return false;
    }
    s->bound = chooses_replicas(s) && !s->asynchronous ? search(s, LEAST_STEP) : slowest;
    s->bound *=
        1 + 1e-9; // sums in another order differ in the last bits: equal is nearly equal
    double bound = recomputes(s, "never") ? slowest : least_time(s);
    Goal goal = slowest == INFINITY ? LEAST_MEMORY : LEAST_BYTES;
    CHECK(search(s, goal) < INFINITY, "partition", "the optimal split was lost");
    s->bound = bound;
    take_found(s, cuts, on);
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
    s->bound = least_time(s);
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
    s->bound = least_time(s);
    return true;
}

// The first machines of its type that no stage has: what the stage runs on.
static void take_machines(const Search *s, PlanStage *stage, int type, bool *taken)
{
    const Machines *m = s->c->machines;
    stage->backend = m ? m->types[type].backend : NULL;
    stage->n_devices = stage->replicas;
    stage->devices = arena_array(s->c->perm, int, stage->n_devices);
    if (s->c->options->virtual_stages > 1) { // without replicas and machines of their own
        stage->devices[0] = stage->id % schedule_machines(s->c->options, s->stages);
        return;
    }
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
    double share = share_of(s, stage->replicas) / (double)s->c->options->micro_batches;
    stage->sync_s = range_sync_s(&s->ranges, r, stage->replicas);
    if (stage->sync_s == 0)
        return;
    stage->compute_s = own * share;
    stage->time_s = (own + stage->send_s) * share + stage->sync_s;
}

static void fill_stages(Search *s, const int *cuts, const int *on)
{
    Plan *p = s->c->plan;
    bool *taken = arena_array(s->c->scratch, bool, s->n_machines);
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
            stage->weight_s += p->units[u].weight_s;
            stage->update_s += p->units[u].update_s;
        }
        double speed = s->types[on[i]].speed;
        const Range *r = range_of(&s->ranges, stage->first_unit, stage->last_unit);
        stage->forward_s += range_codec_s(&s->ranges, r);
        stage->backward_s += range_codec_s(&s->ranges, r);
        stage->forward_s /= speed;
        stage->backward_s /= speed;
        stage->weight_s /= speed;
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
    s->have[0] = m ? 0 : s->n_machines;
    for (int d = 0; m && d < m->n; d++)
        s->have[m->type[d]]++;
    s->n_taken = 1;
    for (int t = 0; t < s->n_types; t++) {
        s->stride[t] = s->n_taken;
        s->n_taken *= s->have[t] + 1;
    }
    s->used = arena_array(a, int, s->n_taken);
    for (int taken = 0; taken < s->n_taken; taken++)
        for (int t = 0; t < s->n_types; t++)
            s->used[taken] += taken / s->stride[t] % (s->have[t] + 1);
}

// false: a replica would have nothing to do. With one micro-batch a step no stage can have replicas.
static bool find_replicas(Search *s)
{
    int64_t micro_batches = s->c->options->micro_batches;
    s->first_rank = arena_array(s->c->scratch, int, s->stages + 1);
    if (s->c->choose_replicas && micro_batches > 1 && schedule_replicates(s->c->options)) {
        s->n_machines = s->stages;
        s->stages = -1;
        return true;
    }
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
    s->n_machines = s->first_rank[s->stages];
    return true;
}

// Which places may be cut, and with that the parts of the model: runs of units that no plan divides.
static void find_parts(Search *s)
{
    const Ranges *r = &s->ranges;
    int most = s->c->most_parts, allowed = 0, filled = 0, part = 0;
    for (int u = 0; u < r->n - 1; u++)
        allowed += r->cut[u];
    for (int u = 0; u < r->n - 1 && most && allowed >= most; u++) {
        int full = (int)(r->work[u + 1] / r->work[r->n] * most); // parts before this place
        r->cut[u] &= full > filled;
        filled = r->cut[u] ? full : filled;
    }
    for (int u = 0; u < r->n && most; u++) {
        s->c->plan->units[u].part = part;
        part += r->cut[u];
    }
}

void pass_partition(Compile *c)
{
    Plan *p = c->plan;
    if (!c->stages || !p)
        return;
    double begin = clock_seconds();
    Search s = {.c = c, .ranges = ranges_of(c), .stages = c->stages};
    s.asynchronous = schedule_asynchronous(c->options);
    find_parts(&s);
    if (!find_replicas(&s))
        return;
    const char *misfit = schedule_misfit(c->scratch, c->options, c->stages, c->replicas);
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
    s.replicas = arena_array(c->scratch, int, size);
    s.on = arena_array(c->scratch, uint8_t, size);
    int *cuts = arena_array(c->scratch, int, s.n_machines),
        *on = arena_array(c->scratch, int, s.n_machines);
    bool good = c->by_layer     ? take_wanted_cuts(&s, cuts, on)
                : c->fixed_cuts ? take_fixed_cuts(&s, cuts, on)
                                : find_cuts(&s, cuts, on);
    c->no_plan |= !good && !c->fixed_cuts;
    if (good)
        fill_stages(&s, cuts, on);
    p->planning_s = clock_seconds() - begin;
}
