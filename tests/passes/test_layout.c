// Layouts of a small image model in blocks of 16 channels: forward, backward, update and eval.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "ir/text.h"
#include "ir/verify.h"
#include "passes/pass.h"

#include <stdlib.h>
#include <string.h>

#define CONV1 "stride=[1,1], padding=[1,1,1,1], dilation=[1,1], groups=1"
#define CONV0 "stride=[1,1], padding=[0,0,0,0], dilation=[1,1], groups=1"
#define POOL "kernel=[2,2], stride=[2,2], padding=[0,0,0,0], dilation=[1,1]"
#define PARAM(name, shape) name " = param {shape=[" shape "], dtype=\"f32\", init=\"normal\"}\n"
#define STEP(name, shape)                                                                      \
    "acc_" name " = accumulator {shape=[" shape "], dtype=\"f32\"} backward\n"                 \
    "add_" name " = accumulate acc_" name " d_" name " backward\n"
#define SGD(name, shape)                                                                       \
    "m_" name " = state {shape=[" shape "], dtype=\"f32\", kind=\"momentum\"} update\n"        \
    "sgd_" name " = sgd " name " acc_" name " m_" name " {momentum=0.9} update\n"

// conv (3 -> 32), batch norm and relu in one group, conv, skip, pool, dropout, conv (32 -> 10), mean.
// clang-format off: one line a node
static const char *const images =
    "graph net micro_batch 4 block 16\n"
    "x = input {shape=[4,3,8,8], dtype=\"f32\", role=\"sample\"}\n"
    "t = input {shape=[4], dtype=\"i32\", role=\"target\"}\n" PARAM("w1", "32,3,3,3")
        PARAM("g", "32") PARAM("w2", "32,32,3,3") PARAM(
            "w3",
            "10,32,1,1") "c1 = conv2d x w1 {" CONV1 "}\n"
                         "n1 = batch_norm c1 g g {eps=1e-5} group 0\n"
                         "mean = result n1 {index=1}\n"
                         "var = result n1 {index=2}\n"
                         "r1 = relu n1 group 0\n"
                         "c2 = conv2d r1 w2 {" CONV1 "}\n"
                         "s = add c2 r1\n"
                         "p = max_pool2d s {" POOL "}\n"
                         "arg = result p {index=1}\n"
                         "d = dropout p {rate=0.5, stream=1}\n"
                         "c3 = conv2d d w3 {" CONV0 "}\n"
                         "ga = global_avg_pool c3\n"
                         "f = reshape ga {shape=[4,10]}\n"
                         "l = cross_entropy f t\n"
                         "lse = result l {index=1}\n"
                         "xe = input {shape=[4,3,8,8], dtype=\"f32\", role=\"sample\"} eval from x\n"
                         "c1e = conv2d xe w1 {" CONV1 "} eval from c1\n"
                         "ne = batch_norm_infer c1e g g g g {eps=1e-5} eval from n1\n"
                         "fe = reshape ne {shape=[4,2048]} eval from r1\n"
                         "seed = constant {shape=[], dtype=\"f32\", value=1} backward\n"
                         "dl = cross_entropy_grad f t lse seed backward from l\n"
                         "dga = reshape dl {shape=[4,10,1,1]} backward from f\n"
                         "dc3 = global_avg_pool_grad dga {shape=[4,10,4,4]} backward from ga\n"
                         "d_w3 = conv2d_grad_weight d dc3 {shape=[10,32,1,1], " CONV0
                         "} backward from c3\n" STEP(
                             "w3",
                             "10,32,1,1") "dd = conv2d_grad_input dc3 w3 {shape=[4,32,4,4], " CONV0
                                          "} backward from c3\n"
                                          "dp = dropout dd {rate=0.5, stream=1} backward from d\n"
                                          "ds = max_pool2d_grad dp arg {shape=[4,32,8,8], " POOL
                                          "} backward from p\n"
                                          "d_w2 = conv2d_grad_weight r1 ds {shape=[32,32,3,3], " CONV1
                                          "} backward from c2\n" STEP(
                                              "w2",
                                              "32,32,3,3") "dr = conv2d_grad_input ds w2 {shape=[4,32,8,8], " CONV1
                                                           "} backward from c2\n"
                                                           "sum = add ds dr backward from c2\n"
                                                           "dn = relu_grad sum r1 backward from r1\n"
                                                           "dc1 = batch_norm_grad c1 dn g mean var {eps=1e-5} backward from n1\n"
                                                           "d_g = result dc1 {index=1} backward from n1\n" STEP(
                                                               "g",
                                                               "32") "d_w1 = conv2d_grad_weight x dc1 {shape=[32,3,3,3], " CONV1
                                                                     "} backward from c1\n" STEP(
                                                                         "w1", "32,3,3,3")
                                                                         SGD("w3", "10,32,1,1") SGD(
                                                                             "w2", "32,32,3,3")
                                                                             SGD("g", "32") SGD(
                                                                                 "w1",
                                                                                 "32,3,3,3") "loss l\n";
