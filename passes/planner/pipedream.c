// PipeDream's recurrence. Cuts are ordered by inclusion, a stage lies between two of them; index -1
// is the empty cut. On a level of M machines with bandwidth B, best(i, j, m) is the least time of a
// pipeline of exactly m machines between cuts i and j; T, A and P are sums over the nodes between two
// cuts, O what a cut sends, c the compression, s the memory:
//   one stage      (T + 4 (r - 1) P / (B r) / n_in) / r, n_in: machines of the level below, 1 on the first
//   a last stage   from k on q machines: (T + 4 (q - 1) P / (B q)) / q, and with c also
//                  2 O(k) / (B q c) and, where j is not the whole graph, 2 O(j) / (B q c)
//   best(i, j, m)  the least of one stage on m, and of max(best(i, k, m - q), last stage) over k and q
// Levels: T(i, j) of a level is best(i, j, M) of the level below. straight: r = q = 1. fewer: m may
// be fewer. Memory: one stage on r needs ceil((M - r) / r) (A + P) <= s, a last stage on q that ends at
// machine m ceil((M - m) / q) (A + P) <= s.
// Kept as they are: the first stage's sending is never charged, n_in is missing in last stages, one
// micro-batch too few is in flight, so that memory never limits one stage on all machines.
//
// All starts i of a level are treated at once: for given k, j and q, best(., j, m) takes in
// best(., k, m - q) in one vector loop. Pairs of cuts of which none is within the other are infinite,
// and stay so. Choices are not stored: the way back looks for the least again.
#include "passes/planner/pipedream.h"

#include "base/vec.h"

#include <math.h>
#include <string.h>

enum { CUTS_LIMIT = 4000 };
static const double WORK_LIMIT = 8e9; // steps of the inner loop: some seconds

typedef struct Level {
    int machines, below; // M, n_in
    double bytes_per_s;
    bool last;    // best is known for i = -1 only
    double *best; // of j and m: [starts], start 0 is the empty cut, start i + 1 cut i
} Level;

typedef struct Dp {
    const PipedreamGraph *graph;
    const PipedreamCuts *cuts;
    const CostOptions *options;
    double memory; // 0: no limit
    Level levels[MAX_LEVELS];
    int n_levels;
    double *seconds; // of i and j, like best with m = 1
} Dp;

// A stage of a level: a whole pipeline of the level below, on `replicas` groups of its machines.
typedef struct Stage {
    int parent;    // stage of the level above; -1: the plan
    int i, j;      // cuts; -1: the empty one
    int m;         // machines of its pipeline on the level below
    int replicas;  // on its own level
    int *at, n_at; // first machines of the groups that it has in the end
    bool first;    // of its pipeline: it was one stage before others were put behind it
} Stage;

typedef VEC(Stage) Stages;

static int starts(const Level *l, int j)
{
    return l->last ? 1 : j + 1;
}

static double *best(const Level *l, int j, int m)
{
    size_t before = l->last ? (size_t)j : (size_t)j * ((size_t)j + 1) / 2;
    return l->best + before * (size_t)l->machines + (size_t)(m - 1) * (size_t)starts(l, j);
}

// T(., j), which for the last level holds more starts than it needs.
static const double *whole(const Dp *d, int level, int j)
{
    if (!level)
        return d->seconds + (size_t)j * ((size_t)j + 1) / 2;
    return best(&d->levels[level - 1], j, d->levels[level - 1].machines);
}

static double between(const double *sums, int i, int j)
{
    return sums[j] - (i < 0 ? 0 : sums[i]);
}

static bool fits(const Dp *d, int i, int j, int in_flight)
{
    double bytes =
        between(d->cuts->activation_bytes, i, j) + between(d->cuts->parameter_bytes, i, j);
    return d->memory <= 0 || in_flight * bytes <= d->memory;
}

static int ceil_div(int a, int b)
{
    return (a + b - 1) / b;
}

static double sync_s(const Dp *d, int level, const Stage *s)
{
    const Level *l = &d->levels[level];
    double bytes = 4.0 * (s->replicas - 1) * between(d->cuts->parameter_bytes, s->i, s->j);
    return bytes / (l->bytes_per_s * s->replicas) / (s->first ? l->below : 1);
}

static double one_stage(const Dp *d, int level, int i, int j, int r)
{
    Stage s = {.i = i, .j = j, .replicas = r, .first = true};
    const Level *l = &d->levels[level];
    if ((d->options->straight && r > 1) || !fits(d, i, j, ceil_div(l->machines - r, r)))
        return INFINITY;
    return (whole(d, level, j)[i + 1] + sync_s(d, level, &s)) / r;
}

