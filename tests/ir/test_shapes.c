// Shape rules: what fits, what does not and what is said about it. Sizes of windows are
// PyTorch's.
#include "ir/shapes.h"

#include "ir/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static Arena arena;
static char *said;
static size_t said_size;

static FILE *listen(void)
{
    free(said);
    FILE *out = open_memstream(&said, &said_size);
    diag_reset();
    diag_output(out, false);
    return out;
}

static void stop_listening(FILE *out)
{
    fclose(out);
    diag_output(stderr, false);
}

typedef struct WindowCase {
    Op op;
    int64_t in[2], kernel[2], stride[2], padding[2], dilation[2];
    int ceil;
    int64_t out[2];
} WindowCase;

static const WindowCase window_cases[] = {
#include "tests/ir/window_sizes.inc"
};

static Node *leaf(Graph *g, Op op, Shape shape, const char *dtype)
{
    Attr attrs[] = {attr_shape(shape), attr_string(A_DTYPE, dtype),
                    op == OP_INPUT ? attr_string(A_ROLE, "sample")
                                   : attr_string(A_INIT, "normal")};
    return graph_add(g, op, NULL, NO_LOC, NULL, (NodeArgs){.attrs = attrs, .n_attrs = 3});
}

static Node *window_node(Graph *g, const WindowCase *c)
{
    Node *inputs[2] = {leaf(g, OP_INPUT, (Shape){4, {2, 3, c->in[0], c->in[1]}}, "f32")};
    Attr attrs[5] = {
        attr_ints(A_STRIDE, 2, c->stride),
        attr_ints(A_PADDING, 4,
                  (int64_t[]){c->padding[0], c->padding[1], c->padding[0], c->padding[1]})};
    int n = 2;
    if (c->op != OP_AVG_POOL2D)
        attrs[n++] = attr_ints(A_DILATION, 2, c->dilation);
    if (c->op == OP_CONV2D) {
        inputs[1] = leaf(g, OP_PARAM, (Shape){4, {4, 3, c->kernel[0], c->kernel[1]}}, "f32");
    } else {
        attrs[n++] = attr_ints(A_KERNEL, 2, c->kernel);
        attrs[n++] = attr_int(A_CEIL_MODE, c->ceil);
    }
    return graph_add(g, c->op, NULL, NO_LOC, NULL,
                     (NodeArgs){inputs, c->op == OP_CONV2D ? 2 : 1, attrs, n});
}

static void test_windows_are_pytorchs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof window_cases / sizeof *window_cases; i++) {
        const WindowCase *c = &window_cases[i];
        FILE *out = listen();
        Node *y = window_node(graph_new(&arena, "g", 2), c);
        stop_listening(out);
        if (!c->out[0]) {
            assert_int_equal(y->dtype, DTYPE_ERROR);
            assert_int_equal(diag_errors(), 1);
            continue;
        }
        if (y->dtype != F32 || y->shape.dim[2] != c->out[0] || y->shape.dim[3] != c->out[1])
            fail_msg("case %d: %s, said %s", (int)i, shape_text(&arena, y->shape), said);
        assert_int_equal(y->shape.dim[1], c->op == OP_CONV2D ? 4 : 3);
    }
}

