// Where all links are alike, a configuration counts the machines of every type that are taken; with one type it
// is a number. moves_ranges.c has those of machines whose links differ.
#include "passes/planner/moves.h"

#include <math.h>
#include <string.h>

enum { MOST_TYPES = 16 }; // that are counted apart

typedef struct Maker {
    Arena *arena;
    const Machines *m;
    const CostOptions *o;
    Moves *moves;
    MoveList list;
    int limit;
    bool full;
} Maker;

static bool links_alike(const Machines *m)
{
    return m->host ? m->n_hosts == 1 : m->n_levels == 1;
}

bool moves_push(Arena *a, MoveList *list, int limit, const Standing *s, const Move *m)
{
    const CostOptions *o = s->options;
    const CostModel *model = cost_model_find(o->model);
    bool pipedream = !strcmp(o->model, "pipedream");
    for (int begin = pipedream ? BEGIN_FIRST : BEGIN_ANY;
         begin <= (pipedream ? BEGIN_LATER : BEGIN_ANY); begin++)
        for (int again = 0; again < 2; again++) {
            Move made = *m;
            Standing standing = *s;
            standing.recompute = again;
            if (o->recompute != 2 && (o->recompute == 1) != again)
                continue;
            if (list->n == limit)
                return false;
            made.begin = (MoveBegin)begin;
            model->fill(&standing, &made);
            vec_push(a, list, made);
        }
    return true;
}

static void push(Maker *k, const Standing *s, Move m)
{
    k->full |= !moves_push(k->arena, &k->list, k->limit, s, &m);
}

// One type of machines: configuration c means that the last c of them are taken.
static void make_alike(Maker *k)
{
    const Machines *m = k->m;
    const MachineType *type = &m->types[0];
    k->moves->n_configs = m->n + 1;
    k->moves->full = m->n;
    k->moves->nested = !k->o->exact_stages;
    k->full = !k->o->straight && (m->n + 1.0) * m->n / 2 > k->limit;
    for (int c = 0; c < m->n && !k->full; c++)
        for (int r = 1; r <= (k->o->straight ? 1 : m->n - c) && !k->full; r++) {
            Standing s = {.options = k->o,
                          .replicas = r,
                          .behind = c,
                          .speed = type->speed,
                          .memory_bytes = type->memory_bytes,
                          .sync = links_slowest(m),
                          .in = links_anywhere(m, r),
                          .out = links_anywhere(m, r)};
            push(k, &s,
                 (Move){.from = c,
                        .to = c + r,
                        .first = m->n - c - r,
                        .replicas = r,
                        .profile = type->profile});
        }
}

typedef struct Counts {
    int have[MOST_TYPES], stride[MOST_TYPES], n; // machines of every type; n: types
} Counts;

bool moves_stand_on(const Machines *m, const CostOptions *o, const int *take, Standing *s,
                    Move *move)
{
    s->replicas = 0;
    for (int t = 0; t < m->n_types; t++) {
        const MachineType *type = &m->types[t];
        if (!take[t])
            continue;
        if (s->replicas && move->profile != type->profile)
            return false;
        bool first = !s->replicas;
        move->profile = type->profile;
        s->speed = first || type->speed < s->speed ? type->speed : s->speed;
        if (type->memory_bytes > 0 &&
            (s->memory_bytes <= 0 || type->memory_bytes < s->memory_bytes))
            s->memory_bytes = type->memory_bytes;
        s->replicas += take[t];
    }
    return s->replicas && (!o->straight || s->replicas == 1);
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
    int left[MOST_TYPES] = {0}, take[MOST_TYPES] = {0}, behind = 0;
    for (int t = 0; t < c->n; t++) {
        left[t] = c->have[t] - taken[t];
        if (k->o->straight && left[t] > 1) // there are very many ways to take more
            left[t] = 1;
        behind += taken[t];
    }
    while (next_counts(take, left, c->n) && !k->full) {
        Standing s = {.options = k->o, .behind = behind, .sync = links_slowest(k->m)};
        Move m = {.from = config, .to = config, .first = -1};
        if (!moves_stand_on(k->m, k->o, take, &s, &m))
            continue;
        for (int t = 0; t < c->n; t++)
            m.to += take[t] * c->stride[t];
        m.replicas = s.replicas;
        m.take = arena_copy(k->arena, take, sizeof *take * (size_t)c->n);
        s.in = s.out = links_anywhere(k->m, s.replicas);
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
    int taken[MOST_TYPES] = {0};
    for (int config = 0; config < (int)configs && !k->full; config++) {
        moves_from_counts(k, &c, config, taken);
        next_counts(taken, c.have, c.n);
    }
}

static void find_rest(Arena *a, const Machines *m, bool ranges, Moves *moves)
{
    double all = 0;
    for (int i = 0; i < m->n; i++)
        all += m->types[m->type[i]].speed;
    moves->rest = arena_array(a, double, moves->n_configs);
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

// By `from`; as they are among those of one.
static void sort_moves(Arena *a, Moves *moves)
{
    Move *old = moves->items;
    int *place = arena_array(a, int, moves->n_configs + 1);
    moves->first = arena_array(a, int, moves->n_configs + 1);
    for (int i = 0; i < moves->n; i++)
        moves->first[old[i].from + 1]++;
    for (int c = 0; c < moves->n_configs; c++)
        place[c + 1] = moves->first[c + 1] += moves->first[c];
    moves->items = arena_array(a, Move, moves->n);
    for (int i = 0; i < moves->n; i++)
        moves->items[place[old[i].from]++] = old[i];
}

static bool moves_of_counts(Arena *a, const Machines *m, const CostOptions *o, int limit,
                            Moves *moves)
{
    Maker k = {.arena = a, .m = m, .o = o, .limit = limit, .moves = moves};
    if (m->n_types > MOST_TYPES)
        return false;
    if (m->n_types == 1)
        make_alike(&k);
    else
        make_counts(&k);
    moves->items = k.list.items;
    moves->n = k.list.n;
    return !k.full;
}

Moves *moves_of(Arena *a, const Machines *m, const CostOptions *o, int limit)
{
    CHECK(cost_model_find(o->model), "planner", "no cost model is called %s", o->model);
    Moves *moves = arena_new(a, Moves);
    bool ranges = !links_alike(m);
    if (!(ranges ? moves_of_ranges : moves_of_counts)(a, m, o, limit, moves))
        return NULL;
    moves->exact = !ranges;
    sort_moves(a, moves);
    find_rest(a, m, ranges, moves);
    return moves;
}
