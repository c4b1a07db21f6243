// The optimal contiguous split. best[s][u] is the least possible time of the slowest of s stages that
// hold the units before u; a dynamic program over (s, u) finds it exactly. Among all splits whose
// slowest stage is that fast, a second program takes the one that moves the fewest bytes. Where
// nothing fits into the memory, a third one says how much would be needed.
//
// Stage s holds its own number of micro-batches in flight, which the index s tells, so memory
// is a plain condition of the program.
#include "passes/ranges.h"
#include "passes/schedule.h"

#include <math.h>
#include <time.h>

typedef enum Goal {
    LEAST_TIME,   // of the slowest stage
    LEAST_BYTES,  // moved between stages, in all, where no stage is slower than `bound`
    LEAST_MEMORY, // of the largest stage
} Goal;

typedef struct Search {
    Compile *c;
    Ranges ranges;
    int stages;
    const ScheduleInfo *schedule;
    double bound; // LEAST_BYTES: seconds
    double *best; // [stages + 1][units + 1]
    int *from;    // likewise: the first unit of the last stage
} Search;

static int64_t memory(const Search *s, const Range *r, int stage)
{
    int micro_batches = (int)s->c->plan->options.micro_batches;
    return range_memory(&s->ranges, r, s->schedule->in_flight(s->stages, stage, micro_batches));
}

static bool fits(const Search *s, const Range *r, int stage)
{
    return !s->c->memory_limit || memory(s, r, stage) <= s->c->memory_limit;
}

// What a stage adds to the goal; infinite: it must not be.
static double value(const Search *s, Goal goal, const Range *r, int stage)
{
    switch (goal) {
    case LEAST_TIME: return fits(s, r, stage) ? range_seconds(r) : INFINITY;
    case LEAST_BYTES:
        return fits(s, r, stage) && range_seconds(r) <= s->bound ? (double)r->in : INFINITY;
    case LEAST_MEMORY: return (double)memory(s, r, stage);
    }
    return INFINITY;
}

static void relax(Search *s, Goal goal, const Range *r)
{
    int width = s->ranges.n + 1;
    bool ends = r->last == s->ranges.n - 1;
    for (int stage = 0; stage < s->stages; stage++) {
        double before = s->best[stage * width + r->first];
        if (before == INFINITY || ends != (stage == s->stages - 1))
            continue;
        double own = value(s, goal, r, stage);
        double all = goal == LEAST_BYTES ? before + own : fmax(before, own);
        int to = (stage + 1) * width + r->last + 1;
        if (all < s->best[to]) {
            s->best[to] = all;
            s->from[to] = r->first;
        }
    }
}

// The best value; infinite where no split is possible.
static double search(Search *s, Goal goal)
{
    int n = s->ranges.n, size = (s->stages + 1) * (n + 1);
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

// The last units of all stages, into cuts[stages].
static bool find_cuts(Search *s, int *cuts)
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
    for (int stage = s->stages, u = s->ranges.n; stage > 0; stage--) {
        cuts[stage - 1] = u - 1;
        u = s->from[stage * (s->ranges.n + 1) + u];
    }
    return true;
}

static bool take_fixed_cuts(Search *s, int *cuts)
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
    }
    s->bound = search(s, LEAST_TIME);
    return true;
}

static void fill_stages(Search *s, const int *cuts)
{
    Plan *p = s->c->plan;
    double update_s = 0;
    p->n_stages = s->stages;
    p->stages = arena_array(s->c->perm, PlanStage, s->stages);
    for (int i = 0; i < s->stages; i++) {
        PlanStage *stage = &p->stages[i];
        *stage = (PlanStage){.id = i,
                             .replicas = 1,
                             .first_unit = i ? cuts[i - 1] + 1 : 0,
                             .last_unit = cuts[i]};
        for (int u = stage->first_unit; u <= stage->last_unit; u++) {
            stage->forward_s += p->units[u].forward_s;
            stage->backward_s += p->units[u].backward_s;
            stage->update_s += p->units[u].update_s;
        }
        stage->send_s = range_send_s(range_of(&s->ranges, stage->first_unit, stage->last_unit));
        update_s += stage->update_s;
    }
    double micro_batches = (double)p->options.micro_batches;
    p->single_s = micro_batches * s->ranges.work[s->ranges.n] + update_s;
    p->lower_bound_s = micro_batches * (s->bound < INFINITY ? s->bound : 0);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void pass_partition(Compile *c)
{
    Plan *p = c->plan;
    if (!c->stages || !p)
        return;
    double begin = now();
    Search s = {.c = c, .ranges = ranges_of(c), .stages = c->stages};
    s.schedule = schedule_find(c->options->schedule);
    CHECK(s.schedule, "partition", "no schedule is called %s", c->options->schedule);
    if (!enough_units(&s)) {
        c->no_plan = true;
        return;
    }
    size_t size = (size_t)(s.stages + 1) * (size_t)(s.ranges.n + 1);
    s.best = arena_array(c->scratch, double, size);
    s.from = arena_array(c->scratch, int, size);
    int *cuts = arena_array(c->scratch, int, s.stages);
    bool good = c->fixed_cuts ? take_fixed_cuts(&s, cuts) : find_cuts(&s, cuts);
    c->no_plan |= !good && !c->fixed_cuts;
    if (good)
        fill_stages(&s, cuts);
    p->planning_s = now() - begin;
}