// The tensors that the cases below may use.
static const char tensors[] =
    "graph g micro_batch 2\n"
    "img = input {shape=[2,6,8,8], dtype=\"f32\", role=\"sample\"}\n"
    "img64 = input {shape=[2,6,8,8], dtype=\"f64\", role=\"sample\"}\n"
    "k = param {shape=[4,6,3,3], dtype=\"f32\", init=\"normal\"}\n"
    "k2 = param {shape=[4,3,3,3], dtype=\"f32\", init=\"normal\"}\n"
    "k5 = param {shape=[5,3,3,3], dtype=\"f32\", init=\"normal\"}\n"
    "v4 = param {shape=[4], dtype=\"f32\", init=\"normal\"}\n"
    "v6 = param {shape=[6], dtype=\"f32\", init=\"normal\"}\n"
    "v8 = param {shape=[8], dtype=\"f32\", init=\"normal\"}\n"
    "w = param {shape=[5,8], dtype=\"f32\", init=\"normal\"}\n"
    "v5 = param {shape=[5], dtype=\"f32\", init=\"normal\"}\n"
    "seq = input {shape=[2,3,8], dtype=\"f32\", role=\"sample\"}\n"
    "seq5 = input {shape=[2,3,5], dtype=\"f32\", role=\"sample\"}\n"
    "row = input {shape=[2,3], dtype=\"f32\", role=\"sample\"}\n"
    "ids = input {shape=[2,3], dtype=\"i32\", role=\"target\"}\n"
    "one = constant {shape=[], dtype=\"f32\", value=1}\n"
    "gap = input {shape=[2,6,1,1], dtype=\"f32\", role=\"sample\"}\n"
    "img4 = input {shape=[2,4,6,6], dtype=\"f32\", role=\"sample\"}\n"
    "len = input {shape=[2], dtype=\"i32\", role=\"sample\"}\n"
    "u = param {shape=[8,2], dtype=\"f32\", init=\"normal\"}\n"
    "half = input {shape=[2,6,4,4], dtype=\"f32\", role=\"sample\"}\n"
    "arg = input {shape=[2,6,4,4], dtype=\"i32\", role=\"target\"}\n";

#define CONV "stride=[1,1], padding=[0,0,0,0], dilation=[1,1]"
#define POOL "kernel=[2,2], stride=[2,2], padding=[0,0,0,0]"

// `expect`: the type of the last node, or, beginning with '!', part of the message.
#define HEADS(heads, rate) "{heads=" #heads ", value=0.5, rate=" #rate ", stream=1}"

