// From a profiled graph, the command line and devices.json to what the planner solves.
//
// Nodes that read data (`Input...`) compute nothing that a machine of the pipeline would wait for: the
// planner never sees them, and they join the stage of their first user.
#include "driver/graph_problem.h"

#include "driver/machines.h"
#include "ir/codec.h"
#include "plan/schedule.h"

#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool reads_data(const ProfileNode *n)
{
    return str_starts(n->description, "Input");
}

static void add_nodes(Arena *a, GraphProblem *g, bool all)
{
    const Profile *p = g->profile;
    g->problem.nodes = arena_array(a, ProblemNode, p->nodes.n);
    g->node_of = arena_array(a, int, p->nodes.n);
    g->problem.n_profiles = 1;
    for (int i = 0; i < p->nodes.n; i++) {
        const ProfileNode *n = &p->nodes.items[i];
        g->node_of[i] = -1;
        if (!all && reads_data(n))
            continue;
        g->node_of[i] = g->problem.n;
        g->problem.nodes[g->problem.n++] = (ProblemNode){
            .name = n->id,
            .kind = n->description,
            .forward_s = {n->forward_ms / 1e3},
            .backward_s = {n->backward_ms / 1e3},
            .parameter_bytes = n->parameter_bytes,
            .activation_bytes = n->activation_bytes,
        };
    }
}

// One tensor a node: what its users read is not told apart in the file.
static void add_tensors(Arena *a, GraphProblem *g)
{
    const Profile *p = g->profile;
    Problem *q = &g->problem;
    int *users = arena_array(a, int, q->n + 1);
    q->tensors = arena_array(a, ProblemTensor, q->n);
    q->n_tensors = q->n;
    for (int e = 0; e < p->edges.n; e++)
        if (g->node_of[p->edges.items[e].from] >= 0)
            users[g->node_of[p->edges.items[e].from]]++;
    for (int v = 0; v < q->n; v++)
        q->tensors[v] = (ProblemTensor){.producer = v,
                                        .bytes = q->nodes[v].activation_bytes,
                                        .users = arena_array(a, int, users[v])};
    for (int e = 0; e < p->edges.n; e++) {
        int from = g->node_of[p->edges.items[e].from], to = g->node_of[p->edges.items[e].to];
        bool known = from < 0 || to < 0;
        for (int u = 0; !known && u < q->tensors[from].n_users; u++)
            known = q->tensors[from].users[u] == to;
        if (!known)
            q->tensors[from].users[q->tensors[from].n_users++] = to;
    }
}

static bool matches(const ProblemNode *n, const char *pattern)
{
    return !fnmatch(pattern, n->name, 0) || !fnmatch(pattern, n->kind, 0);
}

typedef VEC(ProblemPair) Pairs;

// All nodes that match either pattern share a stage. false: one of the two matches nothing, reported.
static bool join(Arena *a, const Problem *p, Pairs *pairs, const char *const pattern[2])
{
    int first = -1;
    for (int k = 0; k < 2; k++) {
        int found = 0;
        for (int v = 0; v < p->n; v++) {
            if (!matches(&p->nodes[v], pattern[k]))
                continue;
            found++;
            if (first >= 0)
                vec_push(a, pairs, ((ProblemPair){first, v}));
            first = first < 0 ? v : first;
        }
        if (!found) {
            error_at(NO_LOC,
                     "no layer of this graph is called or described `%s`; patterns are those "
                     "of a shell, like 'node1?' or 'Conv2d*'",
                     pattern[k]);
            return false;
        }
    }
    return true;
}

