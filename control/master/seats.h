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
// The worker of every rank: who of those that are alike gets which stage is who holds most of it already.
void ranks_place(const BuiltPlan *built, const Seats *seats, uint32_t workers[MOST_RANKS]);
// Ranks and plan of an epoch.
void ranks_fill(Server *s, const BuiltPlan *built, const Seats *seats, Epoch *e);

// plans.c. A plan for these seats.
PlanAnswer plans_ask(Server *s, const Seats *seats, PlanUrgency urgency,
                     const BuiltPlan **built, char why[PLAN_WHY]);
// For all that are wanted, or where a model cannot be cut for so many, for as many as it can. seats: those of the plan.
PlanAnswer plans_find(Server *s, const PlanMember *members, uint32_t n, PlanUrgency urgency,
                      Seats *seats, const BuiltPlan **built);
// Those who run the newest epoch. Returns how many.
uint32_t plans_of_epoch(const Server *s, const PlanMember *members, uint32_t n,
                        PlanMember own[MOST_WORKERS]);

// another.c. While an epoch runs: shall another one follow? now: the one that may stay, or NULL.
PlanAnswer another_choose(Server *s, const PlanMember *members, uint32_t n, const Epoch *now,
                          Epoch *e);

// next.c. The next epoch's programs are started beside those that run.
void next_begin(Server *s, const BuiltPlan *built, const Seats *seats);
// For the same workers, whatever has been measured since: what is warm stays the plan.
bool next_is_for(const Server *s, const Seats *seats);
// All have answered, or it takes too long: then they start when it is time.
bool next_is_warm(Server *s);
void next_take(const Epoch *from, Epoch *e); // its ranks and its plan

// forecast.c. Seconds of a step of this plan, its ranks on these workers.
double forecast_step(const Server *s, const BuiltPlan *built, const uint32_t *workers);

// plans.c. Training has not begun, and somebody has come just now: more may come.
bool plans_gather(const Server *s);

// given.c: what follows where people gave a plan. false: none is given, or it cannot be: plans are made as usual.
bool given_choose(Server *s, const PlanMember *members, uint32_t n, const Epoch *now, Epoch *e,
                  PlanAnswer *answer);

#endif
