// Why a model is cut as it is: what its slowest stage waits for, what crosses at every cut, and what other
// cuts, numbers of stages and of micro-batches would take, and none or nothing but replicas where the
// plan chose them. Each of them is the whole way from the source to
// a plan once more, since shapes, layouts and memory depend on it.
#include "driver/plan_report.h"

#include "base/clock.h"
#include "plan/schedule.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

static const double most_s = 5; // for all other plans
enum { MOST_SHIFT = 3 };        // units, until one may be cut behind

typedef struct Tries {
    Job *job;
    Arena arena;
    double begin_s, longest_s;
    Text *out;
    json_t *list;
} Tries;

static void ignore(void *user, DiagKind kind, Loc loc, const char *message)
{
    (void)user, (void)kind, (void)loc, (void)message;
}

typedef struct Try {
    int stages;          // or machines, where replicas are chosen
    const int *cuts;     // NULL: the best ones
    const int *replicas; // NULL: one each, or chosen
    bool choose;
} Try;

// Of the plan itself, with other options alone.
static Try again(const Tries *t)
{
    const Compile *c = &t->job->compile;
    return (Try){c->stages, NULL, c->replicas, c->choose_replicas};
}

// Seconds of a step. Infinite: no plan; negative: there was no time to try.
static double step_of(Tries *t, Args args, Try what)
{
    double begin = clock_seconds(), step_s = INFINITY;
    if (begin - t->begin_s + t->longest_s > most_s)
        return -1;
    Job other;
    args.plan = args.ranks = NULL;
    DiagCapture before = diag_capture(ignore, NULL);
    if (!job_load(&other, &t->arena, &args)) {
        other.compile.fixed_cuts = what.cuts;
        other.compile.replicas = what.replicas;
        other.compile.choose_replicas = what.choose;
        if (!job_compile(&other, what.stages))
            step_s = other.plan.step_s;
    }
    job_release(&other);
    diag_restore(before);
    diag_reset();
    arena_reset(&t->arena);
    t->longest_s = fmax(t->longest_s, clock_seconds() - begin);
    return step_s;
}

static void put_row(Tries *t, const char *what, double step_s)
{
    char value[32];
    double own = t->job->plan.step_s;
    json_t *o = json_object();
    text_printf(t->out, "  %-52s", what);
    if (step_s < 0)
        text_puts(t->out, " not tried: planning takes too long\n");
    else if (isinf(step_s))
        text_puts(t->out, "    no plan\n");
    else
        text_printf(t->out, " %10s  %6.2fx\n", human_seconds(value, step_s), own / step_s);
    json_object_set_new(o, "what", json_string(what));
    json_object_set_new(o, "step_s",
                        step_s >= 0 && isfinite(step_s) ? json_real(step_s) : json_null());
    json_array_append_new(t->list, o);
}

// The cut behind stage k moved towards the front or the back, by as few units as can be.
static void move_cut(Tries *t, int k, int by)
{
    const Plan *p = &t->job->plan;
    double step_s = INFINITY;
    int *cuts = arena_array(t->job->arena, int, p->n_stages);
    int *replicas = arena_array(t->job->arena, int, p->n_stages);
    for (int i = 0; i < p->n_stages; i++) {
        cuts[i] = p->stages[i].last_unit;
        replicas[i] = p->stages[i].replicas;
    }
    for (int i = 0; i < MOST_SHIFT && isinf(step_s); i++) {
        cuts[k] += by;
        if (cuts[k] < p->stages[k].first_unit || cuts[k] >= p->stages[k + 1].last_unit)
            break;
        step_s = step_of(t, *t->job->args, (Try){p->n_stages, cuts, replicas, false});
    }
    if (isfinite(step_s))
        put_row(t,
                arena_printf(t->job->arena, "the cut %d|%d behind %s", k, k + 1,
                             p->units[cuts[k]].name),
                step_s);
}

static void with_micro_batches(Tries *t, int64_t n)
{
    Args args = *t->job->args;
    char text[32];
    if (n < 1 || args.options.batch % n)
        return;
    snprintf(text, sizeof text, "%lld", (long long)n);
    options_set(&args.options, "micro-batches", text, FROM_COMMAND_LINE, NO_LOC);
    double step_s = step_of(t, args, again(t));
    char what[64];
    snprintf(what, sizeof what, "%s micro-batch%s", text, n > 1 ? "es" : "");
    put_row(t, what, step_s);
}

