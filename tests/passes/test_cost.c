#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "ir/text.h"
#include "tests/passes/random_model.h"

#include <math.h>

// Two products, one ten times the other, and an element-wise op of which memory is the bound.
static const char *const products =
    "graph net micro_batch 256\n"
    "layer small linear\nlayer large linear\nlayer act relu\n"
    "x = input {shape=[256,1024], dtype=\"f32\", role=\"sample\"} unit 0\n"
    "w = param {shape=[1024,1024], dtype=\"f32\", init=\"normal\"} unit 0\n"
    "v = param {shape=[10240,1024], dtype=\"f32\", init=\"normal\"} unit 2\n"
    "a = linear x w of small unit 0\n"
    "r = relu a of act unit 1\n"
    "b = linear r v of large unit 2\n"
    "d_v = linear_grad_weight r b backward of large from b unit 2\n";

typedef struct Case {
    Arena arena, scratch;
    Options options;
    Plan plan;
    Compile c;
} Case;

static void prepare(Case *t, const char *text, const LayerTime *times, int n)
{
    *t = (Case){.options = options_default()};
    t->c = (Compile){.perm = &t->arena,
                     .scratch = &t->scratch,
                     .graph = ir_read(&t->arena, "test.ir", text),
                     .plan = &t->plan,
                     .options = &t->options,
                     .stages = 1,
                     .times = times,
                     .n_times = n};
    assert_non_null(t->c.graph);
}

static void run_passes(Case *t)
{
    pass_layout(&t->c);
    pass_cost(&t->c);
}

static void run_cost_of(Case *t, const char *text, const LayerTime *times, int n)
{
    prepare(t, text, times, n);
    run_passes(t);
}

static void run_cost(Case *t, const LayerTime *times, int n)
{
    run_cost_of(t, products, times, n);
}

static void release(Case *t)
{
    arena_release(&t->arena);
    arena_release(&t->scratch);
}

static void estimates_follow_flops_and_bytes(void **state)
{
    (void)state;
    Case t;
    run_cost(&t, NULL, 0);
    const PlanUnit *u = t.plan.units;
    assert_int_equal(t.plan.n_units, 3);
    assert_string_equal(u[0].name, "small");
    double flops = 2.0 * 256 * 1024 * 1024;
    assert_true(fabs(u[0].forward_s * 200e9 / flops - 1) < 1e-9);
    assert_true(fabs(u[2].forward_s / u[0].forward_s - 10) < 1e-9);
    assert_true(fabs(u[2].backward_s / u[2].forward_s - 1) < 1e-9);
    double bytes = 2.0 * 256 * 1024 * 4;
    assert_true(fabs(u[1].forward_s * 10e9 / bytes - 1) < 1e-9);
    assert_int_equal(u[0].parameter_bytes, 4 << 20);
    assert_int_equal(u[0].cut_bytes, 1 << 20);
    assert_int_equal(u[1].cut_bytes, 1 << 20);
    assert_int_equal(u[2].cut_bytes, 0);
    assert_int_equal(u[1].activation_bytes, 1 << 20); // r waits for d_v
    assert_int_equal(u[0].activation_bytes, 0);
    release(&t);
}

// A device is as fast as its backend says, with however many threads its program runs.
static void devices_have_their_own_speed(void **state)
{
    (void)state;
    static const DeviceSpeed speed = {.flops = 1e12, .bf16_flops = 8e12, .bytes_per_s = 1e11};
    Case t;
    prepare(&t, products, NULL, 0);
    t.c.speed = &speed;
    t.options.threads = 4;
    run_passes(&t);
    const PlanUnit *u = t.plan.units;
    assert_true(fabs(u[0].forward_s * 1e12 / (2.0 * 256 * 1024 * 1024) - 1) < 1e-9);
    assert_true(fabs(u[1].forward_s * 1e11 / (2.0 * 256 * 1024 * 4) - 1) < 1e-9);
    assert_true(fabs(cost_move_s(&t.c, 1000) * 1e8 - 1) < 1e-9);
    t.c.speed = NULL;
    assert_true(fabs(cost_move_s(&t.c, 1000) * 4e7 - 1) < 1e-9);
    release(&t);
}