static const struct {
    const char *lines, *expect;
} cases[] = {
    {"y = conv2d img k {" CONV "}", "f32[2,4,6,6]"},
    {"y = conv2d img k v4 {" CONV "}", "f32[2,4,6,6]"},
    {"y = conv2d img k v6 {" CONV "}", "!conv2d: the bias is f32[6], but f32[4] would fit"},
    {"y = conv2d img k2 {" CONV ", groups=2}", "f32[2,4,6,6]"},
    {"y = conv2d img k {" CONV ", groups=4}",
     "!4 groups do not divide 6 input and 4 output channels"},
    {"y = conv2d img k5 {" CONV ", groups=2}",
     "!2 groups do not divide 6 input and 5 output channels"},
    {"y = conv2d img k2 {" CONV "}",
     "!conv2d: the input has 6 channels, but the weight takes 3 in 1 group"},
    {"y = conv2d seq k {" CONV "}", "!the input must have 4 dimensions, but it is f32[2,3,8]"},
    {"y = conv2d img64 k {" CONV "}",
     "!inputs differ in element type: f64[2,6,8,8] and f32[4,6,3,3]"},
    {"y = conv2d img k {stride=[0,1], padding=[0,0,0,0], dilation=[1,1]}",
     "!stride = 0 is not between 1 and"},
    {"y = conv2d img k {stride=[1], padding=[0,0,0,0], dilation=[1,1]}",
     "!stride must be 2 numbers, not 1"},
    {"y = conv2d img k {stride=[1,1], padding=[0,0,0,0], dilation=[4,4]}",
     "!a window of height 9 does not fit the image of height 8 with padding 0 and 0"},
    {"y = conv2d img {" CONV "}", "!conv2d: takes 2 to 3 inputs, not 1"},
    {"y = linear seq w", "f32[2,3,5]"},
    {"y = linear seq w v5", "f32[2,3,5]"},
    {"y = linear row w",
     "!the input is f32[2,3], but the weight f32[5,8] wants 8 features in its last dimension"},
    {"y = linear one w", "!the input is f32[]"},
    {"y = matmul seq seq {transpose_b=1}", "f32[2,3,3]"},
    {"y = matmul seq seq {transpose_a=1}", "f32[2,8,8]"},
    {"y = matmul seq seq", "!8 columns meet 3 rows"},
    {"y = matmul seq w", "!must have the same number of dimensions"},
    {"y = embedding ids w", "f32[2,3,8]"},
    {"y = embedding row w",
     "!input 1 must be i32 (indices, labels or lengths), but it is f32[2,3]"},
    {"b = batch_norm img v6 v6 {eps=1e-5}\ny = result b {index=2}", "f32[6]"},
    {"y = batch_norm img v6 v4 {eps=1e-5}", "!the beta is f32[4], but f32[6] would fit"},
    {"g1 = reshape gap {shape=[1,12,1,1]}\nv = concat v6 v6 {axis=0}\n"
     "y = batch_norm g1 v v {eps=1e-5}",
     "!more than one value a channel is needed"},
    {"y = batch_norm_infer img v6 v6 v6 v6 {eps=1e-5}", "f32[2,6,8,8]"},
    {"y = batch_norm_infer img v6 v6 v6 v4 {eps=1e-5}", "!the variance is f32[4]"},
    {"b = batch_norm img v6 v6 {eps=1e-5}\ny = result b {index=3}",
     "!index = 3 is not between"},
    {"r = relu img\ny = result r {index=1}", "!relu has no output 1"},
    {"l = layer_norm seq v8 v8 {eps=1e-5}\ny = result l {index=1}", "f32[2,3]"},
    {"y = layer_norm seq v6 v6 {eps=1e-5}", "!the gamma is f32[6], but f32[8] would fit"},
    {"p = max_pool2d img {" POOL ", dilation=[1,1]}\ny = result p {index=1}", "i32[2,6,4,4]"},
    {"y = avg_pool2d img {kernel=[2,2], stride=[2,2], padding=[0,2,0,0]}",
     "!padding [0,2,0,0] is more than half the window of 2"},
    {"y = avg_pool2d img {kernel=[2,2], stride=[2,2], padding=[0,0,0,2]}",
     "!padding [0,0,0,2] is more than half the window of 2"},
    {"y = avg_pool2d img {kernel=[3,3], stride=[2,2], padding=[1,1,0,0]}", "f32[2,6,4,4]"},
    {"y = global_avg_pool img", "f32[2,6,1,1]"},
    {"y = add img gap", "f32[2,6,8,8]"},
    {"y = add img v8", "f32[2,6,8,8]"},
    {"y = add v8 img", "!f32[2,6,8,8] does not broadcast to f32[8]"},
    {"y = mul img one", "f32[2,6,8,8]"},
    {"y = add img v6", "!f32[6] does not broadcast to f32[2,6,8,8]"},
    {"y = relu ids", "!input 1 must be floating-point, but it is i32[2,3]"},
    {"y = softmax one", "!softmax: the input has too few dimensions"},
    {"y = softmax v6 {causal=1}", "!softmax: the input has too few dimensions"},
    {"y = softmax seq len", "f32[2,3,8]"},
    {"y = softmax seq ids", "!the tensor of lengths is i32[2,3], but i32[2] would fit"},
    {"y = softmax v6 len", "!softmax: samples of f32[6] have no lengths along axis 0"},
    {"y = softmax seq seq", "!input 2 must be i32 (indices, labels or lengths)"},
    {"s = constant {shape=[], dtype=\"f32\", value=0}\ny = lstm seq u s", "f32[2,3,4]"},
    {"s = constant {shape=[], dtype=\"f32\", value=0}\nl = lstm seq u s len {reverse=1}\n"
     "y = result l {index=1}",
     "f32[2,3,8]"},
    {"y = lstm seq u one", "!lstm: the first state is one number, and none but the constant 0"},
    {"y = lstm seq u row", "!the first state is f32[2,3], but f32[2,4] would fit"},
    {"y = lstm seq w one", "!the weight is f32[5,8], but f32[8,2] would fit"},
    {"y = lstm seq5 u one", "!f32[2,3,5] are no four gates: 5 is no multiple of 4"},
    {"y = lstm row u one", "!the tensor of gates must have 3 dimensions, but it is f32[2,3]"},
    {"s = constant {shape=[], dtype=\"f32\", value=0}\ny = lstm seq u s ids",
     "!the tensor of lengths is i32[2,3], but i32[2] would fit"},
    {"s = constant {shape=[], dtype=\"f32\", value=0}\nl = lstm seq u s\n"
     "g = result l {index=1}\nd = lstm_grad l g l u s\ny = result d {index=2}",
     "f32[2,3,2]"},
    {"s = constant {shape=[], dtype=\"f32\", value=0}\nl = lstm seq u s\n"
     "y = lstm_grad seq seq l u s",
     "!the gradient is f32[2,3,8], but f32[2,3,4] would fit"},
    {"y = additive_score seq seq v8", "f32[2,3,3]"},
    {"y = additive_score seq seq5 v8", "!the key is f32[2,3,5], but f32[2,3,8] would fit"},
    {"y = additive_score seq seq v6", "!the weight is f32[6], but f32[8] would fit"},
    {"y = additive_score row seq v8", "!the query must have 3 dimensions, but it is f32[2,3]"},
    {"a = additive_score seq seq v8\nd = additive_score_grad a seq seq v8\n"
     "y = result d {index=2}",
     "f32[8]"},
    {"y = additive_score_grad seq seq seq v8",
     "!the gradient is f32[2,3,8], but f32[2,3,3] would fit"},
    {"y = attention seq seq seq " HEADS(2, 0), "f32[2,3,8]"},
    {"a = attention seq seq seq " HEADS(2, 0) "\ny = result a {index=1}", "f32[2,2,3]"},
    {"y = attention row row row " HEADS(2, 0),
     "!the query must have 3 dimensions, but it is f32[2,3]"},
    {"y = attention seq seq5 seq " HEADS(2, 0),
     "!the key is f32[2,3,5], but f32[2,3,8] would fit"},
    {"y = attention seq seq seq5 " HEADS(2, 0),
     "!the value is f32[2,3,5], but f32[2,3,8] would fit"},
    {"y = attention seq seq seq " HEADS(3, 0),
     "!8 features are not shared out evenly to 3 heads"},
    {"y = attention seq seq seq " HEADS(0, 0), "!heads = 0 is not between 1 and 1.04858e+06"},
    {"y = attention seq seq seq " HEADS(2, 1), "!a rate of 1 drops everything"},
    {"a = attention seq seq seq " HEADS(2, 0) "\nl = result a {index=1}\n"
                                              "d = attention_grad seq seq seq seq a l " HEADS(
                                                  2, 0) "\ny = result d {index=2}",
     "f32[2,3,8]"},
    {"y = attention_grad seq5 seq seq seq seq seq " HEADS(2, 0),
     "!the gradient is f32[2,3,5], but f32[2,3,8] would fit"},
    {"y = attention_grad seq seq seq seq seq5 seq " HEADS(2, 0),
     "!the result is f32[2,3,5], but f32[2,3,8] would fit"},
    {"y = attention_grad seq seq seq seq seq seq " HEADS(2, 0),
     "!the lse is f32[2,3,8], but f32[2,2,3] would fit"},
    {"y = l2_normalize seq {eps=1e-12}", "f32[2,3,8]"},
    {"y = l2_normalize one {eps=1e-12}", "!the input must be [...,C], but it is f32[]"},
    {"y = l2_normalize_grad seq seq row {eps=1e-12}", "f32[2,3,8]"},
    {"y = l2_normalize_grad seq seq v6 {eps=1e-12}",
     "!the factor is f32[6], but f32[2,3] would fit"},
    {"y = mask seq len {axis=1}", "f32[2,3,8]"},
    {"y = mask seq len {axis=0}", "!mask: samples of f32[2,3,8] have no lengths along axis 0"},
    {"y = mask seq len {axis=3}", "!mask: samples of f32[2,3,8] have no lengths along axis 3"},
    {"y = dropout seq {rate=1, stream=0}", "!a rate of 1 drops everything"},
    {"y = concat seq seq5 {axis=2}", "f32[2,3,13]"},
    {"y = concat seq seq5 {axis=1}", "!f32[2,3,5] does not join f32[2,3,8] along axis 1"},
    {"y = concat seq {axis=3}", "!axis 3 is not a dimension of f32[2,3,8]"},
    {"y = concat ids ids {axis=0}", "i32[4,3]"},
    {"y = slice seq {axis=2, begin=6, length=2}", "f32[2,3,2]"},
    {"y = slice seq {axis=2, begin=6, length=3}",
     "!3 elements from 6 on reach beyond axis 2 of f32[2,3,8]"},
    {"y = slice seq {axis=2, begin=4611686018427387904, length=4611686018427387904}",
     "!reach beyond axis 2"},
    {"y = pad row {axis=1, begin=2, length=8}", "f32[2,8]"},
    {"y = pad row {axis=1, begin=6, length=8}", "!f32[2,3] does not fit into 8 elements"},
    {"y = reshape seq {shape=[6,-1]}", "f32[6,8]"},
    {"y = reshape seq {shape=[5,-1]}",
     "!f32[2,3,8] has 48 elements, which do not make f32[5,-1]"},
    {"y = reshape seq {shape=[-1,-1]}", "!dimension 1 is -1: one may be -1"},
    {"y = reshape seq {shape=[48,0]}", "!dimension 1 is 0"},
    {"y = reshape seq {shape=[4294967296,4294967296,-1]}", "!which do not make"},
    {"y = transpose seq {perm=[2,0,1]}", "f32[8,2,3]"},
    {"y = transpose seq {perm=[2,0,0]}", "!perm is not a permutation"},
    {"y = transpose seq {perm=[1,0]}", "!perm is not a permutation"},
    {"y = cross_entropy seq ids", "f32[]"},
    {"c = cross_entropy seq ids\ny = result c {index=1}", "f32[2,3]"},
    {"y = cross_entropy row ids", "!the tensor of labels is i32[2,3], but i32[2] would fit"},
    {"y = mse row row", "f32[]"},
    {"y = mse row seq", "!the target is f32[2,3,8], but f32[2,3] would fit"},
    {"y = conv2d_grad_input img4 k {shape=[2,6,8,8], " CONV "}", "f32[2,6,8,8]"},
    {"y = conv2d_grad_input img4 k {shape=[2,6,9,8], " CONV "}",
     "!the gradient is f32[2,4,6,6], but f32[2,4,7,6] would fit"},
    {"y = conv2d_grad_weight img img4 {shape=[4,6,3,3], " CONV "}", "f32[4,6,3,3]"},
    {"y = conv2d_grad_weight img img4 {shape=[4,6,3], " CONV "}",
     "!shape must have 4 dimensions, not 3"},
    {"y = linear_grad_input seq5 w", "f32[2,3,8]"},
    {"y = linear_grad_input seq w",
     "!the gradient is f32[2,3,8], but the weight f32[5,8] gives"},
    {"y = linear_grad_weight seq seq5", "f32[5,8]"},
    {"y = linear_grad_weight seq row", "!must have as many dimensions"},
    {"y = bias_grad img {axis=1}", "f32[6]"},
    {"y = sum_to img {shape=[6,1,1]}", "f32[6,1,1]"},
    {"y = sum_to img {shape=[6,2,1]}", "!f32[2,6,8,8] cannot be summed to f32[6,2,1]"},
    {"y = embedding_grad ids seq {shape=[100,8]}", "f32[100,8]"},
    {"y = embedding_grad ids seq {shape=[100,9]}",
     "!the gradient is f32[2,3,8], but f32[2,3,9] would fit"},
    {"g = batch_norm_grad img img v6 v6 v6 {eps=1e-5}\ny = result g {index=1}", "f32[6]"},
    {"y = layer_norm_grad seq seq v8 row row {eps=1e-5}", "f32[2,3,8]"},
    {"y = layer_norm_grad seq seq v8 row v8 {eps=1e-5}", "!the rstd is f32[8]"},
    {"y = max_pool2d_grad half arg {shape=[2,6,8,8], " POOL ", dilation=[1,1]}",
     "f32[2,6,8,8]"},
    {"y = avg_pool2d_grad half {shape=[2,6,8,8], " POOL "}", "f32[2,6,8,8]"},
    {"y = avg_pool2d_grad half {shape=[2,6,8,-8], " POOL "}", "!shape f32[2,6,8,-8] is not"},
    {"y = global_avg_pool_grad gap {shape=[2,6,8,8]}", "f32[2,6,8,8]"},
    {"y = relu_grad img half", "!inputs differ in shape: f32[2,6,8,8] and f32[2,6,4,4]"},
    {"c = cross_entropy seq ids\nl = result c {index=1}\n"
     "y = cross_entropy_grad seq ids l one",
     "f32[2,3,8]"},
    {"y = sgd w w w", "f32[5,8]"},
    {"y = sgd w seq", "!inputs differ in shape"},
    {"y = input {shape=[2,0], dtype=\"f32\", role=\"sample\"}",
     "!the result f32[2,0] has a dimension of 0"},
    {"y = input {shape=[2], dtype=\"f32\", role=\"samples\"}",
     "!role = \"samples\" is none of: sample target"},
    {"y = param {shape=[2147483648,2147483648], dtype=\"f32\", init=\"normal\"}",
     "!the result f32[2147483648,2147483648] has more bytes than can be counted"},
    {"y = param {shape=[1073741824,1073741824], dtype=\"f32\", init=\"normal\"}",
     "f32[1073741824,1073741824]"},
};

