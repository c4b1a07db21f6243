// Where programs may run: the workers that an epoch shall have, by the machines that they are; and the ranks of a plan on
// them.
#ifndef STAGECC_CONTROL_MASTER_SEATS_H
#define STAGECC_CONTROL_MASTER_SEATS_H

#include "control/master/server.h"

typedef struct Seat {
    uint32_t worker;
    uint64_t holds;
    Machine machine;
} Seat;

typedef struct Seats { // in the order of Machine
    Seat items[MOST_RANKS];
    int n;
    double fastest; // of their speeds, 1: as times say; machines' speeds are relative to it
} Seats;

// seats.c. So many workers are wanted, of n that are there.
int seats_most(const Server *s, uint32_t n);
// At most so many workers of them: who has most of the state already, then the fastest.
void seats_find(const Server *s, const PlanMember *members, uint32_t n, int most, Seats *seats);
uint64_t seats_workers(const Seats *seats); // a bit each, as epoch_workers

// ranks.c. Can such machines run it, whatever their speeds?
bool ranks_fit(const BuiltPlan *built, const Seats *seats);
// Of those that are built, for machines of nearly these speeds. NULL: there is none.
const BuiltPlan *ranks_nearest(const Server *s, const Seats *seats);
// Ranks and plan of an epoch: who of those that are alike gets which stage is who holds most of it already.
void ranks_fill(Server *s, const BuiltPlan *built, const Seats *seats, Epoch *e);

// plans.c. Training has not begun, and somebody has come just now: more may come.
bool plans_gather(const Server *s);

// next.c. The next epoch's programs are started beside those that run.
void next_begin(Server *s, const BuiltPlan *built, const Seats *seats);
// For the same workers, whatever has been measured since: what is warm stays the plan.
bool next_is_for(const Server *s, const Seats *seats);
// All have answered, or it takes too long: then they start when it is time.
bool next_is_warm(Server *s);
void next_take(const Epoch *from, Epoch *e); // its ranks and its plan

// given.c: what follows where people gave a plan. false: none is given, or it cannot be: plans are made as usual.
bool given_choose(Server *s, const PlanMember *members, uint32_t n, const Epoch *now, Epoch *e,
                  PlanAnswer *answer);

#endif
