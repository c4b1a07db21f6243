// Can a plan meet T? Relaxed: a cut is no more than a position, the seconds of the nodes in it, for which narrow.c
// knows whether there is a cut of some width and how many parameters such a cut holds, at least and at most. Whether
// one cut lies within another is not asked.
//
// A stage of r replicas sends and receives at most (r T - 2 L) B / 2 bytes a micro-batch, so both of its cuts are that
// narrow; and r T >= C + k(r) P / B, where k(r) = r times what one replica sends for a byte of gradients (cost_stagecc.c).
// A part of a plan is a stage of at most WIDEST replicas, or a run of stages with more: m machines with
// m T >= C + k(WIDEST + 1) P / B. From the front to the back, of all parts that end at a position and take g machines
// together only the least sum of k(r) P / B counts. With the cuts p(1), p(2), ... that sum is
//     (k(1) - k(2)) P(p(1)) + (k(2) - k(3)) P(p(2)) + ...
// in which every cut counts once, with the least or the most parameters that it may hold.
#include "passes/planner/bound.h"

#include "passes/planner/narrow.h"

#include <math.h>

enum {
    WIDEST = 2,  // replicas
    RUN,         // the kind of a part of stages with more; kinds below are replicas
    N_KINDS,     // kind 0: the part before the first
    STEPS = 256, // positions for T seconds
    WIDTHS = 64, // for every replica of a stage
    MOST_MACHINES = 32
};
static const double tolerance = 2e-4, rounding = 1e-9;

typedef struct Bound {
    Narrow *narrow;
    const Machines *m;
    const MachineLevel *link;
    const CostOptions *o;
    double seconds, parameters; // of all nodes
    double t;
    double sync[N_KINDS]; // seconds for a byte of parameters, of all replicas
    Spot *spots[RUN];     // [kind][positions] cuts that a stage of as many replicas may have
    double *from[RUN];    // [kind][positions] least seconds of those here and behind
    double *sum; // [positions + 1][machines + 1][N_KINDS] least so far; INFINITY: not reached
} Bound;

static double *sum_at(const Bound *b, int x, int g, int kind)
{
    return &b->sum[(x * (b->m->n + 1) + g) * N_KINDS + kind];
}

// Most bytes that may cross a cut of a stage with so many replicas.
static double width_of(const Bound *b, int replicas, double t)
{
    double c = b->o->compression > 0 ? b->o->compression : 1;
    return fmax(replicas * t / 2 - b->link->latency_s, 0) * b->link->bytes_per_s * c;
}

static void choose_spots(Bound *b)
{
    const Narrow *n = b->narrow;
    for (int r = 1; r < RUN; r++) {
        int widest = (int)fmin(width_of(b, r, b->t) / n->bytes * (1 + rounding), n->n_widths);
        for (int x = 0; x < n->n; x++) {
            b->spots[r][x] = spot_empty();
            for (int w = 0; w <= widest; w++)
                spot_join(&b->spots[r][x], &n->spots[w * n->n + x]);
        }
        for (int x = n->n - 1; x >= 0; x--)
            b->from[r][x] =
                fmin(b->spots[r][x].least_s, x + 1 < n->n ? b->from[r][x + 1] : INFINITY);
    }
}

typedef struct Place {
    Spot spot; // of the cut before the part
    int x, g, kind;
    double sum; // of all before, and of the cut's own share
} Place;

// The part from a place to the cuts at position y: whether it can be, how many machines it takes.
static void try_part(const Bound *b, const Place *from, const Spot *end, int y)
{
    double sync = b->sync[from->kind];
    double own = end->least_s - from->spot.most_s +
                 sync * fmax(0, end->least_parameters - from->spot.most_parameters);
    double all = end->least_s + from->sum + sync * end->least_parameters;
    int machines = from->kind;
    if (from->kind == RUN) {
        double need = fmax(own, all - from->g * b->t) / b->t * (1 - rounding);
        machines = need > RUN ? (int)fmin(ceil(need), b->m->n + 1) : RUN;
    }
    int g = from->g + machines;
    if (g > b->m->n || own > machines * b->t * (1 + rounding) ||
        all > g * b->t * (1 + rounding))
        return;
    double *sum = sum_at(b, y, g, from->kind);
    *sum = fmin(*sum, from->sum);
}