static bool add_rules(Arena *a, Problem *p, const Args *args)
{
    Pairs pairs = {0};
    bool good = true;
    for (int i = 0; i < args->pins.n; i++) {
        const char *text = args->pins.items[i], *sep = strchr(text, '=');
        if (!sep) {
            error_at(NO_LOC, "--pin takes PATTERN=PATTERN, not `%s`", text);
            good = false;
            continue;
        }
        const char *left = arena_strndup(a, text, (size_t)(sep - text));
        good &= join(a, p, &pairs, (const char *const[]){left, sep + 1});
    }
    for (int i = 0; i < args->together.n; i++) {
        const char *text = args->together.items[i];
        good &= join(a, p, &pairs, (const char *const[]){text, text});
    }
    for (int i = 0; i < args->no_cut.n; i++) {
        int found = 0;
        for (int v = 0; v < p->n; v++) {
            if (!matches(&p->nodes[v], args->no_cut.items[i]))
                continue;
            found++;
            for (int u = 0; u < p->tensors[v].n_users; u++)
                vec_push(a, &pairs, ((ProblemPair){v, p->tensors[v].users[u]}));
        }
        if (!found)
            error_at(NO_LOC, "--no-cut: no layer of this graph is called or described `%s`",
                     args->no_cut.items[i]);
        good &= found > 0;
    }
    p->together = pairs.items;
    p->n_together = pairs.n;
    return good;
}

// A device's own times: the same graph, measured there.
static bool add_profile(Arena *a, GraphProblem *g, const char *file, Loc loc)
{
    Profile *p = profile_load(a, file);
    if (!p)
        return false;
    int k = g->problem.n_profiles;
    if (k == MAX_PROFILES || p->nodes.n != g->profile->nodes.n) {
        error_at(loc,
                 k == MAX_PROFILES ? "there are more than %d profiles"
                                   : "its profile has other layers than the %d of the graph",
                 k == MAX_PROFILES ? MAX_PROFILES : g->profile->nodes.n);
        return false;
    }
    for (int i = 0; i < p->nodes.n; i++) {
        const ProfileNode *n = &p->nodes.items[i];
        if (strcmp(n->id, g->profile->nodes.items[i].id) != 0) {
            error_at(n->loc, "this is `%s` where the graph has `%s`: profile the same model",
                     n->id, g->profile->nodes.items[i].id);
            return false;
        }
        if (g->node_of[i] >= 0) {
            g->problem.nodes[g->node_of[i]].forward_s[k] = n->forward_ms / 1e3;
            g->problem.nodes[g->node_of[i]].backward_s[k] = n->backward_ms / 1e3;
        }
    }
    g->problem.n_profiles++;
    return true;
}

// What is beside --devices FILE, unless it is an absolute path.
static const char *beside(Arena *a, const char *file, const char *name)
{
    const char *slash = strrchr(file, '/');
    if (name[0] == '/' || !slash)
        return name;
    return arena_printf(a, "%.*s/%s", (int)(slash - file), file, name);
}

// Profiles of devices come first, so that machines know which times are theirs.
static Machines *machines_of_file(Arena *a, GraphProblem *g, const char *file)
{
    const Devices *d = devices_read(a, file);
    int *profile = d ? arena_array(a, int, d->n + 1) : NULL;
    for (int i = 0; d && i < d->n; i++) {
        const Device *device = &d->devices[i];
        if (!device->profile)
            continue;
        if (!add_profile(a, g, beside(a, file, device->profile), device->loc))
            return NULL;
        profile[i] = g->problem.n_profiles - 1;
    }
    return d ? machines_of_devices(a, d, file, profile, &g->devices) : NULL;
}

static Machines *machines_of_levels(Arena *a, const Args *args)
{
    int sizes[MAX_LEVELS];
    for (int l = 0; l < args->machines.n; l++)
        sizes[l] = (int)args->machines.items[l];
    return machines_alike(a, sizes, args->bandwidths.items, args->machines.n);
}

static double state_factor(const Options *o)
{
    if (!strcmp(o->optimizer, "sgd"))
        return o->momentum > 0;
    return 2; // Adam: two moments
}

// PipeDream's planner ignores transfers unless a ratio is given.
static double compression(const Args *args)
{
    const Codec *codec = codec_find(args->options.transfer);
    bool pipedream = args->cost_model && !strcmp(args->cost_model, "pipedream");
    return args->compression > 0 || !codec || pipedream ? args->compression : codec->ratio;
}

