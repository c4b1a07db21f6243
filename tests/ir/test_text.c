// The text form: what is printed reads back to the same text; what is wrong is said at its
// place.
#include "ir/text.h"

#include "ir/verify.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static Arena arena;
static char *said; // by the last call of `read`
static size_t said_size;

static Graph *read_text(const char *text)
{
    free(said);
    FILE *out = open_memstream(&said, &said_size);
    diag_output(out, false);
    diag_reset();
    diag_source("t.ir", text);
    Graph *g = ir_read(&arena, "t.ir", text);
    fclose(out);
    diag_output(stderr, false);
    return g;
}

static char *printed(const Graph *g)
{
    Text t = {0};
    ir_print(&t, g);
    char *copy = arena_strdup(&arena, t.data);
    text_release(&t);
    return copy;
}

// Every feature of the form, as the printer writes it.
static const char full[] =
    "graph net micro_batch 4 block 8 file \"a model.c\"\n"
    "train \"lr-schedule\" \"cosine\" @net.c:3:5\n"
    "train \"lr\" \"0.1\" @?\n"
    "call 0 main @net.c:30:1\n"
    "call 1 block in 0 @net.c:31:9\n"
    "layer fc1 linear in 1 @net.c:6:9\n"
    "call 2 block in 0 @net.c:31:9\n"
    "layer fc2 linear in 2 @net.c:6:9\n"
    "layer same relu in 2 @\"odd \\\"name\\\".c\":7:2\n"
    "layer loss1 cross_entropy @?\n"
    "x = input {shape=[4,64], dtype=\"f32\", role=\"sample\"} : f32[4,64] @net.c:5:16\n"
    "fc1.weight = param {shape=[10,64], dtype=\"f32\", init=\"normal\", gain=0.1, fan_in=64, "
    "fan_out=10} : f32[10,64] of fc1 layout kernel bytes 4096 @net.c:6:9\n"
    "fc1 = linear x fc1.weight : f32[4,10] of fc1 group 0 unit 0 layout blocked bytes 160 "
    "@net.c:6:9\n"
    "same = relu fc1 : f32[4,10] of same group 0 unit 0 @net.c:8:9\n"
    "y = input {shape=[4], dtype=\"i32\", role=\"target\"} : i32[4] @net.c:5:16\n"
    "loss = cross_entropy same y : f32[] of loss1 unit 1 @net.c:9:9\n"
    "lse = result loss {index=1} : f32[4] of loss1 @net.c:9:9\n"
    "x.eval = input {shape=[4,64], dtype=\"f32\", role=\"sample\"} : f32[4,64] eval from x @?\n"
    "e = linear x.eval fc1.weight : f32[4,10] eval of fc1 from fc1 @net.c:6:9\n"
    "seed = constant {shape=[], dtype=\"f32\", value=0.25} : f32[] backward @?\n"
    "d_same = cross_entropy_grad same y lse seed : f32[4,10] backward of loss1 from loss unit "
    "1 "
    "@net.c:9:9\n"
    "d_fc1 = relu_grad d_same same : f32[4,10] backward of same from same group 1 unit 0 "
    "@net.c:8:9\n"
    "loss loss\n"
    "output same\n";

static void test_round_trip(void **state)
{
    (void)state;
    Graph *g = read_text(full);
    assert_non_null(g);
    assert_string_equal(said, "");
    assert_string_equal(printed(g), full);
    assert_string_equal(g->file, "a model.c");
    assert_int_equal(g->block, 8);
    assert_string_equal(g->train.items[0].value, "cosine");
    assert_null(g->train.items[1].loc.file);
    Layer *fc1 = g->layers.items[0], *fc2 = g->layers.items[1], *same = g->layers.items[2];
    assert_ptr_not_equal(fc1->caller, fc2->caller); // equal calls stay different calls
    assert_ptr_equal(fc2->caller, same->caller);
    assert_ptr_equal(fc1->caller->caller, fc2->caller->caller);
    assert_string_equal(same->loc.file, "odd \"name\".c");
    assert_string_equal(g->loss->name, "loss");
    assert_string_equal(g->output->name, "same");
}

// A text of `full` with the first `from` in it replaced.
static uint64_t hash_with(const char *from, const char *to)
{
    const char *at = strstr(full, from);
    assert_non_null(at);
    Graph *g = read_text(
        arena_printf(&arena, "%.*s%s%s", (int)(at - full), full, to, at + strlen(from)));
    assert_string_equal(said, "");
    return ir_hash(g);
}

