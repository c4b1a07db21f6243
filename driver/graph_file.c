// What a profiled graph (graph.txt) holds, and its plan. A file that is read and written
// again keeps every byte; a plan adds stage ids and nothing else.
#include "driver/plan_report.h"

#include "base/clock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

bool graph_file_given(const Args *args)
{
    return profile_file(args->operand);
}

static double total(const Profile *p, double (*of)(const ProfileNode *))
{
    double sum = 0;
    for (int i = 0; i < p->nodes.n; i++)
        sum += of(&p->nodes.items[i]);
    return sum;
}

static double milliseconds(const ProfileNode *n)
{
    return n->forward_ms + n->backward_ms;
}

static double parameters(const ProfileNode *n)
{
    return n->parameter_bytes;
}

static int64_t parameters_of(const Graph *g)
{
    int64_t sum = 0;
    for (int i = 0; i < g->nodes.n; i++)
        if (g->nodes.items[i]->op == OP_PARAM)
            sum += shape_count(g->nodes.items[i]->shape);
    return sum;
}

int graph_file_summary(Arena *a, const Args *args, const Graph *model)
{
    const Profile *p = profile_load(a, args->operand);
    if (!p)
        return EXIT_INPUT;
    double ms = total(p, milliseconds), bytes = total(p, parameters);
    char human[32];
    if (args->json)
        printf("{\"nodes\": %d, \"edges\": %d, \"ms\": %.17g, \"parameter_bytes\": %.17g, "
               "\"layers\": %d, \"parameters\": %lld}\n",
               p->nodes.n, p->edges.n, ms, bytes, model->layers.n,
               (long long)parameters_of(model));
    else
        printf(
            "%s: %d nodes, %d edges, %.3f ms, parameters %s\n%s: %d layers, %lld parameters, "
            "no errors\n",
            args->operand, p->nodes.n, p->edges.n, ms, human_bytes(human, plan_bytes(bytes)),
            model->name, model->layers.n, (long long)parameters_of(model));
    return EXIT_DONE;
}

int graph_file_print(Arena *a, const Args *args)
{
    const Profile *p = profile_load(a, args->operand);
    if (!p || !profile_order(a, p))
        return EXIT_INPUT;
    Text t = {0};
    profile_print(&t, p);
    fwrite(t.data ? t.data : "", 1, t.length, stdout);
    text_release(&t);
    return EXIT_DONE;
}

// Units in topological order, those of a stage side by side. Returns the nodes of the profile by unit.
static int *fill_units(Arena *a, Plan *plan, const Profile *p, const int *order,
                       const int *stage)
{
    int *node = arena_array(a, int, p->nodes.n + 1);
    plan->units = arena_array(a, PlanUnit, p->nodes.n);
    for (int s = 0; s < plan->n_stages; s++)
        for (int i = 0; i < p->nodes.n; i++) {
            const ProfileNode *n = &p->nodes.items[order[i]];
            if (stage[order[i]] != s)
                continue;
            node[plan->n_units] = order[i];
            plan->units[plan->n_units++] =
                (PlanUnit){.name = n->id,
                           .forward_s = n->forward_ms / 1e3,
                           .backward_s = n->backward_ms / 1e3,
                           .parameter_bytes = plan_bytes(n->parameter_bytes),
                           .activation_bytes = plan_bytes(n->activation_bytes),
                           .node = order[i]};
        }
    return node;
}

// What a cut right behind every unit would send.
static void fill_cut_bytes(Arena *a, Plan *plan, const Profile *p, const int *node)
{
    int *unit = arena_array(a, int, p->nodes.n + 1),
        *last = arena_array(a, int, p->nodes.n + 1);
    for (int u = 0; u < plan->n_units; u++)
        unit[node[u]] = last[node[u]] = u;
    for (int e = 0; e < p->edges.n; e++) {
        int from = p->edges.items[e].from, to = unit[p->edges.items[e].to];
        last[from] = to > last[from] ? to : last[from];
    }
    double *change = arena_array(a, double, plan->n_units + 1), bytes = 0;
    for (int i = 0; i < p->nodes.n; i++) {
        change[unit[i]] += p->nodes.items[i].activation_bytes;
        change[last[i]] -= p->nodes.items[i].activation_bytes;
    }
    for (int u = 0; u < plan->n_units; u++) {
        bytes += change[u];
        plan->units[u].cut_bytes = plan_bytes(bytes > 0 ? bytes : 0);
    }
}

static void fill_stage(PlanStage *to, const StageChoice *s)
{
    to->replicas = s->replicas;
    to->devices = s->machines;
    to->n_devices = s->replicas;
    to->recompute = s->recompute;
    to->in_flight = s->in_flight;
    to->forward_s = s->forward_s;
    to->again_s = s->recompute ? s->forward_s : 0;
    to->backward_s = s->backward_s + to->again_s;
    to->compute_s = s->compute_s;
    to->sync_s = s->sync_s;
    to->receive_s = s->receive_s;
    to->send_s = s->send_s;
    to->time_s = s->time_s;
    to->parameter_bytes = plan_bytes(s->parameter_bytes);
    to->in_bytes = plan_bytes(s->in_bytes);
    to->out_bytes = plan_bytes(s->out_bytes);
    double slots = s->memory_bytes - s->persistent_bytes;
    to->persistent_bytes = plan_bytes(s->persistent_bytes);
    to->slot_bytes = plan_bytes(s->in_flight ? slots / s->in_flight : 0);
}

