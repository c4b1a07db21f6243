// Layers: parameters and their names, defaults, options, shapes without the batch.
#include "tests/frontend/model.h"

#include <math.h>
#include <stdio.h>

#define END "loss(mse(x, target(\"y\", F32, 1)));"

static void assert_type(const Graph *g, const char *name, const char *type)
{
    const Node *n = model_node(g, name);
    if (!n)
        fail_msg("there is no node %s\n%s", name,
                 model_messages.data ? model_messages.data : "");
    const char *is = arena_printf(&model_arena, "%s%s", dtype_name(n->dtype),
                                  shape_text(&model_arena, n->shape));
    assert_string_equal(is, type);
}

static void assert_init(const Graph *g, const char *name, const char *rule, double gain)
{
    const Node *n = model_node(g, name);
    assert_non_null(n);
    assert_string_equal(node_string(n, A_INIT), rule);
    assert_true(fabs(node_real(n, A_GAIN) - gain) < 1e-12);
}

static void assert_ints(const Graph *g, const char *name, AttrKey key, int n, const int64_t *v)
{
    const Node *node = model_node(g, name);
    assert_non_null(node);
    const Attr *a = node_attr(node, key);
    assert_non_null(a);
    assert_int_equal(a->n, n);
    assert_memory_equal(a->ints, v, sizeof *v * (size_t)n);
}

#define INTS(...)                                                                              \
    sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t), (int64_t[])                            \
    {                                                                                          \
        __VA_ARGS__                                                                            \
    }

// The header of a safetensors file: every name and shape of PyTorch's state is one of the model's.
static void assert_state(const char *model)
{
    Graph *g = model_file(arena_printf(&model_arena, "tests/torch/%s.c", model));
    assert_non_null(g);
    char *file = file_read(
        arena_printf(&model_arena, "%s/tests/torch/%s/state-0.safetensors", SOURCE_DIR, model),
        NULL);
    assert_non_null(file);
    int stored = 0, found = 0;
    for (const char *p = file + 8; (p = strstr(p, "\":{\"dtype\"")) != NULL; p++) {
        const char *name = p, *shape = strstr(p, "\"shape\":");
        while (name[-1] != '"')
            name--;
        const Node *n = model_node(g, arena_strndup(&model_arena, name, (size_t)(p - name)));
        stored++;
        assert_non_null(n);
        assert_true(n->op == OP_PARAM || n->op == OP_BUFFER);
        shape += strlen("\"shape\":");
        assert_string_equal(shape_text(&model_arena, n->shape),
                            arena_strndup(&model_arena, shape, strcspn(shape, "]") + 1));
    }
    free(file);
    for (int i = 0; i < g->nodes.n; i++)
        found += g->nodes.items[i]->op == OP_PARAM || g->nodes.items[i]->op == OP_BUFFER;
    assert_true(stored > 0);
    assert_int_equal(found, stored);
}

static void test_torch_states(void **state)
{
    (void)state;
    assert_state("mlp");
    assert_state("cnn");
    assert_state("transformer");
}

// As many parameters as torchvision's models have (the first four kinds), and no warning.
static void test_examples(void **state)
{
    (void)state;
    static const struct {
        const char *file, *define;
        int64_t parameters;
    } rows[] = {
        {"resnet/resnet.c", "DEPTH=18", 11689512},
        {"resnet/resnet.c", "DEPTH=34", 21797672},
        {"resnet/resnet.c", "DEPTH=50", 25557032},
        {"resnet/resnet.c", "DEPTH=101", 44549160},
        {"resnet/resnet.c", "DEPTH=152", 60192808},
        {"vgg/vgg.c", "DEPTH=16", 138357544},
        {"vgg/vgg.c", "DEPTH=19", 143667240},
        {"alexnet/alexnet.c", "IMAGE=224", 61100840},
        {"resnet/resnet.c", "IMAGE=8", 25549352},
        {"mlp/mlp.c", "HIDDEN=64", 8970},
        {"gpt/gpt.c", "LAYERS=2", 470528},
        {"dense/dense.c", "GROWTH=16", 81770},
        {"gnmt/gnmt.c", "NORMALIZE=0", 193765952}, // as PipeDream's profile
        {"gnmt/gnmt.c", "NORMALIZE=1", 193766977},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path =
            arena_printf(&model_arena, "%s/examples/%s", SOURCE_DIR, rows[i].file);
        char *text = file_read(path, NULL);
        assert_non_null(text);
        Graph *g = model_parse(path, text,
                               &(ModelOptions){.defines = &rows[i].define, .n_defines = 1});
        free(text);
        if (!g || diag_warnings())
            fail_msg("%s %s: %s", rows[i].file, rows[i].define, model_messages.data);
        int64_t parameters = 0;
        for (int k = 0; k < g->nodes.n; k++)
            if (g->nodes.items[k]->op == OP_PARAM)
                parameters += shape_count(g->nodes.items[k]->shape);
        assert_int_equal(parameters, rows[i].parameters);
    }
}

