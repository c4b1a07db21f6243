// check and plan of a profiled graph (graph.txt) without its model: what it holds, and the contiguous
// split over its layers. The order of the layers is the file's own where the edges allow it, so a file
// that is read and written again keeps every byte; a plan adds stage ids and nothing else.
#include "driver/driver.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

// Between two processes of one host, where the user names no bandwidth (-b of later versions).
static const double send_bytes_per_s = 7e9;

static char *read_operand(Arena *a, const Args *args)
{
    char *text = file_read(args->operand, NULL);
    char *kept = text ? arena_strdup(a, text) : NULL;
    free(text);
    return kept;
}

bool graph_file_given(Arena *a, const Args *args)
{
    const char *text = read_operand(a, args);
    return text && profile_looks_like(text);
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

int graph_file_check(Arena *a, const Args *args)
{
    const Profile *p = profile_read(a, args->operand, read_operand(a, args));
    if (!p || !profile_order(a, p))
        return EXIT_INPUT;
    if (args->emit && strcmp(args->emit, "graph") != 0) {
        error_at(NO_LOC, "--emit of a profiled graph takes graph, not `%s`", args->emit);
        return EXIT_INPUT;
    }
    double ms = total(p, milliseconds), bytes = total(p, parameters);
    char human[32];
    Text t = {0};
    if (args->emit)
        profile_print(&t, p);
    else if (args->json)
        text_printf(
            &t, "{\"nodes\": %d, \"edges\": %d, \"ms\": %.17g, \"parameter_bytes\": %.17g}\n",
            p->nodes.n, p->edges.n, ms, bytes);
    else
        text_printf(&t, "%s: %d nodes, %d edges, %.3f ms, parameters %s, no errors\n",
                    args->operand, p->nodes.n, p->edges.n, ms,
                    human_bytes(human, (int64_t)bytes));
    fwrite(t.data ? t.data : "", 1, t.length, stdout);
    text_release(&t);
    return EXIT_DONE;
}

// The chain that is cut: layers in order, the bytes that cross right after each, sums of seconds.
typedef struct Chain {
    int n;
    const int *order;
    double *seconds;  // [n + 1] sums before each position
    double *crossing; // [n] bytes
} Chain;

static Chain chain_of(Arena *a, const Profile *p, const int *order)
{
    Chain c = {p->nodes.n, order, arena_array(a, double, p->nodes.n + 1),
               arena_array(a, double, p->nodes.n + 1)};
    int *position = arena_array(a, int, c.n + 1), *last = arena_array(a, int, c.n + 1);
    for (int i = 0; i < c.n; i++) {
        position[order[i]] = last[order[i]] = i;
        c.seconds[i + 1] = c.seconds[i] + milliseconds(&p->nodes.items[order[i]]) / 1e3;
    }
    for (int e = 0; e < p->edges.n; e++) {
        int from = p->edges.items[e].from, to = position[p->edges.items[e].to];
        last[from] = to > last[from] ? to : last[from];
    }
    for (int i = 0; i < c.n; i++)
        for (int cut = position[i]; cut < last[i]; cut++)
            c.crossing[cut] += p->nodes.items[i].activation_bytes;
    return c;
}

// Positions first .. last as a stage: it computes, and both of its boundaries cost it activations
// and as many gradients.
static double stage_seconds(const Chain *c, int first, int last)
{
    double bytes =
        (first ? c->crossing[first - 1] : 0) + (last < c->n - 1 ? c->crossing[last] : 0);
    return c->seconds[last + 1] - c->seconds[first] + 2 * bytes / send_bytes_per_s;
}

// Least time of the slowest of `stages` stages; their last positions into cuts.
static double split(Arena *a, const Chain *c, int stages, int *cuts)
{
    int width = c->n + 1;
    double *best = arena_array(a, double, (stages + 1) * width);
    int *from = arena_array(a, int, (stages + 1) * width);
    for (int i = 1; i < (stages + 1) * width; i++)
        best[i] = INFINITY;
    for (int s = 1; s <= stages; s++)
        for (int end = s; end <= c->n; end++)
            for (int begin = s - 1; begin < end; begin++) {
                double t =
                    fmax(best[(s - 1) * width + begin], stage_seconds(c, begin, end - 1));
                if (t < best[s * width + end]) {
                    best[s * width + end] = t;
                    from[s * width + end] = begin;
                }
            }
    for (int s = stages, end = c->n; s > 0; end = from[s * width + end], s--)
        cuts[s - 1] = end - 1;
    return best[stages * width + c->n];
}

static void fill_plan(Arena *a, Plan *plan, const Profile *p, const Chain *c, const int *cuts)
{
    plan->n_units = c->n;
    plan->units = arena_array(a, PlanUnit, c->n);
    for (int i = 0; i < c->n; i++) {
        const ProfileNode *n = &p->nodes.items[c->order[i]];
        plan->units[i] = (PlanUnit){.name = n->id,
                                    .forward_s = n->forward_ms / 1e3,
                                    .backward_s = n->backward_ms / 1e3,
                                    .parameter_bytes = (int64_t)n->parameter_bytes,
                                    .activation_bytes = (int64_t)n->activation_bytes,
                                    .cut_bytes = (int64_t)c->crossing[i],
                                    .node = c->order[i]};
    }
    plan->stages = arena_array(a, PlanStage, plan->n_stages);
    for (int s = 0; s < plan->n_stages; s++) {
        PlanStage *stage = &plan->stages[s];
        *stage = (PlanStage){.id = s,
                             .replicas = 1,
                             .first_unit = s ? cuts[s - 1] + 1 : 0,
                             .last_unit = cuts[s]};
        for (int u = stage->first_unit; u <= stage->last_unit; u++) {
            stage->forward_s += plan->units[u].forward_s;
            stage->backward_s += plan->units[u].backward_s;
            stage->persistent_bytes += plan->units[u].parameter_bytes;
        }
        stage->send_s = stage_seconds(c, stage->first_unit, stage->last_unit) -
                        stage->forward_s - stage->backward_s;
    }
    for (int i = 0; i < c->n; i++)
        p->nodes.items[c->order[i]].stage = plan_stage_of_unit(plan, i);
}

static int write_plan(Arena *a, const Plan *plan, const Profile *p, const char *dir)
{
    Text t = {0};
    profile_print(&t, p);
    const char *path = arena_printf(a, "%s/gpus=%d.txt", dir, plan->n_stages);
    bool failed = file_write(path, t.data, t.length);
    text_release(&t);
    if (!failed) {
        char *json = plan_to_json(plan);
        path = arena_printf(a, "%s/plan.json", dir);
        failed = file_write(path, json, strlen(json));
        free(json);
    }
    if (failed)
        error_at((Loc){path, 0, 0}, "cannot write: %s", strerror(errno));
    return failed ? EXIT_ENVIRONMENT : EXIT_DONE;
}

static void show(const Plan *plan, const Args *args, const char *dir)
{
    if (args->json) {
        char *json = plan_to_json(plan);
        fputs(json, stdout);
        free(json);
        return;
    }
    Text t = {0};
    report_plan_table(&t, plan);
    printf("%s%s/plan.json, gpus=%d.txt\n", t.data, dir, plan->n_stages);
    text_release(&t);
}

int graph_file_plan(Arena *a, const Args *args, int stages)
{
    Profile *p = profile_read(a, args->operand, read_operand(a, args));
    const int *order = p ? profile_order(a, p) : NULL;
    if (!order)
        return EXIT_INPUT;
    if (stages > p->nodes.n) {
        error_at((Loc){args->operand, 0, 0}, "%d stages are too many for %d layers", stages,
                 p->nodes.n);
        return EXIT_NO_PLAN;
    }
    const char *dir = args->out ? args->out : "plan";
    if (dir_make(dir))
        fatal("cannot make the directory %s: %s", dir, strerror(errno));
    Chain c = chain_of(a, p, order);
    int *cuts = arena_array(a, int, stages);
    Plan plan = {.model = args->operand,
                 .source = args->operand,
                 .cost_source = "profile",
                 .options = args->options,
                 .n_stages = stages};
    plan.step_s = plan.lower_bound_s = split(a, &c, stages, cuts);
    plan.single_s = c.seconds[c.n];
    fill_plan(a, &plan, p, &c, cuts);
    int status = write_plan(a, &plan, p, dir);
    if (!status)
        show(&plan, args, dir);
    return status;
}
