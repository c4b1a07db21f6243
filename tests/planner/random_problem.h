// Random problems, machines and options, small enough for the oracle or larger; the same ones for the same
// seed.
#ifndef STAGECC_TESTS_RANDOM_PROBLEM_H
#define STAGECC_TESTS_RANDOM_PROBLEM_H

#include "base/vec.h"
#include "passes/planner/planner.h"

#include <math.h>
#include <stdio.h>

typedef struct Random {
    uint64_t state;
} Random;

static inline uint64_t random_next(Random *r) // splitmix64 (Steele, Lea, Flood, 2014)
{
    uint64_t x = r->state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static inline int random_int(Random *r, int low, int high) // both inclusive
{
    return low + (int)(random_next(r) % (uint64_t)(high - low + 1));
}

static inline double random_unit(Random *r)
{
    return (double)(random_next(r) >> 11) / 9007199254740992.0;
}

static inline bool random_one_in(Random *r, int n)
{
    return random_int(r, 1, n) == 1;
}

static inline int *random_order(Arena *a, Random *r, int n)
{
    int *order = arena_array(a, int, n + 1);
    for (int i = 0; i < n; i++) {
        int k = random_int(r, 0, i);
        order[i] = order[k];
        order[k] = i;
    }
    return order;
}

typedef enum GraphShape {
    SHAPE_ANY,    // any earlier node may be an input
    SHAPE_CHAIN,  // a chain with skips over a few nodes
    SHAPE_PARTS,  // two or three that know nothing of each other
    SHAPE_LAYERS, // branches that meet
    SHAPE_LOOSE,  // hardly an edge
    N_SHAPES
} GraphShape;

typedef enum GraphNumbers {
    NUMBERS_FEW,    // 0, 1, 2: ties everywhere
    NUMBERS_ANY,    // seconds with all their bits, whole bytes
    NUMBERS_ONE_BIG // one node dominates
} GraphNumbers;

// Whether node `to` reads what `from` < `to` makes; places in a topological order of n.
static inline bool random_edge(Random *r, GraphShape shape, int from, int to, int n)
{
    switch (shape) {
    case SHAPE_ANY: return random_one_in(r, 3);
    case SHAPE_CHAIN: return to == from + 1 || (to < from + 5 && random_one_in(r, 4));
    case SHAPE_PARTS: return from * 3 / n == to * 3 / n && random_one_in(r, 2);
    case SHAPE_LAYERS: return to / 3 == from / 3 + 1 && (from % 3 == 0 || to % 3 == from % 3);
    case SHAPE_LOOSE: return random_one_in(r, n);
    case N_SHAPES: break;
    }
    return false;
}

static inline double random_bytes(Random *r, GraphNumbers numbers)
{
    if (random_one_in(r, 6))
        return 0;
    return numbers == NUMBERS_FEW ? 100 * random_int(r, 1, 2) : random_int(r, 1, 1000);
}

static inline double random_seconds(Random *r, GraphNumbers numbers)
{
    if (random_one_in(r, 6))
        return 0;
    return numbers == NUMBERS_FEW ? random_int(r, 1, 2) : random_unit(r);
}

static inline void random_node(Arena *a, Random *r, Problem *p, int v, GraphNumbers numbers)
{
    ProblemNode *node = &p->nodes[v];
    node->name = arena_printf(a, "n%d", v);
    for (int f = 0; f < p->n_profiles; f++) {
        node->forward_s[f] = random_seconds(r, numbers);
        node->backward_s[f] =
            random_one_in(r, 4) ? 2 * node->forward_s[f] : random_seconds(r, numbers);
    }
    node->parameter_bytes = random_bytes(r, numbers);
    node->activation_bytes = random_bytes(r, numbers);
}

// Tensors of the node at `place` of the order: mostly one for all users, else one for each part of them; some
// that nobody uses.
static inline void random_tensors(Arena *a, Random *r, Problem *p, const int *order, int place,
                                  GraphShape shape, GraphNumbers numbers)
{
    ProblemTensor *own = &p->tensors[p->n_tensors];
    int n = random_one_in(r, 4) ? 2 : 1, users = 0;
    for (int i = 0; i < n; i++)
        own[i] = (ProblemTensor){.producer = order[place],
                                 .users = arena_array(a, int, p->n),
                                 .bytes = random_bytes(r, numbers)};
    for (int to = place + 1; to < p->n; to++) {
        if (!random_edge(r, shape, place, to, p->n))
            continue;
        ProblemTensor *t = &own[random_int(r, 0, n - 1)];
        t->users[t->n_users++] = order[to];
        users++;
    }
    if (users || random_one_in(r, 2))
        p->n_tensors += n;
}

// Nodes are numbered in no order at all.
static inline Problem *random_graph(Arena *a, Random *r, int n, int n_profiles,
                                    GraphShape shape)
{
    Problem *p = arena_new(a, Problem);
    GraphNumbers numbers = (GraphNumbers)random_int(r, 0, NUMBERS_ONE_BIG);
    *p = (Problem){.n = n, .n_profiles = n_profiles};
    p->nodes = arena_array(a, ProblemNode, n);
    p->tensors = arena_array(a, ProblemTensor, 2 * n);
    p->together = arena_array(a, ProblemPair, 2);
    int *order = random_order(a, r, n);
    for (int v = 0; v < n; v++)
        random_node(a, r, p, v, numbers);
    for (int place = 0; place < n; place++)
        random_tensors(a, r, p, order, place, shape, numbers);
    if (numbers == NUMBERS_ONE_BIG)
        p->nodes[random_int(r, 0, n - 1)].forward_s[0] = 10;
    return p;
}

// Of any shape, some with nodes that belong together.
static inline Problem *random_problem(Arena *a, Random *r, int n, int n_profiles)
{
    Problem *p = random_graph(a, r, n, n_profiles, (GraphShape)random_int(r, 0, N_SHAPES - 1));
    for (int i = 0; n > 1 && i < 2 && random_one_in(r, 4); i++)
        p->together[p->n_together++] =
            (ProblemPair){random_int(r, 0, n - 1), random_int(r, 0, n - 1)};
    return p;
}

static inline double random_bandwidth(Random *r)
{
    static const double some[] = {100, 300, 1000, 3000, 1e5};
    return random_one_in(r, 2) ? some[random_int(r, 0, 4)] : exp(4 + 8 * random_unit(r));
}

static inline double random_latency(Random *r)
{
    return random_one_in(r, 3) ? 0.1 * random_unit(r) : 0;
}

static inline Machines *random_alike(Arena *a, Random *r, int n)
{
    static const double speed[] = {1, 2, 0.1, 0.7};
    int sizes[1] = {n};
    double bytes_per_s[1] = {random_bandwidth(r)};
    Machines *m = machines_alike(a, sizes, bytes_per_s, 1);
    m->types[0].speed = speed[random_one_in(r, 2) ? 0 : random_int(r, 0, 3)];
    m->levels[0].latency_s = random_latency(r);
    if (random_one_in(r, 4)) { // one host, whose link its machines may share
        m->host = arena_array(a, int, n);
        m->n_hosts = 1;
        m->link = arena_copy(a, m->levels, sizeof *m->link);
        m->link->per_device = random_one_in(r, 2);
    }
    return m;
}

// Up to three types of speed, memory (about `memory` bytes) and profile.
static inline void random_types(Arena *a, Random *r, Machines *m, int n_profiles, double memory)
{
    static const double speed[] = {1, 2, 0.5, 0.1, 0.7, 1.3};
    m->n_types = random_int(r, 2, 3);
    m->types = arena_array(a, MachineType, m->n_types);
    for (int t = 0; t < m->n_types; t++)
        m->types[t] = (MachineType){
            .speed = speed[random_int(r, 0, 5)],
            .memory_bytes = random_one_in(r, 2) ? floor(memory * random_unit(r)) + 1 : 0,
            .profile = random_int(r, 0, n_profiles - 1)};
    for (int i = 0; i < m->n; i++)
        m->type[i] = random_int(r, 0, m->n_types - 1);
}

static inline Machines *random_levels(Arena *a, Random *r)
{
    static const int shapes[][3] = {{2, 2, 0}, {2, 3, 0}, {3, 2, 0}, {4, 2, 0},
                                    {1, 3, 0}, {2, 2, 2}, {1, 2, 2}};
    const int *sizes = shapes[random_int(r, 0, 6)];
    int n_levels = sizes[2] ? 3 : 2;
    double bytes_per_s[3];
    for (int l = 0; l < n_levels; l++)
        bytes_per_s[l] = random_bandwidth(r);
    Machines *m = machines_alike(a, sizes, bytes_per_s, n_levels);
    for (int l = 0; l < n_levels; l++) {
        m->levels[l].latency_s = random_latency(r);
        m->levels[l].per_device |= random_one_in(r, 3);
    }
    return m;
}

static inline Machines *random_hosts(Arena *a, Random *r, int n)
{
    Machines *m = arena_new(a, Machines);
    m->n = n;
    m->types = arena_new(a, MachineType);
    m->types[0].speed = 1;
    m->n_types = 1;
    m->type = arena_array(a, int, n);
    m->host = arena_array(a, int, n);
    for (int i = 1; i < n; i++)
        m->host[i] = m->host[i - 1] + random_int(r, 0, 1);
    m->n_hosts = m->host[n - 1] + 1;
    m->link = arena_array(a, MachineLevel, m->n_hosts * m->n_hosts);
    for (int i = 0; i < m->n_hosts; i++)
        for (int j = i; j < m->n_hosts; j++) {
            MachineLevel link = {.size = 1,
                                 .bytes_per_s = random_bandwidth(r),
                                 .latency_s = random_latency(r),
                                 .per_device = !random_one_in(r, 3)};
            if (i == j && random_one_in(r, 3)) // nobody measured it
                link = (MachineLevel){.size = 1, .bytes_per_s = INFINITY, .per_device = true};
            m->link[i * m->n_hosts + j] = m->link[j * m->n_hosts + i] = link;
        }
    return m;
}

static inline CostOptions random_options(Random *r)
{
    static const double compression[] = {0, 0, 1, 2.5};
    CostOptions o = {.model = "stagecc", .schedule = random_one_in(r, 4) ? "gpipe" : "1f1b"};
    o.micro_batches = random_one_in(r, 2) ? 0 : 1 << random_int(r, 0, 3);
    o.overlap = (Overlap)random_int(r, 0, 2);
    o.state_factor = random_int(r, 0, 2);
    o.compression = compression[random_int(r, 0, 3)];
    o.recompute = random_int(r, 0, 2);
    o.straight = random_one_in(r, 5);
    o.exact_stages = o.straight && random_one_in(r, 2);
    return o;
}

// For the report of a failure.
static inline void print_problem(const Problem *p, const Machines *m, const CostOptions *o)
{
    for (int v = 0; v < p->n; v++) {
        const ProblemNode *n = &p->nodes[v];
        printf("  n%d: ", v);
        for (int f = 0; f < p->n_profiles; f++)
            printf("%.17g+%.17g s ", n->forward_s[f], n->backward_s[f]);
        printf("parameters %g, activations %g\n", n->parameter_bytes, n->activation_bytes);
    }
    for (int t = 0; t < p->n_tensors; t++) {
        printf("  n%d makes %g bytes for", p->tensors[t].producer, p->tensors[t].bytes);
        for (int u = 0; u < p->tensors[t].n_users; u++)
            printf(" n%d", p->tensors[t].users[u]);
        printf("\n");
    }
    for (int i = 0; i < p->n_together; i++)
        printf("  n%d with n%d\n", p->together[i].first, p->together[i].second);
    for (int i = 0; i < m->n; i++) {
        const MachineType *type = &m->types[m->type[i]];
        printf("  machine %d: host %d, type %d, speed %g, memory %g, profile %d\n", i,
               m->host ? m->host[i] : 0, m->type[i], type->speed, type->memory_bytes,
               type->profile);
    }
    for (int l = 0; l < m->n_levels; l++)
        printf("  level of %d: %.17g bytes/s, %g s, %s\n", m->levels[l].size,
               m->levels[l].bytes_per_s, m->levels[l].latency_s,
               m->levels[l].per_device ? "per device" : "shared");
    for (int i = 0; m->host && i < m->n_hosts * m->n_hosts; i++)
        printf("  link %d-%d: %.17g bytes/s, %g s, %s\n", i / m->n_hosts, i % m->n_hosts,
               m->link[i].bytes_per_s, m->link[i].latency_s,
               m->link[i].per_device ? "per device" : "shared");
    printf(
        "  %s, %d micro-batches, overlap %d, state %g, memory %g, compression %g%s%s, recompute %d\n",
        o->schedule, o->micro_batches, (int)o->overlap, o->state_factor, o->memory_bytes,
        o->compression, o->straight ? ", straight" : "",
        o->exact_stages ? ", exact stages" : "", o->recompute);
}

#endif