// Of floats, where --dtype asks for it; where nobody has measured it, floats' own rate counts.
static void tf32_has_a_speed(void **state)
{
    (void)state;
    static const struct {
        const char *dtype;
        double known, counts;
    } cases[] = {{"f32", 4e12, 1e12}, {"tf32", 4e12, 4e12}, {"tf32", 0, 1e12}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        DeviceSpeed speed = {.flops = 1e12, .tf32_flops = cases[i].known, .bytes_per_s = 1e11};
        Case t;
        prepare(&t, products, NULL, 0);
        t.c.speed = &speed;
        t.options.dtype = cases[i].dtype;
        run_passes(&t);
        double flops = 2.0 * 256 * 1024 * 1024;
        assert_true(fabs(t.plan.units[0].forward_s * cases[i].counts / flops - 1) < 1e-9);
        release(&t);
    }
}

static void measured_times_win(void **state)
{
    (void)state;
    Case t;
    const LayerTime times[] = {{"small", 0.5, 0, 0, 0}, {"large", 2, 7, 0, 0}};
    run_cost(&t, times, 2);
    assert_true(fabs(t.plan.units[0].forward_s - 0.5) < 1e-12);
    assert_true(fabs(t.plan.units[2].forward_s - 2) < 1e-12);
    assert_true(fabs(t.plan.units[2].backward_s - 7) < 1e-12);
    // Nobody measured the relu: its estimate, slowed down as the measured layers were.
    assert_true(t.plan.units[1].forward_s > 1e-3 && t.plan.units[1].forward_s < 0.5);
    release(&t);
}

static const char *const two_passes =
    "graph net micro_batch 256\n"
    "layer fc linear\n"
    "x = input {shape=[256,1024], dtype=\"f32\", role=\"sample\"} unit 0\n"
    "w = param {shape=[2048,1024], dtype=\"f32\", init=\"normal\"} unit 0\n"
    "a = linear x w of fc unit 0\n"
    "d_x = linear_grad_input a w backward of fc from a unit 0\n"
    "d_w = linear_grad_weight x a backward_weight of fc from a unit 0\n";

// Measured apart, each pass has its own time; measured as one, they share it by estimate. A schedule that
// does not split backward wants the sum.
static void passes_of_backward(void **state)
{
    (void)state;
    for (int apart = 0; apart < 2; apart++) {
        Case t;
        const LayerTime times[] = {{"fc", 1, 8, 0, apart ? 3 : 0}};
        prepare(&t, two_passes, times, 1);
        t.options.schedule = "zb-h1";
        run_passes(&t);
        const PlanUnit *u = t.plan.units;
        assert_true(fabs(u[0].backward_s - 8) < 1e-12);
        assert_true(fabs(u[0].weight_s - (apart ? 3 : 4)) < 1e-12);
        t.options.schedule = "1f1b";
        pass_split(&t.c);
        run_passes(&t);
        assert_true(fabs(t.plan.units[0].backward_s - 8) < 1e-12);
        assert_true(t.plan.units[0].weight_s == 0);
        release(&t);
    }
}

// A layer of two units shares its time by estimate: 4 parts and 1. The relu runs in the loop of the
// second one's scale, so its layer has no time of its own.
static const char *const spread =
    "graph net micro_batch 256\n"
    "layer pair linear\nlayer act relu\n"
    "x = input {shape=[256,1024], dtype=\"f32\", role=\"sample\"} unit 0\n"
    "w = param {shape=[4096,1024], dtype=\"f32\", init=\"normal\"} unit 0\n"
    "v = param {shape=[256,4096], dtype=\"f32\", init=\"normal\"} unit 1\n"
    "a = linear x w of pair unit 0\n"
    "b = linear a v of pair unit 1\n"
    "s = scale b {value=2} of pair unit 2 group 0\n"
    "r = relu s of act unit 2 group 0\n";

static void shares_out_a_layer(void **state)
{
    (void)state;
    Case t;
    const LayerTime times[] = {{"pair", 5.5, 0, 0, 0}};
    run_cost_of(&t, spread, times, 1);
    const PlanUnit *u = t.plan.units;
    assert_int_equal(t.plan.n_units, 3);
    assert_true(fabs(u[0].forward_s / u[1].forward_s - 4) < 1e-9);
    assert_true(u[2].forward_s > 0 && u[2].forward_s < u[1].forward_s);
    assert_true(fabs(u[0].forward_s + u[1].forward_s + u[2].forward_s - 5.5) < 1e-12);
    release(&t);
}

