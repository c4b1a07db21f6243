// What people look at: the table of stages, plan.json, the profiled graph, pictures.
#include "driver/origin.h"
#include "driver/plan_report.h"
#include "ir/dot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *row_bytes(char *buffer, int64_t bytes)
{
    return human_bytes(buffer, bytes);
}

// What the memory savers save, and what that takes.
static void again_lines(Text *out, const Plan *plan)
{
    char bytes[32];
    bool needed = !strcmp(plan->options.recompute, "auto");
    for (int i = 0; i < plan->n_stages; i++) {
        const PlanStage *s = &plan->stages[i];
        if (!s->n_again)
            continue;
        text_printf(out, "stage %d computes %d node%s again in backward: %s%s, %.3f ms more",
                    s->id, s->n_again, s->n_again == 1 ? "" : "s",
                    human_bytes(bytes, s->again_bytes < 0 ? -s->again_bytes : s->again_bytes),
                    s->again_bytes < 0 ? " more" : " less", 1e3 * s->again_s);
        if (needed && s->again_least_s < s->again_s)
            text_printf(out, "; at least %.3f", 1e3 * s->again_least_s);
        text_puts(out, "\n");
    }
}

void report_plan_table(Text *out, const Plan *plan)
{
    char parameters[32], memory[32];
    text_printf(out, "%-6s %-38s %10s %10s %12s %12s %9s\n", "stage", "units", "forward ms",
                "backward", "persistent", "memory", "in flight");
    for (int i = 0; i < plan->n_stages; i++) {
        const PlanStage *s = &plan->stages[i];
        char units[80];
        snprintf(units, sizeof units, "%.16s .. %.16s (%d)", plan->units[s->first_unit].name,
                 plan->units[s->last_unit].name, s->last_unit - s->first_unit + 1);
        char id[32];
        snprintf(id, sizeof id, s->replicas > 1 ? "%d x%d" : "%d", s->id, s->replicas);
        text_printf(out, "%-6s %-38s %10.3f %10.3f %12s %12s %9d\n", id, units,
                    1e3 * s->forward_s, 1e3 * s->backward_s,
                    row_bytes(parameters, s->persistent_bytes),
                    row_bytes(memory, plan_stage_bytes(s)), s->in_flight);
    }
    again_lines(out, plan);
    if (plan->options.virtual_stages > 1)
        text_printf(out, "%d machines, stage s on machine s mod %d\n", plan_machines_used(plan),
                    plan_machines_used(plan));
    text_printf(out, "predicted: %.3f ms a step, %.3f ms on one machine (%.2fx), costs: %s\n",
                1e3 * plan->step_s, 1e3 * plan->single_s,
                plan->step_s > 0 ? plan->single_s / plan->step_s : 0.0, plan->cost_source);
}

int report_write(const char *path, Text *t)
{
    int failed = file_write(path, t->data ? t->data : "", t->length);
    if (failed)
        error_at((Loc){path, 0, 0}, "cannot write: %s", strerror(errno));
    text_release(t);
    return failed ? EXIT_ENVIRONMENT : EXIT_DONE;
}

static int write_profile_graph(const Job *j, const char *path)
{
    Text t = {0};
    profile_print(&t, profile_of_graph(j->arena, j->graph, &j->compile));
    return report_write(path, &t);
}

// By layer id; negative: not measured. NULL: nothing was.
static const double *layer_seconds(const Job *j)
{
    const Compile *c = &j->compile;
    const Graph *g = j->graph;
    if (!c->n_times)
        return NULL;
    double *seconds = arena_array(j->arena, double, g->layers.n + 1);
    for (int i = 0; i < g->layers.n; i++) {
        seconds[i] = -1;
        for (int k = 0; k < c->n_times && seconds[i] < 0; k++)
            if (!strcmp(c->times[k].layer, g->layers.items[i]->name))
                seconds[i] = c->times[k].forward_s + c->times[k].backward_s;
    }
    return seconds;
}

static const char *words_of(Arena *a, const Plan *p, const PlanStage *s)
{
    char t[4][32], b[2][32];
    double parameters = 0;
    for (int u = s->first_unit; u <= s->last_unit; u++)
        parameters += (double)p->units[u].parameter_bytes;
    bool slowest = p->n_stages > 1 && s->id == plan_bottleneck(p);
    return arena_printf(
        a, ": %s\nforward %s, backward %s, send %s\nmemory %s, parameters %s%s%s",
        human_seconds(t[0], plan_stage_seconds(s)), human_seconds(t[1], s->forward_s),
        human_seconds(t[2], s->backward_s), human_seconds(t[3], s->send_s),
        human_bytes(b[0], plan_stage_bytes(s)), human_bytes(b[1], plan_bytes(parameters)),
        slowest ? "\nthe slowest stage: " : "", slowest ? stage_limit(s) : "");
}

static const char *const *stage_words(Arena *a, const Plan *p)
{
    const char **words = arena_array(a, const char *, p->n_stages);
    for (int s = 0; s < p->n_stages; s++)
        words[s] = words_of(a, p, &p->stages[s]);
    return words;
}

// stage_of_unit NULL: no frames around stages.
static int write_picture(const Job *j, const char *base, const int *stage_of_unit)
{
    Text t = {0};
    const Plan *p = &j->plan;
    DotOptions o = {.stage_of_unit = stage_of_unit,
                    .n_units = p->n_units,
                    .stage_words = stage_of_unit ? stage_words(j->arena, p) : NULL,
                    .slowest = p->n_stages > 1 ? plan_bottleneck(p) : -1,
                    .layer_s = layer_seconds(j)};
    dot_print(&t, j->graph, &o);
    const char *dot = arena_printf(j->arena, "%s.dot", base);
    int status = report_write(dot, &t);
    if (!status && !j->args->no_svg)
        draw_svg(dot, arena_printf(j->arena, "%s.svg", base));
    return status;
}

int report_write_plan(const Job *j, const char *dir)
{
    const Plan *p = &j->plan;
    int *stage_of_unit = arena_array(j->arena, int, p->n_units + 1);
    for (int u = 0; u < p->n_units; u++)
        stage_of_unit[u] = plan_stage_of_unit(p, u);
    char *json = plan_to_json(p);
    Text t = {0};
    text_puts(&t, json);
    free(json);
    int status = report_write(arena_printf(j->arena, "%s/plan.json", dir), &t);
    const char *base = arena_printf(j->arena, "%s/gpus=%d", dir, p->n_ranks);
    const Origin origin = origin_of(j);
    if (!status)
        status = origin_write(&origin, dir);
    if (!status && j->args->parts)
        status = origin_write_parts(&origin, p, dir);
    if (!status)
        status = write_profile_graph(j, arena_printf(j->arena, "%s.txt", base));
    if (!status) {
        listing(&t, j);
        status = report_write(arena_printf(j->arena, "%s/listing.txt", dir), &t);
    }
    return status ? status : write_picture(j, base, stage_of_unit);
}

int report_write_profile(const Job *j, const char *dir)
{
    int status = write_profile_graph(j, arena_printf(j->arena, "%s/graph.txt", dir));
    return status ? status : write_picture(j, arena_printf(j->arena, "%s/graph", dir), NULL);
}
