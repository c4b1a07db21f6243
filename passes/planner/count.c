// With machines all alike, a tail of the pipeline is as good as the number of machines that it takes:
// the fewest for a tail leave the most to what stands in front, and as few micro-batches in flight. So one
// number a cut is enough, g(begin) = least of g(end) + r over all stages (begin, end), where r, the fewest
// replicas with which the stage meets T, has a closed form.
//
// Along one order, the ends that r replicas can reach from `begin` are a window that slides with it, and the least g of
// a window is a sliding minimum (Lemire, "Streaming maximum-minimum filter using no more than three comparisons per
// element", 2006). The windows of all r share their candidates, the stairs: cuts of falling index and rising g, without those
// for which a later one is as good, both in g and in the replicas that what crosses it needs. That the two never
// contradict each other is since a stage that gets across an earlier cut with r replicas may also begin at a later
// one that needs no more: an earlier cut has the lesser g only where it needs no more replicas. So one comparison
// tells whether a window may better g(begin), and it slides no sooner than then.
//
// Elsewhere, and where there would be more windows than cuts, all pairs of cuts are looked at.
#include "passes/planner/count.h"

#include "passes/planner/moves.h"

#include <math.h>
#include <string.h>

enum { ALL_REPLICAS = 24 }; // of large numbers not all are tried when `sparse`

typedef struct Window { // of ends for a stage of so many replicas
    int replicas;
    int first; // the stairs before it are out of reach
    double compute, forward, parameters, budget;
} Window;

struct Count {
    Arena *arena;
    const Cuts *cuts;
    const Machines *m;
    const CostOptions *o;
    const CostModel *model;
    bool memory; // what fits depends on the machines behind
    int most;    // replicas of a stage
    MachineLevel slowest;
    Transfer *transfers;  // [most + 1]
    Move *moves;          // [most + 1] without memory
    int *g;               // [cuts] fewest machines of the tail that begins there; n + 1: none
    int *next, *replicas; // [cuts] of the first stage of that tail: its end, its replicas
    int *alive, n_alive;  // cuts with a tail, of falling index
    Window *windows;      // of rising replicas: of all, or of all small and some large ones
    int n_windows;
    int *reach; // [windows] no fewer machines for a tail that begins with such a stage
    int *need;  // [cuts] the first window whose replicas get across what is cut there in time
    int *stairs, n_stairs;
    double t;
};

static Move move_of(const Count *c, int replicas, int behind)
{
    const MachineType *type = &c->m->types[0];
    Standing s = {.options = c->o,
                  .replicas = replicas,
                  .behind = behind,
                  .speed = type->speed,
                  .memory_bytes = type->memory_bytes,
                  .sync = c->slowest,
                  .in = c->transfers[replicas],
                  .out = c->transfers[replicas],
                  .recompute = c->o->recompute == 1};
    Move m = {.from = behind,
              .to = behind + replicas,
              .first = c->m->n - behind - replicas,
              .replicas = replicas,
              .profile = type->profile};
    c->model->fill(&s, &m);
    return m;
}

static void open_windows(Count *c, bool sparse)
{
    c->windows = arena_array(c->arena, Window, c->most);
    for (int r = 1; r <= c->most; r += sparse && r >= ALL_REPLICAS ? r / 8 : 1) {
        const MoveRow *row = &c->moves[r].rows[0];
        c->windows[c->n_windows++] = (Window){.replicas = r,
                                              .compute = row->compute,
                                              .forward = row->forward,
                                              .parameters = row->parameters,
                                              .budget = row->budget};
    }
    c->reach = arena_array(c->arena, int, c->n_windows);
    c->need = arena_array(c->arena, int, c->cuts->n);
    c->stairs = arena_array(c->arena, int, c->cuts->n);
}

bool count_slides(const Machines *m, const CostOptions *o)
{
    return !machines_limited(m, o) && o->overlap == OVERLAP_TRANSFERS &&
           !strcmp(o->model, "stagecc");
}

Count *count_new(Arena *a, const Cuts *cuts, const Machines *m, const CostOptions *o,
                 bool sparse)
{
    Count *c = arena_new(a, Count);
    *c = (Count){.arena = a, .cuts = cuts, .m = m, .o = o, .model = cost_model_find(o->model)};
    c->memory = machines_limited(m, o);
    c->most = o->straight ? 1 : m->n;
    c->slowest = links_slowest(m);
    c->transfers = arena_array(a, Transfer, c->most + 1);
    c->moves = arena_array(a, Move, c->most + 1);
    for (int r = 1; r <= c->most; r++) {
        c->transfers[r] = links_anywhere(m, r);
        c->moves[r] = move_of(c, r, 0);
    }
    c->g = arena_array(a, int, cuts->n);
    c->next = arena_array(a, int, cuts->n);
    c->replicas = arena_array(a, int, cuts->n);
    c->alive = arena_array(a, int, cuts->n);
    if (cuts->order && count_slides(m, o) && (sparse || c->most < cuts->n / 2))
        open_windows(c, sparse);
    return c;
}