static void test_a_hash_is_of_what_is_computed(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"net.c:5:16", "elsewhere.c:6:1"},
        {"file \"a model.c\"", "file \"another.c\""},
        {"train \"lr\" \"0.1\"", "train \"lr\" \"0.2\""},
        {"layer same relu in 2", "layer same relu stage 1"},
    };
    static const char *const others[][2] = {
        {"block 8", "block 16"},       {"init=\"normal\"", "init=\"uniform\""},
        {"value=0.25", "value=0.5"},   {"layer loss1 cross_entropy", "layer loss1 relu"},
        {"output same", "output fc1"},
    };
    uint64_t hash = hash_with("net", "net");
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        assert_int_equal(hash_with(same[i][0], same[i][1]), hash);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_not_equal(hash_with(others[i][0], others[i][1]), hash);
}

static double value_after(const char *real, char *again, size_t size)
{
    char text[300];
    snprintf(text, sizeof text,
             "graph g micro_batch 1\nc = constant {shape=[2], dtype=\"f64\", value=%s}\n",
             real);
    Graph *g = read_text(text);
    assert_non_null(g);
    char *s = strstr(printed(g), "value=");
    snprintf(again, size, "%.*s", (int)strcspn(s + 6, "}"), s + 6);
    return node_real(g->nodes.items[0], A_VALUE);
}

static void test_reals_keep_their_bits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t bits;
    } cases[] = {
        {"0.1", 0x3fb999999999999a},
        {"-0", 0x8000000000000000},
        {"1e-05", 0x3ee4f8b588e368f1},
        {"0.30000000000000004", 0x3fd3333333333334},
        {"4.94065645841247e-324", 1},
        {"1.7976931348623157e+308", 0x7fefffffffffffff},
        {"inf", 0x7ff0000000000000},
        {"-inf", 0xfff0000000000000},
        {"nan.7ff8000000000001", 0x7ff8000000000001},
        {"nan.fff4000000000000", 0xfff4000000000000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char again[60];
        double v = value_after(cases[i].text, again, sizeof again);
        assert_memory_equal(&v, &cases[i].bits, sizeof v);
        assert_string_equal(again, cases[i].text);
    }
}

static void test_types_are_inferred_by_hand(void **state)
{
    (void)state;
    Graph *g = read_text("# a comment\n\n"
                         "graph g micro_batch 2\r\n"
                         "layer l relu\n"
                         "x = input {shape=[2,3], dtype=\"f32\", role=\"sample\"} # behind\n"
                         "r = reshape x {shape=[-1,1]}\n"
                         "y = relu r of l\n");
    assert_non_null(g);
    Node *y = g->nodes.items[2];
    assert_int_equal(y->shape.rank, 2);
    assert_int_equal(y->shape.dim[0], 6);
    assert_int_equal(node_ints(y->inputs[0], A_SHAPE)[0], 6); // resolved and stored
    assert_string_equal(y->loc.file, "t.ir");                 // no place given: its own line
    assert_int_equal(y->loc.line, 7);
}

static void expect_errors(const char *text, const char *messages)
{
    assert_null(read_text(text));
    assert_string_equal(said, messages);
}

static void test_errors_have_carets(void **state)
{
    (void)state;
    expect_errors(
        "graph g micro_batch 2\n"
        "x = input {shape=[2,3], dtype=\"f32\", role=\"sample\"}\n"
        "y = rellu x\n"
        "z = relu yy\n"
        "u = relu z y\n"
        "v = relu x x\n"
        "w = relu x : f32[3,2]\n"
        "x = relu x\n",
        "t.ir:3:5: error: no op is called rellu\n"
        "    y = rellu x\n"
        "        ^\n"
        "t.ir:4:10: error: no node yy stands before this line\n"
        "    z = relu yy\n"
        "             ^\n"
        "t.ir:6:1: error: relu: takes 1 input, not 2\n"
        "    v = relu x x\n"
        "    ^\n"
        "t.ir:7:1: error: w: type f32[3,2] is given, but the inputs make it f32[2,3]\n"
        "    w = relu x : f32[3,2]\n"
        "    ^\n"
        "t.ir:8:1: error: there is a node x already\n"
        "    x = relu x\n"
        "    ^\n");
}

static void test_shape_errors_say_where_tensors_were_made(void **state)
{
    (void)state;
    expect_errors("graph g micro_batch 4\n"
                  "x = input {shape=[4,64,8,8], dtype=\"f32\", role=\"sample\"} @m.c:1:2\n"
                  "y = linear x x @m.c:3:4\n",
                  "t.ir:3:1: error: linear: the weight must have 2 dimensions, but it is "
                  "f32[4,64,8,8]\n"
                  "    y = linear x x @m.c:3:4\n"
                  "    ^\n"
                  "t.ir:2:1: note: this tensor was made here, f32[4,64,8,8]\n"
                  "    x = input {shape=[4,64,8,8], dtype=\"f32\", role=\"sample\"} @m.c:1:2\n"
                  "    ^\n");
}

