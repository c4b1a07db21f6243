// The best plan of a small problem by trying all of them, written apart from the planner: sets of nodes
// and of machines are bit masks, costs come from the formulas on top of cost_stagecc.c, bytes from who
// makes and who uses a tensor.
//
// A stage is (begin, end, machines): the nodes of the cut `end` that the cut `begin` lacks. Plans grow from
// the last stage to the first, so that the machines behind a stage are known.
#ifndef STAGECC_TESTS_ORACLE_H
#define STAGECC_TESTS_ORACLE_H

#include "tests/planner/oracle_links.h"

#include <math.h>
#include <string.h>

enum { ORACLE_NODES = 12 };

typedef struct OracleMeeting { // of the machines of two stages
    bool known;
    double of_byte, latency;
} OracleMeeting;

typedef struct Oracle {
    const Problem *p;
    const Machines *m;
    const CostOptions *o;
    bool
        memory; // what is least: the bytes of the fullest machine, limits aside, instead of the time
    unsigned all, all_machines;
    bool *is_cut;     // [1 << n] by set of nodes
    double *crossing; // likewise: bytes made within and used outside
    double *compute[MAX_PROFILES], *forward[MAX_PROFILES], *parameters, *activations; // sums
    OracleMeeting *meetings; // [own << machines | others]
} Oracle;

static inline bool oracle_has(unsigned set, int i)
{
    return set >> i & 1;
}

static inline void oracle_look_at_set(Oracle *k, unsigned set)
{
    const Problem *p = k->p;
    k->is_cut[set] = true;
    for (int t = 0; t < p->n_tensors; t++) {
        bool within = oracle_has(set, p->tensors[t].producer), outside = false;
        for (int u = 0; u < p->tensors[t].n_users; u++)
            if (!oracle_has(set, p->tensors[t].users[u]))
                outside = true;
            else if (!within)
                k->is_cut[set] = false;
        if (within && outside)
            k->crossing[set] += p->tensors[t].bytes;
    }
    for (int i = 0; i < p->n_together; i++)
        if (oracle_has(set, p->together[i].first) != oracle_has(set, p->together[i].second))
            k->is_cut[set] = false;
    for (int v = 0; v < p->n; v++) {
        if (!oracle_has(set, v))
            continue;
        for (int f = 0; f < p->n_profiles; f++) {
            k->compute[f][set] += p->nodes[v].forward_s[f] + p->nodes[v].backward_s[f];
            k->forward[f][set] += p->nodes[v].forward_s[f];
        }
        k->parameters[set] += p->nodes[v].parameter_bytes;
        k->activations[set] += p->nodes[v].activation_bytes;
    }
}

static inline Oracle *oracle_of(Arena *a, const Problem *p, const Machines *m,
                                const CostOptions *o)
{
    CHECK(p->n <= ORACLE_NODES && m->n <= ORACLE_MACHINES, "oracle", "this would take long");
    Oracle *k = arena_new(a, Oracle);
    *k = (Oracle){.p = p, .m = m, .o = o};
    unsigned sets = 1u << p->n;
    k->all = sets - 1;
    k->all_machines = (1u << m->n) - 1;
    k->meetings = arena_array(a, OracleMeeting, 1 << 2 * m->n);
    k->is_cut = arena_array(a, bool, sets);
    k->crossing = arena_array(a, double, sets);
    for (int f = 0; f < p->n_profiles; f++) {
        k->compute[f] = arena_array(a, double, sets);
        k->forward[f] = arena_array(a, double, sets);
    }
    k->parameters = arena_array(a, double, sets);
    k->activations = arena_array(a, double, sets);
    for (unsigned set = 0; set < sets; set++)
        oracle_look_at_set(k, set);
    return k;
}

// What `machines` pay for a boundary to or from `others`.
static inline double oracle_transfer(const Oracle *k, unsigned machines, unsigned others,
                                     double bytes)
{
    OracleMeeting *known = &k->meetings[machines << k->m->n | others];
    double sent = k->o->compression > 0 ? bytes / k->o->compression : bytes;
    if (!known->known) {
        oracle_meet(k->m, machines, others, &known->of_byte, &known->latency);
        known->known = true;
    }
    return 2 * sent * known->of_byte + 2 * known->latency / oracle_count(machines);
}

static inline int oracle_in_flight(const CostOptions *o, int replicas, int behind)
{
    int steady = 1;
    while (steady * replicas < behind + replicas)
        steady++;
    if (!o->micro_batches)
        return steady;
    int share = 1;
    while (share * replicas < o->micro_batches)
        share++;
    if (!strcmp(o->schedule, "gpipe"))
        return share;
    return share < steady ? share : steady;
}

