// --schedule auto: the model is planned with every synchronous schedule and each plan simulated; the fastest
// of those that fit is taken, of equals the one whose largest stage is smallest. They give the same bits,
// so nothing else depends on the choice. Each is the whole way from the source to a plan, since
// schedules differ in memory, which the cut depends on.
#include "driver/driver.h"
#include "plan/schedule.h"

#include <string.h>

typedef struct Trial {
    const ScheduleInfo *schedule;
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

// Gives the number of stages: on each machine one, or several where the schedule knows how.
static int take(Options *o, const ScheduleInfo *s, int stages)
{
    int machines = schedule_machines(o, stages);
    options_set(o, "schedule", s->name, FROM_COMMAND_LINE, NO_LOC);
    if (s->rules->interleaves)
        return stages;
    options_set(o, "virtual-stages", "1", FROM_COMMAND_LINE, NO_LOC);
    return machines;
}

static void try(const Job *j, Trial *t, int stages)
{
    Arena arena = {0};
    Args args = *j->args;
    Complaint complaint = {.arena = j->arena};
    Job other;
    stages = take(&args.options, t->schedule, stages);
    diag_capture(keep_first, &complaint);
    if (!job_load(&other, &arena, &args)) {
        carry_over(j, &other);
        t->fits = !job_compile(&other, stages);
    }
    diag_capture(NULL, NULL);
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

static void show(const Trial *t, bool taken)
{
    char bytes[32];
    if (!t->fits)
        fprintf(stderr, "schedule %-11s no plan: %s\n", t->schedule->name,
                t->why ? t->why : "");
    else
        fprintf(stderr, "schedule %-11s %10.3f ms a step, largest stage %s%s\n",
                t->schedule->name, 1e3 * t->step_s, human_bytes(bytes, t->bytes),
                taken ? ", taken" : "");
}

int choose_schedule(Job *j, int stages)
{
    Trial *trials = arena_array(j->arena, Trial, n_schedules), *best = trials;
    int n = 0;
    for (int i = 0; i < n_schedules; i++)
        if (!schedule_info[i].rules->lag)
            trials[n++].schedule = &schedule_info[i];
    for (int i = 0; i < n && stages > 1; i++) { // else there is nothing to choose
        try(j, &trials[i], stages);
        if (better(&trials[i], best))
            best = &trials[i];
    }
    for (int i = 0; i < n && best->fits; i++)
        show(&trials[i], &trials[i] == best);
    return take(&j->args->options, best->schedule, stages);
}