static void test_wrong_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"", NULL},
        {"y", "t.ir:3:2: error: expected = (a node), or a line that begins with call"},
        {"y =", "t.ir:3:4: error: expected an op before the end of the line"},
        {"y = relu x {", "t.ir:3:13: error: expected an attribute before the end"},
        {"y = relu x {shap=1}", "t.ir:3:13: error: no attribute is called shap"},
        {"y = relu x {shape=[1,2,3,4,5,6,7]}", "t.ir:3:32: error: more than 6 dimensions"},
        {"y = relu x {groups=1}", "t.ir:3:1: error: relu: it has no attribute groups"},
        {"y = scale x", "t.ir:3:1: error: scale: attribute value is missing"},
        {"y = scale x {value=1x}", "t.ir:3:20: error: '1x' is no number"},
        {"y = scale x {value=nan.0000000000000000}", "is no number"},
        {"y = scale x {value=1, value=2}", "t.ir:3:23: error: value is given twice"},
        {"y = concat x {axis=99999999999999999999}", "error: 99999999999999999999 is not betw"},
        {"y = dropout x {rate=2, stream=1}", "dropout: rate = 2 is not between 0 and 1"},
        {"y = relu x : f33[2]", "t.ir:3:14: error: no element type is called f33"},
        {"y = relu x of m", "t.ir:3:15: error: no layer m stands before this line"},
        {"y = relu x group -1", "t.ir:3:18: error: -1 is not between 0 and 2147483647"},
        {"y = relu x backward from z", "t.ir:3:26: error: no node is called z"},
        {"y = relu x : f32[2,3] extra", "t.ir:3:23: error: expected the end of the line"},
        {"y = relu x @m.c:1", "t.ir:3:12: error: a place is written @FILE:LINE:COLUMN"},
        {"y = relu x @m.c:1:99999999999", "t.ir:3:12: error: a place is written"},
        {"y = relu \"x", "t.ir:3:10: error: the string does not end on this line"},
        {"y = relu \"\\n\"", "t.ir:3:10: error: the string has an escape other than"},
        {"y = relu x; ", "t.ir:3:11: error: unexpected character ';'"},
        {"of = relu x", "t.ir:3:1: error: of cannot be the name of a node"},
        {"loss y", "t.ir:3:6: error: no node is called y"},
        {"loss x", "x: the loss must be a scalar forward node"},
        {"call 1 f", "t.ir:3:1: error: calls are numbered in order: this one is 0"},
        {"layer l relu in 0", "t.ir:3:17: error: no call 0 stands before this line"},
        {"layer \"a b\" relu",
         "t.ir:3:7: error: names and kinds of layers must be identifiers"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[400];
        snprintf(text, sizeof text,
                 "graph g micro_batch 2\n"
                 "x = input {shape=[2,3], dtype=\"f32\", role=\"sample\"}\n%s\n",
                 cases[i].line);
        Graph *g = read_text(text);
        if (!cases[i].message) {
            assert_non_null(g);
            continue;
        }
        assert_null(g);
        if (!strstr(said, cases[i].message) || diag_errors() != 1)
            fail_msg("%s\ngave\n%s", cases[i].line, said);
    }
}

static void test_wrong_first_lines(void **state)
{
    (void)state;
    expect_errors("", "t.ir: error: there is no graph in it\n");
    expect_errors("# only this", "t.ir: error: there is no graph in it\n");
    expect_errors("x = relu y\n", "t.ir:1:1: error: expected 'graph'\n    x = relu y\n    ^\n");
    expect_errors("graph g micro_batch 0\n",
                  "t.ir:1:21: error: 0 is not between 1 and 1099511627776\n"
                  "    graph g micro_batch 0\n                        ^\n");
}

static void test_reading_stops_after_many_errors(void **state)
{
    (void)state;
    Text t = {0};
    text_puts(&t, "graph g micro_batch 2\n");
    for (int i = 0; i < 100; i++)
        text_printf(&t, "n%d = nothing\n", i);
    assert_null(read_text(t.data));
    assert_int_equal(diag_errors(), 20);
    text_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_a_hash_is_of_what_is_computed),
        cmocka_unit_test(test_reals_keep_their_bits),
        cmocka_unit_test(test_types_are_inferred_by_hand),
        cmocka_unit_test(test_errors_have_carets),
        cmocka_unit_test(test_shape_errors_say_where_tensors_were_made),
        cmocka_unit_test(test_wrong_lines),
        cmocka_unit_test(test_wrong_first_lines),
        cmocka_unit_test(test_reading_stops_after_many_errors),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    diag_reset();
    free(said);
    arena_release(&arena);
    return failed;
}
