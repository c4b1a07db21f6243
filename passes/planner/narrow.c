// Nodes are taken one after another in a topological order, in or out of the cut. All that matters for later ones
// is the frontier: which placed nodes with users to come are in, and which of their tensors cross already. Sets with
// the same frontier are one state, with the seconds and parameters of its sets by position. (Frontier-based search:
// Sekine, Imai and Tani, "Computing the Tutte polynomial of a graph of moderate size", ISAAC 1995.)
#include "passes/planner/narrow.h"

#include "passes/planner/orders.h"

#include <math.h>
#include <string.h>

enum { WORDS = 2, SLOTS = 64 * WORDS, MOST_STATES = 1 << 15 };
static const int64_t most_work = 30000000; // spots joined: a tenth of a second

typedef struct Key {
    uint64_t bits[WORDS];
    int width;
} Key;

typedef struct State {
    Key key;
    uint64_t at;     // in the table
    int first, last; // positions
    Spot *spots;     // [last - first + 1]
} State;

typedef struct Level { // states behind a node
    Arena arena;
    State *states; // [MOST_STATES]
    int n;
    int *table; // [2 * MOST_STATES] 1 + state
} Level;

typedef struct Frontier {
    const Core *core;
    const int *order;
    int *slot_of_node, *slot_of_tensor; // bits; -1: nobody asks
    uint64_t (*dying)[WORDS];           // [n] slots that nobody asks for behind a node
    int *seconds;                       // [n] positions that a node takes
    int *width;                         // [n_tensors]
    int sources_from;                   // no source comes at this place of the order or later
    int64_t work;
    bool full;
    Narrow *out;
} Frontier;

Spot spot_empty(void)
{
    return (Spot){INFINITY, -INFINITY, INFINITY, -INFINITY};
}

void spot_join(Spot *s, const Spot *more)
{
    s->least_s = more->least_s < s->least_s ? more->least_s : s->least_s;
    s->most_s = more->most_s > s->most_s ? more->most_s : s->most_s;
    s->least_parameters = more->least_parameters < s->least_parameters ? more->least_parameters
                                                                       : s->least_parameters;
    s->most_parameters =
        more->most_parameters > s->most_parameters ? more->most_parameters : s->most_parameters;
}

static Spot *spots_of(Arena *a, int n)
{
    Spot *s = arena_array(a, Spot, n);
    for (int i = 0; i < n; i++)
        s[i] = spot_empty();
    return s;
}

static bool bit(const Key *k, int slot)
{
    return k->bits[slot / 64] >> (slot % 64) & 1;
}

static void set_bit(uint64_t *bits, int slot)
{
    bits[slot / 64] |= UINT64_C(1) << (slot % 64);
}

// Slots
// ------------------------------------------------------------------------------------------------

// A slot that is free again behind the place `last`.
static bool take_slot(Frontier *f, bool *used, int last, int *slot)
{
    int s = 0;
    while (s < SLOTS && used[s])
        s++;
    if (s == SLOTS)
        return false;
    used[s] = true;
    *slot = s;
    set_bit(f->dying[last], s);
    return true;
}

static int last_of(const int *place, const Lists *l, int i)
{
    int last = -1;
    for (int k = l->first[i]; k < l->first[i + 1]; k++)
        last = place[l->items[k]] > last ? place[l->items[k]] : last;
    return last;
}

