// Why a plan is as it is: what its slowest stage waits for, what crosses at every cut and what moving it
// by a layer would cost, what other plans would take, and what would make the best plan faster.
#include "driver/plan_report.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CUTS_SHOWN = 12, MOST_TENSORS_NAMED = 3 };

typedef struct Explain {
    Arena *arena;
    const Plan *plan;
    const GraphProblem *g;
    const PlanResult *r;
    int slowest;   // stage
    double time_s; // of the plan
    int *stage_of; // [problem nodes]
    Text *out;
    json_t *json;
} Explain;

static void put_real(json_t *o, const char *key, double v)
{
    json_object_set_new(o, key, isfinite(v) ? json_real(v) : json_null());
}

static void put_text(json_t *o, const char *key, const char *v)
{
    json_object_set_new(o, key, json_string(v));
}

// The slowest stage

static const PlanUnit *heaviest(const Explain *e, const PlanStage *s)
{
    const PlanUnit *most = &e->plan->units[s->first_unit];
    for (int u = s->first_unit; u <= s->last_unit; u++)
        if (e->plan->units[u].forward_s + e->plan->units[u].backward_s >
            most->forward_s + most->backward_s)
            most = &e->plan->units[u];
    return most;
}

static void put_reason(const Explain *e, const PlanStage *s)
{
    char t[32], b[32];
    const PlanUnit *layer = heaviest(e, s);
    double of_layer = layer->forward_s + layer->backward_s, all = s->forward_s + s->backward_s;
    const char *limit = stage_limit(s);
    if (!strcmp(limit, "compute") && of_layer > all / 2)
        text_printf(e->out,
                    "  %s alone takes %s of its computing, and a layer is never split.\n",
                    layer->name, human_seconds(t, of_layer));
    else if (!strcmp(limit, "synchronisation"))
        text_printf(e->out, "  Its %d replicas exchange gradients of %s.\n", s->replicas,
                    human_bytes(b, s->parameter_bytes));
    else if (strcmp(limit, "compute") != 0)
        text_printf(e->out,
                    "  %s of activations cross there, and as many gradients come back.\n",
                    human_bytes(b, strcmp(limit, "sending") ? s->in_bytes : s->out_bytes));
}

static double memory_of(const Explain *e, const StageChoice *s)
{
    double least = e->g->cost.memory_bytes > 0 ? e->g->cost.memory_bytes : INFINITY;
    for (int i = 0; i < s->replicas; i++) {
        double own = e->g->machines->types[e->g->machines->type[s->machines[i]]].memory_bytes;
        least = own > 0 ? fmin(least, own) : least;
    }
    return least;
}

static void put_memory(Explain *e)
{
    double fullest = 0;
    int stage = 0;
    for (int s = 0; s < e->r->n_stages; s++) {
        double share = e->r->stages[s].memory_bytes / memory_of(e, &e->r->stages[s]);
        stage = share > fullest ? s : stage;
        fullest = fmax(fullest, share);
    }
    char b[2][32];
    if (fullest > 0)
        text_printf(e->out, "  Stage %d fills its memory most: %s of %s.\n", stage,
                    human_bytes(b[0], plan_bytes(e->r->stages[stage].memory_bytes)),
                    human_bytes(b[1], plan_bytes(memory_of(e, &e->r->stages[stage]))));
    put_real(e->json, "memory_used", fullest);
}

static void explain_slowest(Explain *e)
{
    const PlanStage *s = &e->plan->stages[e->slowest];
    char t[2][32];
    json_t *o = json_object();
    text_printf(e->out,
                "\nwhat limits it\n  Stage %d is the slowest with %s: %s takes %s of it.\n",
                s->id, human_seconds(t[0], plan_stage_seconds(s)), stage_limit(s),
                human_seconds(t[1], stage_limit_s(s)));
    put_reason(e, s);
    put_memory(e);
    json_object_set_new(o, "stage", json_integer(s->id));
    put_text(o, "limit", stage_limit(s));
    put_real(o, "limit_s", stage_limit_s(s));
    put_real(o, "time_s", plan_stage_seconds(s));
    put_text(o, "heaviest_layer", heaviest(e, s)->name);
    put_real(o, "heaviest_layer_s", heaviest(e, s)->forward_s + heaviest(e, s)->backward_s);
    json_object_set_new(e->json, "slowest", o);
}

// Cuts

// The tensors that cross behind stage k, largest first; how many.
static int crossing(const Explain *e, int k, const ProblemTensor *largest[MOST_TENSORS_NAMED])
{
    const Problem *p = &e->g->problem;
    int n = 0;
    for (int i = 0; i < p->n_tensors; i++) {
        const ProblemTensor *t = &p->tensors[i];
        bool used = false;
        for (int u = 0; u < t->n_users; u++)
            used |= e->stage_of[t->users[u]] > k;
        if (!used || e->stage_of[t->producer] > k || t->bytes == 0)
            continue;
        int at = n < MOST_TENSORS_NAMED ? n : MOST_TENSORS_NAMED;
        for (; at > 0 && largest[at - 1]->bytes < t->bytes; at--)
            if (at < MOST_TENSORS_NAMED)
                largest[at] = largest[at - 1];
        if (at < MOST_TENSORS_NAMED)
            largest[at] = t;
        n++;
    }
    return n;
}

