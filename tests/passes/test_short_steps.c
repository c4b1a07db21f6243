// The last step of an epoch has fewer micro-batches than its stream: the runtime leaves out the instructions of the
// others (runtime/loop.c). Whatever the schedule, what is left must come to its end: nobody may wait for a message
// or a slot of a micro-batch that there is not.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/passes/random_model.h"

#include <stdio.h>

enum { MOST_RANKS = 32, MOST_EDGES = 512 };

typedef struct Ring {
    int sent, acquired, received[MOST_RANKS], released[MOST_RANKS];
} Ring;

typedef struct Short {
    const Plan *plan;
    int micro_batches; // of the step
    int at[MOST_RANKS];
    Ring ring[MOST_EDGES];
} Short;

static bool left_out(const Short *s, const rt_instr *i)
{
    bool message = i->opcode <= RT_RELEASE;
    bool of_mb = message ? s->plan->edges[i->edge].node >= 0 : !rt_is_reduce(i->opcode);
    return of_mb && (int)i->mb >= s->micro_batches;
}

static bool ready(const Short *s, int rank, const rt_instr *i)
{
    const Ring *r = &s->ring[i->edge];
    if (i->opcode == RT_RECV)
        return r->sent > r->received[rank];
    if (i->opcode != RT_ACQUIRE)
        return true;
    const PlanEdge *e = &s->plan->edges[i->edge];
    for (int c = 0; c < e->n_consumers; c++)
        if (r->acquired - r->released[e->consumers[c]] >= e->slots)
            return false;
    return true;
}

static void pass_by(Short *s, int rank, const rt_instr *i)
{
    Ring *r = i->opcode <= RT_RELEASE ? &s->ring[i->edge] : NULL;
    if (r) {
        r->sent += i->opcode == RT_SEND;
        r->acquired += i->opcode == RT_ACQUIRE;
        r->received[rank] += i->opcode == RT_RECV;
        r->released[rank] += i->opcode == RT_RELEASE;
    }
    s->at[rank]++;
}

static bool move_on(Short *s, int rank)
{
    const Stream *stream = &s->plan->ranks[rank].train;
    bool moved = false;
    while (s->at[rank] < stream->n) {
        const rt_instr *i = &stream->instr[s->at[rank]];
        if (left_out(s, i))
            s->at[rank]++;
        else if (i->opcode > RT_RELEASE || ready(s, rank, i))
            pass_by(s, rank, i);
        else
            break;
        moved = true;
    }
    return moved;
}

static void comes_to_its_end(const Plan *p, int micro_batches)
{
    Short s = {.plan = p, .micro_batches = micro_batches};
    for (bool moved = true; moved;) {
        moved = false;
        for (int rank = 0; rank < p->n_ranks; rank++)
            moved |= move_on(&s, rank);
    }
    for (int rank = 0; rank < p->n_ranks; rank++)
        if (s.at[rank] < p->ranks[rank].train.n)
            fail_msg("%s, %d of %d micro-batches: rank %d waits at instruction %d",
                     p->options.schedule, micro_batches, (int)p->options.micro_batches, rank,
                     s.at[rank]);
    for (int e = 0; e < p->n_edges; e++)
        for (int c = 0; c < p->edges[e].n_consumers && !p->edges[e].eval; c++)
            assert_int_equal(s.ring[e].sent, s.ring[e].released[p->edges[e].consumers[c]]);
}

static void any_schedule(void **state)
{
    (void)state;
    int played = 0;
    for (int round = 0; round < 200; round++) {
        random_state = (uint64_t)round * 6007 + 3;
        Model *m = random_model(8 + random_below(8), 0);
        const char *name = schedule_info[round % n_schedules].name;
        int stages = 1 + random_below(6), micro_batches = 2 + random_below(8);
        m->options.schedule = name;
        m->options.clip_norm = random_below(2);
        if (schedule_asynchronous(&m->options)) {
            free_model(m);
            continue;
        }
        if (random_below(2))
            random_replicas(m, 3, micro_batches);
        diag_output(fopen("/dev/null", "w"), false);
        plan_random_model(m, stages, micro_batches, name);
        diag_output(stderr, false);
        diag_reset();
        bool fits = m->plan.n_ranks <= MOST_RANKS && m->plan.n_edges <= MOST_EDGES;
        for (int n = 1; n <= micro_batches && m->plan.n_stages && fits; n++, played++)
            comes_to_its_end(&m->plan, n);
        free_model(m);
    }
    assert_true(played > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(any_schedule)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
