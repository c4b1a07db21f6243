// Profiled graphs as models: what descriptions say, the order of nodes, sizes, stages, and the C text,
// which compiles to the same graph.
#include "tests/frontend/model.h"

#include "frontend/profile/import.h"
#include "ir/text.h"

#include <stdio.h>

// A node with these bytes of activations and parameters.
#define NODE(id, description, activations, parameters)                                         \
    id " -- " description " -- forward_compute_time=1.0, backward_compute_time=2.0, "          \
       "activation_size=" #activations ", parameter_size=" #parameters "\n"
#define EDGE(from, to) "\t" from " -- " to "\n"

#define STEM                                                                                   \
    NODE("node3", "ReLU(inplace)", 4096, 0)                                                    \
    NODE("node2", "Conv2d(3, 4, kernel_size=(3, 3), padding=(1, 1))", 4096, 448)               \
    NODE("node1", "Input", 3072, 0)

static const char *const ends =
    STEM NODE("node4", "AvgPool2d(kernel_size=8, stride=8, padding=0)", 64,
              0) NODE("node5", "View(-1)", 64, 0) NODE("node6", "Size(0)", 4, 0)
        NODE("node7", "Linear(in_features=4, out_features=5, bias=True)", 80, 100)
            NODE("node8", "View(256)", 4096, 0)
                NODE("node9", "Linear(in_features=256, out_features=5, bias=False)", 80, 5120)
                    EDGE("node1", "node2") EDGE("node2", "node3") EDGE("node3", "node4")
                        EDGE("node4", "node5") EDGE("node4", "node6") EDGE("node6", "node5")
                            EDGE("node5", "node7") EDGE("node2", "node8")
                                EDGE("node8", "node9");

static Script *import_with(const char *text, const ModelOptions *options)
{
    text_release(&model_messages);
    diag_reset();
    diag_capture(model_collect, NULL);
    ModelOptions o = *options;
    o.micro_batch = 2;
    o.real = F32;
    Script *s = profile_import(&model_arena, "g.txt", text, &o);
    diag_capture(NULL, NULL);
    return s;
}

static Script *import(const char *text)
{
    return import_with(text, &(ModelOptions){0});
}

static int place_of(const Script *s, const char *layer)
{
    for (int i = 0; i < s->graph->layers.n; i++)
        if (!strcmp(s->graph->layers.items[i]->name, layer))
            return i;
    fail_msg("there is no layer %s", layer);
    return -1;
}

static void descriptions_are_taken_apart(void **state)
{
    (void)state;
    Description d = description_of(
        &model_arena,
        "EmuBidirLSTM(  (bidir): LSTM(4, 4, bidirectional=True)  (x): LSTM(4, 4))");
    assert_string_equal(d.kind, "EmuBidirLSTM");
    assert_int_equal(d.fields.n, 1);
    d = description_of(&model_arena,
                       "Conv2d(3, 64, kernel_size=(3, 5), eps=1e-05, bias=False)");
    int64_t pair[2], whole;
    double real;
    bool flag;
    assert_int_equal(d.fields.n, 5);
    assert_true(field_int(description_field(&d, NULL, 1), &whole) && whole == 64);
    assert_true(field_pair(description_field(&d, "kernel_size", 0), pair));
    assert_true(pair[0] == 3 && pair[1] == 5);
    assert_true(field_real(description_field(&d, "eps", 0), &real) && real < 2e-5);
    assert_true(field_bool(description_field(&d, "bias", 0), &flag) && !flag);
    assert_null(description_field(&d, "groups", 0));
    assert_false(field_int("99999999999999999999", &whole));
    assert_false(field_pair("(3, 5, 7)", pair));
    assert_false(field_real("nan", &real));
}

static void nodes_run_in_the_order_of_their_numbers(void **state)
{
    (void)state;
    Script *s = import(ends);
    assert_non_null(s);
    static const char *const order[] = {"node1", "node2", "node3", "node4",
                                        "node5", "node7", "node8", "node9"};
    for (int i = 0; i < 8; i++)
        assert_int_equal(place_of(s, order[i]), i);
    assert_int_equal(s->batch, 4);
    assert_int_equal(s->input.dim[2], 8);
}

static void stages_stand_one_behind_the_other(void **state)
{
    (void)state;
    static const NodeStage stages[] = {{"node1", 0}, {"node2", 0}, {"node8", 0},
                                       {"node9", 1}, {"node3", 1}, {"node4", 1},
                                       {"node5", 2}, {"node6", 2}, {"node7", 2}};
    Script *s = import_with(ends, &(ModelOptions){.stages = stages, .n_stages = 9});
    assert_non_null(s);
    assert_int_equal(place_of(s, "node8"), 2);
    assert_int_equal(place_of(s, "node9"), 5);
    assert_int_equal(s->graph->layers.items[place_of(s, "node5")]->stage, 2);
    assert_int_equal(s->graph->layers.items[place_of(s, "label")]->stage, -1);
    assert_null(import_with(ends, &(ModelOptions){.stages = stages, .n_stages = 8}));
    assert_true(model_said("the plan is of another graph"));
}