static const char *const with_update =
    "graph net micro_batch 256\n"
    "layer fc linear\n"
    "x = input {shape=[256,1024], dtype=\"f32\", role=\"sample\"} unit 0\n"
    "w = param {shape=[4096,1024], dtype=\"f32\", init=\"normal\"} unit 0\n"
    "a = linear x w of fc unit 0\n"
    "d_w = linear_grad_weight x a backward of fc from a unit 0\n"
    "u = sgd w d_w update of fc from a unit 0\n";

// An update is measured like the rest; where nobody measured it, its estimate is scaled.
static void updates_are_measured(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        Case t;
        const LayerTime times[] = {{"fc", 0.5, 1, known ? 0.25 : 0, 0}};
        run_cost_of(&t, with_update, times, 1);
        const PlanUnit *u = t.plan.units;
        assert_true(fabs(u[0].forward_s - 0.5) < 1e-12);
        assert_true(fabs(u[0].backward_s - 1) < 1e-12);
        assert_true(known ? fabs(u[0].update_s - 0.25) < 1e-12
                          : u[0].update_s > 0 && u[0].update_s < 1);
        release(&t);
    }
}

// Against a count from scratch, over every cut of random models.
static void cut_bytes_by_definition(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        random_state = (uint64_t)round * 2237 + 1;
        Model *m = random_model(2 + random_below(12), 0);
        plan_random_model(m, 1, 2, "1f1b");
        for (int u = 0; u < m->plan.n_units; u++) {
            int64_t bytes = 0;
            for (int i = 0; i < m->g->nodes.n; i++) {
                const Node *n = m->g->nodes.items[i];
                bool later = false;
                for (int k = 0; k < m->g->nodes.n; k++)
                    for (int j = 0; j < m->g->nodes.items[k]->n_inputs; j++)
                        later |= m->g->nodes.items[k]->inputs[j] == n &&
                                 m->g->nodes.items[k]->unit > u;
                bytes += n->phase == PHASE_FORWARD && n->op != OP_PARAM && n->unit <= u && later
                             ? n->bytes
                             : 0;
            }
            assert_int_equal(m->plan.units[u].cut_bytes, bytes);
        }
        free_model(m);
    }
}

#define HEADS(causal) "{heads=4, value=1, causal=" #causal ", rate=0, stream=0}"
static const char *const attention =
    "graph net micro_batch 1\n"
    "layer a attention\n"
    "q = input {shape=[1,1024,256], dtype=\"f32\", role=\"sample\"} unit 0\n"
    "y = attention q q q " HEADS(0) " of a unit 0\n"
                                    "z = attention q q q " HEADS(
                                        1) " of a unit 1\n"
                                           "y.1 = result y {index=1} of a unit 0\n"
                                           "z.1 = result z {index=1} of a unit 1\n"
                                           "d_z = attention_grad z q q q z z.1 " HEADS(
                                               1) " backward of a from z unit 1\n"
                                                  "d_y = attention_grad y q q q y y.1 " HEADS(
                                                      0) " backward of a from y unit 0\n";

// Two products forward and five backward; half of the scores where a step does not see the later ones.
static void attention_counts_what_it_sees(void **state)
{
    (void)state;
    Case t;
    run_cost_of(&t, attention, NULL, 0);
    const PlanUnit *u = t.plan.units;
    double product = 2.0 * 1024 * 1024 * 256 / 200e9;
    assert_true(fabs(u[0].forward_s / product - 2) < 1e-9);
    assert_true(fabs(u[0].backward_s / product - 5) < 1e-9);
    assert_true(fabs(u[1].forward_s / product - 1) < 1e-9);
    assert_true(fabs(u[1].backward_s / product - 2.5) < 1e-9);
    release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(estimates_follow_flops_and_bytes),
                                       cmocka_unit_test(devices_have_their_own_speed),
                                       cmocka_unit_test(tf32_has_a_speed),
                                       cmocka_unit_test(measured_times_win),
                                       cmocka_unit_test(passes_of_backward),
                                       cmocka_unit_test(shares_out_a_layer),
                                       cmocka_unit_test(updates_are_measured),
                                       cmocka_unit_test(attention_counts_what_it_sees),
                                       cmocka_unit_test(cut_bytes_by_definition)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
