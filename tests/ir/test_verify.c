// Violations: a good graph, broken in one way at a time, as a pass might.
#include "ir/verify.h"

#include "ir/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static Arena arena;

static const char good[] =
    "graph g micro_batch 2\n"
    "layer fc linear\n"
    "layer act relu\n"
    "x = input {shape=[2,3], dtype=\"f32\", role=\"sample\"}\n"
    "w = param {shape=[4,3], dtype=\"f32\", init=\"normal\"} of fc\n"
    "fc = linear x w of fc group 0 unit 0\n"
    "act = relu fc of act group 0 unit 0\n"
    "t = input {shape=[2,4], dtype=\"f32\", role=\"target\"}\n"
    "m = mse act t unit 1\n"
    "xe = input {shape=[2,3], dtype=\"f32\", role=\"sample\"} eval from x\n"
    "fe = linear xe w eval from fc\n"
    "one = constant {shape=[], dtype=\"f32\", value=1} backward\n"
    "dm = mse_grad act t one backward from m unit 1\n"
    "da = relu_grad dm act backward from act group 1 unit 0\n"
    "dw = linear_grad_weight x da backward from fc unit 0\n"
    "acc = accumulator {shape=[4,3], dtype=\"f32\"} backward\n"
    "sum = accumulate acc dw backward unit 0\n"
    "u = sgd w acc update unit 0\n"
    "loss m\n"
    "output act\n";

static Graph *graph(void)
{
    Graph *g = ir_read(&arena, "good.ir", good);
    assert_non_null(g);
    return g;
}

static Node *find(const Graph *g, const char *name)
{
    for (int i = 0; i < g->nodes.n; i++)
        if (!strcmp(g->nodes.items[i]->name, name))
            return g->nodes.items[i];
    fail_msg("no node %s", name);
    return NULL;
}

// Moves a node to another position; ids stay.
static void move(Graph *g, const char *name, const char *before)
{
    Node *n = find(g, name), *mark = find(g, before);
    NodeList *l = &g->nodes;
    int from = 0;
    while (l->items[from] != n)
        from++;
    memmove(l->items + from, l->items + from + 1, sizeof *l->items * (size_t)(l->n - from - 1));
    int to = 0;
    while (l->items[to] != mark)
        to++;
    memmove(l->items + to + 1, l->items + to, sizeof *l->items * (size_t)(l->n - 1 - to));
    l->items[to] = n;
}

static void expect(const Graph *g, const char *why)
{
    Text text = {0};
    text_puts(&text, "");
    assert_int_equal(ir_verify(g, &text), !*why);
    assert_string_equal(text.data, why);
    text_release(&text);
}

static void test_good(void **state)
{
    (void)state;
    expect(graph(), "");
    Graph *g = graph();
    move(g, "w", "x"); // leaves may stand anywhere before their users
    move(g, "acc", "xe");
    expect(g, "");
}

static void test_order(void **state)
{
    (void)state;
    Graph *g = graph();
    move(g, "w", "act");
    expect(g, "fc: input w does not stand before it\n");
    g = graph();
    find(g, "fc")->inputs[0] = find(graph(), "x"); // of another graph
    expect(g, "fc: input x does not stand before it\n");
    g = graph();
    find(g, "w")->id = 0;
    expect(g, "w: its id 0 is not its own\n"
              "fc: input w does not stand before it\n"
              "fe: input w does not stand before it\n"
              "u: input w does not stand before it\n");
}

static void test_phases(void **state)
{
    (void)state;
    Graph *g = graph();
    find(g, "fe")->inputs[0] = find(g, "x"); // another data set's samples
    expect(g, "fe: a node of phase eval reads x of phase forward\n");
    g = graph();
    move(g, "u", "sum");
    expect(g, "sum: a backward node stands behind update nodes\n");
    g = graph();
    find(g, "dw")->phase = PHASE_UPDATE;
    expect(g, "dw: a node of phase update reads x of phase forward\n"
              "sum: a node of phase backward reads dw of phase update\n"
              "sum: a backward node stands behind update nodes\n");
}

static void test_types_and_tables(void **state)
{
    (void)state;
    Graph *g = graph();
    find(g, "act")->shape.dim[1] = 5;
    expect(g, "act: its type is f32[2,5], but relu gives f32[2,4]\n"
              "m: mse: the target is f32[2,4], but f32[2,5] would fit\n"
              "dm: mse_grad: the target is f32[2,4], but f32[2,5] would fit\n"
              "da: relu_grad: inputs differ in shape: f32[2,4] and f32[2,5]\n");
    g = graph();
    find(g, "fe")->n_inputs = 1;
    expect(g, "fe: linear: takes 2 to 3 inputs, not 1\n");
    g = graph();
    find(g, "one")->n_attrs = 2;
    expect(g, "one: constant: attribute value is missing\n");
    g = graph();
    find(g, "one")->attrs[1] = find(g, "one")->attrs[0];
    expect(g, "one: constant: shape is given twice\n");
    g = graph();
    find(g, "one")->dtype = DTYPE_ERROR;
    expect(g, "one: its type is error[], but constant gives f32[]\n"
              "dm: mse_grad: input 3 has no type\n");
    g = graph();
    g->micro_batch = 3;
    expect(g, "x: dimension 0 of an input must be the micro-batch\n"
              "t: dimension 0 of an input must be the micro-batch\n"
              "xe: dimension 0 of an input must be the micro-batch\n");
    g = graph();
    find(g, "sum")->inputs[0] = find(g, "dw");
    expect(g, "sum: it writes dw, which is no stored tensor\n");
}

static void test_names_and_links(void **state)
{
    (void)state;
    Graph *g = graph();
    find(g, "act")->name = "fc";
    expect(g, "two nodes are called fc\n");
    g = graph();
    find(g, "act")->name = "a-b";
    expect(g, "node name 'a-b' is no identifier\n");
    g = graph();
    g->layers.items[1]->name = "fc";
    expect(g, "two layers are called fc\n");
    g = graph();
    find(g, "act")->layer = graph()->layers.items[0];
    expect(g, "act: its layer is not the graph's\n");
    g = graph();
    find(g, "da")->forward = find(g, "dm");
    expect(g, "da: it derives from dm, which is no forward node before it\n");
    g = graph();
    find(g, "act")->forward = find(g, "fc");
    expect(g, "act: a forward node derives from fc\n");
    g = graph();
    g->loss = g->output;
    expect(g, "act: the loss must be a scalar forward node of the graph\n");
}

static void test_groups(void **state)
{
    (void)state;
    Graph *g = graph();
    move(g, "t", "act"); // a leaf between: nothing runs there
    expect(g, "");
    find(g, "m")->group = 0;
    expect(g, "");
    find(g, "act")->group = -1;
    expect(g, "m: group 0 is not contiguous\n");
    g = graph();
    find(g, "dw")->group = find(g, "da")->group;
    expect(g, "");
    find(g, "dw")->unit = 1;
    expect(g, "dw: backward group 1 mixes units\n");
    g = graph();
    find(g, "fe")->group = 0;
    expect(g, "fe: group 0 is not contiguous\nfe: group 0 mixes phases\n");
    g = graph();
    find(g, "fe")->group = 1 << 30;
    expect(g, "group 1073741824: more groups than nodes\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_phases),
        cmocka_unit_test(test_types_and_tables),
        cmocka_unit_test(test_names_and_links),
        cmocka_unit_test(test_groups),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    diag_reset();
    arena_release(&arena);
    return failed;
}