static void test_default_initialisers(void **state)
{
    (void)state;
    Graph *g = model_of("Tensor x = input(\"x\", F32, 6, 8, 8);"
                        "Tensor c = conv2d(x, 4, .kernel = 3, .groups = 2);"
                        "Tensor b = batch_norm(c);"
                        "Tensor f = linear(flatten(b), 1);"
                        "Tensor e = layer_norm(embedding(input(\"i\", I32, 3), 5, 2));"
                        "loss(mse(f, f)); output(e);");
    assert_non_null(g);
    assert_init(g, "c.weight", "kaiming_uniform", sqrt(1.0 / 3));
    assert_int_equal(node_int(model_node(g, "c.weight"), A_FAN_IN), 27);
    assert_int_equal(node_int(model_node(g, "c.weight"), A_FAN_OUT), 36);
    assert_init(g, "c.bias", "uniform", 1 / sqrt(27));
    assert_init(g, "b.weight", "constant", 1);
    assert_init(g, "b.bias", "constant", 0);
    assert_init(g, "b.running_mean", "constant", 0);
    assert_init(g, "b.running_var", "constant", 1);
    assert_init(g, "f.weight", "kaiming_uniform", sqrt(1.0 / 3));
    assert_init(g, "f.bias", "uniform", 1 / sqrt(144));
    assert_init(g, "embedding1.weight", "normal", 1);
    assert_init(g, "e.weight", "constant", 1);
    assert_string_equal(g->output->name, "e");
}

static void test_given_initialisers(void **state)
{
    (void)state;
    Graph *g = model_of(
        "Tensor x = input(\"x\", F32, 3, 8, 8);"
        "Tensor a = conv2d(x, 4, .kernel = 3, .init = kaiming_normal(), .bias_init = constant(2));"
        "Tensor b = conv2d(a, 4, .kernel = 3, .init = kaiming_uniform(1.5, .fan_out = true));"
        "Tensor c = linear(flatten(b), 2, .init = xavier_uniform(), .bias = false);"
        "Tensor d = linear(c, 1, .init = xavier_normal(3), .bias_init = uniform(0.5));"
        "x = add(d, parameter(\"p\", 1, .init = normal(0.02)));" END);
    assert_non_null(g);
    assert_init(g, "a.weight", "kaiming_normal", sqrt(2));
    assert_init(g, "a.bias", "constant", 2);
    assert_init(g, "b.weight", "kaiming_uniform", 1.5);
    assert_int_equal(node_int(model_node(g, "b.weight"), A_FAN_IN), 36);
    assert_init(g, "c.weight", "xavier_uniform", 1);
    assert_null(model_node(g, "c.bias"));
    assert_init(g, "d.weight", "xavier_normal", 3);
    assert_init(g, "d.bias", "uniform", 0.5);
    assert_init(g, "p", "normal", 0.02);
}

static void test_window_options(void **state)
{
    (void)state;
    Graph *g = model_of(
        "Tensor x = input(\"x\", F32, 3, 32, 32);"
        "Tensor a = conv2d(x, 8, .kernel_h = 3, .kernel_w = 5, .stride = 2, .padding_w = 2,"
        "                  .dilation = 2, .dilation_h = 1);"
        "Tensor b = max_pool2d(a, .kernel = 3);"
        "Tensor c = avg_pool2d(a, .kernel = 2, .stride = 1, .padding = 1,"
        "                      .count_include_pad = false, .ceil_mode = true);"
        "Tensor d = max_pool2d(a, .kernel = 3, .padding = 1, .padding_end = 0);"
        "Tensor e = conv2d(a, 8, .kernel = 3, .padding_h = 1, .padding_end_w = 2);"
        "x = linear(flatten(b), 1); output(c); relu(d); relu(e);" END);
    assert_non_null(g);
    assert_ints(g, "d", A_PADDING, INTS(1, 1, 0, 0));
    assert_ints(g, "e", A_PADDING, INTS(1, 0, 1, 2));
    assert_ints(g, "a", A_STRIDE, INTS(2, 2));
    assert_ints(g, "a", A_PADDING, INTS(0, 2, 0, 2));
    assert_ints(g, "a", A_DILATION, INTS(1, 2));
    assert_ints(g, "a.weight", A_SHAPE, INTS(8, 3, 3, 5));
    assert_ints(g, "b", A_KERNEL, INTS(3, 3));
    assert_ints(g, "b", A_STRIDE, INTS(3, 3));
    assert_ints(g, "c", A_STRIDE, INTS(1, 1));
    assert_ints(g, "c", A_PADDING, INTS(1, 1, 1, 1));
    assert_int_equal(node_int(model_node(g, "c"), A_COUNT_INCLUDE_PAD), 0);
    assert_int_equal(node_int(model_node(g, "c"), A_CEIL_MODE), 1);
    assert_int_equal(node_int(model_node(g, "b"), A_CEIL_MODE), 0);
}