static inline double oracle_bytes(const Oracle *k, unsigned begin, unsigned end, int replicas,
                                  int behind, bool again)
{
    int in_flight = oracle_in_flight(k->o, replicas, behind);
    int versions = k->o->micro_batches ? 1 : in_flight;
    double parameters = k->parameters[end] - k->parameters[begin];
    double activations = k->activations[end] - k->activations[begin];
    double kept =
        again ? activations + k->crossing[begin] * in_flight : activations * in_flight;
    return (versions + 1 + k->o->state_factor) * parameters + kept;
}

// A stage's seconds without its boundaries. Infinite: its machines have not the memory, or no profile in
// common.
static inline double oracle_work(const Oracle *k, unsigned begin, unsigned end,
                                 unsigned machines, int behind)
{
    const CostOptions *o = k->o;
    double speed = INFINITY, limit = o->memory_bytes > 0 ? o->memory_bytes : INFINITY;
    int r = oracle_count(machines), profile = -1;
    for (int i = 0; i < k->m->n; i++) {
        const MachineType *type = &k->m->types[k->m->type[i]];
        if (!oracle_has(machines, i))
            continue;
        if (profile >= 0 && profile != type->profile)
            return INFINITY;
        profile = type->profile;
        speed = fmin(speed, type->speed);
        limit = type->memory_bytes > 0 ? fmin(limit, type->memory_bytes) : limit;
    }
    double forward = (k->forward[profile][end] - k->forward[profile][begin]) / speed / r;
    double compute = (k->compute[profile][end] - k->compute[profile][begin]) / speed / r;
    double sync = 0, best = INFINITY;
    if (r > 1)
        sync = oracle_ring(k->m, machines, k->parameters[end] - k->parameters[begin]) /
               (o->micro_batches ? o->micro_batches : r);
    for (int again = o->recompute == 1; again <= (o->recompute > 0); again++) {
        double bytes = oracle_bytes(k, begin, end, r, behind, again);
        double busy = again ? compute + forward : compute;
        double t = o->overlap == OVERLAP_ALL ? fmax(busy, forward + sync) : busy + sync;
        if (k->memory)
            best = fmin(best, bytes);
        else if (bytes <= limit * (1 + 1e-12))
            best = fmin(best, t);
    }
    return best;
}

static inline double oracle_time(const Oracle *k, double work, double receive, double send)
{
    if (k->memory)
        return work;
    if (k->o->overlap == OVERLAP_NONE)
        return work + receive + send;
    return fmax(work, fmax(receive, send));
}

// Machines that all have the same link: the least bottleneck of the stages that do the nodes outside `cut`
// on exactly the machines `taken`, for every cut and every set of machines: of[cut << m->n | taken].
typedef struct OracleTails {
    double *of;
    double best;
    int fewest; // machines at that time
} OracleTails;

static inline void oracle_tails_from(const Oracle *k, OracleTails *t, unsigned begin,
                                     unsigned end)
{
    int n = k->m->n;
    for (unsigned behind = 0; behind <= k->all_machines; behind++) {
        double rest = t->of[end << n | behind];
        unsigned left = k->all_machines & ~behind;
        for (unsigned own = left; rest < INFINITY && own; own = (own - 1) & left) {
            double *best = &t->of[begin << n | behind | own];
            if (*best <= rest || (k->o->straight && oracle_count(own) > 1))
                continue;
            double work = oracle_work(k, begin, end, own, oracle_count(behind));
            double in = begin ? oracle_transfer(k, own, own, k->crossing[begin]) : 0;
            double out = end != k->all ? oracle_transfer(k, own, own, k->crossing[end]) : 0;
            *best = fmin(*best, fmax(rest, oracle_time(k, work, in, out)));
        }
    }
}

static inline OracleTails *oracle_tails(Arena *a, const Oracle *k)
{
    OracleTails *t = arena_new(a, OracleTails);
    int n = k->m->n;
    size_t size = (size_t)(k->all + 1) << n;
    t->of = arena_array(a, double, size);
    for (size_t i = 0; i < size; i++)
        t->of[i] = INFINITY;
    t->of[k->all << n] = 0;
    for (unsigned begin = k->all; begin-- > 0;)
        for (unsigned end = begin + 1; k->is_cut[begin] && end <= k->all; end++)
            if (k->is_cut[end] && !(begin & ~end))
                oracle_tails_from(k, t, begin, end);
    t->best = INFINITY;
    for (unsigned taken = 0; taken <= k->all_machines; taken++)
        if (!k->o->exact_stages || taken == k->all_machines)
            t->best = fmin(t->best, t->of[taken]);
    t->fewest = n + 1;
    for (unsigned taken = 0; taken <= k->all_machines; taken++)
        if (t->of[taken] <= t->best * (1 + 1e-9) && oracle_count(taken) < t->fewest)
            t->fewest = oracle_count(taken);
    t->fewest = k->o->exact_stages ? n : t->fewest;
    return t;
}

// Any machines: every plan is listed, as far as it is not slower already than another.
typedef enum OracleFamily {
    PLANS_ANYWHERE, // any machines for any stage
    PLANS_SIDE_BY_SIDE, // a stage has machines next to each other, all in front of those of the next stage
} OracleFamily;