static void with_stages(Tries *t, int n)
{
    char what[64];
    Try other = again(t);
    other.stages = n;
    snprintf(what, sizeof what, "%d %s%s", n, other.choose ? "machine" : "stage",
             n > 1 ? "s" : "");
    if (n > 0 && !t->job->args->devices && !other.replicas)
        put_row(t, what, step_of(t, *t->job->args, other));
}

// The two ends of what replicas may be, where the plan is neither.
static void with_replicas(Tries *t)
{
    const Plan *p = &t->job->plan;
    if (p->n_ranks > p->n_stages)
        put_row(t, "no replicas (straight pipeline)",
                step_of(t, *t->job->args, (Try){.stages = p->n_ranks}));
    bool dealt =
        !schedule_asynchronous(&p->options) || p->options.micro_batches % p->n_ranks == 0;
    if (p->n_stages > 1 && p->n_ranks <= p->options.micro_batches && dealt)
        put_row(t, "data parallel",
                step_of(t, *t->job->args, (Try){.stages = 1, .replicas = &p->n_ranks}));
}

static void put_slowest(Text *out, json_t *json, const Plan *p)
{
    char t[3][32];
    const PlanStage *s = &p->stages[plan_bottleneck(p)];
    const PlanUnit *most = &p->units[s->first_unit];
    for (int u = s->first_unit; u <= s->last_unit; u++)
        if (p->units[u].forward_s + p->units[u].backward_s > most->forward_s + most->backward_s)
            most = &p->units[u];
    double heaviest = most->forward_s + most->backward_s;
    text_printf(
        out,
        "\nwhat limits it\n  Stage %d is the slowest with %s a micro-batch: %s takes %s "
        "of it; its heaviest unit, %s, %s.\n",
        s->id, human_seconds(t[0], plan_stage_seconds(s)), stage_limit(s),
        human_seconds(t[1], stage_limit_s(s)), most->name, human_seconds(t[2], heaviest));
    json_t *o =
        json_pack("{s:i, s:s, s:f, s:f, s:s, s:f}", "stage", s->id, "limit", stage_limit(s),
                  "limit_s", stage_limit_s(s), "time_s", plan_stage_seconds(s),
                  "heaviest_layer", most->name, "heaviest_layer_s", heaviest);
    json_object_set_new(json, "slowest", o);
}

static void put_cuts(Text *out, json_t *json, const Plan *p)
{
    char bytes[32];
    json_t *list = json_array();
    for (int k = 0; k + 1 < p->n_stages; k++) {
        const PlanUnit *u = &p->units[p->stages[k].last_unit];
        text_printf(out, "  %d|%d  behind %s: %s cross\n", k, k + 1, u->name,
                    human_bytes(bytes, u->cut_bytes));
        json_array_append_new(list, json_pack("{s:i, s:s, s:I}", "behind_stage", k, "behind",
                                              u->name, "bytes", (json_int_t)u->cut_bytes));
    }
    json_object_set_new(json, "cuts", list);
}

void explain_model(Job *j, Text *out)
{
    Plan *p = &j->plan;
    json_t *json = json_object();
    Tries t = {.job = j, .begin_s = clock_seconds(), .out = out, .list = json_array()};
    int slowest = plan_bottleneck(p);
    put_slowest(out, json, p);
    put_cuts(out, json, p);
    text_puts(out, "\nother plans, by the time of a step\n");
    int machine = (int)p->options.virtual_stages; // its stages
    with_stages(&t, j->compile.stages - machine);
    with_stages(&t, j->compile.stages + machine);
    if (j->compile.choose_replicas && schedule_replicates(&p->options))
        with_replicas(&t);
    with_micro_batches(&t, p->options.micro_batches * 2);
    if (p->options.micro_batches % 2 == 0)
        with_micro_batches(&t, p->options.micro_batches / 2);
    for (int k = slowest - 1; k <= slowest; k++)
        if (k >= 0 && k + 1 < p->n_stages) {
            move_cut(&t, k, -1);
            move_cut(&t, k, 1);
        }
    json_object_set_new(json, "other_plans", t.list);
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));
    p->explain = arena_strdup(j->arena, text);
    free(text);
    json_decref(json);
    arena_release(&t.arena);
    text_puts(out, "\n");
}
