// stagecc simulate: what a plan's schedule does with the predicted times.
#include "driver/driver.h"

#include "plan/schedule.h"
#include "plan/simulate.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TRACE = 1 << 18, SHOWN_WAITS = 8 };

static bool read_options(const Args *args, SimOptions *o)
{
    *o = (SimOptions){.steps = 2, .events = args->trace || args->svg};
    bool good =
        whole_number("micro-batches", args->sim_micro_batches, 1 << 20, &o->micro_batches);
    good &= whole_number("cores", args->cores, 1 << 20, &o->cores);
    return whole_number("steps", args->steps, 1 << 20, &o->steps) && good;
}

static double samples_per_s(const Simulation *s)
{
    bool known = plan_has_streams(s->plan) && s->step_s > 0;
    return known ? (double)s->plan->options.batch / s->step_s : 0;
}

// Text
// ------------------------------------------------------------------------------------------------

static void show_stages(Text *t, const Simulation *s)
{
    bool shared = s->cores_busy >= 0;
    text_printf(t, "%-6s %9s %11s %11s %s%9s %12s  %s\n", "stage", "replicas", "busy ms",
                "wait ms", shared ? " shared ms " : "", "in flight", "peak memory",
                "first .. last event ms");
    for (int i = 0; i < s->plan->n_stages; i++) {
        const SimStage *stage = &s->stages[i];
        char memory[32];
        text_printf(t, "%-6d %9d %11.3f %11.3f ", i, s->plan->stages[i].replicas,
                    1e3 * stage->busy_s, 1e3 * stage->wait_s);
        if (shared)
            text_printf(t, "%10.3f ", 1e3 * stage->shared_s);
        text_printf(t, "%9d %12s  %.3f .. %.3f\n", stage->in_flight,
                    human_bytes(memory, stage->memory_bytes), 1e3 * stage->first_s,
                    1e3 * stage->last_s);
    }
}

static void show_totals(Text *t, const Simulation *s)
{
    const Plan *p = s->plan;
    if (p->asynchronous)
        text_printf(t, "a micro-batch every %.3f ms, %.2f/s (each is an update)\n",
                    1e3 * s->step_s, s->step_s > 0 ? 1 / s->step_s : 0);
    else
        text_printf(t, "a step of %d micro-batches: %.3f ms", s->micro_batches,
                    1e3 * s->step_s);
    if (!p->asynchronous && samples_per_s(s) > 0)
        text_printf(t, ", %.1f samples/s\n", samples_per_s(s));
    else if (!p->asynchronous)
        text_printf(t, ", %.2f micro-batches/s\n", s->micro_s > 0 ? 1 / s->micro_s : 0);
    text_printf(t, "bubble: %.2f %%", 100 * s->bubble);
    if (s->formula >= 0)
        text_printf(t, " (%s with equal stages: %s = %.2f %%%s)", p->options.schedule,
                    schedule_rules(&p->options)->bubble_share, 100 * s->formula,
                    plan_stream_steps(p, false) > 1 ? ", M: from drain to drain" : "");
    if (s->cores_busy >= 0)
        text_printf(t, "; the cores are busy for %.2f %%", 100 * s->cores_busy);
    text_printf(t, "\nbottleneck: stage %d, busy for %.1f %% of a step\n", s->bottleneck,
                s->step_s > 0 ? 100 * s->stages[s->bottleneck].busy_s / s->step_s : 0);
}

static void show_waits(Text *t, const Simulation *s)
{
    for (int i = 0; i < s->n_waits && i < SHOWN_WAITS; i++) {
        const SimWait *w = &s->waits[i];
        text_printf(t, "stage %d waits %.3f ms for %s %d\n", w->stage, 1e3 * w->seconds,
                    w->on == w->stage ? "replicas of stage" : "stage", w->on);
    }
    if (s->n_waits > SHOWN_WAITS)
        text_printf(t, "and %d more pairs, in --json\n", s->n_waits - SHOWN_WAITS);
}