// clang-format on

static int64_t twice(void *user, const Node *n)
{
    ++*(int *)user;
    return 2 * node_logical_bytes(n);
}

typedef struct Case {
    Arena arena, scratch;
    Compile c;
    int asked;
} Case;

static void lay_out(Case *t, const char *text, Images kind)
{
    *t = (Case){0};
    Graph *g = ir_read(&t->arena, "test.ir", text);
    assert_non_null(g);
    t->c = (Compile){.perm = &t->arena,
                     .scratch = &t->scratch,
                     .graph = g,
                     .images = kind,
                     .kernel_bytes = twice,
                     .user = &t->asked};
    pass_layout(&t->c);
    Text why = {0};
    if (!ir_verify(g, &why))
        fail_msg("%s", why.data);
    text_release(&why);
}

static void release(Case *t)
{
    arena_release(&t->arena);
    arena_release(&t->scratch);
}

static Node *find(const Case *t, const char *name)
{
    for (int i = 0; i < t->c.graph->nodes.n; i++)
        if (!strcmp(t->c.graph->nodes.items[i]->name, name))
            return t->c.graph->nodes.items[i];
    fail_msg("no node %s", name);
    return NULL;
}

static void expect(const Case *t, Layout layout, const char *names)
{
    char *copy = strdup(names), *rest = copy;
    for (char *name; (name = strsep(&rest, " "));)
        if (find(t, name)->layout != layout)
            fail_msg("%s is %s, not %s", name, layout_name[find(t, name)->layout],
                     layout_name[layout]);
    free(copy);
}

static int reorders(const Case *t)
{
    int n = 0;
    for (int i = 0; i < t->c.graph->nodes.n; i++)
        n += t->c.graph->nodes.items[i]->op == OP_REORDER;
    return n;
}

static void images_are_blocked(void **state)
{
    (void)state;
    Case t;
    lay_out(&t, images, IMAGES_BLOCKED);
    expect(&t, LAYOUT_BLOCKED, "c1 n1 r1 c2 s p ds dr sum dn dc1 c1e ne");
    expect(&t, LAYOUT_PLAIN,
           "x t g d c3 ga f l mean var lse dl dga dc3 dd dp d_g acc_g m_g xe fe");
    expect(&t, LAYOUT_KERNEL,
           "w1 w2 w3 d_w1 d_w2 d_w3 acc_w1 acc_w2 acc_w3 m_w1 m_w2 m_w3 arg");
    release(&t);
}

static void reorders_stand_between(void **state)
{
    (void)state;
    Case t;
    lay_out(&t, images, IMAGES_BLOCKED);
    assert_int_equal(reorders(&t), 3);
    static const struct {
        const char *reader, *source;
        Layout to;
        Phase phase;
    } want[] = {{"d", "p", LAYOUT_PLAIN, PHASE_FORWARD},
                {"ds", "dp", LAYOUT_BLOCKED, PHASE_BACKWARD},
                {"fe", "ne", LAYOUT_PLAIN, PHASE_EVAL}};
    for (int i = 0; i < 3; i++) {
        const Node *r = find(&t, want[i].reader)->inputs[0];
        assert_int_equal(r->op, OP_REORDER);
        assert_string_equal(r->inputs[0]->name, want[i].source);
        assert_int_equal(r->layout, want[i].to);
        assert_int_equal(r->phase, want[i].phase);
        assert_string_equal(node_string(r, A_LAYOUT), layout_name[want[i].to]);
    }
    assert_ptr_equal(find(&t, "dp.blocked")->forward, find(&t, "p"));
    release(&t);
}

static void kernels_say_their_bytes(void **state)
{
    (void)state;
    Case t;
    lay_out(&t, images, IMAGES_BLOCKED);
    static const char *const names[] = {"w2", "d_w2", "acc_w2", "m_w2"};
    for (int i = 0; i < 4; i++)
        assert_int_equal(find(&t, names[i])->bytes, 2 * 32 * 32 * 9 * 4);
    assert_int_equal(find(&t, "arg")->bytes, 2 * node_logical_bytes(find(&t, "arg")));
    assert_int_equal(find(&t, "c1")->bytes, 4 * 32 * 64 * 4);
    assert_int_equal(find(&t, "g")->bytes, 32 * 4);
    assert_true(t.asked > 0);
    release(&t);
}

