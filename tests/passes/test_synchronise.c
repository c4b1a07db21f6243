// Synchronised batch norm: which nodes share their statistics, between whom sums travel, and that no plan
// keeps replicas waiting for each other, in whole steps or in the last ones of an epoch.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "plan/schedule.h"
#include "plan/walk.h"
#include "tests/passes/from_text.h"

enum { BLOCKS = 4, MOST_STAGES = 4, MOST_REPLICAS = 4, MOST_MICRO_BATCHES = 9 };

#define BLOCK(i, x)                                                                            \
    PARAM("w" i, "6,6")                                                                        \
    PARAM("g" i, "6")                                                                          \
    PARAM("b" i, "6")                                                                          \
    BUFFER("rm" i, "6")                                                                        \
    BUFFER("rv" i, "6")                                                                        \
    "h" i " = linear " x " w" i "\n"                                                           \
    "n" i " = batch_norm h" i " g" i " b" i " {eps=1e-05}\n"                                   \
    "m" i " = result n" i " {index=1}\n"                                                       \
    "v" i " = result n" i " {index=2}\n"                                                       \
    "u" i " = running_update rm" i " rv" i " m" i " v" i " {momentum=0.1, count=4}\n"          \
    "y" i " = relu n" i "\n"

static const char blocks[] =
    "graph net micro_batch 4\n" SAMPLE("x", "4,6") TARGET("t", "4,6") BLOCK("1", "x")
        BLOCK("2", "y1") BLOCK("3", "y2") BLOCK("4", "y3") "l = mse y4 t\nloss l\noutput y4\n";

static const char passes[] =
    "eval,autodiff,optimizer,fuse,layout,units,split,cost,partition,synchronise,recompute,"
    "transfer,schedule,memory";

typedef struct Wish {
    int stages, micro_batches;
    int replicas[MOST_STAGES];
    const char *schedule, *recompute;
    bool whole; // backward, not in parts
} Wish;

// A block or more in every stage.
static Case *planned(const char *text, const Wish *w)
{
    static const int cuts[][MOST_STAGES - 1] = {{0}, {3}, {1, 5}, {1, 3, 5}};
    Case *t = case_new(text);
    t->options.batch_norm = "synchronised";
    t->options.micro_batches = w->micro_batches;
    t->options.schedule = w->schedule;
    t->options.recompute = w->recompute ? w->recompute : "never";
    t->c.stages = w->stages;
    t->c.replicas = w->replicas;
    t->c.fixed_cuts = cuts[w->stages - 1];
    t->c.bucket_bytes = w->whole ? 0 : 100; // two or so to a block
    case_run(t, passes);
    return t;
}

static int64_t replicas_of(const Case *t, const char *name)
{
    return node_int(case_node(t, name), A_REPLICAS);
}

static void nodes_of_replicated_stages_share(void **state)
{
    (void)state;
    Wish w = {.stages = 2, .micro_batches = 6, .replicas = {3, 1}, .schedule = "1f1b"};
    Case *t = planned(blocks, &w);
    assert_int_equal(replicas_of(t, "n1"), 3);
    assert_int_equal(replicas_of(t, "u1"), 3);
    assert_int_equal(replicas_of(t, "n3"), 1);
    assert_int_equal(replicas_of(t, "u3"), 1);
    int gradients = 0;
    for (int i = 0; i < t->c.graph->nodes.n; i++) {
        const Node *n = t->c.graph->nodes.items[i];
        bool first = n->unit <= t->plan.stages[0].last_unit;
        if (n->op == OP_BATCH_NORM_GRAD)
            assert_int_equal(node_int(n, A_REPLICAS), first ? 3 : 1);
        gradients += n->op == OP_BATCH_NORM_GRAD;
        assert_true(n->phase != PHASE_EVAL || !node_attr(n, A_REPLICAS));
    }
    assert_int_equal(gradients, BLOCKS);
    t->options.batch_norm = "replica"; // as a printed graph that is planned otherwise
    pass_synchronise(&t->c);
    assert_int_equal(replicas_of(t, "n1"), 1);
    case_free(t);
}

