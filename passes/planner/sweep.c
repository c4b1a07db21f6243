// The probe: which cuts can be the begin of a tail of the pipeline that meets T, for every
// configuration. A move is tried for all cuts at once: going from large cuts to small ones, every cut
// inherits from the cuts above it the least value of any reached cut that holds it, and it is reached
// itself if that value, less its own, stays within the budget. That is linear in the number of cuts and
// their covers, where trying every pair of cuts would be quadratic.
//
// Moves with one condition from one configuration run side by side. With several conditions
// (memory; synchronisation beside backward) the least value becomes the front of values of which none
// is better than another in all conditions.
#include "passes/planner/sweep.h"

#include <float.h>
#include <math.h>
#include <string.h>

// LANES moves run side by side, as PACKS vectors of the compiler's.
enum { WIDE = 4, PACKS = 2, LANES = WIDE * PACKS, FRONT = 16 };

typedef double Pack
    __attribute__((vector_size(WIDE * sizeof(double)), aligned(sizeof(double))));
typedef int64_t Mask __attribute__((vector_size(WIDE * sizeof(int64_t))));

struct Front {
    int n;
    double value[FRONT][MAX_ROWS];
};

Sweep *sweep_new(Arena *a, const Cuts *cuts, const Moves *moves, int goal)
{
    Sweep *s = arena_new(a, Sweep);
    *s = (Sweep){.arena = a, .cuts = cuts, .moves = moves, .goal = goal};
    size_t n = (size_t)cuts->n, configs = (size_t)moves->n_configs;
    s->reached = arena_array(a, uint8_t, n * configs);
    s->least = arena_array(a, int, n);
    s->lowest = arena_array(a, int, configs);
    s->highest = arena_array(a, int, configs);
    return s;
}

static double sums(const Cuts *c, const Move *m, const MoveRow *r, int cut)
{
    return r->compute * c->compute[m->profile][cut] + r->forward * c->forward[m->profile][cut] +
           r->parameters * c->parameters[cut] + r->activations * c->activations[cut];
}

static double end_value(const Cuts *c, const Move *m, const MoveRow *r, int cut)
{
    bool last = cut == c->n - 1;
    return sums(c, m, r, cut) + (last ? 0 : r->out_bytes * c->bytes[cut] + r->out_fixed);
}

static double begin_value(const Cuts *c, const Move *m, const MoveRow *r, int cut)
{
    return sums(c, m, r, cut) - (cut ? r->in_bytes * c->bytes[cut] + r->in_fixed : 0);
}

static double receive_s(const Cuts *c, const Move *m, int cut)
{
    return cut ? m->in_bytes * c->bytes[cut] + m->in_fixed : 0;
}

// On both sides of the boundary, as far as the move knows them.
static double send_s(const Cuts *c, const Move *m, int cut)
{
    double own = m->out_bytes * c->bytes[cut] + m->out_fixed;
    double their = m->their_bytes * c->bytes[cut] + m->their_fixed;
    return cut == c->n - 1 ? 0 : own > their ? own : their;
}

static bool may_begin(const Move *m, int cut)
{
    return m->begin == BEGIN_ANY || (m->begin == BEGIN_FIRST) == (cut == 0);
}

double step_seconds(const Cuts *c, const Step *s)
{
    const Move *m = s->move;
    double t = receive_s(c, m, s->begin), send = send_s(c, m, s->end);
    t = send > t ? send : t;
    if (!may_begin(m, s->begin))
        return INFINITY;
    for (int i = 0; i < m->n_rows; i++) {
        const MoveRow *r = &m->rows[i];
        double v = end_value(c, m, r, s->end) - begin_value(c, m, r, s->begin) - r->budget;
        if (r->timed)
            t = v > t ? v : t;
        else if (v > 0)
            return INFINITY;
    }
    return t;
}

static uint8_t *reached(const Sweep *s, int config)
{
    return s->reached + (size_t)config * (size_t)s->cuts->n;
}

// A cut is a source of a nested configuration only where it was reached first.
static bool is_source(const Sweep *s, int config, int cut)
{
    return reached(s, config)[cut] && (!s->moves->nested || s->least[cut] == config);
}