static void fill_stages(Arena *a, Plan *plan, const PlanResult *r, const int *stage_of_unit)
{
    plan->stages = arena_array(a, PlanStage, r->n_stages);
    for (int s = 0; s < r->n_stages; s++) {
        plan->stages[s] = (PlanStage){.id = s, .first_unit = plan->n_units};
        fill_stage(&plan->stages[s], &r->stages[s]);
    }
    for (int u = plan->n_units - 1; u >= 0; u--)
        plan->stages[stage_of_unit[u]].first_unit = u;
    for (int u = 0; u < plan->n_units; u++)
        plan->stages[stage_of_unit[u]].last_unit = u;
}

static void fill_summary(Arena *a, Plan *plan, const GraphProblem *g, const PlanResult *r)
{
    static const char *const overlap[] = {"none", "transfers", "all"};
    const Machines *m = g->machines;
    plan->cost_model = g->cost.model;
    plan->overlap = overlap[g->cost.overlap];
    plan->compression = g->cost.compression;
    plan->asynchronous = !g->cost.micro_batches;
    plan->n_levels = m->host ? 1 : m->n_levels;
    plan->machines = arena_array(a, int, plan->n_levels);
    plan->machines[0] = m->n;
    if (!m->host)
        plan->bandwidths = arena_array(a, double, plan->n_levels);
    for (int l = 0; !m->host && l < m->n_levels; l++) {
        plan->machines[l] = m->levels[l].size;
        plan->bandwidths[l] = m->levels[l].bytes_per_s;
    }
    plan->device_names = g->devices;
    plan->n_device_names = g->devices ? m->n : 0;
    plan->machines_used = r->machines_used;
    plan->method = r->method;
    plan->why = r->feasible ? NULL : r->why;
    plan->pipeline_s = r->pipeline_time_s;
    plan->lower_bound_s = r->lower_bound_s;
    plan->single_s = r->single_machine_time_s;
    plan->data_parallel_s = r->data_parallel_time_s;
}

Plan *graph_plan(Arena *a, const Args *args, const GraphProblem *g, const PlanResult *r)
{
    Plan *plan = arena_new(a, Plan);
    Profile *p = g->profile;
    *plan = (Plan){.model = args->operand,
                   .source = args->operand,
                   .cost_source = "profile",
                   .options = args->options,
                   .n_nodes = p->nodes.n,
                   .n_stages = r->n_stages};
    fill_summary(a, plan, g, r);
    if (!r->feasible)
        return plan;
    int *stage = graph_stages(a, g, r);
    int *node = fill_units(a, plan, p, profile_order(a, p), stage);
    fill_cut_bytes(a, plan, p, node);
    int *stage_of_unit = arena_array(a, int, plan->n_units + 1);
    for (int u = 0; u < plan->n_units; u++)
        stage_of_unit[u] = stage[node[u]];
    fill_stages(a, plan, r, stage_of_unit);
    for (int i = 0; i < p->nodes.n; i++)
        p->nodes.items[i].stage = stage[i];
    plan->step_s = plan->asynchronous ? plan->pipeline_s : plan_simulate(plan);
    return plan;
}

// What the planner keeps of its cuts grows with the square of the layers.
static bool right_size(const Args *args, const Profile *p)
{
    enum { MOST_LAYERS = 1 << 16 };
    Loc loc = {args->operand, 0, 0};
    int layers = 0;
    for (int i = 0; i < p->nodes.n; i++)
        layers += !str_starts(p->nodes.items[i].description, "Input");
    if (p->nodes.n > MOST_LAYERS)
        error_at(loc,
                 "these are %d layers, %d are the most that can be planned: profile groups of "
                 "them as one",
                 p->nodes.n, MOST_LAYERS);
    else if (!layers)
        error_at(loc, "there is nothing to plan: every node reads data (`Input...`)");
    return layers && p->nodes.n <= MOST_LAYERS;
}

// A profile has a batch of its own: here it only has to divide.
static Args with_batch(const Args *args)
{
    Args own = *args;
    Options *o = &own.options;
    if (!options_given(o, "batch"))
        o->batch = (o->batch + o->micro_batches - 1) / o->micro_batches * o->micro_batches;
    return own;
}

int graph_file_plan(Arena *a, const Args *given)
{
    double begin = clock_seconds();
    const Args own = with_batch(given), *args = &own;
    if (!options_check(&args->options))
        return EXIT_INPUT;
    Profile *p = profile_load(a, args->operand);
    if (!p || !profile_order(a, p) || !right_size(args, p))
        return EXIT_INPUT;
    GraphProblem *g = graph_problem(a, p, args);
    if (!g)
        return EXIT_INPUT;
    const char *wrong = problem_check(a, &g->problem);
    if (wrong) {
        error_at((Loc){args->operand, 0, 0}, "%s", wrong);
        return EXIT_INPUT;
    }
    const PlanResult *r = planner_solve(a, &g->problem, g->machines, &g->cost);
    Plan *plan = graph_plan(a, args, g, r);
    plan->planning_s = clock_seconds() - begin;
    if (!r->feasible) {
        plan->why = why_no_plan(a, g, r);
        error_at((Loc){args->operand, 0, 0}, "%s", plan->why);
        char *json = args->json ? plan_to_json(plan) : NULL;
        fputs(json ? json : "", stdout);
        free(json);
        return EXIT_NO_PLAN;
    }
    Text explanation = {0};
    if (args->explain)
        explain_plan(a, plan, g, r, &explanation);
    int status = plan_output(a, plan, p, args, explanation.data);
    text_release(&explanation);
    return status;
}
