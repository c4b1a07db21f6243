// What `auto` stands for, where trying tells more than a formula. The model is planned with each candidate, which is
// the whole way from the source to a plan, since the cut depends on memory and memory on the candidate; the fastest
// of those that fit is taken, of equals the one whose largest stage is smallest.
// --schedule auto: every synchronous schedule. They give the same bits, so nothing else depends on the choice.
// --recompute auto, under a limit: never, always, and as little as it takes, which is looked for in one cut alone.
#include "driver/driver.h"
#include "plan/schedule.h"

#include <string.h>

typedef struct Trial {
    const char *name;
    Options options;
    int stages;
    bool fits;
    const char *why; // it does not
    double step_s;
    int64_t bytes; // of the largest stage
} Trial;

typedef struct Complaint { // the first
    Arena *arena;
    const char *text;
} Complaint;

static void keep_first(void *user, DiagKind kind, Loc loc, const char *message)
{
    Complaint *c = user;
    (void)loc;
    if (kind == DIAG_ERROR && !c->text)
        c->text = arena_strdup(c->arena, message);
}

// What the command has settled since it loaded the model.
static void carry_over(const Job *from, Job *to)
{
    to->compile.fixed_cuts = from->compile.fixed_cuts;
    to->compile.replicas = from->compile.replicas;
    to->compile.choose_replicas = from->compile.choose_replicas;
    to->compile.by_layer = from->compile.by_layer;
    to->compile.times = from->compile.times;
    to->compile.n_times = from->compile.n_times;
    to->compile.program = from->compile.program;
    to->kernels = from->kernels;
}

static void try(const Job *j, Trial *t, bool recompute_chosen)
{
    Arena arena = {0};
    Args args = *j->args;
    Complaint complaint = {.arena = j->arena};
    Job other;
    args.options = t->options;
    DiagCapture before = diag_capture(keep_first, &complaint);
    if (!job_load(&other, &arena, &args)) {
        carry_over(j, &other);
        other.recompute_chosen = recompute_chosen;
        t->fits = !job_compile(&other, t->stages);
    }
    diag_restore(before);
    diag_reset();
    t->why = complaint.text;
    t->step_s = other.plan.step_s;
    for (int s = 0; t->fits && s < other.plan.n_stages; s++) {
        int64_t bytes = plan_stage_bytes(&other.plan.stages[s]);
        t->bytes = bytes > t->bytes ? bytes : t->bytes;
    }
    job_release(&other);
    arena_release(&arena);
}

static bool better(const Trial *a, const Trial *b)
{
    const double same = 1e-9; // sums in another order differ in the last bits
    if (!a->fits || !b->fits)
        return a->fits;
    if (a->step_s < b->step_s * (1 - same) || a->step_s > b->step_s * (1 + same))
        return a->step_s < b->step_s;
    return a->bytes < b->bytes;
}

// The first one where none fits.
static const Trial *best_of(const Job *j, Trial *trials, int n, bool recompute_chosen)
{
    const Trial *best = trials;
    for (int i = 0; i < n; i++) {
        try(j, &trials[i], recompute_chosen);
        if (better(&trials[i], best))
            best = &trials[i];
    }
    return best;
}

// Schedules
// -----------------------------------------------------------------------------------------

static void show(const Trial *t, bool taken)
{
    char bytes[32];
    if (!t->fits)
        fprintf(stderr, "schedule %-11s no plan: %s\n", t->name, t->why ? t->why : "");
    else
        fprintf(stderr, "schedule %-11s %10.3f ms a step, largest stage %s%s\n", t->name,
                1e3 * t->step_s, human_bytes(bytes, t->bytes), taken ? ", taken" : "");
}

// On each machine one stage, or several where the schedule knows how.
static Trial trial_of(const Options *o, const ScheduleInfo *s, int stages)
{
    Trial t = {.name = s->name, .options = *o, .stages = stages};
    options_set(&t.options, "schedule", s->name, FROM_COMMAND_LINE, NO_LOC);
    if (s->rules->interleaves)
        return t;
    t.stages = schedule_machines(o, stages);
    options_set(&t.options, "virtual-stages", "1", FROM_COMMAND_LINE, NO_LOC);
    return t;
}

// Named stages are the same for all schedules, and would stand on fewer machines for some of them.
static bool may_choose(const Job *j)
{
    const Compile *c = &j->compile;
    if (j->args->options.virtual_stages == 1 ||
        (!c->replicas && !c->fixed_cuts && !c->by_layer))
        return true;
    error_at(NO_LOC,
             "--schedule auto with --virtual-stages cuts by itself, for -n machines: name "
             "the schedule where stages are named");
    return false;
}

int choose_schedule(Job *j, int *stages)
{
    Options *o = &j->args->options;
    Trial *trials = arena_array(j->arena, Trial, n_schedules);
    int n = 0;
    if (*stages && !may_choose(j))
        return EXIT_INPUT;
    for (int i = 0; i < n_schedules; i++)
        if (!schedule_info[i].rules->lag)
            trials[n++] = trial_of(o, &schedule_info[i], *stages);
    const Trial *best =
        *stages > 1 ? best_of(j, trials, n, false) : trials; // else there is nothing to choose
    for (int i = 0; i < n && best->fits; i++)
        show(&trials[i], &trials[i] == best);
    *o = best->options;
    *stages = best->stages;
    return EXIT_DONE;
}

// Recomputation
// -------------------------------------------------------------------------------------

void choose_recompute(Job *j, int stages)
{
    static const char *const ways[] = {"auto", "never", "always"};
    enum { N = sizeof ways / sizeof *ways };
    Options *o = &j->args->options;
    Trial trials[N];
    bool limited = j->args->memory_bytes || j->args->devices;
    if (!stages || !limited || j->recompute_chosen || j->compile.again ||
        strcmp(o->recompute, "auto") != 0)
        return;
    for (int i = 0; i < N; i++) {
        trials[i] = (Trial){.name = ways[i], .options = *o, .stages = stages};
        options_set(&trials[i].options, "recompute", ways[i], FROM_COMMAND_LINE, NO_LOC);
    }
    *o = best_of(j, trials, N, true)->options;
}