static void two_ends_have_a_weighted_loss(void **state)
{
    (void)state;
    const Graph *g = import(ends)->graph;
    assert_string_equal(g->output->name, "node7"); // the longer way
    assert_int_equal(g->loss->op, OP_ADD);
    const Node *part = g->loss->inputs[1];
    assert_int_equal(part->op, OP_SCALE);
    assert_true(node_real(part, A_VALUE) == 0.4);
    assert_string_equal(part->inputs[0]->inputs[0]->name, "node9");
    assert_ptr_equal(part->inputs[0]->inputs[1], g->loss->inputs[0]->inputs[1]);
}

static void a_crop_keeps_or_loses_a_row(void **state)
{
    (void)state;
    static const char *const rest = NODE("node5", "View(100)", 1600, 0) EDGE("node1", "node2")
        EDGE("node2", "node3") EDGE("node3", "node4") EDGE("node4", "node5");
    static const char *const whole = NODE("node5", "View(256)", 4096, 0) EDGE("node1", "node2")
        EDGE("node2", "node3") EDGE("node3", "node4") EDGE("node4", "node5");
    const char *head = STEM NODE("node4", "__getitem__", 4096, 0);
    Script *s = import(arena_printf(&model_arena, "%s%s", head, whole));
    const Node *same = s ? model_node(s->graph, "node4") : NULL;
    assert_non_null(same);
    assert_int_equal(same->op, OP_PAD);
    assert_int_equal(same->shape.dim[3], 8);
    head = STEM NODE("node4", "__getitem__", 3136, 0);
    assert_null(
        import(arena_printf(&model_arena, "%s%s", head, rest))); // 4 * 7 * 7 are not 100
    assert_true(model_said("g.txt:5:1: error: reshape"));
    head = STEM NODE("node4", "__getitem__", 1600, 0);
    assert_null(import(arena_printf(&model_arena, "%s%s", head, rest)));
    assert_true(model_said("is neither that of `node3`, 4096, nor 3136 without"));
}

static void one_size_that_differs_is_the_wrong_one(void **state)
{
    (void)state;
    char *text = arena_strdup(&model_arena, ends), *at = strstr(text, "activation_size=4096");
    at[strlen("activation_size=")] = '8';
    assert_null(import(text));
    assert_true(
        model_said("g.txt:1:1: error: activation_size=8096 contradicts its shape: [4,8,8] "
                   "of each of 4 samples are 4096 bytes"));
    assert_int_equal(diag_errors(), 1);
}

// The text form without places and files.
static const char *shape_of_graph(const Graph *g)
{
    Text all = {0}, out = {0};
    ir_print(&all, g);
    for (char *line = strtok(all.data, "\n"); line; line = strtok(NULL, "\n")) {
        char *at = strstr(line, " @"), *file = strstr(line, " file ");
        if (at)
            *at = 0;
        if (file)
            *file = 0;
        text_printf(&out, "%s\n", line);
    }
    const char *kept = arena_strdup(&model_arena, out.data);
    text_release(&all);
    text_release(&out);
    return kept;
}

static void assert_same_in_c(const char *text)
{
    Script *s = import(text);
    assert_non_null(s);
    Text c = {0};
    script_print(&c, s, "stagecc emit-model g.txt");
    Graph *g = model_parse("g.c", c.data, &(ModelOptions){.micro_batch = 2});
    if (!g)
        fail_msg("%s\n%s", model_messages.data, c.data);
    assert_string_equal(shape_of_graph(g), shape_of_graph(s->graph));
    assert_int_equal(diag_warnings(), 0);
    text_release(&c);
}

static void the_c_text_makes_the_same_graph(void **state)
{
    (void)state;
    assert_same_in_c(ends);
    static const char *const names =
        STEM NODE("while", "Concat(-1)", 8192, 0) NODE("a.b", "ReLU()", 8192, 0)
            NODE("node7",
                 "AvgPool2d(kernel_size=(3, 2), stride=1, padding=(1, 0), ceil_mode=True, "
                 "count_include_pad=False)",
                 7680, 0) NODE("node8", "Dropout(p=0.25)", 7680, 0)
                NODE("node9", "View(30, 16)", 7680, 0) EDGE("node1", "node2")
                    EDGE("node2", "node3") EDGE("node2", "while") EDGE("node3", "while")
                        EDGE("while", "a.b") EDGE("a.b", "node7") EDGE("node7", "node8")
                            EDGE("node8", "node9");
    assert_same_in_c(names);
}