// dgamma and dbeta are a replica's own.
static void gradient_without_dx_asks_nobody(void **state)
{
    (void)state;
    Wish w = {.stages = 1, .micro_batches = 2, .replicas = {2}, .schedule = "1f1b"};
    static const char text[] =
        "graph net micro_batch 4\n" SAMPLE("x", "4,6") TARGET("t", "4,6") PARAM("g", "6")
            PARAM("b", "6") "n = batch_norm x g b {eps=1e-05}\nl = mse n t\nloss l\n"
                            "output n\n";
    Case *t = planned(text, &w);
    assert_int_equal(replicas_of(t, "n"), 2);
    uint32_t passes_of_rank = plan_rounds(&t->plan, 1);
    assert_int_equal(passes_of_rank, UINT32_C(1) << RT_FORWARD);
    case_free(t);
}

static void every_pair_has_two_edges(void **state)
{
    (void)state;
    Wish w = {.stages = 2, .micro_batches = 6, .replicas = {1, 3}, .schedule = "gpipe"};
    Case *t = planned(blocks, &w);
    int found[4][4] = {{0}}, last = -1;
    for (int i = 0; i < t->plan.n_edges; i++) {
        const PlanEdge *e = &t->plan.edges[i];
        if (!plan_is_round(e))
            continue;
        assert_true(last < 0 || i == last + 1); // rt_program.sums_edge counts on
        last = i;
        assert_int_equal(e->n_consumers, 1);
        assert_int_equal(e->bytes, 2 * 6 * sizeof(double));
        found[e->producer][e->consumers[0]]++;
    }
    for (int from = 0; from < 4; from++)
        for (int to = 0; to < 4; to++)
            assert_int_equal(found[from][to], from && to && from != to);
    assert_int_equal(plan_rounds(&t->plan, 0), 0);
    assert_int_equal(plan_rounds(&t->plan, 2), UINT32_C(1) << RT_FORWARD | UINT32_C(1)
                                                                               << RT_BACKWARD);
    case_free(t);
}

// Waiting
// ---------------------------------------------------------------------------------------------

static uint64_t random_state = 1;

static int below(int n) // xorshift64*
{
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (int)((random_state * UINT64_C(0x2545f4914f6cdd1d) >> 33) % (uint32_t)n);
}

// What the runtime leaves of a step of so many micro-batches.
static Plan shortened(Arena *a, const Plan *p, int micro_batches)
{
    Plan q = *p;
    q.options.micro_batches = micro_batches;
    q.edges = arena_copy(a, p->edges, sizeof *p->edges * (size_t)p->n_edges);
    q.ranks = arena_copy(a, p->ranks, sizeof *p->ranks * (size_t)p->n_ranks);
    int *sent = arena_array(a, int, p->n_edges);
    for (int r = 0; r < p->n_ranks; r++) {
        const Stream *from = &p->ranks[r].train;
        Stream to = {.instr = arena_array(a, rt_instr, from->n)};
        for (int i = 0; i < from->n; i++) {
            const rt_instr *instr = &from->instr[i];
            bool message = instr->opcode <= RT_RELEASE;
            bool of_mb =
                message ? p->edges[instr->edge].node >= 0 : !rt_is_reduce(instr->opcode);
            if (of_mb && (int)instr->mb >= micro_batches)
                continue;
            to.instr[to.n++] = *instr;
            if (instr->opcode == RT_SEND)
                sent[instr->edge]++;
        }
        q.ranks[r].train = to;
    }
    for (int e = 0; e < p->n_edges; e++) {
        q.edges[e].per_step = sent[e];
        if (!plan_is_round(&p->edges[e]) && !sent[e])
            q.edges[e].touch = NULL; // of nobody
    }
    return q;
}

static void come_to_their_end(const Plan *p, const Wish *w)
{
    Arena a = {0};
    for (int n = w->micro_batches; n > 0 && p->stream_steps == 1; n--) {
        char why[512];
        Plan q = shortened(&a, p, n);
        if (!plan_walk(&(Walk){.plan = &q, .steps = 2}, why, sizeof why))
            fail_msg("%s, %d stages of %d %d %d %d replicas, %d of %d micro-batches: %s",
                     w->schedule, w->stages, w->replicas[0], w->replicas[1], w->replicas[2],
                     w->replicas[3], n, w->micro_batches, why);
    }
    arena_release(&a);
}

