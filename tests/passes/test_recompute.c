// Computing again: which copies stand where, what is never copied, that places hold on random models, and
// that what is chosen fits and takes the least time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "passes/again.h"
#include "tests/passes/from_text.h"
#include "tests/passes/pretend.h"
#include "tests/passes/random_model.h"

#define ALL                                                                                    \
    "fold,dce,eval,autodiff,optimizer,fuse,layout,units,cost,partition,recompute,schedule,"    \
    "memory"

static Case *compiled(const char *body, int stages, const char *how, int64_t limit)
{
    Text text = {0};
    text_printf(&text, "graph g micro_batch 4\nlayer a linear\n%s", body);
    Case *t = case_new(text.data);
    t->options.recompute = how;
    t->c.stages = stages;
    t->c.memory_limit = limit;
    case_run(t, ALL);
    text_release(&text);
    return t;
}

#define CHAIN                                                                                  \
    SAMPLE("x", "4,8")                                                                         \
    TARGET("t", "4,8")                                                                         \
    PARAM("w1", "8,8")                                                                         \
    PARAM("w2", "8,8")                                                                         \
    "y1 = linear x w1 of a\n"                                                                  \
    "r1 = relu y1 of a\n"                                                                      \
    "y2 = linear r1 w2 of a\n"                                                                 \
    "r2 = sigmoid y2 of a\n"                                                                   \
    "l = mse r2 t of a\n"                                                                      \
    "loss l\noutput r2\n"

static void copies_stand_before_their_readers(void **state)
{
    (void)state;
    Case *t = compiled(CHAIN, 1, "always", 0);
    expect_nodes(t, BACKWARD_NODES,
                 "y1.again = linear x w1 backward from y1 unit 0\n"
                 "r1.again = relu y1.again backward from r1 unit 1\n"
                 "y2.again = linear r1.again w2 backward from y2 unit 2\n"
                 "r2.again = sigmoid y2.again backward from r2 unit 3\n"
                 "d_r2 = mse_grad r2.again t seed backward from l unit 4\n"
                 "d_y2 = sigmoid_grad d_r2 r2.again backward from r2 unit 3\n"
                 "d_w2 = linear_grad_weight r1.again d_y2 backward from y2 unit 2\n"
                 "w2.accumulate = accumulate w2.grad d_w2 backward from y2 unit 2\n"
                 "d_r1 = linear_grad_input d_y2 w2 backward from y2 unit 2\n"
                 "d_y1 = relu_grad d_r1 r1.again backward from r1 unit 1\n"
                 "d_w1 = linear_grad_weight x d_y1 backward from y1 unit 0\n"
                 "w1.accumulate = accumulate w1.grad d_w1 backward from y1 unit 0\n");
    case_free(t);
}

// Statistics are updated once, by the effect of forward; what reads a buffer that an effect writes is kept.
// Dropout draws from the same stream. What backward reads of a batch norm comes from the copy.
static void effects_happen_once(void **state)
{
    (void)state;
    Case *t = compiled(SAMPLE("x", "4,8") TARGET("t", "4,8") PARAM("w", "8,8") PARAM("g", "8")
                           PARAM("b", "8") BUFFER("mean", "8")
                               BUFFER("var", "8") "y = linear x w of a\n"
                                                  "n = batch_norm y g b {eps=1e-3} of a\n"
                                                  "n.1 = result n {index=1}\n"
                                                  "n.2 = result n {index=2}\n"
                                                  "u = running_update mean var n.1 n.2 "
                                                  "{momentum=0.1, count=4} of a\n"
                                                  "d = dropout n {rate=0.5, stream=7} of a\n"
                                                  "s = sigmoid d of a\n"
                                                  "q = mul s mean of a\n"
                                                  "r = sigmoid q of a\n"
                                                  "l = mse r t of a\n"
                                                  "loss l\noutput r\n",
                       1, "always", 0);
    int updates = 0, copies = 0;
    for (int i = 0; i < t->c.graph->nodes.n; i++) {
        const Node *n = t->c.graph->nodes.items[i];
        updates += n->op == OP_RUNNING_UPDATE;
        copies += n->phase == PHASE_BACKWARD && n->op == OP_DROPOUT && n->forward &&
                  !strcmp(n->name, "d.again");
        if (n->op == OP_BATCH_NORM_GRAD)
            assert_string_equal(n->inputs[3]->name, "n.again.1");
    }
    assert_int_equal(updates, 1);
    assert_int_equal(copies, 1);
    assert_int_equal(node_int(case_node(t, "d.again"), A_STREAM), 7);
    const PlanStage *s = &t->plan.stages[0];
    for (int i = 0; i < s->n_again; i++)
        assert_string_not_equal(s->again[i], "q");
    assert_int_equal(t->plan.stages[0].places[case_node(t, "q")->id].kind, PLACE_NONE);
    case_free(t);
}

// A loss waits in any case; what it leaves for backward beside its value comes from the copy.
static void further_outputs(void **state)
{
    (void)state;
    Case *t =
        compiled(SAMPLE("x", "4,8") PARAM("w", "8,8") "t = input {shape=[4], dtype=\"i32\", "
                                                      "role=\"target\"}\n"
                                                      "y = linear x w of a\n"
                                                      "l = cross_entropy y t of a\n"
                                                      "loss l\noutput y\n",
                 1, "always", 0);
    expect_nodes(t, BACKWARD_NODES,
                 "y.again = linear x w backward from y unit 0\n"
                 "l.again = cross_entropy y.again t backward from l unit 1\n"
                 "d_y = cross_entropy_grad y.again t l.again.1 seed backward from l unit 1\n"
                 "d_w = linear_grad_weight x d_y backward from y unit 0\n"
                 "w.accumulate = accumulate w.grad d_w backward from y unit 0\n");
    case_free(t);
}