static void plain_where_nobody_wants_blocks(void **state)
{
    (void)state;
    Case t;
    lay_out(&t, images, IMAGES_PLAIN);
    assert_int_equal(reorders(&t), 0);
    assert_int_equal(t.asked, 0);
    for (int i = 0; i < t.c.graph->nodes.n; i++) {
        const Node *n = t.c.graph->nodes.items[i];
        assert_int_equal(n->layout, LAYOUT_PLAIN);
        assert_int_equal(n->bytes, node_logical_bytes(n));
    }
    release(&t);
}

// flatten: the reorder stands before the view and serves forward and backward.
static void one_reorder_before_a_view(void **state)
{
    (void)state;
    Case t;
    lay_out(
        &t,
        "graph net micro_batch 4 block 16\n"
        "x = input {shape=[4,3,8,8], dtype=\"f32\", role=\"sample\"}\n" PARAM("w", "16,3,3,3")
            PARAM("v", "10,1024") "c = conv2d x w {" CONV1 "}\n"
                                  "f = reshape c {shape=[4,1024]}\n"
                                  "y = linear f v\n"
                                  "e = reshape c {shape=[4,1024]}\n"
                                  "d_v = linear_grad_weight f y backward from y\n",
        IMAGES_BLOCKED);
    assert_int_equal(reorders(&t), 1);
    assert_ptr_equal(find(&t, "e")->inputs[0], find(&t, "f")->inputs[0]);
    assert_int_equal(find(&t, "v")->layout, LAYOUT_PLAIN);
    release(&t);
}

// Channel counts that no block divides, groups that cut through blocks, AVX2's first layers.
static void shapes_decide(void **state)
{
    (void)state;
    static const struct {
        const char *block, *x, *w, *y; // channels, weight, groups
        Layout layout;
    } cases[] = {{"16", "3", "32,3,1,1", "1", LAYOUT_BLOCKED},
                 {"16", "24", "32,24,1,1", "1", LAYOUT_PLAIN},
                 {"16", "32", "24,32,1,1", "1", LAYOUT_PLAIN},
                 {"8", "3", "16,3,1,1", "1", LAYOUT_BLOCKED},
                 {"8", "1", "16,1,1,1", "1", LAYOUT_PLAIN},
                 {"16", "32", "32,1,1,1", "32", LAYOUT_BLOCKED},
                 {"16", "32", "32,4,1,1", "8", LAYOUT_PLAIN},
                 {"16", "64", "64,32,1,1", "2", LAYOUT_BLOCKED}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Arena a = {0};
        Case t;
        lay_out(
            &t,
            arena_printf(
                &a,
                "graph net micro_batch 4 block %s\n"
                "x = input {shape=[4,%s,8,8], dtype=\"f32\", role=\"sample\"}\n"
                "w = param {shape=[%s], dtype=\"f32\", init=\"normal\"}\n"
                "y = conv2d x w {stride=[1,1], padding=[0,0,0,0], dilation=[1,1], groups=%s}\n",
                cases[i].block, cases[i].x, cases[i].w, cases[i].y),
            IMAGES_BLOCKED);
        expect(&t, cases[i].layout, "y");
        release(&t);
        arena_release(&a);
    }
}

// Element-wise ops on [N,16,..] that are no images stay plain; so do broadcasts.
static void others_stay_plain(void **state)
{
    (void)state;
    Case t;
    lay_out(&t,
            "graph net micro_batch 4 block 16\n"
            "x = input {shape=[4,16,8,8], dtype=\"f32\", role=\"sample\"}\n"
            "scores = softmax x\n"
            "scaled = scale scores {value=0.5}\n" PARAM(
                "w", "16,16,1,1") "c = conv2d x w {" CONV0 "}\n"
                                  "m = global_avg_pool c\n"
                                  "gate = sigmoid m\n"
                                  "gated = mul c gate\n"
                                  "both = add c scaled\n",
            IMAGES_BLOCKED);
    expect(&t, LAYOUT_PLAIN, "scores scaled m gate gated");
    expect(&t, LAYOUT_BLOCKED, "c both");
    assert_int_equal(reorders(&t),
                     3); // x for the convolution, c for the gate, scaled for the sum
    release(&t);
}