// Seconds of compute that the machines left by a configuration can do.
static double most_before(const Sweep *s, int config)
{
    return s->t == INFINITY ? INFINITY : s->t * s->moves->rest[config] * (1 + 1e-12);
}

static void mark(Sweep *s, int config, int cut)
{
    if (s->moves->nested && s->least[cut] < config)
        return;
    if (s->cuts->least[cut] > most_before(s, config))
        return;
    reached(s, config)[cut] = 1;
    s->least[cut] = config < s->least[cut] ? config : s->least[cut];
    s->lowest[config] = cut < s->lowest[config] ? cut : s->lowest[config];
    s->highest[config] = cut > s->highest[config] ? cut : s->highest[config];
}

// By pointer: how vectors are passed depends on the machine.
static void lower(Pack *low, const Pack *v, const Mask *where)
{
    Mask less = (*v < *low) & *where;
    *low = (Pack)(((Mask)*v & less) | ((Mask)*low & ~less));
}

static bool any_of(const Mask *mask)
{
    int64_t any = 0;
    for (int i = 0; i < WIDE; i++)
        any |= (*mask)[i];
    return any;
}

// What a move asks of the cut at one of its ends: coefficients as in MoveRow and Move.
typedef struct Ends {
    Pack row_bytes, row_fixed, bytes, fixed;
} Ends;

// Moves side by side, with one profile.
typedef struct Lanes {
    const Move *move[LANES];
    int n, config, profile;
    Pack compute[PACKS], forward[PACKS], parameters[PACKS], activations[PACKS];
    Ends in[PACKS], out[PACKS];
    Pack their_bytes[PACKS], their_fixed[PACKS];
    Pack budget[PACKS];
    double floor;   // cuts with less compute than this cannot be reached
    double ceiling; // cuts with more leave too much for the machines that are left
} Lanes;

static void add_lane(const Sweep *s, Lanes *l, const Move *m)
{
    const MoveRow *r = &m->rows[0];
    double most = most_before(s, m->to);
    l->ceiling = l->n && l->ceiling > most ? l->ceiling : most;
    l->profile = m->profile;
    int p = l->n / WIDE, i = l->n % WIDE;
    l->move[l->n++] = m;
    l->compute[p][i] = r->compute;
    l->forward[p][i] = r->forward;
    l->parameters[p][i] = r->parameters;
    l->activations[p][i] = r->activations;
    l->in[p].row_bytes[i] = r->in_bytes;
    l->in[p].row_fixed[i] = r->in_fixed;
    l->in[p].bytes[i] = m->in_bytes;
    l->in[p].fixed[i] = m->in_fixed;
    l->out[p].row_bytes[i] = r->out_bytes;
    l->out[p].row_fixed[i] = r->out_fixed;
    l->out[p].bytes[i] = m->out_bytes;
    l->out[p].fixed[i] = m->out_fixed;
    l->their_bytes[p][i] = m->their_bytes;
    l->their_fixed[p][i] = m->their_fixed;
    // Finite, so that nothing meets it from where no cut was reached.
    l->budget[p][i] = r->budget + (r->timed ? fmin(s->t, DBL_MAX) : 0);
}

// The longest stage, in seconds of compute, bounds how far down the moves may lead.
static void find_floor(const Sweep *s, Lanes *l)
{
    double least = INFINITY, longest = 0;
    for (int cut = s->lowest[l->config]; cut <= s->highest[l->config]; cut++)
        if (is_source(s, l->config, cut) && s->cuts->least[cut] < least)
            least = s->cuts->least[cut];
    for (int i = 0; i < l->n; i++) {
        double seconds = l->budget[i / WIDE][i % WIDE] / l->move[i]->rows[0].compute;
        longest = seconds > longest ? seconds : longest;
    }
    l->floor = s->cuts->core->n_profiles > 1 ? -1 : least - longest * (1 + 1e-9);
}

static void sums_of(const Sweep *s, const Lanes *l, int p, int cut, Pack *sum)
{
    const Cuts *c = s->cuts;
    *sum = l->compute[p] * c->compute[l->profile][cut] +
           l->forward[p] * c->forward[l->profile][cut] + l->parameters[p] * c->parameters[cut] +
           l->activations[p] * c->activations[cut];
}