// Every node and every tensor has a slot from its place to that of its last user.
static bool assign_slots(Arena *a, Frontier *f)
{
    const Core *c = f->core;
    int *place = arena_array(a, int, c->n + 1);
    bool used[SLOTS] = {0}, fits = true;
    for (int i = 0; i < c->n; i++)
        place[f->order[i]] = i;
    for (int i = 0; i < c->n && fits; i++) {
        int v = f->order[i], last = last_of(place, &c->after, v);
        if (c->before.first[v] == c->before.first[v + 1])
            f->sources_from = i + 1;
        f->slot_of_node[v] = -1;
        if (last >= 0)
            fits &= take_slot(f, used, last, &f->slot_of_node[v]);
        for (int k = c->makes.first[v]; k < c->makes.first[v + 1]; k++)
            fits &= take_slot(f, used, last_of(place, &c->users, c->makes.items[k]),
                              &f->slot_of_tensor[c->makes.items[k]]);
        for (int s = 0; s < SLOTS; s++)
            used[s] &= !(f->dying[i][s / 64] >> (s % 64) & 1);
    }
    return fits;
}

// A tensor's width and a node's seconds in whole units; the rounded seconds of the first nodes add up to their
// rounded sum, and no width is rounded up.
static void assign_units(Frontier *f, int positions)
{
    const Core *c = f->core;
    double sum = 0, all = 0;
    for (int v = 0; v < c->n; v++)
        all += c->least[v];
    for (int i = 0; i < c->n; i++) {
        double before = all > 0 ? sum / all : 0;
        sum += c->least[f->order[i]];
        double behind = all > 0 ? sum / all : 0;
        f->seconds[f->order[i]] =
            (int)lround(behind * (positions - 1)) - (int)lround(before * (positions - 1));
    }
    for (int t = 0; t < c->n_tensors; t++) {
        double width = floor(c->bytes[t] / f->out->bytes * (1 + 1e-12));
        f->width[t] = width > f->out->n_widths ? f->out->n_widths + 1 : (int)width;
    }
}

// Levels
// ------------------------------------------------------------------------------------------------

static uint64_t hash_of(const Key *k)
{
    uint64_t h = (uint64_t)k->width * UINT64_C(0x9e3779b97f4a7c15);
    for (int w = 0; w < WORDS; w++)
        h = (h ^ k->bits[w] ^ h >> 29) * UINT64_C(0xbf58476d1ce4e5b9);
    return h ^ h >> 32;
}

static State *state_at(Level *l, const Key *key)
{
    uint64_t mask = 2 * MOST_STATES - 1, at = hash_of(key) & mask;
    for (; l->table[at]; at = (at + 1) & mask) {
        State *s = &l->states[l->table[at] - 1];
        if (s->key.width == key->width && !memcmp(s->key.bits, key->bits, sizeof key->bits))
            return s;
    }
    if (l->n == MOST_STATES)
        return NULL;
    State *s = &l->states[l->n++];
    *s = (State){.key = *key, .at = at, .first = 1, .last = 0};
    l->table[at] = l->n;
    return s;
}

static Level level_new(Arena *a)
{
    return (Level){.states = arena_array(a, State, MOST_STATES),
                   .table = arena_array(a, int, 2 * MOST_STATES)};
}

static void level_clear(Level *l)
{
    while (l->n)
        l->table[l->states[--l->n].at] = 0;
    arena_reset(&l->arena);
}

// The state that `from` becomes with the node at place i in or out. false: it may not be in, or too much crosses.
static bool next_key(const Frontier *f, const Key *from, int i, bool in, Key *to)
{
    const Core *c = f->core;
    int v = f->order[i];
    *to = *from;
    for (int k = c->before.first[v]; in && k < c->before.first[v + 1]; k++)
        if (!bit(from, f->slot_of_node[c->before.items[k]]))
            return false;
    for (int k = c->reads.first[v]; !in && k < c->reads.first[v + 1]; k++) {
        int t = c->reads.items[k];
        if (bit(to, f->slot_of_node[c->producer[t]]) && !bit(to, f->slot_of_tensor[t])) {
            set_bit(to->bits, f->slot_of_tensor[t]);
            to->width += f->width[t];
        }
    }
    if (in && f->slot_of_node[v] >= 0)
        set_bit(to->bits, f->slot_of_node[v]);
    for (int w = 0; w < WORDS; w++)
        to->bits[w] &= ~f->dying[i][w];
    return to->width <= f->out->n_widths;
}