static double receive_s(const Dp *d, int level, const Stage *s)
{
    double share = d->levels[level].bytes_per_s * s->replicas * d->options->compression;
    bool counts = d->options->compression > 0 && !s->first;
    return counts ? 2 * d->cuts->output_bytes[s->i] / share : 0;
}

static double send_s(const Dp *d, int level, const Stage *s)
{
    double share = d->levels[level].bytes_per_s * s->replicas * d->options->compression;
    bool counts = d->options->compression > 0 && !s->first && s->j < d->cuts->n - 1;
    return counts ? 2 * d->cuts->output_bytes[s->j] / share : 0;
}

static double last_stage(const Dp *d, int level, int k, int j, int q)
{
    Stage s = {.i = k, .j = j, .replicas = q};
    double t = (whole(d, level, j)[k + 1] + sync_s(d, level, &s)) / q;
    return fmax(t, fmax(receive_s(d, level, &s), send_s(d, level, &s)));
}

// The first machine at which a last stage on q may end; more than all: nowhere.
static int first_end(const Dp *d, int level, int k, int j, int q)
{
    int m = q + 1, machines = d->levels[level].machines;
    while (m <= machines && !fits(d, k, j, ceil_div(machines - m, q)))
        m++;
    return m;
}

static void take_in(double *restrict to, const double *restrict from, double t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double x = from[i] > t ? from[i] : t;
        to[i] = x < to[i] ? x : to[i];
    }
}

static void split(const Dp *d, int level, int k, int j, int q)
{
    const Level *l = &d->levels[level];
    double t = last_stage(d, level, k, j, q);
    if (t == INFINITY)
        return;
    int m = first_end(d, level, k, j, q), n = l->machines - m + 1;
    if (l->last && n > 0) { // one start: all m at once
        take_in(best(l, j, m), best(l, k, m - q), t, (size_t)n);
        return;
    }
    for (; m <= l->machines; m++)
        take_in(best(l, j, m), best(l, k, m - q), t, (size_t)starts(l, k));
}

static void fill(const Dp *d, int level, int j)
{
    const Level *l = &d->levels[level];
    for (int m = 1; m <= l->machines; m++)
        for (int i = 0; i < starts(l, j); i++)
            best(l, j, m)[i] = one_stage(d, level, i - 1, j, m);
    for (int k = 0; k < j; k++)
        for (int q = 1; q < (d->options->straight ? 2 : l->machines); q++)
            split(d, level, k, j, q);
    for (int m = 2; d->options->fewer && m <= l->machines; m++)
        for (int i = 0; i < starts(l, j); i++)
            best(l, j, m)[i] = fmin(best(l, j, m)[i], best(l, j, m - 1)[i]);
}

static bool within(const Dp *d, int i, int j)
{
    size_t words = (size_t)d->graph->words;
    const uint64_t *in = d->cuts->sets + words * (size_t)i,
                   *out = d->cuts->sets + words * (size_t)j;
    for (size_t w = 0; w < words; w++)
        if (in[w] & ~out[w])
            return false;
    return true;
}

static void measure_pairs(Arena *a, Dp *d)
{
    int n = d->cuts->n;
    d->seconds = arena_array(a, double, (size_t)n *((size_t)n + 1) / 2);
    double *at = d->seconds;
    for (int j = 0; j < n; j++)
        for (int i = -1; i < j; i++)
            *at++ = i < 0 || within(d, i, j) ? between(d->cuts->seconds, i, j) : INFINITY;
}

static double work(const Dp *d)
{
    double n = d->cuts->n, steps = n * n / 2;
    for (int i = 0; i < d->n_levels; i++) {
        double m = d->levels[i].machines, pairs = d->options->straight ? m : m * m / 2;
        steps += pairs * n * n / 2 * (d->levels[i].last ? 1 : n / 3);
    }
    return steps;
}

static void solve(Arena *a, Dp *d)
{
    measure_pairs(a, d);
    size_t n = (size_t)d->cuts->n;
    for (int i = 0; i < d->n_levels; i++) {
        Level *l = &d->levels[i];
        l->best = arena_array(a, double, (l->last ? n : n * (n + 1) / 2) * (size_t)l->machines);
        for (int j = 0; j < (int)n; j++)
            fill(d, i, j);
    }
}

// The way back through one level: stages of the pipeline of `parent`, the last one first.
typedef struct Choice {
    int k, q; // k = -2: one stage
    double time;
} Choice;

static Choice choose(const Dp *d, int level, int i, int j, int m)
{
    const Level *l = &d->levels[level];
    Choice c = {-2, m, one_stage(d, level, i, j, m)};
    for (int k = i + 1; k < j; k++)
        for (int q = 1; q < (d->options->straight ? 2 : m); q++) {
            if (first_end(d, level, k, j, q) > m)
                continue;
            double before = best(l, k, m - q)[i + 1];
            if (before >= c.time)
                continue;
            double t = fmax(before, last_stage(d, level, k, j, q));
            if (t < c.time)
                c = (Choice){k, q, t};
        }
    return c;
}