// JSON
// ------------------------------------------------------------------------------------------------

static json_t *stage_json(const Simulation *s, int i)
{
    const SimStage *stage = &s->stages[i];
    return json_pack("{s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:i, s:I}", "id", i, "replicas",
                     s->plan->stages[i].replicas, "busy_s", stage->busy_s, "shared_s",
                     stage->shared_s, "wait_s", stage->wait_s, "first_s", stage->first_s,
                     "last_s", stage->last_s, "in_flight", stage->in_flight,
                     "peak_memory_bytes", (json_int_t)stage->memory_bytes);
}

static json_t *simulation_json(const Simulation *s)
{
    json_t *o = json_pack("{s:i, s:b, s:f, s:f, s:f, s:i}", "micro_batches", s->micro_batches,
                          "asynchronous", s->plan->asynchronous, "step_s", s->step_s,
                          "micro_batches_per_s", s->micro_s > 0 ? 1 / s->micro_s : 0, "bubble",
                          s->bubble, "bottleneck", s->bottleneck);
    json_t *stages = json_array(), *waits = json_array();
    if (samples_per_s(s) > 0)
        json_object_set_new(o, "samples_per_s", json_real(samples_per_s(s)));
    if (s->formula >= 0)
        json_object_set_new(o, "bubble_formula", json_real(s->formula));
    if (s->cores_busy >= 0)
        json_object_set_new(o, "cores_busy", json_real(s->cores_busy));
    for (int i = 0; i < s->plan->n_stages; i++)
        json_array_append_new(stages, stage_json(s, i));
    for (int i = 0; i < s->n_waits; i++)
        json_array_append_new(waits,
                              json_pack("{s:i, s:i, s:f}", "stage", s->waits[i].stage, "on",
                                        s->waits[i].on, "seconds", s->waits[i].seconds));
    json_object_set_new(o, "stages", stages);
    json_object_set_new(o, "waits", waits);
    return o;
}

static void show(const Simulation *s, bool as_json)
{
    Text t = {0};
    if (as_json) {
        json_t *o = simulation_json(s);
        char *text = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
        text_printf(&t, "%s\n", text);
        free(text);
        json_decref(o);
    } else {
        show_stages(&t, s);
        show_totals(&t, s);
        show_waits(&t, s);
    }
    fwrite(t.data, 1, t.length, stdout);
    text_release(&t);
}

static int write_timelines(const Simulation *s, const Args *args)
{
    const char *const files[2] = {args->trace, args->svg};
    for (int i = 0; i < 2; i++) {
        Text t = {0};
        if (!files[i])
            continue;
        if (i == 0)
            timeline_trace(&t, s, MAX_TRACE);
        else
            timeline_svg(&t, s);
        bool failed = file_write(files[i], t.data, t.length);
        text_release(&t);
        if (failed) {
            error_at((Loc){files[i], 0, 0}, "cannot write: %s", strerror(errno));
            return EXIT_ENVIRONMENT;
        }
    }
    return EXIT_DONE;
}

int command_simulate(Arena *a, Args *args)
{
    SimOptions o;
    const char *path = arena_printf(a, "%s/plan.json", args->operand);
    if (!read_options(args, &o))
        return EXIT_INPUT;
    char *text = file_read(path, NULL), why[256];
    if (!text) {
        error_at((Loc){path, 0, 0}, "cannot read the plan: %s; `stagecc plan` makes one",
                 strerror(errno));
        return EXIT_INPUT;
    }
    const Plan *plan = plan_from_json(a, path, text);
    free(text);
    if (!plan)
        return EXIT_INPUT;
    const Simulation *s = simulation_run(a, plan, &o, why, sizeof why);
    if (!s) {
        error_at((Loc){path, 0, 0}, "%s", why);
        return EXIT_INPUT;
    }
    int status = write_timelines(s, args);
    if (!status)
        show(s, args->json);
    return status;
}
