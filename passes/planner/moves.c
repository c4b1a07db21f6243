// The three families of configurations:
//   counts   machines of every type that are taken, where all links are alike; with one type, a number
//   ranges   first and end of the machines of the stage in front, where links differ: stages stand side
//            by side in the order of the machines, so what lies between two of them is known
// Where links differ, a boundary's link is known only when the stage in front is placed; that move then
// answers for both sides.
#include "passes/planner/moves.h"

#include "base/vec.h"

#include <math.h>
#include <string.h>

typedef struct Maker {
    Arena *arena;
    const Machines *m;
    const CostOptions *o;
    const CostModel *model;
    Moves *moves;
    VEC(Move) list;
    int limit;
    int unit; // of ranges: machines are taken by whole units
    bool full;
} Maker;

static bool links_alike(const Machines *m)
{
    return m->host ? m->n_hosts == 1 : m->n_levels == 1;
}

static void push(Maker *k, const Standing *s, Move m)
{
    bool pipedream = !strcmp(k->o->model, "pipedream");
    for (int begin = pipedream ? BEGIN_FIRST : BEGIN_ANY;
         begin <= (pipedream ? BEGIN_LATER : BEGIN_ANY); begin++)
        for (int again = 0; again < 2; again++) {
            Move made = m;
            Standing standing = *s;
            standing.recompute = again;
            if (k->o->recompute != 2 && (k->o->recompute == 1) != again)
                continue;
            made.begin = (MoveBegin)begin;
            k->model->fill(&standing, &made);
            if (k->list.n == k->limit)
                k->full = true;
            else
                vec_push(k->arena, &k->list, made);
        }
}

double moves_width(const Machines *m, const MachineLevel *link, int r)
{
    if (link->per_device)
        return r;
    return m->host || r < link->group ? 1 : r / link->group;
}

// One type of machines: configuration c means that the last c of them are taken.
static void make_alike(Maker *k)
{
    const Machines *m = k->m;
    const MachineType *type = &m->types[0];
    MachineLevel link = machines_link(m, 0, m->n - 1);
    k->moves->n_configs = m->n + 1;
    k->moves->full = m->n;
    k->moves->nested = !k->o->exact_stages;
    for (int c = 0; c < m->n && !k->full; c++)
        for (int r = 1; r <= (k->o->straight ? 1 : m->n - c) && !k->full; r++) {
            Standing s = {.options = k->o,
                          .replicas = r,
                          .behind = c,
                          .speed = type->speed,
                          .memory_bytes = type->memory_bytes,
                          .sync = link,
                          .in = link,
                          .out = link,
                          .in_width = moves_width(m, &link, r),
                          .out_width = moves_width(m, &link, r)};
            push(k, &s,
                 (Move){.from = c,
                        .to = c + r,
                        .first = m->n - c - r,
                        .replicas = r,
                        .profile = type->profile});
        }
}

typedef struct Counts {
    int have[16], stride[16], n; // machines of every type; n: types
} Counts;

// What a stage would be on `take` machines of every type; false: none, or of unequal profiles.
static bool stand_on(const Maker *k, const int *take, Standing *s, Move *m)
{
    s->replicas = 0;
    for (int t = 0; t < k->m->n_types; t++) {
        const MachineType *type = &k->m->types[t];
        if (!take[t])
            continue;
        if (s->replicas && m->profile != type->profile)
            return false;
        bool first = !s->replicas;
        m->profile = type->profile;
        s->speed = first || type->speed < s->speed ? type->speed : s->speed;
        if (type->memory_bytes > 0 &&
            (s->memory_bytes <= 0 || type->memory_bytes < s->memory_bytes))
            s->memory_bytes = type->memory_bytes;
        s->replicas += take[t];
    }
    return s->replicas && (!k->o->straight || s->replicas == 1);
}

// The next vector below or at `most`, as digits of a number. false: that was the last.
static bool next_counts(int *take, const int *most, int n)
{
    for (int t = 0; t < n; t++) {
        if (take[t] < most[t]) {
            take[t]++;
            return true;
        }
        take[t] = 0;
    }
    return false;
}

