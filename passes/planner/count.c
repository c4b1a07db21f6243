// With machines all alike, a tail of the pipeline is as good as the number of machines that it takes:
// the fewest for a tail leave the most to what stands in front, and as few micro-batches in flight. So one
// number a cut is enough, g(begin) = least of g(end) + r over all stages (begin, end), where r, the fewest
// replicas with which the stage meets T, has a closed form.
//
// All pairs of cuts are looked at where there are few. Along one order with many nodes, the ends that r replicas
// can reach from `begin` are a window that slides with it, and a queue of candidates for every r holds
// the least g of its window (the sliding minimum of Lemire, "Streaming maximum-minimum filter using no more
// than three comparisons per element", 2006).
#include "passes/planner/count.h"

#include "passes/planner/moves.h"

#include <math.h>
#include <string.h>

enum {
    PAIRS = 3000,     // cuts of which all pairs are looked at
    ALL_REPLICAS = 24 // of large numbers not all are tried when `sparse`
};

typedef struct Queue {
    int *items, begin, end; // cuts, of falling index and rising g
} Queue;

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
    Queue *queues;        // [n_tried]
    int *tried, n_tried;  // replicas, ascending: all of them, or all small and some large ones
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

static void choose_replicas(Count *c, bool sparse)
{
    c->tried = arena_array(c->arena, int, c->most);
    for (int r = 1; r <= c->most; r += sparse && r >= ALL_REPLICAS ? r / 8 : 1)
        c->tried[c->n_tried++] = r;
    c->queues = arena_array(c->arena, Queue, c->n_tried);
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
    if (cuts->order && cuts->n > PAIRS && !c->memory && o->overlap == OVERLAP_TRANSFERS)
        choose_replicas(c, sparse);
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
    double n = seconds / c->m->types[0].speed / c->t * (1 - 1e-12);
    return n > c->m->n ? c->m->n + 1 : (int)ceil(n);
}

static void try_pairs(Count *c, int begin, int bound)
{
    for (int i = 0; i < c->n_alive && c->g[begin] > bound; i++)
        try_stage(c, begin, c->alive[i]);
}

// From the largest cut that r replicas reach: what lies beyond is out for every smaller `begin`, too.
static void try_queues(Count *c, int begin, int bound)
{
    for (int k = 0; k < c->n_tried && c->tried[k] < c->g[begin] && c->g[begin] > bound; k++) {
        Queue *q = &c->queues[k];
        int r = c->tried[k];
        for (; q->begin < q->end; q->begin++) {
            int end = q->items[q->begin];
            const double *compute = c->cuts->compute[c->moves[r].profile];
            double sum = c->moves[r].rows[0].compute * (compute[end] - compute[begin]);
            sum += c->moves[r].rows[0].parameters *
                   (c->cuts->parameters[end] - c->cuts->parameters[begin]);
            if (sum <= (c->t + c->moves[r].rows[0].budget) * (1 + 1e-12))
                break;
        }
        for (int i = q->begin; i < q->end && c->g[q->items[i]] + r < c->g[begin]; i++)
            if (meets(c, begin, q->items[i], r, 0)) {
                c->g[begin] = c->g[q->items[i]] + r;
                c->next[begin] = q->items[i];
                c->replicas[begin] = r;
                break;
            }
    }
}

static void enqueue(Count *c, int cut)
{
    for (int k = 0; k < c->n_tried && c->g[cut] + c->tried[k] <= c->m->n; k++) {
        Queue *q = &c->queues[k];
        const Move *m = &c->moves[c->tried[k]];
        if (cut != c->cuts->n - 1 && m->out_bytes * c->cuts->bytes[cut] + m->out_fixed > c->t)
            continue;
        if (!q->items)
            q->items = arena_array(c->arena, int, c->cuts->n);
        while (q->end > q->begin && c->g[q->items[q->end - 1]] >= c->g[cut])
            q->end--;
        q->items[q->end++] = cut;
    }
}

static void settle(Count *c, int cut)
{
    double before = c->cuts->least[cut];
    if (c->g[cut] > c->m->n || fewest_machines(c, before) > c->m->n - c->g[cut]) {
        c->g[cut] = c->m->n + 1; // too much is left for the machines that are left
        return;
    }
    c->alive[c->n_alive++] = cut;
    if (c->queues)
        enqueue(c, cut);
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
    for (int k = 0; k < c->n_tried; k++)
        c->queues[k].begin = c->queues[k].end = 0;
    settle(c, all);
    for (int cut = all - 1; cut >= 0; cut--) {
        int bound = fewest_machines(c, total - c->cuts->least[cut]);
        c->g[cut] = c->m->n + 1;
        if (c->queues)
            try_queues(c, cut, bound);
        else
            try_pairs(c, cut, bound);
        settle(c, cut);
    }
    if (c->g[0] > c->m->n)
        return false;
    collect(c, out);
    return true;
}

bool count_sparse(const Count *c)
{
    return c->n_tried && c->n_tried < c->most;
}