static bool meets(const Count *c, int begin, int end, int r, int behind)
{
    Move own;
    const Move *m = &c->moves[r];
    if (c->memory) {
        own = move_of(c, r, behind);
        m = &own;
    }
    Step step = {begin, end, m};
    double seconds = step_seconds(c->cuts, &step);
    return seconds < INFINITY && seconds <= c->t; // infinite: it does not fit
}

// The least r > 1 with part / r + grown (1 - 1/r) / d <= T, where part > T; d: 1, or r where the replicas' gradients
// are summed once for r micro-batches, which makes it a quadratic equation.
static double fewest(const Count *c, double part, double grown)
{
    if (c->o->micro_batches)
        return grown < c->t ? (part - grown) / (c->t - grown) : INFINITY;
    double b = part + grown, root = b * b - 4 * c->t * grown;
    return root > 0 ? (b + sqrt(root)) / (2 * c->t) : part / c->t;
}

static double larger(double a, double b) // fmax is a call
{
    return a > b ? a : b;
}

// No fewer replicas than these meet T between the two cuts.
static double at_least(const Count *c, int begin, int end)
{
    const Cuts *cuts = c->cuts;
    const Move *one = &c->moves[1], *two = &c->moves[c->most > 1 ? 2 : 1];
    const MoveRow *row = &one->rows[0];
    double parameters = cuts->parameters[end] - cuts->parameters[begin];
    double work =
        row->compute * (cuts->compute[one->profile][end] - cuts->compute[one->profile][begin]);
    work +=
        row->forward * (cuts->forward[one->profile][end] - cuts->forward[one->profile][begin]);
    double in = begin ? cuts->bytes[begin] : 0, out = end < cuts->n - 1 ? cuts->bytes[end] : 0;
    work += row->in_bytes * in + row->out_bytes * out;
    double r = work / c->t;
    if (r > 1 && c->o->overlap != OVERLAP_ALL) {
        double d = c->o->micro_batches ? 2 : 4; // (1 - 1/r) / d of two replicas is 1 / d
        r = fewest(c, work, d * two->rows[0].parameters * parameters);
    }
    return larger(r, larger(one->in_bytes * in, one->out_bytes * out) / c->t);
}

// The stage (begin, end) with as few replicas as will do, where that betters g(begin).
static void try_stage(Count *c, int begin, int end)
{
    int room = c->g[begin] - 1 - c->g[end];
    const Cuts *cuts = c->cuts;
    if (c->moves[1].rows[0].compute * (cuts->least[end] - cuts->least[begin]) >
        (room + 1) * c->t)
        return;
    double least = at_least(c, begin, end) * (1 - 1e-9);
    if (!(least <= room) || room < 1 || !cut_within(c->cuts, begin, end))
        return;
    for (int r = least < 1 ? 1 : (int)ceil(least); r <= room && r <= c->most; r++)
        if (meets(c, begin, end, r, c->g[end])) {
            c->g[begin] = c->g[end] + r;
            c->next[begin] = end;
            c->replicas[begin] = r;
            return;
        }
}

static int fewest_machines(const Count *c, double seconds)
{
    double n =
        seconds > 0 ? seconds / c->m->types[0].speed / c->t * (1 - 1e-12) : 0; // T may be 0
    return n > c->m->n ? c->m->n + 1 : (int)ceil(n);
}

static void try_pairs(Count *c, int begin, int bound)
{
    for (int i = 0; i < c->n_alive && c->g[begin] > bound; i++)
        try_stage(c, begin, c->alive[i]);
}

// Not beyond reach, that is, up to rounding.
static bool reaches(const Count *c, const Window *w, int begin, int end)
{
    const Cuts *cuts = c->cuts;
    int profile = c->moves[1].profile;
    double sum = w->compute * (cuts->compute[profile][end] - cuts->compute[profile][begin]);
    sum += w->forward * (cuts->forward[profile][end] - cuts->forward[profile][begin]);
    sum += w->parameters * (cuts->parameters[end] - cuts->parameters[begin]);
    return sum <= (c->t + w->budget) * (1 + 1e-12);
}