static void try_kind(const Bound *b, const Place *from)
{
    const Spot all = {b->seconds, b->seconds, b->parameters, b->parameters};
    int kind = from->kind < RUN ? from->kind : WIDEST, n = b->narrow->n;
    int most = from->kind < RUN ? from->kind : b->m->n - from->g;
    double reach = (from->spot.most_s + most * b->t) * (1 + rounding);
    for (int y = from->x; y < n && b->from[kind][y] <= reach; y++)
        if (b->spots[kind][y].least_s <= b->spots[kind][y].most_s)
            try_part(b, from, &b->spots[kind][y], y);
    try_part(b, from, &all, n);
}

// All parts that begin where others have ended: at position x, behind g machines, the last of them of `kind`.
static void go_on(const Bound *b, int x, int g, int kind, double sum)
{
    for (int next = 1; next <= (b->o->straight ? 1 : RUN); next++) {
        Place from = {.x = x, .g = g, .kind = next};
        if (kind == RUN && next == RUN)
            continue;
        if (kind) {
            double share = b->sync[kind] - b->sync[next];
            from.spot = b->spots[next < kind ? next : kind][x];
            from.sum = sum + share * (share > 0 ? from.spot.least_parameters
                                                : from.spot.most_parameters);
        }
        double left = (b->m->n - g) * b->t * (1 + rounding);
        if (from.spot.least_s <= from.spot.most_s && b->seconds - from.spot.most_s <= left)
            try_kind(b, &from);
    }
}

static bool possible(Bound *b, double t)
{
    int n = b->narrow->n, machines = b->m->n;
    b->t = t;
    choose_spots(b);
    for (int i = 0; i < (n + 1) * (machines + 1) * N_KINDS; i++)
        b->sum[i] = INFINITY;
    go_on(b, 0, 0, 0, 0);
    for (int x = 0; x < n; x++)
        for (int g = 1; g < machines; g++)
            for (int kind = 1; kind < N_KINDS; kind++)
                if (*sum_at(b, x, g, kind) < INFINITY)
                    go_on(b, x, g, kind, *sum_at(b, x, g, kind));
    for (int i = 0; i < (machines + 1) * N_KINDS; i++)
        if (sum_at(b, n, 0, 0)[i] < INFINITY)
            return true;
    return false;
}

static void set_up(Arena *a, Bound *b, double speed)
{
    int n = b->narrow->n, updates = b->o->micro_batches;
    for (int r = 1; r < N_KINDS; r++)
        b->sync[r] = 2.0 * (r - 1) / (updates ? updates : r) / b->link->bytes_per_s;
    for (int r = 1; r < RUN; r++) {
        b->spots[r] = arena_array(a, Spot, n);
        b->from[r] = arena_array(a, double, n);
    }
    for (int i = 0; i < n * (b->narrow->n_widths + 1); i++) {
        b->narrow->spots[i].least_s /= speed;
        b->narrow->spots[i].most_s /= speed;
    }
    b->sum = arena_array(a, double, (n + 1) * (b->m->n + 1) * N_KINDS);
}

static bool applies(const Bound *b, double bytes)
{
    return b->m->n_types == 1 && b->m->n <= MOST_MACHINES && b->o->overlap != OVERLAP_ALL &&
           bytes > 0 && bytes < INFINITY;
}

double bound_of_width(Arena *a, const Core *c, const Machines *m, const CostOptions *o,
                      double low, double high)
{
    Bound b = {.m = m, .link = &m->levels[0], .o = o};
    int widest = o->straight ? 1 : WIDEST;
    double bytes = width_of(&b, widest, high), speed = m->types[0].speed;
    for (int v = 0; v < c->n; v++) {
        b.seconds += c->least[v] / speed;
        b.parameters += c->parameters[v];
    }
    int positions = STEPS * (int)fmin(m->n, b.seconds / high + 1);
    if (applies(&b, bytes))
        b.narrow = narrow_cuts(a, c, positions, bytes, WIDTHS * widest);
    if (!b.narrow)
        return low;
    set_up(a, &b, speed);
    while (high > low * (1 + tolerance)) {
        double middle = (low + high) / 2;
        *(possible(&b, middle) ? &high : &low) = middle;
    }
    return low;
}
