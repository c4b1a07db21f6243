// What crosses stages is encoded once and decoded where it is read; planned again, the graph is as it was.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "passes/transfer.h"
#include "passes/values.h"
#include "tests/passes/from_text.h"

// b is read by all three stages, as a view, too; t is data, and one number is no message.
static const char *const model =
    "graph t micro_batch 4 block 8\n"
    "layer a linear\nlayer b relu\nlayer c linear\nlayer p transpose\nlayer d add\nlayer l mse\n" SAMPLE(
        "x", "4,96") TARGET("t", "4,96") PARAM("w0", "96,96")
        PARAM("w1", "96,96") "a = linear x w0 of a\n"
                             "b = relu a of b\n"
                             "c = linear b w1 of c\n"
                             "v = reshape b {shape=[96,4]} of p\n"
                             "p = transpose v {perm=[1,0]} of p\n"
                             "d = add c p of d\n"
                             "l = mse d t of l\n"
                             "loss l\noutput d\n";

// Stages: a b | c | p d l.
static Case *cut_in(const char *dtype, const char *transfer)
{
    static const int cuts[] = {1, 2};
    Case *t = case_new(model);
    t->c.fuse = false;
    t->options.dtype = dtype;
    t->options.transfer = transfer;
    t->c.stages = 3;
    t->c.fixed_cuts = cuts;
    case_run(t, NULL);
    return t;
}

static Case *cut(const char *transfer)
{
    return cut_in("f32", transfer);
}

// Gradients travel alike; a view is read from what was received; data stay as they are, and so does one number.
static void everyone_reads_his_own(void **state)
{
    (void)state;
    Case *t = cut("int8");
    expect_nodes(t, FORWARD_NODES | BACKWARD_NODES,
                 "a = linear x w0 unit 0\n"
                 "b = relu a unit 1\n"
                 "b.sent = encode b unit 1\n"
                 "b.received = decode b.sent unit 2\n"
                 "c = linear b.received w1 unit 2\n"
                 "c.sent = encode c unit 2\n"
                 "v = reshape b unit 2\n"
                 "v.received = decode b.sent unit 3\n"
                 "p = transpose v.received unit 3\n"
                 "c.received = decode c.sent unit 4\n"
                 "d = add c.received p unit 4\n"
                 "l = mse d t unit 5\n"
                 "d_d = mse_grad d t seed backward from l unit 5\n"
                 "d_d.sent = encode d_d backward unit 5\n"
                 "d_v = transpose d_d backward from p unit 3\n"
                 "d_v.sent = encode d_v backward unit 3\n"
                 "d_b = reshape d_v backward from v unit 2\n"
                 "b.received_2 = decode b.sent backward unit 2\n"
                 "d_d.received = decode d_d.sent backward unit 2\n"
                 "d_b.received = decode d_v.sent backward unit 2\n"
                 "d_w1 = linear_grad_weight b.received_2 d_d.received backward from c unit 2\n"
                 "w1.accumulate = accumulate w1.grad d_w1 backward from c unit 2\n"
                 "d_b_2 = linear_grad_input d_d.received w1 backward from c unit 2\n"
                 "d_b.sum = add d_b.received d_b_2 backward from c unit 2\n"
                 "d_b.sum.sent = encode d_b.sum backward unit 2\n"
                 "d_b.sum.received = decode d_b.sum.sent backward unit 1\n"
                 "d_a = relu_grad d_b.sum.received b backward from b unit 1\n"
                 "d_w0 = linear_grad_weight x d_a backward from a unit 0\n"
                 "w0.accumulate = accumulate w0.grad d_w0 backward from a unit 0\n");
    case_free(t);
}

static int64_t edge_bytes(const Case *t, const char *name)
{
    for (int e = 0; e < t->plan.n_edges; e++)
        if (!strcmp(t->plan.edges[e].name, name))
            return t->plan.edges[e].bytes;
    return -1;
}

// Where another plan had it travel, nothing is left of that but views.
static void planned_again_it_is_as_it_was(void **state)
{
    (void)state;
    Case *exact = cut("exact"), *t = cut("int8");
    assert_true(edge_bytes(t, "b.sent") > 0);
    t->options.transfer = "exact";
    case_run(t, NULL);
    for (int i = 0; i < t->c.graph->nodes.n; i++) {
        Op op = t->c.graph->nodes.items[i]->op;
        assert_true(op != OP_ENCODE && op != OP_DECODE);
    }
    assert_int_equal(t->plan.n_edges, exact->plan.n_edges);
    for (int e = 0; e < exact->plan.n_edges; e++) {
        const PlanEdge *want = &exact->plan.edges[e], *got = &t->plan.edges[e];
        assert_string_equal(got->name, want->name);
        assert_int_equal(got->bytes, want->bytes);
        assert_memory_equal(got->touch, want->touch, 3 * sizeof *got->touch);
    }
    case_free(t);
    case_free(exact);
}

static void messages_are_as_long_as_the_codec_says(void **state)
{
    (void)state;
    static const struct {
        const char *codec;
        int64_t bytes; // of 4 x 96 numbers
    } want[] = {{"bf16", 768}, {"f16", 768 + 24}, {"int8", 384 + 24}};
    for (int i = 0; i < 3; i++) {
        Case *t = cut(want[i].codec);
        assert_int_equal(edge_bytes(t, "b.sent"), want[i].bytes);
        assert_int_equal(edge_bytes(t, "c.sent"), want[i].bytes);
        assert_int_equal(edge_bytes(t, "t"), 4 * 4 * 96);
        assert_int_equal(edge_bytes(t, "b"), -1);
        case_free(t);
    }
}

// What has half the bytes already gets smaller by int8 alone.
static void bf16_travels_as_it_is_or_as_int8(void **state)
{
    (void)state;
    Case *same = cut_in("bf16", "f16"), *less = cut_in("bf16", "int8");
    assert_int_equal(edge_bytes(same, "b"), 2 * 4 * 96);
    assert_int_equal(edge_bytes(same, "b.sent"), -1);
    assert_int_equal(edge_bytes(less, "b"), -1);
    assert_int_equal(edge_bytes(less, "b.sent"), 384 + 24);
    case_free(same);
    case_free(less);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(everyone_reads_his_own),
                                       cmocka_unit_test(planned_again_it_is_as_it_was),
                                       cmocka_unit_test(messages_are_as_long_as_the_codec_says),
                                       cmocka_unit_test(bf16_travels_as_it_is_or_as_int8)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