// Links are alike: what is sent in time is received in time.
static int find_need(const Count *c, int cut)
{
    int low = 0, high = cut && cut < c->cuts->n - 1 ? c->n_windows : 0;
    for (int k = 0; low < high; k = (low + high) / 2) { // most need one
        const Move *m = &c->moves[c->windows[k].replicas];
        if (m->in_bytes * c->cuts->bytes[cut] + m->in_fixed <= c->t)
            high = k;
        else
            low = k + 1;
    }
    return low;
}

// The best stage from `begin` to one of the ends in window k.
static void look(Count *c, int k, int begin)
{
    Window *w = &c->windows[k];
    w->first = w->first < c->n_stairs ? w->first : c->n_stairs;
    while (w->first && reaches(c, w, begin, c->stairs[w->first - 1])) // others stand there now
        w->first--;
    while (w->first < c->n_stairs && !reaches(c, w, begin, c->stairs[w->first]))
        w->first++;
    c->reach[k] = c->n_stairs ? c->g[c->stairs[c->n_stairs - 1]] + w->replicas : w->replicas;
    for (int i = w->first; i < c->n_stairs; i++) {
        int end = c->stairs[i], g = c->g[end] + w->replicas;
        bool better = g < c->g[begin];
        if (c->need[end] > k || (better && !meets(c, begin, end, w->replicas, 0)))
            continue;
        c->reach[k] = g;
        if (better) {
            c->g[begin] = g;
            c->next[begin] = end;
            c->replicas[begin] = w->replicas;
        }
        return;
    }
}

static void try_windows(Count *c, int begin, int bound)
{
    c->need[begin] = find_need(c, begin);
    for (int k = c->need[begin]; k < c->n_windows && c->g[begin] > bound; k++)
        if (c->reach[k] < c->g[begin])
            look(c, k, begin);
}

static void add_stair(Count *c, int cut)
{
    int g = c->g[cut], highest = c->n_stairs ? c->g[c->stairs[c->n_stairs - 1]] : 0;
    for (; c->n_stairs; c->n_stairs--) {
        int last = c->stairs[c->n_stairs - 1];
        if (c->g[last] < g || (c->g[last] == g && c->need[last] < c->need[cut]))
            break;
    }
    c->stairs[c->n_stairs++] = cut;
    for (int k = 0; g < highest && k < c->n_windows; k++)
        if (g + c->windows[k].replicas < c->reach[k])
            c->reach[k] = g + c->windows[k].replicas;
}

static void clear_windows(Count *c)
{
    c->n_stairs = 0;
    for (int k = 0; k < c->n_windows; k++) {
        c->windows[k].first = 0;
        c->reach[k] = c->windows[k].replicas;
    }
}

static void settle(Count *c, int cut, int room)
{
    if (c->g[cut] > room) {
        c->g[cut] = c->m->n + 1;
        return;
    }
    c->alive[c->n_alive++] = cut;
    if (c->windows)
        add_stair(c, cut);
}

static void collect(const Count *c, Steps *out)
{
    *out = (Steps){.items = arena_array(c->arena, Step, c->m->n)};
    for (int cut = 0; cut != c->cuts->n - 1; cut = c->next[cut]) {
        int end = c->next[cut];
        Move *m = arena_new(c->arena, Move);
        *m = move_of(c, c->replicas[cut], c->g[end]);
        Step step = {cut, end, m};
        out->time_s = fmax(out->time_s, step_seconds(c->cuts, &step));
        out->items[out->n++] = step;
    }
}

bool count_probe(Count *c, double t, Steps *out)
{
    int all = c->cuts->n - 1;
    double total = c->cuts->least[all];
    c->t = t;
    c->n_alive = 0;
    c->g[all] = 0;
    clear_windows(c);
    settle(c, all, c->m->n);
    for (int cut = all - 1; cut >= 0; cut--) {
        int bound = fewest_machines(c, total - c->cuts->least[cut]);
        // What is left of the graph needs machines, too.
        int room = c->m->n - fewest_machines(c, c->cuts->least[cut]);
        c->g[cut] = room + 1;
        if (c->windows)
            try_windows(c, cut, bound);
        else
            try_pairs(c, cut, bound);
        settle(c, cut, room);
    }
    if (c->g[0] > c->m->n)
        return false;
    collect(c, out);
    return true;
}

bool count_sparse(const Count *c)
{
    return c->n_windows && c->n_windows < c->most;
}