static void test_shapes(void **state)
{
    (void)state;
    Graph *g = model_of(
        "Tensor x = input(\"x\", F32, 6, 4, 5);"
        "Tensor a = reshape(x, 3, -1);"
        "Tensor b = transpose(a, 0, 2, 1);"
        "Tensor c = concat(a, a, .axis = -1);"
        "Tensor list[3] = {x, x, x};"
        "Tensor d = concat_list(list, 3);"
        "Tensor e = slice(d, 2, 7);"
        "Tensor f = flatten(e);"
        "Tensor g = add(parameter(\"p\", 5), x);"
        "Tensor h = matmul(a, a, .transpose_b = true);"
        "Tensor i = linear(x, (int)dim(x, 1) + (int)channels(d) + (int)height(x) + (int)width(x)"
        "                  + (int)features(f) + rank(x) + (int)dim(x, -1));"
        "Tensor k = reshape(parameter(\"q\", 4, 6), 3, 8);"
        "Tensor l = pad(x, 2, 3, .axis = 2);"
        "Tensor m = pad(parameter(\"r\", 1, 8), 0, 2, .axis = 0);"
        "output(i); relu(b); relu(c); relu(g); relu(h); relu(k); relu6(l); relu(m);"
        "x = linear(f, 1);" END);
    assert_non_null(g);
    assert_type(g, "x", "f32[4,6,4,5]");
    assert_type(g, "a", "f32[4,3,40]");
    assert_type(g, "b", "f32[4,40,3]");
    assert_type(g, "c", "f32[4,3,80]");
    assert_type(g, "d", "f32[4,18,4,5]");
    assert_type(g, "e", "f32[4,7,4,5]");
    assert_type(g, "f", "f32[4,140]");
    assert_type(g, "g", "f32[4,6,4,5]");
    assert_type(g, "h", "f32[4,3,3]");
    assert_int_equal(model_node(g, "i")->shape.dim[3], 6 + 18 + 4 + 5 + 140 + 4 + 5);
    assert_type(g, "k", "f32[3,8]");
    assert_type(g, "l", "f32[4,6,9,5]");
    assert_int_equal(node_int(model_node(g, "l"), A_BEGIN), 2);
    assert_type(g, "m", "f32[3,8]");
    assert_int_equal(model_node(g, "relu61")->op, OP_RELU6);
    assert_true(model_said("the result of `relu` is never used"));
}

static void test_small_layers(void **state)
{
    (void)state;
    Graph *g = model_of("Tensor x = input(\"x\", F32, 6, 6);"
                        "x = sigmoid(gelu(gelu(x), .tanh_form = true), .name = \"s\");"
                        "x = tanh(softmax(scale(x, 2.5), .causal = true));"
                        "x = mul(dropout(dropout(x, 0.25), 0.5), x);"
                        "x = layer_norm(x, .eps = 0.5);"
                        "x = linear(flatten(x), 1);" END);
    assert_non_null(g);
    assert_int_equal(model_node(g, "gelu1")->op, OP_GELU);
    assert_int_equal(model_node(g, "gelu2")->op, OP_GELU_TANH);
    assert_int_equal(model_node(g, "s")->op, OP_SIGMOID);
    assert_int_equal(node_int(model_node(g, "softmax1"), A_CAUSAL), 1);
    assert_true(node_real(model_node(g, "scale1"), A_VALUE) == 2.5);
    assert_int_equal(node_int(model_node(g, "dropout1"), A_STREAM), 0);
    assert_int_equal(node_int(model_node(g, "dropout2"), A_STREAM), 1);
    assert_true(node_real(model_node(g, "dropout2"), A_RATE) == 0.5);
    assert_true(node_real(model_node(g, "layer_norm1"), A_EPS) == 0.5);
}

