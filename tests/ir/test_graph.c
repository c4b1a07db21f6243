// Building graphs: names, layers, results, and the picture of a model.
#include "ir/graph.h"

#include "ir/dot.h"
#include "ir/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static Arena arena;

static void test_names_are_unique_identifiers(void **state)
{
    (void)state;
    Graph *g = graph_new(&arena, "res-net 50", 4);
    assert_string_equal(g->name, "res_net_50");
    assert_string_equal(graph_unique(g, "x"), "x");
    assert_string_equal(graph_unique(g, "x"), "x_2");
    assert_string_equal(graph_unique(g, "x_3"), "x_3");
    assert_string_equal(graph_unique(g, "x"), "x_4");
    assert_string_equal(graph_unique(g, "3d"), "_3d");
    assert_string_equal(graph_unique(g, ""), "_");
    assert_string_equal(graph_unique(g, "of"), "of_2"); // a word of the text form
    for (int i = 0; i < 5000; i++)
        graph_unique(g, "many");
    assert_string_equal(graph_unique(g, "many"), "many_5001");
    assert_string_equal(graph_unique(g, "x_2"), "x_2_2"); // still known after growing
}

static void test_layers(void **state)
{
    (void)state;
    Graph *g = graph_new(&arena, "g", 4);
    assert_string_equal(graph_layer(g, NULL, "relu", NO_LOC, NULL)->name, "relu1");
    assert_string_equal(graph_layer(g, "relu2", "relu", NO_LOC, NULL)->name, "relu2");
    assert_string_equal(graph_layer(g, NULL, "relu", NO_LOC, NULL)->name, "relu3");
    assert_string_equal(graph_layer(g, NULL, "tanh", NO_LOC, NULL)->name, "tanh1");
    assert_string_equal(graph_layer(g, "relu1", "tanh", NO_LOC, NULL)->name, "relu1_2");
    assert_int_equal(g->layers.items[4]->id, 4);
}

static Node *input(Graph *g, Layer *l, int64_t n)
{
    Attr attrs[] = {attr_ints(A_SHAPE, 2, (int64_t[]){g->micro_batch, n}),
                    attr_string(A_DTYPE, "f32"), attr_string(A_ROLE, "sample")};
    return graph_add(g, OP_INPUT, l, NO_LOC, NULL, (NodeArgs){.attrs = attrs, .n_attrs = 3});
}

static Node *vector(Graph *g, Layer *l, const char *name, int64_t n)
{
    Attr attrs[] = {attr_ints(A_SHAPE, 1, &n), attr_string(A_DTYPE, "f32"),
                    attr_string(A_INIT, "constant")};
    return graph_add(g, OP_PARAM, l, l->loc, name, (NodeArgs){.attrs = attrs, .n_attrs = 3});
}

static void test_nodes(void **state)
{
    (void)state;
    Graph *g = graph_new(&arena, "g", 4);
    Loc loc = {"m.c", 3, 7};
    Layer *l = graph_layer(g, "norm", "layer_norm", loc, NULL);
    Node *x = input(g, NULL, 8);
    assert_string_equal(x->name, "input");
    Node *in[] = {x, vector(g, l, "norm.gamma", 8), vector(g, l, "norm.beta", 8)};
    Attr eps = attr_real(A_EPS, 1e-5);
    Node *y = graph_add(g, OP_LAYER_NORM, l, loc, NULL, (NodeArgs){in, 3, &eps, 1});
    assert_string_equal(y->name, "norm"); // the op is the layer's own
    assert_int_equal(y->phase, PHASE_FORWARD);
    Node *mean = graph_result(g, y, 1);
    assert_string_equal(mean->name, "norm.1");
    assert_int_equal(mean->shape.rank, 1);
    Node *z = graph_add(g, OP_RELU, l, loc, NULL, (NodeArgs){.inputs = &y, .n_inputs = 1});
    assert_string_equal(z->name, "norm.relu");
    int before = g->nodes.n;
    assert_ptr_equal(graph_result(g, y, 1), mean); // found again
    assert_ptr_equal(graph_result(g, y, 0), y);
    assert_int_equal(g->nodes.n, before);

    Node *d = graph_derive(g, OP_RELU_GRAD, PHASE_BACKWARD, z, NULL,
                           (NodeArgs){.inputs = (Node *[]){z, z}, .n_inputs = 2});
    assert_string_equal(d->name, "norm.relu_grad");
    assert_ptr_equal(d->layer, l);
    assert_ptr_equal(d->forward, z);
    assert_int_equal(d->loc.line, 3);
    assert_int_equal(d->phase, PHASE_BACKWARD);
    assert_int_equal(node_logical_bytes(d), 4 * 8 * 4);
    g->nodes.items[0] = g->nodes.items[--g->nodes.n];
    graph_renumber(g);
    assert_int_equal(d->id, 0);
    assert_int_equal(g->next_id, g->nodes.n);
}