// As begin_value and receive_s have it, for all lanes at once.
static void test_lanes(Sweep *s, const Lanes *l, int cut, const Pack *low)
{
    double bytes = s->cuts->bytes[cut], inner = cut ? 1 : 0;
    for (int p = 0; p < PACKS; p++) {
        const Ends *in = &l->in[p];
        Pack v;
        sums_of(s, l, p, cut, &v);
        v -= inner * (in->row_bytes * bytes + in->row_fixed);
        Pack receive = inner * (in->bytes * bytes + in->fixed);
        Mask meets = (low[p] - v <= l->budget[p]) & (receive <= s->t);
        if (!any_of(&meets))
            continue;
        for (int i = 0; i < WIDE && p * WIDE + i < l->n; i++)
            if (meets[i] && may_begin(l->move[p * WIDE + i], cut))
                mark(s, l->move[p * WIDE + i]->to, cut);
    }
}

// As end_value and send_s have it.
static void add_source(const Sweep *s, const Lanes *l, int cut, Pack *low)
{
    const Cuts *c = s->cuts;
    double bytes = c->bytes[cut], inner = cut < c->n - 1 ? 1 : 0;
    for (int p = 0; p < PACKS; p++) {
        const Ends *out = &l->out[p];
        Pack v;
        sums_of(s, l, p, cut, &v);
        v += inner * (out->row_bytes * bytes + out->row_fixed);
        Pack own = inner * (out->bytes * bytes + out->fixed);
        Pack their = inner * (l->their_bytes[p] * bytes + l->their_fixed[p]);
        Mask sent = (own <= s->t) & (their <= s->t);
        lower(&low[p], &v, &sent);
    }
}

static const Pack unreached[PACKS] = {{INFINITY, INFINITY, INFINITY, INFINITY},
                                      {INFINITY, INFINITY, INFINITY, INFINITY}};

static void inherit(const Sweep *s, int cut, int top, Pack *low)
{
    const Lists *above = &s->cuts->above;
    const Mask all = ~(Mask){0};
    Pack least[PACKS]; // not *low: it stays in registers
    memcpy(least, unreached, sizeof least);
    for (int k = above->first[cut]; k < above->first[cut + 1]; k++) {
        if (above->items[k] > top)
            continue;
        const Pack *theirs = (const Pack *)s->low + (size_t)above->items[k] * PACKS;
        for (int p = 0; p < PACKS; p++)
            lower(&least[p], &theirs[p], &all);
    }
    memcpy(low, least, sizeof least);
}

static void run_lanes(Sweep *s, Lanes *l)
{
    const Cuts *c = s->cuts;
    int top = s->highest[l->config];
    if (!s->low)
        s->low = arena_array(s->arena, Pack, (size_t)c->n * PACKS);
    for (int i = l->n; i < LANES; i++)
        l->budget[i / WIDE][i % WIDE] = -INFINITY;
    find_floor(s, l);
    for (int cut = top; cut >= 0; cut--) {
        Pack *low = (Pack *)s->low + (size_t)cut * PACKS;
        if (c->least[cut] < l->floor) {
            memcpy(low, unreached, sizeof unreached);
            continue;
        }
        inherit(s, cut, top, low);
        if (c->least[cut] <= l->ceiling)
            test_lanes(s, l, cut, low);
        if (is_source(s, l->config, cut))
            add_source(s, l, cut, low);
    }
    l->n = 0;
}

static double budget_of(const Sweep *s, const MoveRow *r)
{
    return r->budget + (r->timed ? s->t : 0);
}

static void front_add(Sweep *s, Front *f, const double *value, int rows)
{
    int kept = 0;
    for (int i = 0; i < f->n; i++) {
        bool better = true, worse = true;
        for (int r = 0; r < rows; r++) {
            better &= f->value[i][r] <= value[r];
            worse &= f->value[i][r] >= value[r];
        }
        if (better)
            return;
        if (!worse)
            memmove(f->value[kept++], f->value[i], sizeof f->value[i]);
    }
    f->n = kept;
    if (f->n < FRONT)
        memcpy(f->value[f->n++], value, sizeof f->value[0]);
    else
        s->truncated = true;
}