typedef struct OracleFront { // the first of the stages placed
    unsigned machines;
    double work, send;
} OracleFront;

typedef struct Listing {
    const Oracle *k;
    OracleFamily family;
    double best;
    long plans;
} Listing;

static inline bool oracle_allows(const Listing *l, unsigned own, unsigned taken)
{
    if (l->k->o->straight && oracle_count(own) > 1)
        return false;
    if (l->family == PLANS_ANYWHERE)
        return true;
    unsigned shifted = own >> __builtin_ctz(own);
    return !(shifted & (shifted + 1)) && (!taken || own < (taken & -taken));
}

static inline void oracle_extend(Listing *l, unsigned end, unsigned taken,
                                 const OracleFront *front, double slowest);

static inline void oracle_place(Listing *l, unsigned begin, unsigned end, unsigned own,
                                unsigned taken, const OracleFront *behind, double slowest)
{
    const Oracle *k = l->k;
    OracleFront front = {.machines = own};
    front.work = oracle_work(k, begin, end, own, oracle_count(taken));
    if (behind) {
        double receive = oracle_transfer(k, behind->machines, own, k->crossing[end]);
        front.send = oracle_transfer(k, own, behind->machines, k->crossing[end]);
        slowest = fmax(slowest, oracle_time(k, behind->work, receive, behind->send));
    }
    if (fmax(slowest, oracle_time(k, front.work, 0, front.send)) < l->best)
        oracle_extend(l, begin, taken | own, &front, slowest);
}

static inline void oracle_extend(Listing *l, unsigned end, unsigned taken,
                                 const OracleFront *front, double slowest)
{
    const Oracle *k = l->k;
    unsigned left = k->all_machines & ~taken;
    if (!end) {
        l->plans++;
        double t = fmax(slowest, oracle_time(k, front->work, 0, front->send));
        if (!k->o->exact_stages || !left)
            l->best = fmin(l->best, t);
        return;
    }
    for (unsigned begin = end; begin;) {
        begin = (begin - 1) & end;
        for (unsigned own = left; k->is_cut[begin] && own; own = (own - 1) & left)
            if (oracle_allows(l, own, taken))
                oracle_place(l, begin, end, own, taken, front, slowest);
    }
}

static inline double oracle_list(const Oracle *k, OracleFamily family)
{
    Listing l = {.k = k, .family = family, .best = INFINITY};
    oracle_extend(&l, k->all, 0, NULL, 0);
    return l.best;
}

// What is wrong with a plan, NULL if nothing. *seconds: of its slowest stage, by the formulas above.
static inline const char *oracle_price(const Oracle *k, const StageChoice *stages, int n,
                                       double *seconds)
{
    unsigned cut[ORACLE_NODES + 1] = {0}, machines[ORACLE_NODES + 1] = {0}, taken = 0;
    if (n > k->p->n)
        return "more stages than nodes";
    for (int s = 0; s < n; s++) {
        cut[s + 1] = cut[s];
        for (int i = 0; i < stages[s].n_nodes; i++) {
            if (oracle_has(cut[s + 1], stages[s].nodes[i]))
                return "a node is in two stages";
            cut[s + 1] |= 1u << stages[s].nodes[i];
        }
        if (cut[s + 1] == cut[s] || !k->is_cut[cut[s + 1]])
            return "a stage is empty, uses what is made later or parts what belongs together";
        for (int i = 0; i < stages[s].replicas; i++) {
            machines[s] |= 1u << stages[s].machines[i];
            if (taken >> stages[s].machines[i] & 1)
                return "a machine is taken twice";
            taken |= 1u << stages[s].machines[i];
        }
        if (!machines[s] || (k->o->straight && stages[s].replicas > 1))
            return "a stage has no machines, or replicas where there may be none";
    }
    if (cut[n] != k->all)
        return "a node is in no stage";
    if (k->o->exact_stages && taken != k->all_machines)
        return "a machine is left over";
    *seconds = 0;
    for (int s = 0; s < n; s++) {
        taken &= ~machines[s];
        CostOptions o = *k->o;
        Oracle own = *k;
        o.recompute = stages[s].recompute;
        own.o = &o;
        double work = oracle_work(&own, cut[s], cut[s + 1], machines[s], oracle_count(taken));
        double in =
            s ? oracle_transfer(k, machines[s], machines[s - 1], k->crossing[cut[s]]) : 0;
        double out = s + 1 < n ? oracle_transfer(k, machines[s], machines[s + 1],
                                                 k->crossing[cut[s + 1]])
                               : 0;
        if (work == INFINITY)
            return "a stage does not fit its machines";
        if (k->o->recompute != 2 && stages[s].recompute != (k->o->recompute == 1))
            return "recomputation as nobody asked for it";
        *seconds = fmax(*seconds, oracle_time(k, work, in, out));
    }
    return NULL;
}

#endif