static void test_batch_norm(void **state)
{
    (void)state;
    Graph *g = model_of("Tensor x = input(\"x\", F32, 6, 2, 2);"
                        "Tensor b = batch_norm(x, .eps = 0.25, .momentum = 0.5);"
                        "x = linear(flatten(b), 1);" END);
    assert_non_null(g);
    const Node *u = model_node(g, "b.running_update"), *b = model_node(g, "b");
    assert_true(node_real(b, A_EPS) == 0.25);
    assert_non_null(u);
    assert_true(node_real(u, A_MOMENTUM) == 0.5);
    assert_int_equal(node_int(u, A_COUNT), 4 * 2 * 2);
    assert_string_equal(u->inputs[0]->name, "b.running_mean");
    assert_string_equal(u->inputs[1]->name, "b.running_var");
    assert_ptr_equal(u->inputs[2]->inputs[0], b);
    assert_int_equal(node_int(u->inputs[2], A_INDEX), 1);
    assert_int_equal(node_int(u->inputs[3], A_INDEX), 2);
    assert_int_equal(u->id, u->inputs[3]->id + 1);
}

static void test_tied_weights(void **state)
{
    (void)state;
    Graph *g = model_of("Tensor w = parameter(\"wte\", 7, 4);"
                        "Tensor x = embedding(input(\"ids\", I32, 3), 7, 4, .weight = w);"
                        "x = linear(x, 7, .weight = w, .bias = false);"
                        "loss(cross_entropy(x, target(\"y\", I32, 3)));");
    assert_non_null(g);
    assert_ptr_equal(model_node(g, "linear1")->inputs[1], model_node(g, "wte"));
    assert_ptr_equal(model_node(g, "embedding1")->inputs[1], model_node(g, "wte"));
    g = model_of("Tensor x = linear(input(\"x\", F32, 3), 1, .weight = NULL);" END);
    assert_non_null(g);
    assert_string_equal(model_node(g, "x_2")->inputs[1]->name, "x_2.weight");
    assert_null(model_of("Tensor w = parameter(\"w\", 7, 4); Tensor x = input(\"x\", F32, 3);"
                         "x = linear(x, 1, .weight = w);" END));
    assert_true(model_said(".weight must be a parameter of shape [1,3], but it is f32[7,4]"));
}

static void test_layer_names(void **state)
{
    (void)state;
    static const char text[] =
        "#include <stagecc/model.h>\n"
        "static Tensor unit(Tensor x) { Tensor wide = linear(x, 8); return relu(linear(relu(wide), 8)); }\n"
        "static Tensor pair(Tensor x) { x = unit(x); return unit(x); }\n"
        "MODEL(m)\n"
        "{\n"
        "    Tensor x = input(\"x\", F32, 8);\n"
        "    Tensor stem = 1 ? linear(x, 8) : x;\n"
        "    Tensor both = pair(stem), t = both;\n"
        "    for (int i = 0; i < 2; i++) { Tensor h = linear(t, 8); t = unit(h); t = x ? t : x; }\n"
        "    x = linear(t, 8, .name = \"out.put\");\n"
        "    x = relu(linear(relu(x), 8, .name = format(\"n%02d.%s\", 7, \"q\")));\n"
        "    loss(mse(x, target(\"y\", F32, 8)));\n"
        "}\n";
    static const char *const names[] = {
        // clang-format off
        "x", "stem", "both.unit1.wide", "both.unit1.relu1", "both.unit1.linear1",
        "both.unit1.relu2", "both.unit2.wide", "both.unit2.relu1", "both.unit2.linear1", "both.unit2.relu2",
        "h", "t.wide", "t.relu1", "t.linear1", "t.relu2",
        "h2", "t2.wide", "t2.relu1", "t2.linear1", "t2.relu2",
        "out.put", "relu1", "n07.q", "relu2", "y",
        "mse1",
        // clang-format on
    };
    Graph *g = model_parse("m.c", text, &(ModelOptions){0});
    assert_non_null(g);
    assert_int_equal(g->layers.n, sizeof names / sizeof *names);
    for (int i = 0; i < g->layers.n; i++)
        assert_string_equal(g->layers.items[i]->name, names[i]);
    const Layer *l = model_node(g, "both.unit2.wide")->layer;
    assert_string_equal(l->kind, "linear");
    assert_int_equal(l->loc.line, 2);
    assert_string_equal(l->caller->function, "unit");
    assert_int_equal(l->caller->loc.line, 3);
    assert_string_equal(l->caller->caller->function, "pair");
    assert_int_equal(l->caller->caller->loc.line, 8);
    assert_null(l->caller->caller->caller);
    assert_null(model_node(g, "stem")->layer->caller);
}

