// The oracle's view of links, one micro-batch after another. Machines are bit masks, replicas in their order.
#ifndef STAGECC_TESTS_ORACLE_LINKS_H
#define STAGECC_TESTS_ORACLE_LINKS_H

#include "passes/planner/planner.h"

#include <math.h>

enum { ORACLE_MACHINES = 8 };

static inline int oracle_count(unsigned set)
{
    return __builtin_popcount(set);
}

static inline int oracle_machine(unsigned machines, int place) // in their order
{
    while (place--)
        machines &= machines - 1;
    return __builtin_ctz(machines);
}

typedef struct OracleLink {
    const MachineLevel *link;
    int kind, owner; // who else has to wait while it is used; -1: nobody
} OracleLink;

// From i on the way to j: up, level by level, until both are below the same switch; or over what joins two hosts.
static inline int oracle_way(const Machines *m, int i, int j, OracleLink *way)
{
    if (m->host) {
        const MachineLevel *link = &m->link[m->host[i] * m->n_hosts + m->host[j]];
        way[0] = (OracleLink){link, m->host[i] == m->host[j], m->host[i]};
        way[0].owner = link->per_device ? -1 : m->host[i];
        return 1;
    }
    int n = 0, below = 1, shared = 1;
    do {
        const MachineLevel *link = &m->levels[n];
        below *= link->size;
        way[n] = (OracleLink){link, n, link->per_device ? -1 : i / shared};
        shared = below;
        n++;
    } while (i / below != j / below);
    return n;
}

// Micro-batch after micro-batch, until replicas meet as they did at first: how long the busiest machine of `own`,
// or what it shares with others, is busy with a byte of each; and the largest latency.
static inline void oracle_meet(const Machines *m, unsigned own, unsigned others,
                               double *of_byte, double *latency)
{
    double alone[ORACLE_MACHINES] = {0}, busy[MAX_LEVELS][ORACLE_MACHINES] = {{0}};
    int r = oracle_count(own), q = oracle_count(others);
    for (int mb = 0; mb < r * q; mb++) {
        OracleLink way[MAX_LEVELS];
        int i = oracle_machine(own, mb % r), j = oracle_machine(others, mb % q);
        double slowest = 0;
        for (int n = oracle_way(m, i, j, way), l = 0; l < n; l++) {
            double seconds = 1 / way[l].link->bytes_per_s;
            slowest = fmax(slowest, seconds);
            *latency = fmax(*latency, way[l].link->latency_s);
            if (way[l].owner >= 0)
                busy[way[l].kind][way[l].owner] += seconds / (r * q);
        }
        alone[i] += slowest / (r * q);
    }
    for (int i = 0; i < ORACLE_MACHINES; i++) {
        *of_byte = fmax(*of_byte, alone[i]);
        for (int kind = 0; kind < MAX_LEVELS; kind++)
            *of_byte = fmax(*of_byte, busy[kind][i]);
    }
}

// Gradients go around: each machine to the next one, the last to the first.
static inline double oracle_ring(const Machines *m, unsigned machines, double bytes)
{
    int r = oracle_count(machines);
    double slowest = 0, latency = 0;
    for (int i = 0; i < r; i++) {
        OracleLink way[MAX_LEVELS];
        int n = oracle_way(m, oracle_machine(machines, i),
                           oracle_machine(machines, (i + 1) % r), way);
        for (int l = 0; l < n; l++) {
            slowest = fmax(slowest, 1 / way[l].link->bytes_per_s);
            latency = fmax(latency, way[l].link->latency_s);
        }
    }
    return 2.0 * (r - 1) / r * bytes * slowest + 2 * (r - 1) * latency;
}

#endif
