// The streams of all ranks run together, as the runtime would: an instruction is visited when all
// that it waits for was visited before. The verifier, the simulator and the choice of the number of
// slots are visitors.
#ifndef STAGECC_PLAN_WALK_H
#define STAGECC_PLAN_WALK_H

#include "plan/plan.h"

typedef struct WalkRef {
    int rank, at; // instruction of that rank's stream; counts on from step to step
} WalkRef;

typedef struct WalkStep {
    int rank, at;
    const rt_instr *instr;
    const WalkRef
        *waits; // the SEND that a RECV waits for; the RELEASEs that an ACQUIRE waits for
    int n_waits;
} WalkStep;

typedef struct Walk {
    const Plan *plan;
    bool eval;      // the evaluation streams instead of the training streams
    int steps;      // how often every stream runs
    bool unbounded; // slots without number: ACQUIRE never waits
    void (*visit)(void *user, const WalkStep *step); // NULL: nobody looks
    void *user;
} Walk;

// false: `why` names the instruction that breaks the rules of its edge, or who waits for whom.
// Every rank's own instructions are visited in order.
bool plan_walk(const Walk *w, char *why, int why_size);

// Why `rank` may not run this message instruction at all; NULL: it may.
const char *message_misplaced(const Plan *p, bool eval, int rank, const rt_instr *i);

static inline const Stream *plan_stream(const Plan *p, int rank, bool eval)
{
    return eval ? &p->ranks[rank].eval : &p->ranks[rank].train;
}

// "recv conv3 mb 2": for messages. Returns buffer.
const char *instr_text(const Plan *p, const rt_instr *i, char *buffer, int size);
extern const char *const opcode_name[RT_N_OPCODES];

#endif