// Machines of a stage: of every group that its parent has, the q from `offset` on. The groups take micro-batches in
// turn, so that what passes between two stages of a group stays there.
static void place(Arena *a, Stage *s, const Stage *parent, int offset, int unit)
{
    s->n_at = parent->n_at * s->replicas;
    s->at = arena_array(a, int, s->n_at);
    for (int g = 0; g < parent->n_at; g++)
        for (int r = 0; r < s->replicas; r++)
            s->at[r * parent->n_at + g] = parent->at[g] + (offset + r) * unit;
}

static void unfold(Arena *a, const Dp *d, int level, const Stages *up, int parent, Stages *out)
{
    const Level *l = &d->levels[level];
    const Stage *p = &up->items[parent];
    int unit = 1, j = p->j, m = p->m, begin = out->n;
    for (int i = 0; i < level; i++)
        unit *= d->levels[i].machines;
    for (bool more = true; more;) {
        while (d->options->fewer && m > 1 &&
               best(l, j, m - 1)[p->i + 1] <= best(l, j, m)[p->i + 1])
            m--;
        Choice c = choose(d, level, p->i, j, m);
        more = c.k != -2;
        Stage s = {.parent = parent, .i = more ? c.k : p->i, .j = j, .replicas = c.q};
        s.first = !more;
        s.m = level ? d->levels[level - 1].machines : 0;
        place(a, &s, p, m - c.q, unit);
        vec_push(a, out, s);
        j = c.k;
        m -= c.q;
    }
    for (int x = begin, y = out->n - 1; x < y; x++, y--) {
        Stage s = out->items[x];
        out->items[x] = out->items[y];
        out->items[y] = s;
    }
}

// Numbers of a stage of the plan, from its own level up; those of the levels above are shared by all
// stages of a pipeline, its boundaries by the first and the last one.
static void cost(const Dp *d, const Stages *by_level, int index, StageChoice *out)
{
    const Stage *leaf = &by_level[0].items[index], *s = leaf;
    double compute = between(d->cuts->seconds, leaf->i, leaf->j), time = compute;
    double sync = 0, receive = 0, send = 0;
    for (int level = 0; level < d->n_levels; level++) {
        double all = sync_s(d, level, s);
        compute /= s->replicas;
        sync = (sync + all) / s->replicas;
        time = (time + all) / s->replicas;
        receive /= s->replicas;
        send /= s->replicas;
        if (s->i == leaf->i)
            receive = fmax(receive, receive_s(d, level, s));
        if (s->j == leaf->j)
            send = fmax(send, send_s(d, level, s));
        time = fmax(time, fmax(receive, send));
        if (s->parent >= 0)
            s = &by_level[level + 1].items[s->parent];
    }
    out->compute_s = compute;
    out->sync_s = sync;
    out->receive_s = receive;
    out->send_s = send;
    out->time_s = time;
    out->in_bytes = leaf->i < 0 ? 0 : d->cuts->output_bytes[leaf->i];
    out->out_bytes = leaf->j == d->cuts->n - 1 ? 0 : d->cuts->output_bytes[leaf->j];
    out->parameter_bytes = between(d->cuts->parameter_bytes, leaf->i, leaf->j);
    out->memory_bytes =
        out->parameter_bytes + between(d->cuts->activation_bytes, leaf->i, leaf->j);
    out->machines = leaf->at;
    out->replicas = leaf->n_at;
}

static int *stages_of_nodes(Arena *a, const Dp *d, const Stages *leaves)
{
    int *stage = arena_array(a, int, d->graph->problem->n + 1);
    for (int v = 0; v < d->graph->problem->n; v++) {
        stage[v] = -1;
        for (int s = leaves->n - 1; s >= 0; s--) {
            const uint64_t *set =
                d->cuts->sets + (size_t)leaves->items[s].j * (size_t)d->graph->words;
            if (set[v >> 6] >> (v & 63) & 1)
                stage[v] = s;
        }
    }
    pipedream_place_rest(d->graph, stage);
    return stage;
}

static void add_nodes(Arena *a, const Dp *d, const int *stage, int index, StageChoice *out)
{
    const Problem *p = d->graph->problem;
    out->nodes = arena_array(a, int, p->n + 1);
    for (int i = 0; i < p->n; i++) {
        int v = d->graph->order[i];
        if (stage[v] != index)
            continue;
        out->nodes[out->n_nodes++] = v;
        if (pipedream_planned(d->graph, v)) {
            out->forward_s += p->nodes[v].forward_s[0];
            out->backward_s += p->nodes[v].backward_s[0];
        }
    }
}