static void put_shift(const Explain *e, const char *word, double time_s)
{
    char t[32];
    if (!isfinite(time_s))
        text_printf(e->out, " %s: not possible", word);
    else
        text_printf(e->out, " %s: %s (%+.1f %%)", word, human_seconds(t, time_s),
                    100 * (time_s / e->time_s - 1));
}

static void explain_cut(Explain *e, json_t *list, int k)
{
    const ProblemTensor *largest[MOST_TENSORS_NAMED];
    const PlanStage *left = &e->plan->stages[k], *right = left + 1;
    int n = crossing(e, k, largest);
    char b[32], t[2][32];
    json_t *o = json_object(), *names = json_array();
    text_printf(e->out, "  %d|%d  %s cross from", k, k + 1, human_bytes(b, left->out_bytes));
    for (int i = 0; i < n && i < MOST_TENSORS_NAMED; i++) {
        const char *name = e->g->problem.nodes[largest[i]->producer].name;
        text_printf(e->out, "%s %s", i ? "," : "", name);
        json_array_append_new(names, json_string(name));
    }
    text_printf(e->out, "%s: %s to send, %s to receive;", n > MOST_TENSORS_NAMED ? ", ..." : "",
                human_seconds(t[0], left->send_s), human_seconds(t[1], right->receive_s));
    double earlier = shifted_cut(e->g, e->r, k, true),
           later = shifted_cut(e->g, e->r, k, false);
    put_shift(e, "a layer earlier", earlier);
    text_puts(e->out, ",");
    put_shift(e, "later", later);
    text_puts(e->out, "\n");
    json_object_set_new(o, "behind_stage", json_integer(k));
    json_object_set_new(o, "bytes", json_integer(left->out_bytes));
    json_object_set_new(o, "tensors", names);
    put_real(o, "a_layer_earlier_s", earlier);
    put_real(o, "a_layer_later_s", later);
    json_array_append_new(list, o);
}

static void explain_cuts(Explain *e)
{
    int n = e->plan->n_stages - 1, first = e->slowest - MOST_CUTS_SHOWN / 2;
    json_t *list = json_array();
    first = first + MOST_CUTS_SHOWN > n ? n - MOST_CUTS_SHOWN : first;
    first = first > 0 ? first : 0;
    int end = first + MOST_CUTS_SHOWN < n ? first + MOST_CUTS_SHOWN : n;
    if (n)
        text_printf(e->out, "\nwhy these cuts%s\n",
                    end - first < n ? " (those near the slowest stage)" : "");
    for (int k = first; k < end; k++)
        explain_cut(e, list, k);
    json_object_set_new(e->json, "cuts", list);
}

// Tables

static void put_table(Explain *e, const char *key, const char *title, const WhatIfs *w)
{
    json_t *list = json_array();
    char t[32];
    text_printf(e->out, "\n%s\n", title);
    for (int i = 0; i < w->tried.n; i++) {
        const WhatIf *row = &w->tried.items[i];
        json_t *o = json_object();
        bool plan = isfinite(row->time_s);
        double speed = row->time_s > 0 ? e->time_s / row->time_s : 1;
        text_printf(e->out, "  %-52s %10s", row->what,
                    plan ? human_seconds(t, row->time_s) : "no plan");
        if (plan)
            text_printf(e->out, "  %6.2fx", speed);
        text_puts(e->out, "\n");
        put_text(o, "what", row->what);
        put_real(o, "pipeline_time_s", row->time_s);
        put_real(o, "speedup", plan ? speed : 0);
        json_array_append_new(list, o);
    }
    for (int i = 0; i < w->left_out.n; i++)
        text_printf(e->out, "  %-52s not tried: planning takes too long\n",
                    w->left_out.items[i]);
    json_object_set_new(e->json, key, list);
}

void explain_plan(Arena *a, Plan *plan, const GraphProblem *g, const PlanResult *r, Text *out)
{
    Explain e = {.arena = a,
                 .plan = plan,
                 .g = g,
                 .r = r,
                 .slowest = plan_bottleneck(plan),
                 .time_s = plan_pipeline_seconds(plan),
                 .stage_of = arena_array(a, int, g->problem.n + 1),
                 .out = out,
                 .json = json_object()};
    for (int s = 0; s < r->n_stages; s++)
        for (int i = 0; i < r->stages[s].n_nodes; i++)
            e.stage_of[r->stages[s].nodes[i]] = s;
    explain_slowest(&e);
    if (strcmp(g->cost.model, "pipedream") != 0)
        explain_cuts(&e);
    WhatIfs others = other_plans(a, g, r), helps = what_helps(a, g, r);
    put_table(&e, "other_plans", "other plans", &others);
    put_table(&e, "what_helps", "what would help", &helps);
    char *text = json_dumps(e.json, JSON_COMPACT | JSON_REAL_PRECISION(17));
    plan->explain = arena_strdup(a, text);
    free(text);
    json_decref(e.json);
}