static void moves_from_counts(Maker *k, const Counts *c, int config, const int *taken)
{
    MachineLevel link = machines_link(k->m, 0, k->m->n - 1);
    int left[16] = {0}, take[16] = {0}, behind = 0;
    for (int t = 0; t < c->n; t++) {
        left[t] = c->have[t] - taken[t];
        if (k->o->straight && left[t] > 1) // there are very many ways to take more
            left[t] = 1;
        behind += taken[t];
    }
    while (next_counts(take, left, c->n) && !k->full) {
        Standing s = {.options = k->o, .behind = behind, .sync = link, .in = link, .out = link};
        Move m = {.from = config, .to = config, .first = -1};
        if (!stand_on(k, take, &s, &m))
            continue;
        for (int t = 0; t < c->n; t++)
            m.to += take[t] * c->stride[t];
        m.replicas = s.replicas;
        m.take = arena_copy(k->arena, take, sizeof *take * (size_t)c->n);
        s.in_width = s.out_width = moves_width(k->m, &link, s.replicas);
        push(k, &s, m);
    }
}

static void make_counts(Maker *k)
{
    const Machines *m = k->m;
    Counts c = {.n = m->n_types};
    double configs = 1;
    for (int i = 0; i < m->n; i++)
        c.have[m->type[i]]++;
    for (int t = 0; t < c.n; t++) {
        c.stride[t] = (int)configs;
        configs *= c.have[t] + 1;
        if (configs > 1 << 16) {
            k->full = true;
            return;
        }
    }
    k->moves->n_configs = (int)configs;
    k->moves->full = (int)configs - 1;
    int taken[16] = {0};
    for (int config = 0; config < (int)configs && !k->full; config++) {
        moves_from_counts(k, &c, config, taken);
        next_counts(taken, c.have, c.n);
    }
}

// Up to so many machines every gap between stages is tried, and machines that were left out are counted,
// since a stage holds fewer micro-batches when fewer machines are behind it.
enum { FEW_MACHINES = 8 };

static int gap_counts(const Maker *k)
{
    return machines_limited(k->m, k->o) && k->m->n <= FEW_MACHINES && k->unit == 1 ? k->m->n
                                                                                   : 1;
}

// unused: machines that were left out behind the first one.
static int range_config(const Maker *k, int first, int end, int unused)
{
    int n = k->m->n / k->unit, counts = gap_counts(k);
    first /= k->unit;
    end /= k->unit;
    int range = (n - 1 - first) * (n - first) / 2 + end - first - 1;
    return 1 + range * counts + (unused < counts ? unused : counts - 1);
}

// Links between hosts that are not per device carry a boundary once for every host.
static double width(const Machines *m, int first, int end, const MachineLevel *link)
{
    if (link->per_device)
        return end - first;
    if (m->host)
        return m->host[end - 1] - m->host[first] + 1;
    int groups = (end - 1) / link->group - first / link->group + 1;
    return groups;
}

static bool useful_end(const Maker *k, int end, int limit)
{
    const Machines *m = k->m;
    if (end == limit || k->o->exact_stages)
        return end == limit;
    if (m->n_types > 1 || m->n <= FEW_MACHINES)
        return true;
    int group = 1; // with machines all alike one gains by leaving some out only at a border
    for (int l = 0; !m->host && l < m->n_levels; l++) {
        group *= m->levels[l].size;
        if (end == limit / group * group)
            return end > 0;
    }
    return m->host && end > 0 && m->host[end] == m->host[limit - 1] &&
           m->host[end - 1] != m->host[end];
}

typedef struct Behind { // the stage behind stands on [a, b); a == b: there is none
    int a, b, unused;
} Behind;

static void move_range(Maker *k, int first, int end, Behind behind)
{
    const Machines *m = k->m;
    int *take = arena_array(k->arena, int, m->n_types + 1);
    for (int i = first; i < end; i++)
        take[m->type[i]]++;
    int a = behind.a, b = behind.b, unused = behind.unused;
    Standing s = {.options = k->o, .behind = m->n - a - unused};
    Move move = {.from = a == b ? 0 : range_config(k, a, b, unused),
                 .to = range_config(k, first, end, unused + a - end),
                 .first = first};
    if (!stand_on(k, take, &s, &move))
        return;
    move.replicas = s.replicas;
    s.sync = machines_link(m, first, end - 1);
    s.out = machines_link(m, first, a == b ? end - 1 : b - 1);
    s.in = machines_link(m, 0, m->n - 1);
    s.in_width = width(m, first, end, &s.in);
    s.out_width = width(m, first, end, &s.out);
    if (a != b)
        s.out_width = fmin(s.out_width, width(m, a, b, &s.out));
    push(k, &s, move);
}