CostOptions cost_options(const Args *args)
{
    static const char *const overlap[] = {"none", "transfers", "all"};
    const Options *o = &args->options;
    CostOptions c = {.model = args->cost_model ? args->cost_model : "stagecc",
                     .overlap = OVERLAP_TRANSFERS,
                     .schedule = o->schedule,
                     .micro_batches =
                         options_given(o, "micro-batches") ? (int)o->micro_batches : 0,
                     .state_factor = state_factor(o),
                     .memory_bytes = (double)args->memory_bytes,
                     .compression = compression(args),
                     .straight = args->straight,
                     .recompute = !strcmp(o->recompute, "always") ? 1
                                  : !strcmp(o->recompute, "auto") ? 2
                                                                  : 0,
                     .fewer = args->fewer_machines};
    for (int i = 0; i < 3; i++)
        if (args->overlap && !strcmp(args->overlap, overlap[i]))
            c.overlap = (Overlap)i;
    return c;
}

// Without --micro-batches the plan of a graph is pipedream's: every micro-batch is an update.
static bool schedule_known(const Args *args)
{
    const Options *o = &args->options;
    if (schedule_open(o)) {
        error_at(NO_LOC, "plans of profiled graphs know no schedule faster than 1f1b: use that "
                         "instead of auto");
        return false;
    }
    bool asynchronous = schedule_asynchronous(o), stashing = !strcmp(o->schedule, "pipedream");
    if (asynchronous && !stashing)
        error_at(NO_LOC,
                 "plans of profiled graphs do not count the weight versions of %s: use "
                 "--schedule pipedream",
                 o->schedule);
    else if (schedule_splits(o))
        error_at(
            NO_LOC,
            "a profile does not say how much of backward the gradients of weights take, so "
            "plans of profiled graphs do not know %s: use --schedule 1f1b",
            o->schedule);
    else if (schedule_rules(o)->interleaves || o->virtual_stages > 1)
        error_at(NO_LOC,
                 "plans of profiled graphs have one stage on each machine: use --schedule "
                 "1f1b, without --virtual-stages");
    else if (!strcmp(o->schedule, "gpipe") && !options_given(o, "micro-batches"))
        error_at(NO_LOC, "gpipe drains the pipeline behind every step: say of how many "
                         "micro-batches (--micro-batches M)");
    else if (asynchronous && options_given(o, "micro-batches"))
        error_at(NO_LOC, "in the plan of a profiled graph pipedream updates after every "
                         "micro-batch: drop --micro-batches");
    else
        return true;
    return false;
}

GraphProblem *graph_problem(Arena *a, Profile *p, const Args *args)
{
    if (!schedule_known(args))
        return NULL;
    GraphProblem *g = arena_new(a, GraphProblem);
    g->profile = p;
    g->cost = cost_options(args);
    add_nodes(a, g, !strcmp(g->cost.model, "pipedream"));
    add_tensors(a, g);
    if (!add_rules(a, &g->problem, args))
        return NULL;
    g->machines =
        args->devices ? machines_of_file(a, g, args->devices) : machines_of_levels(a, args);
    return g->machines ? g : NULL;
}

int *graph_stages(Arena *a, const GraphProblem *g, const PlanResult *r)
{
    const Profile *p = g->profile;
    int *stage = arena_array(a, int, p->nodes.n + 1),
        *of = arena_array(a, int, g->problem.n + 1);
    for (int s = 0; s < r->n_stages; s++)
        for (int i = 0; i < r->stages[s].n_nodes; i++)
            of[r->stages[s].nodes[i]] = s;
    for (int i = 0; i < p->nodes.n; i++)
        stage[i] = g->node_of[i] < 0 ? r->n_stages - 1 : of[g->node_of[i]];
    for (int e = 0; e < p->edges.n; e++) {
        const ProfileEdge *edge = &p->edges.items[e];
        if (g->node_of[edge->from] < 0 && stage[edge->to] < stage[edge->from])
            stage[edge->from] = stage[edge->to];
    }
    return stage;
}
