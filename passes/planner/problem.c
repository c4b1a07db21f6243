// Problems and machines: checks and questions.
#include "passes/planner/planner.h"

#include <math.h>
#include <stddef.h>

static bool fine(double x)
{
    return isfinite(x) && x >= 0;
}

static const char *check_node(Arena *a, const Problem *p, const ProblemNode *n)
{
    for (int k = 0; k < p->n_profiles; k++)
        if (!fine(n->forward_s[k]) || !fine(n->backward_s[k]))
            return arena_printf(a, "%s: its time is not finite and positive", n->name);
    if (!fine(n->parameter_bytes) || !fine(n->activation_bytes))
        return arena_printf(a, "%s: its size is not finite and positive", n->name);
    return NULL;
}

const char *problem_check(Arena *a, const Problem *p)
{
    int *waits = arena_array(a, int, p->n + 1), *ready = arena_array(a, int, p->n + 1), n = 0;
    int *first = arena_array(a, int, p->n + 2), *mine = arena_array(a, int, p->n_tensors + 1);
    for (int i = 0; i < p->n; i++) {
        const char *why = check_node(a, p, &p->nodes[i]);
        if (why)
            return why;
    }
    for (int t = 0; t < p->n_tensors; t++) {
        const ProblemTensor *tensor = &p->tensors[t];
        if (!fine(tensor->bytes))
            return arena_printf(a, "%s: its tensor's size is not finite and positive",
                                p->nodes[tensor->producer].name);
        for (int u = 0; u < tensor->n_users; u++)
            waits[tensor->users[u]]++;
        first[tensor->producer + 1]++;
    }
    for (int i = 0; i < p->n; i++)
        first[i + 1] += first[i];
    int *fill = arena_copy(a, first, sizeof *first * ((size_t)p->n + 1));
    for (int t = 0; t < p->n_tensors; t++)
        mine[fill[p->tensors[t].producer]++] = t;
    for (int i = 0; i < p->n; i++)
        if (!waits[i])
            ready[n++] = i;
    for (int i = 0; i < n; i++)
        for (int k = first[ready[i]]; k < first[ready[i] + 1]; k++)
            for (int u = 0; u < p->tensors[mine[k]].n_users; u++)
                if (!--waits[p->tensors[mine[k]].users[u]])
                    ready[n++] = p->tensors[mine[k]].users[u];
    for (int i = 0; i < p->n && n < p->n; i++)
        if (waits[i])
            return arena_printf(a, "%s is part of a cycle", p->nodes[i].name);
    return NULL;
}

Machines *machines_alike(Arena *a, const int *sizes, const double *bytes_per_s, int n_levels)
{
    Machines *m = arena_new(a, Machines);
    m->n = 1;
    m->n_levels = n_levels;
    for (int l = 0; l < n_levels; l++) {
        m->levels[l] = (MachineLevel){.size = sizes[l],
                                      .bytes_per_s = bytes_per_s[l],
                                      .per_device = l == 0,
                                      .group = m->n};
        m->n *= sizes[l];
    }
    m->types = arena_new(a, MachineType);
    m->types[0].speed = 1;
    m->n_types = 1;
    m->type = arena_array(a, int, m->n);
    return m;
}

int machines_way(const Machines *m, int from, int to, const MachineLevel *way[MAX_LEVELS])
{
    int n = 0, group = 1;
    if (m->host) {
        way[0] = &m->link[m->host[from] * m->n_hosts + m->host[to]];
        return 1;
    }
    do {
        way[n] = &m->levels[n];
        group *= m->levels[n++].size;
    } while (n < m->n_levels && from / group != to / group);
    return n;
}

bool machines_limited(const Machines *m, const CostOptions *o)
{
    bool limited = o->memory_bytes > 0;
    for (int t = 0; t < m->n_types; t++)
        limited |= m->types[t].memory_bytes > 0;
    return limited;
}