static void moves_from_range(Maker *k, Behind behind)
{
    int a = behind.a;
    for (int end = a; end > 0 && !k->full; end -= k->unit)
        for (int first = end - k->unit; useful_end(k, end, a) && first >= 0 && !k->full;
             first -= k->unit)
            move_range(k, first, end, behind);
}

static void make_ranges(Maker *k)
{
    const Machines *m = k->m;
    int counts = gap_counts(k), n = m->n / k->unit;
    k->full = n > 128;
    k->list.n = 0;
    if (k->full)
        return;
    k->moves->n_configs = 1 + n * (n + 1) / 2 * counts;
    k->moves->full = range_config(k, 0, k->unit, 0);
    moves_from_range(k, (Behind){m->n, m->n, 0});
    for (int a = m->n - k->unit; a > 0 && !k->full; a -= k->unit)
        for (int b = a + k->unit; b <= m->n; b += k->unit)
            for (int unused = 0; unused < counts && unused <= m->n - b; unused++)
                moves_from_range(k, (Behind){a, b, unused});
    if (k->o->overlap != OVERLAP_NONE) // a boundary is paid for by the move in front of it
        for (int i = 0; i < k->list.n; i++)
            k->list.items[i].in_bytes = k->list.items[i].in_fixed = 0;
}

// Machines one by one where that is not too much, else by whole groups of a level; straight plans and those on
// every machine need single ones.
static void make_units(Maker *k)
{
    k->unit = 1;
    make_ranges(k);
    bool single = k->o->straight || k->o->exact_stages || k->m->host;
    for (int l = 0; k->full && !single && l < k->m->n_levels - 1; l++) {
        k->unit *= k->m->levels[l].size;
        make_ranges(k);
    }
}

static void find_rest(Maker *k, bool ranges)
{
    Moves *moves = k->moves;
    const Machines *m = k->m;
    double all = 0;
    for (int i = 0; i < m->n; i++)
        all += m->types[m->type[i]].speed;
    moves->rest = arena_array(k->arena, double, moves->n_configs);
    moves->rest[0] = all;
    for (int i = 0; i < moves->n; i++) {
        const Move *move = &moves->items[i];
        double taken = 0;
        if (ranges) { // those in front
            for (int d = 0; d < move->first; d++)
                taken -= m->types[m->type[d]].speed;
            moves->rest[move->to] = -taken;
            continue;
        }
        for (int t = 0; move->take && t < m->n_types; t++)
            taken += move->take[t] * m->types[t].speed;
        if (!move->take)
            taken = move->replicas * m->types[0].speed;
        moves->rest[move->to] = fmax(0, moves->rest[move->from] - taken); // not -1e-17
    }
}

Moves *moves_of(Arena *a, const Machines *m, const CostOptions *o, int limit)
{
    Maker k = {.arena = a, .m = m, .o = o, .limit = limit, .model = cost_model_find(o->model)};
    CHECK(k.model, "planner", "no cost model is called %s", o->model);
    k.moves = arena_new(a, Moves);
    bool ranges = !links_alike(m);
    if (ranges)
        make_units(&k);
    else if (m->n_types == 1)
        make_alike(&k);
    else if (m->n_types <= 16)
        make_counts(&k);
    else
        k.full = true;
    if (k.full)
        return NULL;
    Moves *moves = k.moves;
    moves->items = k.list.items;
    moves->n = k.list.n;
    moves->exact = !ranges;
    moves->first = arena_array(a, int, moves->n_configs + 1);
    for (int i = 0; i < moves->n; i++)
        moves->first[moves->items[i].from + 1]++;
    for (int c = 0; c < moves->n_configs; c++)
        moves->first[c + 1] += moves->first[c];
    find_rest(&k, ranges);
    return moves;
}