static void test_places_inside_macros(void **state)
{
    (void)state;
    static const char text[] = "#include <stagecc/model.h>\n"
                               "#define BLOCK(x) relu(linear(x, 8))\n"
                               "MODEL(m)\n"
                               "{\n"
                               "    Tensor x = input(\"x\", F32, 8);\n"
                               "    x = add(relu(linear ( x, 8)),\n"
                               "            linear(x, 8));\n"
                               "    x = BLOCK(x);\n"
                               "    loss(mse(x, target(\"y\", F32, 8)));\n"
                               "}\n";
    static const struct {
        const char *name;
        int line, col;
    } places[] = {{"x", 5, 16},       {"linear1", 6, 18}, {"relu1", 6, 13},
                  {"linear2", 7, 13}, {"add1", 6, 9},     {"linear3", 8, 9},
                  {"relu2", 8, 9},    {"mse1", 9, 10},    {"y", 9, 17}};
    Graph *g = model_parse("m.c", text, &(ModelOptions){0});
    assert_non_null(g);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        Loc loc = model_node(g, places[i].name)->loc;
        if (loc.line != places[i].line || loc.col != places[i].col)
            fail_msg("%s is at %d:%d, not %d:%d", places[i].name, loc.line, loc.col,
                     places[i].line, places[i].col);
    }
}

static void test_train(void **state)
{
    (void)state;
    static const char text[] =
        "#include <stagecc/model.h>\n"
        "enum { STEPS = 3 };\n"
        "TRAIN(.lr = 1 / 4.0, .optimizer = \"adamw\", .warmup = 2 * STEPS, .beta2 = 0.95);\n"
        "MODEL(m)\n"
        "{\n"
        "    Tensor x = input(\"x\", F32, 1);\n" END "\n}\n";
    static const char *const settings[][2] = {
        {"lr", "0.25"}, {"optimizer", "adamw"}, {"warmup", "6"}, {"beta2", "0.95"}};
    Graph *g = model_parse("m.c", text, &(ModelOptions){0});
    assert_non_null(g);
    assert_int_equal(g->train.n, 4);
    for (int i = 0; i < 4; i++) {
        assert_string_equal(g->train.items[i].name, settings[i][0]);
        assert_string_equal(g->train.items[i].value, settings[i][1]);
        assert_int_equal(g->train.items[i].loc.line, 3);
    }
}

static void test_double(void **state)
{
    (void)state;
    static const char text[] = "#include <stagecc/model.h>\nMODEL(m)\n{\n"
                               "Tensor x = input(\"x\", F32, 8);\n"
                               "loss(cross_entropy(linear(x, 3), target(\"y\", I32)));\n}\n";
    Graph *g = model_parse("m.c", text, &(ModelOptions){.real = F64, .micro_batch = 7});
    assert_non_null(g);
    assert_type(g, "x", "f64[7,8]");
    assert_type(g, "linear1.weight", "f64[3,8]");
    assert_type(g, "y", "i32[7]");
    assert_int_equal(g->loss->dtype, F64);
    assert_string_equal(g->output->name, "linear1");
    assert_int_equal(g->micro_batch, 7);
}

static void test_defines_and_headers(void **state)
{
    (void)state;
    const char *const defines[] = {"SIZE=12", "FLAG", "NAME=\"n\""};
    const char *const dirs[] = {SOURCE_DIR "/tests/frontend"};
    static const char text[] = "#include <math.h>\n#include <stagecc/model.h>\n"
                               "#include <math.h>\n#include <assert.h>\n"
                               "#include \"c_subset.h\"\n"
                               "MODEL(m)\n{\n"
                               "Tensor x = input(\"x\", F32, SIZE);\n"
                               "#ifdef FLAG\n"
                               "assert(SIZE == 12);\n"
                               "x = tanh(linear(x, primes[2] + (int)exp(0), .name = NAME));\n"
                               "#endif\n"
                               "loss(mse(x, target(\"y\", F32, 6)));\n}\n";
    Graph *g = model_parse(
        "m.c", text,
        &(ModelOptions){
            .defines = defines, .n_defines = 3, .include_dirs = dirs, .n_include_dirs = 1});
    assert_non_null(g);
    assert_type(g, "n", "f32[4,6]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch_states),
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_default_initialisers),
        cmocka_unit_test(test_given_initialisers),
        cmocka_unit_test(test_window_options),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_small_layers),
        cmocka_unit_test(test_batch_norm),
        cmocka_unit_test(test_tied_weights),
        cmocka_unit_test(test_layer_names),
        cmocka_unit_test(test_places_inside_macros),
        cmocka_unit_test(test_train),
        cmocka_unit_test(test_double),
        cmocka_unit_test(test_defines_and_headers),
    };
    return cmocka_run_group_tests(tests, NULL, model_teardown);
}
