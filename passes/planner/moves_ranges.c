// Where links differ, stages stand side by side in the order of the machines, so that what lies between two of
// them is known. A configuration is the first and the end of the machines of the stage in front.
//
// What is paid at a boundary is known when the stage in front of it is placed. That move answers for both sides,
// which is enough where transfers run beside everything else. Where their time is added to a stage's, the stage
// behind has to know it before: it says where the stage in front will stand, as far as that changes what it pays,
// and its configuration waits for such a one.
#include "passes/planner/moves.h"

#include <math.h>

typedef struct
    Ahead { // of a range: what its stage may pay for receiving, by who stands in front
    Transfer *items;
    int n, config; // its first configuration
} Ahead;

typedef struct Ranges {
    Arena *arena;
    const Machines *m;
    const CostOptions *o;
    MoveList list;
    int limit, n_configs;
    int unit; // machines are taken by whole units
    Ahead *ahead;
    bool announced; // of all that may stand in front; else one for all of them
    bool full;
} Ranges;

// Up to so many machines every gap between stages is tried, and machines that were left out are counted,
// since a stage holds fewer micro-batches when fewer machines are behind it.
enum { FEW_MACHINES = 8 };
enum { MOST_UNITS = 128, MOST_ANNOUNCED = 32 };

static int gap_counts(const Ranges *k)
{
    bool all = machines_limited(k->m, k->o) && k->m->n <= FEW_MACHINES && k->unit == 1;
    return all ? k->m->n : 1;
}

static Ahead *ahead_of(const Ranges *k, int first, int end)
{
    int n = k->m->n / k->unit;
    first /= k->unit;
    end /= k->unit;
    return &k->ahead[(n - 1 - first) * (n - first) / 2 + end - first - 1];
}

// unused: machines that were left out behind the first one.
static int config_of(const Ranges *k, const Ahead *ahead, int unused, int which)
{
    int counts = gap_counts(k);
    return ahead->config + (unused < counts ? unused : counts - 1) * ahead->n + which;
}

static bool useful_end(const Ranges *k, int end, int limit)
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

// The widest stage: its first machine is at least this.
static int least_first(const Ranges *k, int end)
{
    return k->o->straight ? end - 1 : 0;
}

static int find_transfer(const Ahead *ahead, Transfer t)
{
    int i = 0;
    while (i < ahead->n &&
           (ahead->items[i].per_byte != t.per_byte || ahead->items[i].fixed != t.fixed))
        i++;
    return i;
}

// Whoever may stand in front of the stage on a .. b - 1.
static void announce(Ranges *k, Ahead *ahead, int a, int b)
{
    VEC(Transfer) list = {0};
    for (int end = a; end > 0; end -= k->unit)
        for (int first = end - k->unit; useful_end(k, end, a) && first >= least_first(k, end);
             first -= k->unit) {
            Transfer t = links_between(k->m, a, b, first, end);
            if (find_transfer(ahead, t) < ahead->n)
                continue;
            vec_push(k->arena, &list, t);
            ahead->items = list.items;
            ahead->n = list.n;
        }
}

static void look_ahead(Ranges *k)
{
    const int n = k->m->n, counts = gap_counts(k);
    int units = n / k->unit;
    bool adds = k->o->overlap == OVERLAP_NONE;
    k->ahead = arena_array(k->arena, Ahead, units * (units + 1) / 2);
    k->n_configs = 1;
    for (int a = n - k->unit; a >= 0; a -= k->unit)
        for (int b = a + k->unit; b <= n; b += k->unit) {
            Ahead *ahead = ahead_of(k, a, b);
            if (k->announced && a > 0 && a >= least_first(k, b))
                announce(k, ahead, a, b);
            if (!ahead->n) {
                ahead->items = arena_array(k->arena, Transfer, 1);
                ahead->n = 1;
                if (adds && a > 0)
                    ahead->items[0] = links_anywhere(k->m, b - a);
            }
            ahead->config = k->n_configs;
            k->n_configs += ahead->n * counts;
        }
}

