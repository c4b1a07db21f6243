// What passes over which links, from the machines of the stages as they are listed.
#include "passes/planner/evaluate_links.h"

#include <math.h>

// Of some replicas of a stage: the places where they are, how many are there, and a machine of each.
typedef struct Places {
    int *of, *machine, n;
    int *count; // by place
} Places;

struct Traffic {
    const Machines *m;
    bool *on; // [machines] all false between calls
    Places places;
    // Seconds a byte of shared links: of a level, or of hosts between (0) and within (1).
    double *busy[MAX_LEVELS];
};

// Machines of one place have the same way to any machine elsewhere.
static int place(const Machines *m, int machine)
{
    return m->host ? m->host[machine] : machine / m->levels[0].size;
}

Traffic *traffic_new(Arena *a, const Machines *m)
{
    Traffic *t = arena_new(a, Traffic);
    t->m = m;
    t->on = arena_array(a, bool, m->n + 1);
    t->places.of = arena_array(a, int, m->n + 1);
    t->places.machine = arena_array(a, int, m->n + 1);
    t->places.count = arena_array(a, int, m->n + 1);
    for (int l = 0; l < MAX_LEVELS; l++)
        t->busy[l] = arena_array(a, double, m->n + 1);
    return t;
}

// Which of a kind of links a machine has, alone or with others.
static int sharer(const Machines *m, int kind, int machine)
{
    return m->host ? m->host[machine] : machine / m->levels[kind].group;
}

// A replica exchanges `share` of the micro-batches with such as `other`. Returns how long a byte of each
// micro-batch keeps it busy, and adds that to what it shares on the way.
static double carry(Traffic *t, int machine, int other, double share, double *latency)
{
    const MachineLevel *way[MAX_LEVELS];
    double slowest = INFINITY;
    int n = machines_way(t->m, machine, other, way);
    for (int l = 0; l < n; l++) {
        int kind = t->m->host ? place(t->m, machine) == place(t->m, other) : l;
        slowest = fmin(slowest, way[l]->bytes_per_s);
        *latency = fmax(*latency, way[l]->latency_s);
        if (!way[l]->per_device)
            t->busy[kind][sharer(t->m, kind, machine)] += share / way[l]->bytes_per_s;
    }
    return share / slowest;
}

// The replicas `rest`, `rest` + step, ... of a stage.
static void find_places(const Traffic *t, Places *p, const StageChoice *s, int rest, int step)
{
    for (int i = 0; i < p->n; i++)
        p->count[p->of[i]] = 0;
    p->n = 0;
    for (int j = rest; j < s->replicas; j += step) {
        int of = place(t->m, s->machines[j]);
        if (!p->count[of]++) {
            p->of[p->n] = of;
            p->machine[p->n++] = s->machines[j];
        }
    }
}

// Of the links that machines of a stage share.
static double busiest_shared(const Traffic *t, const StageChoice *s, bool clear)
{
    int kinds = t->m->host ? 2 : t->m->n_levels;
    double most = 0;
    for (int i = 0; i < s->replicas; i++)
        for (int l = 0; l < kinds; l++) {
            double *busy = &t->busy[l][sharer(t->m, l, s->machines[i])];
            *busy = clear ? 0 : *busy;
            most = fmax(most, *busy);
        }
    return most;
}

static int common_divisor(int a, int b)
{
    return b ? common_divisor(b, a % b) : a;
}

double traffic_busiest(Traffic *t, const StageChoice *s, const StageChoice *other,
                       double *latency)
{
    int r = s->replicas, g = common_divisor(r, other->replicas);
    double most = busiest_shared(t, s, true), share = (double)g / r / other->replicas;
    Places *p = &t->places;
    for (int rest = 0; rest < g;
         rest++) { // replicas i and j meet if they are the same modulo g
        find_places(t, p, other, rest, g);
        for (int i = rest; i < r; i += g) {
            double own = 0;
            for (int k = 0; k < p->n; k++)
                own += carry(t, s->machines[i], p->machine[k], p->count[p->of[k]] * share,
                             latency);
            most = fmax(most, own);
        }
    }
    return fmax(most, busiest_shared(t, s, false));
}

static void slow_down(const Traffic *t, int from, int to, double *of_byte, double *latency)
{
    const MachineLevel *way[MAX_LEVELS];
    int n = machines_way(t->m, from, to, way);
    for (int l = 0; l < n; l++) {
        *of_byte = fmax(*of_byte, 1 / way[l]->bytes_per_s);
        *latency = fmax(*latency, way[l]->latency_s);
    }
}

double traffic_ring(Traffic *t, const StageChoice *s, double *latency)
{
    double of_byte = 0;
    int first = -1, last = -1;
    for (int i = 0; i < s->replicas; i++)
        t->on[s->machines[i]] = true;
    for (int d = 0; d < t->m->n; d++) {
        if (!t->on[d])
            continue;
        if (last >= 0)
            slow_down(t, last, d, &of_byte, latency);
        first = first < 0 ? d : first;
        last = d;
        t->on[d] = false;
    }
    slow_down(t, last, first, &of_byte, latency);
    return of_byte;
}