static void unfold_all(Arena *a, const Dp *d, PlanResult *r)
{
    int top = d->n_levels - 1, zero = 0;
    Stages plan = {0}, by_level[MAX_LEVELS] = {0};
    Stage all = {-1, -1, d->cuts->n - 1, d->levels[top].machines, 1, &zero, 1, true};
    vec_push(a, &plan, all);
    for (int level = top; level >= 0; level--) {
        const Stages *up = level == top ? &plan : &by_level[level + 1];
        for (int s = 0; s < up->n; s++)
            unfold(a, d, level, up, s, &by_level[level]);
    }
    for (int s = 0; s < by_level[top].n; s++)
        by_level[top].items[s].parent = -1;
    r->n_stages = by_level[0].n;
    r->stages = arena_array(a, StageChoice, r->n_stages);
    const int *stage = stages_of_nodes(a, d, &by_level[0]);
    int machines = 1;
    for (int i = 0; i < d->n_levels; i++)
        machines *= d->levels[i].machines;
    for (int s = 0; s < r->n_stages; s++) {
        StageChoice *choice = &r->stages[s];
        cost(d, by_level, s, choice);
        add_nodes(a, d, stage, s, choice);
        r->machines_used += choice->replicas;
        // The rule counts unused machines as such behind, and one micro-batch less than there are.
        choice->in_flight = 1 + ceil_div(machines - r->machines_used, choice->replicas);
        choice->memory_bytes *= choice->in_flight - 1;
    }
}

double pipedream_single_machine(const PipedreamGraph *g)
{
    const ProblemNode *nodes = g->problem->nodes;
    double t = 0;
    for (int v = 0; v < g->problem->n; v++)
        t += pipedream_planned(g, v) ? nodes[v].forward_s[0] + nodes[v].backward_s[0] : 0;
    return t;
}

double pipedream_data_parallel(const PipedreamGraph *g, const Machines *m)
{
    double t = pipedream_single_machine(g), parameters = 0;
    for (int v = 0; v < g->problem->n; v++)
        parameters += pipedream_planned(g, v) ? g->problem->nodes[v].parameter_bytes : 0;
    for (int i = 0; i < m->n_levels; i++) {
        double n = m->levels[i].size, below = i ? m->levels[i - 1].size : 1;
        t = (t + 4 * (n - 1) * parameters / (m->levels[i].bytes_per_s * n) / below) / n;
    }
    return t;
}

static PlanResult *result(Arena *a, const Dp *d, const Machines *m)
{
    PlanResult *r = arena_new(a, PlanResult);
    const Level *top = &d->levels[d->n_levels - 1];
    double time = best(top, d->cuts->n - 1, top->machines)[0];
    r->single_machine_time_s = pipedream_single_machine(d->graph);
    r->data_parallel_time_s = pipedream_data_parallel(d->graph, m);
    r->method = arena_printf(a, "PipeDream's recurrence over %d cuts", d->cuts->n);
    if (time == INFINITY) {
        r->why = d->memory > 0
                     ? arena_printf(a,
                                    "no plan of %d stages or replicas holds its weights "
                                    "and activations in %.0f bytes by PipeDream's rule",
                                    m->n, d->memory)
                     : arena_printf(a,
                                    "PipeDream's model uses every machine: there are "
                                    "fewer layers than the %d stages",
                                    m->n);
        return r;
    }
    r->feasible = true;
    r->pipeline_time_s = time;
    r->exact = d->cuts->all;
    r->lower_bound_s = r->exact ? time : d->cuts->seconds[d->cuts->n - 1] / m->n;
    unfold_all(a, d, r);
    return r;
}

PlanResult *pipedream_solve(Arena *a, const Problem *p, const Machines *m, const CostOptions *o)
{
    Dp d = {.graph = pipedream_graph(a, p), .options = o, .n_levels = m->n_levels};
    d.cuts = pipedream_cuts(a, d.graph, CUTS_LIMIT);
    if (!d.cuts)
        return NULL;
    d.memory = o->memory_bytes > 0 ? o->memory_bytes : m->types[0].memory_bytes;
    for (int i = 0; i < m->n_levels; i++)
        d.levels[i] = (Level){.machines = m->levels[i].size,
                              .below = i ? m->levels[i - 1].size : 1,
                              .bytes_per_s = m->levels[i].bytes_per_s,
                              .last = i == m->n_levels - 1};
    if (work(&d) > WORK_LIMIT)
        return NULL;
    solve(a, &d);
    return result(a, &d, m);
}