static void our_own_profile_has_its_loss(void **state)
{
    (void)state;
    static const char *const own = NODE("node1", "Input(image)", 3072, 0)
        NODE("node2", "Conv2d(3, 4, kernel_size=(3, 3), padding=(1, 1), bias=False)", 4096, 432)
            NODE("node3", "AdaptiveAvgPool2d(output_size=(1, 1))", 64, 0)
                NODE("node4", "View(4)", 64, 0) NODE("node5", "Input(label)", 16, 0)
                    NODE("node6", "cross_entropy", 4, 0) EDGE("node1", "node2")
                        EDGE("node2", "node3") EDGE("node3", "node4") EDGE("node5", "node6")
                            EDGE("node4", "node6");
    Script *s = import(own);
    assert_non_null(s);
    assert_int_equal(s->graph->loss->op, OP_CROSS_ENTROPY);
    assert_string_equal(s->graph->output->name, "node4");
    assert_string_equal(node_string(s->graph->loss->inputs[1], A_ROLE), "target");
    assert_same_in_c(own);
}

#define ATTENTION                                                                              \
    "RecurrentAttention(  (rnn): LSTM(8, 8)  (attn): BahdanauAttention(    (linear_q): "       \
    "Linear(in_features=8, out_features=8, bias=False)    (linear_k): "                        \
    "Linear(in_features=8, out_features=8, bias=False)  ))"

// Translation in small: 5 tokens, 2 sentences.
static const char *const sequences[] = {
    NODE("node1", "Input0", 0, 0),
    NODE("node4", "Embedding(7, 8, padding_idx=0)", 320, 224),
    NODE("node2", "Input1", 0, 0),
    NODE("node5", "EmuBidirLSTM(  (bidir): LSTM(8, 8, bidirectional=True))", 640, 4608),
    NODE("node6", "LSTM(16, 8)", [320; 64; 64], 3328),
    NODE("node7", "__getitem__(0)", 320, 0),
    NODE("node8", "__getitem__(1)", 64, 0),
    NODE("node3", "Input2", 0, 0),
    NODE("node9", "Embedding(7, 8)", 320, 224),
    NODE("node10", "hidden", 0, 0),
    NODE("node11", "__getitem__(0)", 0, 0),
    NODE("node12", ATTENTION, [320; 64; 64; 320; 200], 2884), // 36 more where it is normalised
    NODE("node13", "__getitem__(0)", 320, 0),
    NODE("node14", "__getitem__(2)", 64, 0),
    NODE("node15", "Concat(2)", 320, 0),
    NODE("node16", "LSTM(16, 8)", [320; 64; 64], 3328),
    NODE("node17", "__getitem__(0)", 320, 0),
    NODE("node18", "Classifier(  (c): Linear(in_features=8, out_features=7, bias=True))", 280,
         252),
    EDGE("node1", "node4") EDGE("node4", "node5") EDGE("node2", "node5"),
    EDGE("node5", "node6") EDGE("node6", "node7") EDGE("node6", "node8"),
    EDGE("node3", "node9") EDGE("node10", "node11") EDGE("node9", "node12"),
    EDGE("node11", "node12") EDGE("node7", "node12") EDGE("node2", "node12"),
    EDGE("node12", "node13") EDGE("node12", "node14") EDGE("node14", "node15"),
    EDGE("node13", "node15") EDGE("node15", "node16") EDGE("node16", "node17"),
    EDGE("node17", "node18")};

static const char *sequences_and(const char *more)
{
    const char *text = "";
    for (size_t i = 0; i < sizeof sequences / sizeof *sequences; i++)
        text = arena_printf(&model_arena, "%s%s", text, sequences[i]);
    return arena_printf(&model_arena, "%s%s", text, more);
}

static void sequences_go_by_shape(void **state)
{
    (void)state;
    const char *text = sequences_and("");
    Script *s = import(text);
    if (!s)
        fail_msg("%s", model_messages.data);
    assert_int_equal(s->input.dim[0], 5);
    assert_int_equal(model_node(s->graph, "node1")->dtype, I32);
    assert_int_equal(model_node(s->graph, "node2")->shape.rank, 1);
    const Node *context = model_node(s->graph, "node12_context");
    assert_string_equal(context->inputs[1]->layer->name, "node6"); // what ran first
    assert_non_null(model_node(s->graph, "node12_scores.normalize_scalar"));
    const Node *join = model_node(s->graph, "node15");
    assert_ptr_equal(join->inputs[0], context); // the edges are in order
    assert_same_in_c(text);
    assert_null(import(sequences_and(EDGE("node8", "node16"))));
    assert_true(model_said("it reads `node8`, a part of a tuple that no layer gives"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptions_are_taken_apart),
        cmocka_unit_test(nodes_run_in_the_order_of_their_numbers),
        cmocka_unit_test(stages_stand_one_behind_the_other),
        cmocka_unit_test(two_ends_have_a_weighted_loss),
        cmocka_unit_test(a_crop_keeps_or_loses_a_row),
        cmocka_unit_test(one_size_that_differs_is_the_wrong_one),
        cmocka_unit_test(the_c_text_makes_the_same_graph),
        cmocka_unit_test(our_own_profile_has_its_loss),
        cmocka_unit_test(sequences_go_by_shape),
    };
    return cmocka_run_group_tests(tests, NULL, model_teardown);
}
