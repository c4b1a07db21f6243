#include "plan/rounds.h"

#include "plan/schedule.h"

Rounds rounds_of(Arena *a, const Plan *p)
{
    Rounds r = {.plan = p,
                .meets = arena_array(a, uint32_t, p->n_ranks),
                .begun = arena_alloc(a, sizeof *r.begun * (size_t)p->n_ranks),
                .parts = arena_array(a, int, p->n_ranks)};
    for (int k = 0; k < p->n_ranks; k++)
        r.meets[k] = plan_rounds(p, k);
    return r;
}

static rt_opcode pass_of(const Rounds *r, const rt_instr *i)
{
    bool part = i->opcode == RT_BACKWARD_PART;
    return part ? schedule_last_pass(&r->plan->options) : (rt_opcode)i->opcode;
}

static bool meets(const Rounds *r, int rank, const rt_instr *i)
{
    return r->meets[rank] >> pass_of(r, i) & 1;
}

// How far a rank has come in a pass with this instruction.
static int64_t parts_begun(const Rounds *r, int rank, const rt_instr *i, int64_t before)
{
    const PlanStage *s = &r->plan->stages[r->plan->ranks[rank].stage];
    int64_t rounds = schedule_share(plan_micro_batches(r->plan, false), s->replicas, 0);
    int64_t parts = s->n_parts > 1 ? s->n_parts : 1;
    int64_t ended = (before * rounds + (int)i->mb / s->replicas) * parts;
    return ended + (i->opcode == RT_BACKWARD_PART ? r->parts[rank] + 1 : parts);
}

bool rounds_come(Rounds *r, int rank, const rt_instr *i, int64_t before)
{
    int64_t *begun = &r->begun[rank][pass_of(r, i)], now = parts_begun(r, rank, i, before);
    bool news = meets(r, rank, i) && now != *begun;
    *begun = now;
    return news;
}

int rounds_missing(const Rounds *r, int rank, const rt_instr *i, int64_t before)
{
    const PlanStage *s = &r->plan->stages[r->plan->ranks[rank].stage];
    int all = plan_micro_batches(r->plan, false);
    int first_mb = (int)i->mb / s->replicas * s->replicas;
    int64_t need = parts_begun(r, rank, i, before);
    if (!meets(r, rank, i))
        return -1;
    for (int k = 0; k < s->replicas && first_mb + k < all; k++) {
        int other = s->first_rank + k;
        if (other != rank && r->begun[other][pass_of(r, i)] < need)
            return other;
    }
    return -1;
}

void rounds_ran(Rounds *r, int rank, const rt_instr *i)
{
    if (i->opcode == RT_BACKWARD_PART)
        r->parts[rank]++;
    else if (i->opcode == schedule_last_pass(&r->plan->options))
        r->parts[rank] = 0;
}
