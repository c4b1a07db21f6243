// Synchronised batch norm in streams. Where replicas exchange the sums of a round within an instruction
// (plan_is_round), it waits for those of the stage that have a micro-batch of the round: it runs once they
// have come as far. A pass in parts is as many instructions, and who runs it as a whole needs the last
// part of the others. Walker and simulator ask here.
#ifndef STAGECC_PLAN_ROUNDS_H
#define STAGECC_PLAN_ROUNDS_H

#include "plan/plan.h"

typedef struct Rounds { // by rank:
    const Plan *plan;
    uint32_t *meets;                // the passes in which it waits: plan_rounds
    int64_t (*begun)[RT_N_OPCODES]; // parts of a pass, in all rounds, that it has come to
    int *parts;                     // of the last pass, that have run
} Rounds;

Rounds rounds_of(Arena *a, const Plan *p);
// A rank has come to an instruction of its training stream, which has run so often before. Is that news?
bool rounds_come(Rounds *r, int rank, const rt_instr *i, int64_t before);
// The first rank that this instruction waits for; -1: none.
int rounds_missing(const Rounds *r, int rank, const rt_instr *i, int64_t before);
void rounds_ran(Rounds *r, int rank, const rt_instr *i);

#endif