static void test_attributes_fall_back(void **state)
{
    (void)state;
    Node n = {.op = OP_CONV2D};
    assert_int_equal(node_int(&n, A_GROUPS), 1);
    assert_true(node_real(&n, A_BETA2) == 0.999);
    assert_null(node_ints(&n, A_STRIDE));
    assert_true(attr_info[A_STRIDE].required && !attr_info[A_GROUPS].required);
    assert_true(op_info[OP_CONV2D].attrs ==
                (UINT64_C(1) << A_STRIDE | UINT64_C(1) << A_PADDING |
                 UINT64_C(1) << A_DILATION | UINT64_C(1) << A_GROUPS | UINT64_C(1) << A_FAST));
    assert_int_equal(op_info[OP_CONCAT].max_inputs, -1);
    assert_int_equal(op_find("layer_norm"), OP_LAYER_NORM);
    assert_int_equal(op_find("nothing"), N_OPS);
    Node view = {.op = OP_RESHAPE};
    assert_true(node_is(&view, 'V') && !node_is(&view, 'E'));
    assert_int_equal(shape_count((Shape){3, {2, 3, 4}}), 24);
    assert_int_equal(shape_count((Shape){0}), 1);
    assert_int_equal(shape_count((Shape){2, {INT64_C(1) << 40, 1 << 23}}), -1);
    assert_int_equal(shape_count((Shape){2, {INT64_C(1) << 40, 5 << 20}}), -1);
}

static const char model[] =
    "graph net micro_batch 4\n"
    "layer x input @net.c:5:9\n"
    "layer fc1 linear @net.c:6:9\n"
    "layer flat flatten @net.c:7:9\n"
    "layer same add @net.c:8:9\n"
    "layer ce cross_entropy @net.c:9:9\n"
    "x = input {shape=[4,64], dtype=\"f32\", role=\"sample\"} of x unit 0 @net.c:5:16\n"
    "w = param {shape=[64,64], dtype=\"f32\", init=\"normal\"} of fc1 unit 0 @net.c:6:9\n"
    "fc1 = linear x w of fc1 unit 0 @net.c:6:9\n"
    "flat = reshape fc1 {shape=[4,8,8]} of flat @net.c:7:9\n"
    "same = add flat flat of same unit 1 @net.c:8:9\n"
    "y = input {shape=[4,8], dtype=\"i32\", role=\"target\"} unit 0 @?\n"
    "ce = cross_entropy same y of ce unit 2 @net.c:9:9\n"
    "ce.1 = result ce {index=1} of ce @net.c:9:9\n"
    "g = constant {shape=[], dtype=\"f32\", value=1} backward @?\n"
    "d = cross_entropy_grad same y ce.1 g backward of ce from ce @net.c:9:9\n"
    "loss ce\n";

static void test_picture(void **state)
{
    (void)state;
    Graph *g = ir_read(&arena, "net.ir", model);
    assert_non_null(g);
    static const int stages[] = {0, 1, 1};
    static const double seconds[] = {-1, 0.0015, 0, -1, 2};
    Text t = {0};
    dot_print(&t, g,
              &(DotOptions){
                  .stage_of_unit = stages, .n_units = 3, .slowest = -1, .layer_s = seconds});
    const char *boxes = strstr(t.data, "    subgraph");
    assert_non_null(boxes);
    assert_string_equal(
        boxes,
        "    subgraph cluster_stage0 {\n"
        "        label=\"stage 0\"; style=\"rounded,filled\"; color=\"#cfe2f3\";\n"
        "        n0 [label=\"x\\ninput  f32[4,64]\", shape=ellipse, tooltip=\"net.c:5\"];\n"
        "        n1 [label=\"fc1\\nlinear  f32[4,64]\\n1.5 ms\", tooltip=\"net.c:6\"];\n"
        "        n2 [label=\"flat\\nflatten  f32[4,8,8]\\n0 ms\", tooltip=\"net.c:7\"];\n"
        "        n4 [label=\"y\\ninput  i32[4,8]\", shape=ellipse];\n"
        "    }\n"
        "    subgraph cluster_stage1 {\n"
        "        label=\"stage 1\"; style=\"rounded,filled\"; color=\"#fce5cd\";\n"
        "        n3 [label=\"same\\nadd  f32[4,8,8]\", tooltip=\"net.c:8\"];\n"
        "        n5 [label=\"ce\\ncross_entropy  f32[]\\n2000 ms\", tooltip=\"net.c:9\"];\n"
        "    }\n"
        "    n0 -> n1;\n"
        "    n1 -> n2;\n"
        "    n2 -> n3 [label=\"1.0 KiB\", penwidth=2];\n"
        "    n3 -> n5;\n"
        "    n4 -> n5 [label=\"128 B\", penwidth=2];\n"
        "}\n");
    text_release(&t);
    dot_print(&t, g, NULL);
    assert_null(strstr(t.data, "subgraph"));
    assert_non_null(strstr(t.data, "    n2 -> n3;\n"));
    text_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_are_unique_identifiers),
        cmocka_unit_test(test_layers),
        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_attributes_fall_back),
        cmocka_unit_test(test_picture),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    diag_reset();
    arena_release(&arena);
    return failed;
}