static void test_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *expect = cases[i].expect, *lines = cases[i].lines;
        char *text = arena_printf(&arena, "%s%s\n", tensors, lines);
        FILE *out = listen();
        Graph *g = ir_read(&arena, "t.ir", text);
        stop_listening(out);
        if (*expect == '!') {
            if (g || !strstr(said, expect + 1) || diag_errors() != 1)
                fail_msg("%s\nexpected %s\ngot %s", lines, expect, g ? "a graph" : said);
            continue;
        }
        if (!g)
            fail_msg("%s\n%s", lines, said);
        const Node *y = g->nodes.items[g->nodes.n - 1];
        char *type =
            arena_printf(&arena, "%s%s", dtype_name(y->dtype), shape_text(&arena, y->shape));
        if (strcmp(type, expect))
            fail_msg("%s\nexpected %s, got %s", lines, expect, type);
    }
}

static void test_errors_are_in_the_users_terms(void **state)
{
    (void)state;
    diag_reset();
    diag_source("m.c", "Tensor x = input(\"x\", F32, 3);\ny = flatten(x);\n");
    Graph *g = graph_new(&arena, "g", 4);
    FILE *out = listen();
    diag_source("m.c", "Tensor x = input(\"x\", F32, 3);\ny = flatten(x);\n");
    Node *x = leaf(g, OP_INPUT, (Shape){2, {4, 3}}, "f32");
    x->loc = (Loc){"m.c", 1, 12};
    Layer *l = graph_layer(g, NULL, "flatten", (Loc){"m.c", 2, 5}, NULL);
    Attr shape = attr_ints(A_SHAPE, 2, (int64_t[]){4, 4});
    Node *y = graph_add(g, OP_RESHAPE, l, l->loc, NULL, (NodeArgs){&x, 1, &shape, 1});
    graph_add(g, OP_RELU, l, l->loc, NULL,
              (NodeArgs){.inputs = &y, .n_inputs = 1}); // silent: its input is wrong already
    stop_listening(out);
    assert_string_equal(
        said, "m.c:2:5: error: flatten: f32[4,3] has 12 elements, which do not make f32[4,4]\n"
              "    y = flatten(x);\n"
              "        ^\n"
              "m.c:1:12: note: this tensor was made here, f32[4,3]\n"
              "    Tensor x = input(\"x\", F32, 3);\n"
              "               ^\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows_are_pytorchs),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_errors_are_in_the_users_terms),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    diag_reset();
    free(said);
    arena_release(&arena);
    return failed;
}