// The pass `schedule` has verified them with all their micro-batches.
static void nobody_waits_for_ever(void **state)
{
    (void)state;
    static const char *const schedules[] = {"1f1b", "gpipe", "zb-h1", "pipedream"};
    for (int round = 0; round < 400; round++) {
        Wish w = {.stages = 1 + round % MOST_STAGES,
                  .micro_batches = 1 + below(MOST_MICRO_BATCHES),
                  .schedule = schedules[below(4)],
                  .recompute = below(2) ? "always" : "never"};
        for (int s = 0; s < w.stages; s++)
            w.replicas[s] =
                1 + below(w.micro_batches < MOST_REPLICAS ? w.micro_batches : MOST_REPLICAS);
        Options o = options_default();
        Arena a = {0};
        o.schedule = w.schedule;
        o.micro_batches = w.micro_batches;
        bool fits = !schedule_misfit(&a, &o, w.stages, w.replicas);
        arena_release(&a);
        if (!fits)
            continue;
        Case *t = planned(blocks, &w);
        come_to_their_end(&t->plan, &w);
        case_free(t);
    }
}

// A stage before one of three replicas that kept as little in flight as without rounds would starve it.
static void rounds_are_in_flight_as_a_whole(void **state)
{
    (void)state;
    Wish w = {.stages = 3, .micro_batches = 9, .replicas = {1, 3, 1}, .schedule = "1f1b"};
    Case *t = planned(blocks, &w);
    assert_int_equal(t->plan.stages[2].in_flight, 1);
    assert_int_equal(t->plan.stages[1].in_flight, 2);
    assert_int_equal(t->plan.stages[0].in_flight, 7);
    case_free(t);
}

// Both replicas run all that is theirs in order, but not the same at once.
static void verifier_sees_who_waits(void **state)
{
    (void)state;
    Wish w = {.stages = 1, .micro_batches = 4, .replicas = {2}, .schedule = "gpipe"};
    Case *t = planned(blocks, &w);
    char why[512];
    assert_true(plan_verify_streams(&t->plan, false, why, sizeof why));
    Stream *s = &t->plan.ranks[1].train;
    int second = -1, first_back = -1;
    for (int i = 0; i < s->n; i++) {
        if (s->instr[i].opcode == RT_FORWARD && s->instr[i].mb == 3)
            second = i;
        if (s->instr[i].opcode == RT_BACKWARD && s->instr[i].mb == 1)
            first_back = i;
    }
    rt_instr moved = s->instr[first_back];
    assert_true(second >= 0 && second < first_back);
    memmove(s->instr + second + 1, s->instr + second,
            (size_t)(first_back - second) * sizeof moved);
    s->instr[second] = moved;
    assert_false(plan_verify_streams(&t->plan, false, why, sizeof why));
    assert_string_equal(
        why,
        "deadlock: stage 0, replica 0 at instruction 3 (forward mb 2) waits for stage 0, "
        "replica 1; stage 0, replica 1 at instruction 3 (backward mb 1) waits for stage 0, "
        "replica 0");
    case_free(t);
}

// Stage 0 makes micro-batch 1 a second after 0, so a replica of stage 1 that waits for it is a second later.
static void replicas_begin_together(void **state)
{
    (void)state;
    Wish w = {.stages = 2,
              .micro_batches = 2,
              .replicas = {1, 2},
              .schedule = "gpipe",
              .whole = true};
    for (int shared = 0; shared < 2; shared++) {
        Case *t = planned(blocks, &w);
        for (int e = 0; e < t->plan.n_edges && !shared; e++)
            if (plan_is_round(&t->plan.edges[e]))
                t->plan.edges[e].touch = NULL;
        for (int k = 0; k < 2; k++) {
            PlanStage *s = &t->plan.stages[k];
            s->forward_s = s->backward_s = 1;
            s->send_s = s->sync_s = s->update_s = s->load_s = s->norm_s = 0;
        }
        double step_s = plan_simulate(&t->plan);
        assert_true(step_s > (shared ? 5.999 : 4.999) && step_s < (shared ? 6.001 : 5.001));
        case_free(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_of_replicated_stages_share),
        cmocka_unit_test(gradient_without_dx_asks_nobody),
        cmocka_unit_test(every_pair_has_two_edges),
        cmocka_unit_test(nobody_waits_for_ever),
        cmocka_unit_test(rounds_are_in_flight_as_a_whole),
        cmocka_unit_test(verifier_sees_who_waits),
        cmocka_unit_test(replicas_begin_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