static bool heads(const Node *n, const Node *next, bool kept)
{
    (void)n, (void)kept;
    return next->op == OP_GELU;
}

// Is y, which backward reads anyhow, computed again with gelu of it?
static bool goes_along(bool head)
{
    Case *t = case_new("graph g micro_batch 4\nlayer a linear\n" SAMPLE("x", "4,8")
                           TARGET("t", "4,8") PARAM("w", "8,8") //
                       "y = linear x w of a\n"
                       "r = gelu y of a\n"
                       "z = linear r w of a\n"
                       "l = mse z t of a\n"
                       "loss l\noutput z\n");
    t->c.heads = head ? heads : NULL;
    t->options.recompute = "never";
    t->c.stages = 1;
    case_run(t, ALL);
    Values values = values_of(&t->arena, t->c.graph);
    Again a = again_of(&t->arena, &t->c, &values, &t->plan.stages[0], 1);
    bool *again = arena_array(&t->arena, bool, t->c.graph->nodes.n);
    again[case_node(t, "r")->id] = true;
    again_close(&a, again);
    bool along = again[case_node(t, "y")->id];
    again_release(&a);
    case_free(t);
    return along;
}

static void heads_are_computed_with_their_mates(void **state)
{
    (void)state;
    assert_true(goes_along(true));
    assert_false(goes_along(false));
}

// Random models
// ------------------------------------------------------------------------------------------

static const char *random_schedule(void)
{
    static const char *const names[] = {"1f1b", "gpipe", "pipedream-2bw", "zb-h1"};
    return names[random_below(4)];
}

// One model with and without, or as little as it takes to fit into nine tenths. The memory tells whether tensors
// keep their places. Gives the bytes of the largest stage; -1: there is
// no plan.
static int64_t played(int round, const char *how, int64_t limit)
{
    int64_t bytes = 0;
    random_state = (uint64_t)round * 7177 + 1;
    Model *m = random_model(10 + random_below(20), 20);
    int stages = 1 + random_below(4), micro_batches = 1 + random_below(6);
    m->options.recompute = how;
    m->c.memory_limit = limit;
    diag_output(fopen("/dev/null", "w"), false);
    plan_random_model(m, stages, micro_batches, random_schedule());
    for (int s = 0; s < m->plan.n_stages && !m->c.no_plan; s++) {
        int64_t own = plan_stage_bytes(&m->plan.stages[s]);
        assert_true(!limit || own <= limit);
        bytes = own > bytes ? own : bytes;
        pretend_stage(m->g, &m->plan, s);
    }
    bytes = m->c.no_plan || !m->plan.n_stages ? -1 : bytes;
    free_model(m);
    diag_reset();
    return bytes;
}

static void places_hold(void **state)
{
    (void)state;
    int less = 0, fit = 0, fit_plain = 0;
    for (int round = 0; round < 300; round++) {
        int64_t all = played(round, "never", 0), again = played(round, "always", 0);
        less += again < all;
        fit += played(round, "auto", all * 9 / 10) >= 0;
        fit_plain += played(round, "never", all * 9 / 10) >= 0;
    }
    print_message("less memory %d, fit into nine tenths %d, without %d of 300\n", less, fit,
                  fit_plain);
    assert_true(less > 150 && fit > fit_plain + 20);
}

// One stage under a limit: it is kept, and where candidates are few no set of them that fits takes less.
static void chooses_the_least(void **state)
{
    (void)state;
    int fit = 0, exact = 0, inexact = 0, looser = 0;
    for (int round = 0; round < 200; round++) {
        random_state = (uint64_t)round * 911 + 5;
        Model *m = random_model(4 + random_below(round % 2 ? 30 : 8), 0);
        plan_random_model(m, 1, 1 + random_below(6), "gpipe");
        const PlanStage *s = &m->plan.stages[0];
        int64_t all = plan_stage_bytes(s), limit = all - (1 + random_below(9)) * all / 20;
        arena_reset(&m->scratch);
        graph_renumber(m->g);
        Values values = values_of(&m->arena, m->g);
        Again a = again_of(&m->arena, &m->c, &values, s, s->in_flight);
        AgainChoice choice, whole = again_whole(&a, &m->arena);
        int64_t rest = all - s->in_flight * s->slot_bytes - s->scratch_bytes;
        bool good = again_choose(&a, &m->arena, limit - rest, &choice);
        fit += good;
        if (good) {
            assert_true(rest + again_bytes(&a, choice.cost) <= limit);
            assert_true(choice.cost.seconds <= whole.cost.seconds || limit < all);
            assert_true(choice.least_s <= choice.cost.seconds * (1 + 1e-9));
            exact += choice.exact;
            inexact += !choice.exact;
            looser += choice.cost.seconds > 2 * choice.least_s;
        }
        again_release(&a);
        free_model(m);
    }
    print_message("%d of 200 fit, %d exactly, %d not, %d of all more than twice the bound\n",
                  fit, exact, inexact, looser);
    assert_true(fit > 60 && exact > 20 && inexact > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(copies_stand_before_their_readers),
                                       cmocka_unit_test(effects_happen_once),
                                       cmocka_unit_test(further_outputs),
                                       cmocka_unit_test(heads_are_computed_with_their_mates),
                                       cmocka_unit_test(places_hold),
                                       cmocka_unit_test(chooses_the_least)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
