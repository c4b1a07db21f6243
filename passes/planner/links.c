// Micro-batch m goes from replica m mod r of a stage to replica m mod q of the next, so replicas i and j meet
// where i and j are the same modulo g, the greatest common divisor of r and q, and then in one of r q / g
// micro-batches. A replica sends one after another, each at the slowest link of its way; so does a link that
// several machines share, at its own speed. The busiest of all these says what a byte costs.
//
// Stages stand side by side, so the partners of a replica are counted run by run: machines in a row to which the
// way is the same.
#include "passes/planner/links.h"

#include <math.h>

static int common_divisor(int a, int b)
{
    while (b) {
        int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static MachineLevel slower(MachineLevel a, MachineLevel b)
{
    if (b.bytes_per_s < a.bytes_per_s)
        return slower(b, a);
    a.latency_s = fmax(a.latency_s, b.latency_s);
    return a;
}

static MachineLevel slowest_on_way(const Machines *m, int from, int to)
{
    const MachineLevel *way[MAX_LEVELS];
    int n = machines_way(m, from, to, way);
    MachineLevel link = *way[0];
    for (int l = 1; l < n; l++)
        link = slower(link, *way[l]);
    return link;
}

MachineLevel links_ring(const Machines *m, int first, int end)
{
    MachineLevel link = slowest_on_way(m, end - 1, first);
    // On levels that way takes all kinds of links that any neighbours need.
    for (int i = m->host ? first : end; i < end - 1; i++)
        link = slower(link, slowest_on_way(m, i, i + 1));
    return link;
}

MachineLevel links_slowest(const Machines *m)
{
    MachineLevel link = slowest_on_way(m, 0, m->n - 1);
    for (int i = 0; m->host && i < m->n_hosts * m->n_hosts; i++)
        link = slower(link, m->link[i]);
    return link;
}

// What several machines share and one of them, `of`, uses: its number among those of its kind.
static int sharer(const Machines *m, int kind, int of)
{
    return m->host ? m->host[of] : of / m->levels[kind].group;
}

// Behind the last machine before b to which the way from i is that to j.
static int run_end(const Machines *m, int i, int j, int b)
{
    const MachineLevel *way[MAX_LEVELS];
    int end = j, n = machines_way(m, i, j, way), group = 1;
    if (m->host) {
        while (end < b && m->host[end] == m->host[j])
            end++;
        return end;
    }
    for (int l = 0; l < (i < j ? n : n - 1); l++)
        group *= m->levels[l].size;
    end = (j / group + 1) * group;
    return end < b ? end : b;
}

// Of 0 .. end - 1, those that are `rest` modulo g.
static int members(int end, int rest, int g)
{
    return (end + g - 1 - rest) / g;
}

typedef struct Busy { // by the kind of link: levels; within hosts (0) and between (1)
    int of[MAX_LEVELS];
    double s_per_byte[MAX_LEVELS], most, latency_s;
} Busy;

// Machine i exchanges `share` of the micro-batches with j and others on the same way.
static double carry(const Machines *m, Busy *busy, int i, int j, double share)
{
    const MachineLevel *way[MAX_LEVELS];
    double own = 0;
    int n = machines_way(m, i, j, way);
    for (int l = 0; l < n; l++) {
        int kind = m->host ? m->host[i] != m->host[j] : l;
        double seconds = share / way[l]->bytes_per_s;
        own = fmax(own, seconds);
        busy->latency_s = fmax(busy->latency_s, way[l]->latency_s);
        if (way[l]->per_device)
            continue;
        int of = sharer(m, kind, i);
        busy->s_per_byte[kind] =
            of == busy->of[kind] ? busy->s_per_byte[kind] + seconds : seconds;
        busy->of[kind] = of;
        busy->most = fmax(busy->most, busy->s_per_byte[kind]);
    }
    return own;
}

Transfer links_between(const Machines *m, int first, int end, int a, int b)
{
    int r = end - first, q = b - a, g = common_divisor(r, q);
    Busy busy = {.most = 0};
    for (int l = 0; l < MAX_LEVELS; l++)
        busy.of[l] = -1;
    for (int i = first; i < end; i++) {
        double own = 0;
        for (int j = a, next; j < b; j = next) {
            next = run_end(m, i, j, b);
            int rest = (i - first) % g,
                n = members(next - a, rest, g) - members(j - a, rest, g);
            if (n)
                own += carry(m, &busy, i, j, (double)n * g / ((double)r * q));
        }
        busy.most = fmax(busy.most, own);
    }
    return (Transfer){busy.most, busy.latency_s / r};
}

static int largest_host(const Machines *m)
{
    int most = 0;
    for (int i = 0, n = 0; i < m->n; i++) {
        n = i && m->host[i] == m->host[i - 1] ? n + 1 : 1;
        most = n > most ? n : most;
    }
    return most;
}

Transfer links_anywhere(const Machines *m, int r)
{
    int n = m->host ? m->n_hosts * m->n_hosts : m->n_levels,
        largest = m->host ? largest_host(m) : 0;
    double most = 1 / links_slowest(m).bytes_per_s;
    for (int l = 0; l < n; l++) {
        const MachineLevel *link = m->host ? &m->link[l] : &m->levels[l];
        int group = link->per_device ? 1 : m->host ? largest : link->group;
        most = fmax(most, (r < group ? r : group) / link->bytes_per_s);
    }
    return (Transfer){most / r, links_slowest(m).latency_s / r};
}