// Nothing that is to come can be in: of the nodes placed last before it none is.
static bool finished(const Frontier *f, const Key *k, int i)
{
    uint64_t any = 0;
    for (int w = 0; w < WORDS; w++)
        any |= k->bits[w];
    return i == f->core->n - 1 || (!any && i + 1 >= f->sources_from);
}

static void join_spots(Frontier *f, const State *from, int v, bool in, Spot *to)
{
    double s = in ? f->core->least[v] : 0, parameters = in ? f->core->parameters[v] : 0;
    int n = from->last - from->first + 1;
    for (int k = 0; k < n; k++) {
        Spot one = from->spots[k];
        one.least_s += s;
        one.most_s += s;
        one.least_parameters += parameters;
        one.most_parameters += parameters;
        spot_join(&to[k], &one);
    }
    f->work += n;
}

// Twice over all states: what there will be, then what it holds.
static void expand(Frontier *f, const Level *from, int i, Level *to, bool fill)
{
    int v = f->order[i];
    for (int n = 0; n < from->n && !f->full; n++)
        for (int in = 0; in < 2; in++) {
            const State *s = &from->states[n];
            Key key;
            int shift = in ? f->seconds[v] : 0, first = s->first + shift;
            if (!next_key(f, &s->key, i, in, &key))
                continue;
            if (finished(f, &key, i)) {
                if (fill)
                    join_spots(f, s, v, in,
                               f->out->spots + (ptrdiff_t)key.width * f->out->n + first);
                continue;
            }
            State *t = state_at(to, &key);
            if (!t) {
                f->full = true;
                break;
            }
            if (fill) {
                join_spots(f, s, v, in, t->spots + first - t->first);
                continue;
            }
            bool fresh = t->first > t->last;
            t->first = fresh || first < t->first ? first : t->first;
            t->last = fresh || s->last + shift > t->last ? s->last + shift : t->last;
        }
}

static void step(Frontier *f, const Level *from, int i, Level *to)
{
    level_clear(to);
    expand(f, from, i, to, false);
    for (int n = 0; n < to->n; n++)
        to->states[n].spots =
            spots_of(&to->arena, to->states[n].last - to->states[n].first + 1);
    expand(f, from, i, to, true);
    f->full |= f->work > most_work;
}

Narrow *narrow_cuts(Arena *a, const Core *c, int positions, double most_bytes, int n_widths)
{
    Arena scratch = {0};
    Narrow *out = arena_new(a, Narrow);
    *out = (Narrow){.bytes = most_bytes / n_widths, .n_widths = n_widths, .n = positions};
    out->spots = spots_of(a, (n_widths + 1) * positions);
    Frontier f = {.core = c, .order = order_of(&scratch, c, ORDER_DEPTH, true, 0), .out = out};
    f.slot_of_node = arena_array(&scratch, int, c->n + 1);
    f.slot_of_tensor = arena_array(&scratch, int, c->n_tensors + 1);
    f.dying = arena_alloc(&scratch, sizeof *f.dying * ((size_t)c->n + 1));
    f.seconds = arena_array(&scratch, int, c->n + 1);
    f.width = arena_array(&scratch, int, c->n_tensors + 1);
    f.full = !assign_slots(&scratch, &f);
    assign_units(&f, positions);
    Level level[2] = {level_new(&scratch), level_new(&scratch)};
    State *start = state_at(&level[0], &(Key){.width = 0});
    start->last = 0, start->first = 0;
    start->spots = arena_new(&level[0].arena, Spot);
    for (int i = 0; i < c->n && !f.full; i++)
        step(&f, &level[i % 2], i, &level[(i + 1) % 2]);
    arena_release(&level[0].arena);
    arena_release(&level[1].arena);
    arena_release(&scratch);
    return f.full ? NULL : out;
}