typedef struct Behind { // the stage behind stands on [a, b); a == b: there is none
    int a, b, unused;
} Behind;

static bool stand(const Ranges *k, int first, int end, Standing *s, Move *move)
{
    int *take = arena_array(k->arena, int, k->m->n_types + 1);
    for (int i = first; i < end; i++)
        take[k->m->type[i]]++;
    s->sync = links_ring(k->m, first, end);
    move->first = first;
    move->replicas = end - first;
    return moves_stand_on(k->m, k->o, take, s, move);
}

// At the boundary to the stage behind.
static void meet(const Ranges *k, int first, int end, const Behind *behind, Standing *s,
                 Move *move)
{
    int a = behind->a, b = behind->b;
    const Ahead *ahead = ahead_of(k, a, b);
    Transfer their = links_between(k->m, a, b, first, end);
    s->out = links_between(k->m, first, end, a, b);
    if (k->o->overlap != OVERLAP_NONE)
        s->their = their;
    int which = k->announced ? find_transfer(ahead, their) : 0;
    CHECK(which < ahead->n, "planner", "nobody announced machines %d to %d", first, end - 1);
    move->from = config_of(k, ahead, behind->unused, which);
}

static void move_range(Ranges *k, int first, int end, Behind behind)
{
    int a = behind.a, unused = behind.unused;
    Standing s = {.options = k->o, .behind = k->m->n - a - unused};
    Move move = {.from = 0};
    if (!stand(k, first, end, &s, &move))
        return;
    if (a != behind.b)
        meet(k, first, end, &behind, &s, &move);
    const Ahead *ahead = ahead_of(k, first, end);
    for (int i = 0; i < ahead->n && !k->full; i++) {
        s.in = ahead->items[i];
        move.to = config_of(k, ahead, unused + a - end, i);
        k->full = !moves_push(k->arena, &k->list, k->limit, &s, &move);
    }
}

static void moves_from_range(Ranges *k, Behind behind)
{
    int a = behind.a;
    for (int end = a; end > 0; end -= k->unit)
        for (int first = end - k->unit; useful_end(k, end, a) && first >= least_first(k, end);
             first -= k->unit)
            if (!k->full)
                move_range(k, first, end, behind);
}

static void make_ranges(Ranges *k)
{
    const int n = k->m->n, unit = k->unit, units = n / unit;
    k->list.n = 0;
    k->full = units > MOST_UNITS;
    if (!k->o->straight && k->m->n_types == 1) // first, a and b of neighbours on all machines
        k->full |= (units + 1) * units * (units - 1) / 6 > k->limit;
    if (k->full)
        return;
    look_ahead(k);
    int counts = gap_counts(k);
    moves_from_range(k, (Behind){n, n, 0});
    for (int a = n - unit; a > 0 && !k->full; a -= unit)
        for (int b = a + unit; b <= n && a >= least_first(k, b); b += unit)
            for (int unused = 0; unused < counts && unused <= n - b; unused++)
                moves_from_range(k, (Behind){a, b, unused});
}

// Machines one by one where that is not too much, else by whole groups of a level; straight plans and those on
// every machine need single ones.
bool moves_of_ranges(Arena *a, const Machines *m, const CostOptions *o, int limit, Moves *moves)
{
    Ranges k = {.arena = a, .m = m, .o = o, .limit = limit, .unit = 1};
    bool single = o->straight || o->exact_stages || m->host;
    k.announced = o->overlap == OVERLAP_NONE && (o->straight || m->n <= MOST_ANNOUNCED);
    make_ranges(&k);
    if (k.full && k.announced) {
        k.announced = false;
        make_ranges(&k);
    }
    for (int l = 0; k.full && !single && l < m->n_levels - 1; l++) {
        k.unit *= m->levels[l].size;
        make_ranges(&k);
    }
    moves->items = k.list.items;
    moves->n = k.list.n;
    moves->n_configs = k.n_configs;
    if (!k.full)
        moves->full = config_of(&k, ahead_of(&k, 0, k.unit), 0, 0);
    return !k.full;
}