// A group has one layout, and a reorder of its inputs stands before all of it.
static void groups_have_one_layout(void **state)
{
    (void)state;
    Case t;
    lay_out(&t,
            "graph net micro_batch 4 block 16\n"
            "x = input {shape=[4,3,8,8], dtype=\"f32\", role=\"sample\"}\n" PARAM(
                "w", "16,3,3,3") "c = conv2d x w {" CONV1 "}\n"
                                 "r = relu c group 0\n"
                                 "d = dropout r {rate=0.5, stream=1} group 0\n"
                                 "a = relu c group 1\n"
                                 "b = add a c group 1\n"
                                 "g = sum_to c {shape=[16,1,1]} backward from c\n",
            IMAGES_BLOCKED);
    expect(&t, LAYOUT_PLAIN, "r d");
    expect(&t, LAYOUT_BLOCKED, "a b");
    assert_int_equal(reorders(&t), 2);
    assert_int_equal(find(&t, "r")->inputs[0]->phase, PHASE_FORWARD);
    assert_int_equal(find(&t, "g")->inputs[0]->phase, PHASE_BACKWARD);
    release(&t);
}

// Whole blocks of channels are put together, taken apart and summed up without a reorder; sums of
// gradients are plain.
static void channels_move_in_blocks(void **state)
{
    (void)state;
    Case t;
    lay_out(&t,
            "graph net micro_batch 4 block 16\n" PARAM("p", "4,16,8,8") PARAM("w", "16,16,1,1")
                PARAM("v", "32,16,1,1") "c = conv2d p w {" CONV0 "}\n"
                                        "d = conv2d p v {" CONV0 "}\n"
                                        "cd = concat c d {axis=1}\n"
                                        "s = slice cd {axis=1, begin=16, length=32}\n"
                                        "u = slice cd {axis=1, begin=8, length=32}\n"
                                        "z = pad s {axis=1, begin=16, length=48}\n"
                                        "h = slice cd {axis=2, begin=0, length=4}\n"
                                        "b = bias_grad cd {axis=1} backward from cd\n"
                                        "acc = accumulator {shape=[4,16,8,8], dtype=\"f32\"} "
                                        "backward from c\n"
                                        "sum = accumulate acc c backward from c\n",
            IMAGES_BLOCKED);
    expect(&t, LAYOUT_BLOCKED, "c d cd s z");
    expect(&t, LAYOUT_PLAIN, "p u h b acc");
    assert_ptr_equal(find(&t, "b")->inputs[0], find(&t, "cd"));
    assert_int_equal(find(&t, "u")->inputs[0]->op, OP_REORDER);
    assert_int_equal(find(&t, "sum")->inputs[1]->op, OP_REORDER);
    assert_int_equal(reorders(&t), 3); // p, cd for u and h, c for its sum
    release(&t);
}

// What was laid out once is laid out alike again, and not at all for another backend.
static void starts_afresh(void **state)
{
    (void)state;
    Case t;
    lay_out(&t, images, IMAGES_BLOCKED);
    int n = t.c.graph->nodes.n, written = reorders(&t);
    assert_true(written > 0);
    Text first = {0}, second = {0};
    for (int i = 0; i < n; i++)
        text_printf(&first, "%d %d %lld\n", t.c.graph->nodes.items[i]->op,
                    t.c.graph->nodes.items[i]->layout,
                    (long long)t.c.graph->nodes.items[i]->bytes);
    pass_layout(&t.c);
    assert_int_equal(t.c.graph->nodes.n, n);
    for (int i = 0; i < n; i++)
        text_printf(&second, "%d %d %lld\n", t.c.graph->nodes.items[i]->op,
                    t.c.graph->nodes.items[i]->layout,
                    (long long)t.c.graph->nodes.items[i]->bytes);
    assert_string_equal(first.data, second.data);
    t.c.images = IMAGES_PLAIN;
    pass_layout(&t.c);
    assert_int_equal(reorders(&t), 0);
    assert_int_equal(t.c.graph->nodes.n, n - written);
    expect(&t, LAYOUT_PLAIN, "c1 n1 w1 d_w1 arg acc_w1 ne");
    text_release(&first);
    text_release(&second);
    release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(starts_afresh),
                                       cmocka_unit_test(images_are_blocked),
                                       cmocka_unit_test(reorders_stand_between),
                                       cmocka_unit_test(kernels_say_their_bytes),
                                       cmocka_unit_test(plain_where_nobody_wants_blocks),
                                       cmocka_unit_test(one_reorder_before_a_view),
                                       cmocka_unit_test(shapes_decide),
                                       cmocka_unit_test(others_stay_plain),
                                       cmocka_unit_test(groups_have_one_layout),
                                       cmocka_unit_test(channels_move_in_blocks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
