#include "control/master/seats.h"

#include <math.h>
#include <stdlib.h>

enum { SPEED_STEP = 100, MEMORY_BITS = 3 };
static const double alike = 0.85;

// Machines that are nearly alike shall have the same plan.
static uint64_t rounded_down(uint64_t bytes)
{
    int bits = bytes ? 63 - __builtin_clzll(bytes) : 0;
    int cut = bits > MEMORY_BITS ? bits - MEMORY_BITS : 0;
    return bytes >> cut << cut;
}

static int by_use(const void *a, const void *b) // who has most of it already, then the fastest
{
    const Seat *x = a, *y = b;
    int held = __builtin_popcountll(y->holds) - __builtin_popcountll(x->holds);
    if (held)
        return held;
    if (x->machine.speed_milli != y->machine.speed_milli)
        return x->machine.speed_milli < y->machine.speed_milli ? 1 : -1;
    return x->worker < y->worker ? -1 : x->worker > y->worker;
}

static int by_machine(const void *a, const void *b) // as Machine says
{
    const Seat *x = a, *y = b;
    if (x->machine.speed_milli != y->machine.speed_milli)
        return x->machine.speed_milli < y->machine.speed_milli ? 1 : -1;
    if (x->machine.memory_bytes != y->machine.memory_bytes)
        return x->machine.memory_bytes < y->machine.memory_bytes ? 1 : -1;
    return x->worker < y->worker ? -1 : x->worker > y->worker;
}

static int most_workers(const Server *s)
{
    return s->wanted ? s->wanted : s->options->max_workers;
}

int seats_most(const Server *s, uint32_t n)
{
    return (int)n < most_workers(s) ? (int)n : most_workers(s);
}

// Workers that are nearly as fast as each other are taken for the same: there is one plan for them, in whatever order they
// come, and it stays the same from run to run.
static void join_alike(Seats *seats)
{
    for (int i = 0, end; i < seats->n; i = end) {
        double sum = 0;
        uint32_t first = seats->items[i].machine.speed_milli;
        for (end = i; end < seats->n && seats->items[end].machine.speed_milli >= alike * first;
             end++)
            sum += seats->items[end].machine.speed_milli;
        for (int k = i; k < end; k++)
            seats->items[k].machine.speed_milli = (uint32_t)round(sum / (end - i));
    }
}

// Speeds relative to the fastest one: the plan of equal machines is that of any others.
static void compare_speeds(Seats *seats)
{
    double most = seats->n ? fmax(1, seats->items[0].machine.speed_milli) : 1;
    for (int i = 0; i < seats->n; i++) {
        Machine *m = &seats->items[i].machine;
        double share = SPEED_ONE * m->speed_milli / most / SPEED_STEP;
        m->speed_milli = (uint32_t)fmax(1, round(share)) * SPEED_STEP;
    }
}

void seats_find(const Server *s, const PlanMember *members, uint32_t n, int most, Seats *seats)
{
    Seat workers[MOST_WORKERS];
    for (uint32_t i = 0; i < n; i++)
        workers[i] =
            (Seat){members[i].worker,
                   members[i].holds,
                   {speeds_of(s, members[i].worker),
                    rounded_down(members[i].has->memory_bytes / members[i].has->slots)}};
    qsort(workers, n, sizeof *workers, by_use);
    seats->n = 0;
    for (uint32_t i = 0; i < n && (int)i < most; i++) {
        uint32_t slots = s->core.members[workers[i].worker].has.slots;
        for (uint32_t k = 0; k < slots && seats->n < MOST_RANKS; k++)
            seats->items[seats->n++] = workers[i];
    }
    qsort(seats->items, (size_t)seats->n, sizeof *seats->items, by_machine);
    join_alike(seats);
    compare_speeds(seats);
    qsort(seats->items, (size_t)seats->n, sizeof *seats->items, by_machine);
}

uint64_t seats_workers(const Seats *seats)
{
    uint64_t workers = 0;
    for (int i = 0; i < seats->n; i++)
        workers |= UINT64_C(1) << seats->items[i].worker;
    return workers;
}