static bool front_meets(const Sweep *s, const Front *f, const Move *m, int cut)
{
    for (int i = 0; i < f->n; i++) {
        bool meets = true;
        for (int r = 0; meets && r < m->n_rows; r++)
            meets = f->value[i][r] - begin_value(s->cuts, m, &m->rows[r], cut) <=
                    budget_of(s, &m->rows[r]);
        if (meets)
            return true;
    }
    return false;
}

static void run_front(Sweep *s, const Move *m)
{
    const Cuts *c = s->cuts;
    if (!s->fronts)
        s->fronts = arena_array(s->arena, Front, c->n);
    int top = s->highest[m->from];
    for (int cut = top; cut >= 0; cut--) {
        Front *f = &s->fronts[cut];
        f->n = 0;
        for (int k = c->above.first[cut]; k < c->above.first[cut + 1]; k++) {
            int up = c->above.items[k];
            for (int i = 0; up <= top && i < s->fronts[up].n; i++)
                front_add(s, f, s->fronts[up].value[i], m->n_rows);
        }
        if (f->n && may_begin(m, cut) && receive_s(c, m, cut) <= s->t &&
            front_meets(s, f, m, cut))
            mark(s, m->to, cut);
        if (is_source(s, m->from, cut) && send_s(c, m, cut) <= s->t) {
            double value[MAX_ROWS] = {0};
            for (int r = 0; r < m->n_rows; r++)
                value[r] = end_value(c, m, &m->rows[r], cut);
            front_add(s, f, value, m->n_rows);
        }
    }
}

static void run_config(Sweep *s, int config)
{
    const Moves *moves = s->moves;
    Lanes l = {.config = config};
    for (int i = moves->first[config]; i < moves->first[config + 1]; i++) {
        const Move *m = &moves->items[i];
        if (m->n_rows > 1) {
            run_front(s, m);
            continue;
        }
        if (l.n == LANES || (l.n && l.profile != m->profile))
            run_lanes(s, &l);
        add_lane(s, &l, m);
    }
    if (l.n)
        run_lanes(s, &l);
}

// The step that led to `begin` in configuration `config`: the one that is fastest, or moves least.
static Step step_to(const Sweep *s, int config, int begin, bool tidy)
{
    const Cuts *c = s->cuts;
    Step best = {.begin = begin};
    double least = INFINITY;
    for (int i = 0; i < s->moves->n; i++) {
        const Move *m = &s->moves->items[i];
        for (int end = s->lowest[m->from]; m->to == config && end <= s->highest[m->from];
             end++) {
            if (end <= begin || !is_source(s, m->from, end))
                continue;
            Step step = {begin, end, m};
            double t = step_seconds(c, &step), value = tidy ? c->bytes[end] : t;
            if (t <= s->t && value < least && cut_within(c, begin, end)) {
                best = step;
                least = value;
            }
        }
    }
    return best;
}

static void collect(Sweep *s, int config, bool tidy, Steps *out)
{
    *out = (Steps){.items = arena_array(s->arena, Step, s->moves->n_configs)};
    for (int cut = 0; cut != s->cuts->n - 1;) {
        Step step = step_to(s, config, cut, tidy);
        CHECK(step.move, "planner", "the way to cut %d was lost", cut);
        double t = step_seconds(s->cuts, &step);
        out->time_s = t > out->time_s ? t : out->time_s;
        out->items[out->n++] = step;
        cut = step.end;
        config = step.move->from;
    }
}

bool sweep_probe(Sweep *s, double t, bool tidy, Steps *out)
{
    int n = s->cuts->n;
    s->t = t;
    s->truncated = false;
    memset(s->reached, 0, (size_t)n * (size_t)s->moves->n_configs);
    for (int i = 0; i < n; i++)
        s->least[i] = s->moves->n_configs;
    for (int c = 0; c < s->moves->n_configs; c++) {
        s->lowest[c] = n;
        s->highest[c] = -1;
    }
    reached(s, 0)[n - 1] = 1;
    s->least[n - 1] = 0;
    s->lowest[0] = s->highest[0] = n - 1;
    for (int c = 0; c < s->moves->n_configs; c++) {
        if (s->highest[c] >= 0)
            run_config(s, c);
        bool end = c && reached(s, c)[0] && (s->goal < 0 || s->goal == c);
        if (end) {
            collect(s, c, tidy, out);
            return true;
        }
    }
    return false;
}
