// The table of a plan's stages, and below it what the plan is worth.
#include "driver/plan_report.h"

#include <string.h>

enum { MOST_ROWS = 64, END_ROWS = 16 }; // of a longer table: its ends and the slowest stage

static void put_head(Text *out)
{
    text_printf(out, "%5s  %-34s %8s %-12s %9s %9s %9s %9s %9s %10s %10s %9s %6s\n", "stage",
                "layers", "replicas", "machines", "forward", "backward", "sync", "in", "out",
                "params", "memory", "time", "share");
}

static void put_layers(char out[64], const Plan *p, const PlanStage *s)
{
    int n = s->last_unit - s->first_unit + 1;
    const char *first = p->units[s->first_unit].name, *last = p->units[s->last_unit].name;
    if (n == 1)
        snprintf(out, 64, "%.26s", first);
    else
        snprintf(out, 64, "%.13s .. %.13s (%d)", first, last, n);
}

static void put_row(Text *out, Arena *a, const Plan *p, const PlanStage *s)
{
    char layers[64], t[6][32], bytes[2][32];
    double most = plan_stage_seconds(&p->stages[plan_bottleneck(p)]);
    double time = plan_stage_seconds(s);
    put_layers(layers, p, s);
    text_printf(out, "%5d  %-34s %8d %-12s %9s %9s %9s %9s %9s %10s %10s %9s %5.1f%%%s\n",
                s->id, layers, s->replicas, devices_text(a, p, s),
                human_seconds(t[0], s->forward_s), human_seconds(t[1], s->backward_s),
                human_seconds(t[2], s->sync_s), human_seconds(t[3], s->receive_s),
                human_seconds(t[4], s->send_s), human_bytes(bytes[0], s->parameter_bytes),
                human_bytes(bytes[1], plan_stage_bytes(s)), human_seconds(t[5], time),
                most > 0 ? 100 * time / most : 100.0, s->recompute ? " recomputes" : "");
}

static void put_rows(Text *out, Arena *a, const Plan *p)
{
    int slowest = plan_bottleneck(p), left_out = 0;
    for (int s = 0; s < p->n_stages; s++) {
        bool shown = p->n_stages <= MOST_ROWS || s < END_ROWS || s >= p->n_stages - END_ROWS ||
                     s == slowest;
        left_out += !shown;
        if (!shown)
            continue;
        if (left_out)
            text_printf(out, "%5s  %d stages, all in plan.json\n", "...", left_out);
        left_out = 0;
        put_row(out, a, p, &p->stages[s]);
    }
}

static void put_quality(Text *out, const Plan *p)
{
    char low[32];
    double gap = plan_gap(p);
    const char *method = p->method ? p->method : "not said how";
    if (gap <= 1e-9)
        text_printf(out, "optimal: %s\n", method);
    else if (p->lower_bound_s > 0)
        text_printf(out, "no plan is faster than %s, this one is within %.*g %%: %s\n",
                    human_seconds(low, p->lower_bound_s),
                    gap < 0.1  ? 2
                    : gap < 10 ? 3
                               : 6,
                    100 * gap, method);
    else
        text_printf(out, "no bound is known: %s\n", method);
}

static void put_comparison(Text *out, const char *what, double seconds, double time)
{
    char t[32];
    if (seconds > 0 && time > 0)
        text_printf(out, "; %s %s (%.2fx)", what, human_seconds(t, seconds), seconds / time);
}

static void put_summary(Text *out, Arena *a, const Plan *p)
{
    char t[32], rate[32];
    double time = plan_pipeline_seconds(p);
    const PlanStage *s = &p->stages[plan_bottleneck(p)];
    int machines = 1;
    const char *links = "";
    for (int l = 0; l < p->n_levels; l++) {
        machines *= p->machines[l];
        if (p->bandwidths)
            links = arena_printf(a, "%s%s%d at %s", links, l ? " x " : "", p->machines[l],
                                 human_rate(rate, p->bandwidths[l]));
    }
    text_printf(out, "a micro-batch every %s, by stage %d: %s", human_seconds(t, time), s->id,
                stage_limit(s));
    put_comparison(out, "one machine", p->single_s, time);
    put_comparison(out, "data parallel", p->data_parallel_s, time);
    text_puts(out, "\n");
    if (!p->asynchronous)
        text_printf(out, "a step of %lld micro-batches: %s\n",
                    (long long)p->options.micro_batches, human_seconds(t, p->step_s));
    put_quality(out, p);
    text_printf(out, "machines: %d of %d used%s%s; cost model %s", p->machines_used, machines,
                *links ? ", " : "", links, p->cost_model ? p->cost_model : "stagecc");
    if (p->planning_s > 0)
        text_printf(out, "; planned in %s", human_seconds(t, p->planning_s));
    text_puts(out, "\n");
}

void plan_table(Text *out, const Plan *p)
{
    Arena a = {0};
    put_head(out);
    put_rows(out, &a, p);
    put_summary(out, &a, p);
    arena_release(&a);
}
