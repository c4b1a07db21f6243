// Every kind of convolution and attention that our examples have gets a plan for an H200, on a machine without one: its
// graph is right by the library's rules, the heuristics know an engine that is deterministic and exact enough, and that
// engine's kernels compile.
#include "tests/cuda/dnn_test.h"

static rt_stage stage;
static Dnn dnn;

// Which engine a plan has got
// ----------------------------------------------------------------------------------------

static DnnDesc held(DnnDesc from, cudnnBackendAttributeName_t name,
                    cudnnBackendDescriptorType_t type)
{
    DnnDesc d = NULL;
    int64_t n = 0;
    assert_int_equal(cudnn.BackendCreateDescriptor(type, &d), 0);
    assert_int_equal(
        cudnn.BackendGetAttribute(from, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &d), 0);
    assert_int_equal(n, 1);
    return d;
}

static bool has_note(const DnnPlan *p, cudnnBackendNumericalNote_t note)
{
    cudnnBackendNumericalNote_t found[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t n = 0;
    bool has = false;
    DnnDesc config = held(p->plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                          CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    DnnDesc engine = held(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    assert_int_equal(cudnn.BackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                               CUDNN_TYPE_NUMERICAL_NOTE,
                                               CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &n, found),
                     0);
    for (int64_t i = 0; i < n; i++)
        has |= found[i] == note;
    cudnn.BackendDestroyDescriptor(engine);
    cudnn.BackendDestroyDescriptor(config);
    return has;
}

static void assert_engines(const DnnKernel *k, bool exact)
{
    assert_true(k->n_plans > 0);
    for (int i = 0; i < k->n_plans; i++) {
        assert_false(has_note(&k->plans[i], CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC));
        assert_false(has_note(&k->plans[i], CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION));
        assert_false(has_note(&k->plans[i], CUDNN_NUMERICAL_NOTE_WINOGRAD));
        assert_false(has_note(&k->plans[i], CUDNN_NUMERICAL_NOTE_FFT));
    }
    // Behind the convolution only a bias or relu may stand, where the note means nothing.
    assert_false(exact && has_note(&k->plans[0], CUDNN_NUMERICAL_NOTE_TENSOR_CORE));
    assert_false(exact && has_note(&k->plans[0], CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS));
}

// Convolutions
// ----------------------------------------------------------------------------------------

static void check(const char *name, rt_kernel_op op, const DnnRow *r, rt_dtype type)
{
    static const char *const ops[] = {[RT_CONV2D] = "forward",
                                      [RT_CONV2D_GRAD_INPUT] = "gradient of x",
                                      [RT_CONV2D_GRAD_WEIGHT] = "gradient of w"};
    char key[160];
    DnnMaker m = {.stage = &stage, .dnn = &dnn};
    DnnKernel *k = calloc(1, sizeof *k);
    snprintf(key, sizeof key, "%s %s %s", name, type == RT_BF16 ? "bf16" : "f32", ops[op]);
    rt_kernel row = dnn_row(key, op, r->conv, type);
    if (op != RT_CONV2D)
        row.conv.bias = 0;
    else if (r->relu)
        row.epilogue = RT_RELU;
    if (rt__dnn_convolution_kernel(&m, &row, k))
        fail_msg("%s", stage.message);
    assert_engines(k, type != RT_BF16);
    printf("%-52s %-44s %11" PRId64 " bytes\n", key, k->implementation, k->workspace_bytes);
    rt__dnn_unmake(k);
    free(k);
}

static void check_all(const DnnRow *rows, size_t n, rt_dtype type)
{
    for (size_t i = 0; i < n; i++)
        for (rt_kernel_op op = RT_CONV2D; op <= RT_CONV2D_GRAD_WEIGHT; op++)
            check(rows[i].name, op, &rows[i], type);
}

#define SAME(pad) .padding = {(pad), (pad), (pad), (pad)}
#define LAST .groups = 1, .dilation = {1, 1}, .channels_last = 1
#define SIZE(N, C, H, W, K, R, S)                                                              \
    .n = (N), .c = (C), .h = (H), .w = (W), .k = (K), .r = (R), .s = (S)

static const DnnRow images[] = {
    {"resnet 7x7/2 3 to 64",
     {SIZE(256, 3, 224, 224, 64, 7, 7), LAST, SAME(3), .stride = {2, 2}},
     false},
    {"resnet 1x1 256 to 64", {SIZE(256, 256, 56, 56, 64, 1, 1), LAST, .stride = {1, 1}}, false},
    {"resnet 3x3 64",
     {SIZE(256, 64, 56, 56, 64, 3, 3), LAST, SAME(1), .stride = {1, 1}},
     false},
    {"resnet 3x3/2 128",
     {SIZE(256, 128, 56, 56, 128, 3, 3), LAST, SAME(1), .stride = {2, 2}},
     false},
    {"resnet 1x1/2 256 to 512",
     {SIZE(256, 256, 56, 56, 512, 1, 1), LAST, .stride = {2, 2}},
     false},
    {"resnet 3x3 512",
     {SIZE(256, 512, 7, 7, 512, 3, 3), LAST, SAME(1), .stride = {1, 1}},
     false},
    {"alexnet 11x11/4 + relu",
     {SIZE(32, 3, 224, 224, 64, 11, 11), LAST, SAME(2), .stride = {4, 4}, .bias = 1},
     true},
    {"vgg 3x3 128 + relu",
     {SIZE(32, 128, 112, 112, 128, 3, 3), LAST, SAME(1), .stride = {1, 1}, .bias = 1},
     true},
    {"inception 1x7",
     {SIZE(32, 160, 17, 17, 192, 1, 7), LAST, .padding = {0, 3, 0, 3}, .stride = {1, 1}},
     false},
    {"densenet 3x3 128 to 32",
     {SIZE(32, 128, 28, 28, 32, 3, 3), LAST, SAME(1), .stride = {1, 1}},
     false},
    {"vit 16x16/16",
     {SIZE(32, 3, 224, 224, 192, 16, 16), LAST, .stride = {16, 16}, .bias = 1},
     false},
    {"mobilenet depthwise 3x3",
     {SIZE(64, 96, 28, 28, 96, 3, 3), .groups = 96, .dilation = {1, 1}, .channels_last = 1,
      SAME(1), .stride = {1, 1}},
     false},
    {"nasnet depthwise 5x5/2",
     {SIZE(32, 44, 83, 83, 44, 5, 5), .groups = 44, .dilation = {1, 1}, .channels_last = 1,
      SAME(2), .stride = {2, 2}},
     false},
    {"depthwise + bias + relu",
     {SIZE(8, 32, 14, 14, 32, 3, 3), .groups = 32, .dilation = {1, 1}, .channels_last = 1,
      SAME(1), .stride = {1, 1}, .bias = 1},
     true},
    {"resnext 32 groups",
     {SIZE(64, 128, 56, 56, 128, 3, 3), .groups = 32, .dilation = {1, 1}, .channels_last = 1,
      SAME(1), .stride = {1, 1}},
     false},
    {"odd 17 to 33, other padding, dilation",
     {SIZE(3, 17, 13, 9, 33, 3, 3), .groups = 1, .dilation = {2, 1}, .channels_last = 1,
      .padding = {2, 1, 1, 0}, .stride = {1, 1}, .bias = 1},
     false},
    {"nasnet 1x1/2, padding behind",
     {SIZE(4, 44, 42, 42, 22, 1, 1), LAST, .padding = {0, 0, 1, 1}, .stride = {2, 2}},
     false},
    {"one sample, one pixel out",
     {SIZE(1, 64, 5, 5, 10, 5, 5), LAST, .stride = {1, 1}, .bias = 1},
     false},
    {"plain images",
     {SIZE(16, 24, 14, 14, 40, 3, 3), .groups = 1, .dilation = {1, 1}, SAME(1),
      .stride = {1, 1}},
     false},
};

static void bf16_rows_have_plans(void **state)
{
    (void)state;
    check_all(images, sizeof images / sizeof *images, RT_BF16);
}

// What a norm follows: dense convolutions of channels in packs.
static void rows_before_norms_have_sums(void **state)
{
    DnnMaker m = {.stage = &stage, .dnn = &dnn};
    DnnKernel *k = calloc(1, sizeof *k);
    (void)state;
    for (size_t i = 0; i < sizeof images / sizeof *images; i++) {
        const rt_conv *c = &images[i].conv;
        if (strncmp(images[i].name, "resnet ", 7) != 0)
            continue;
        rt_kernel row = dnn_row(images[i].name, RT_CONV2D, *c, RT_BF16);
        row.epilogue = RT_SUMS;
        if (rt__dnn_convolution_kernel(&m, &row, k))
            fail_msg("%s", stage.message);
        assert_engines(k, false);
        printf("%-52s %-44s %s\n", images[i].name, k->implementation,
               k->form ? "without sums" : "with sums");
        assert_int_equal(k->form, 0);
        rt__dnn_unmake(k);
    }
    free(k);
}

static void f32_rows_have_exact_plans(void **state)
{
    (void)state;
    check_all(images, sizeof images / sizeof *images, RT_F32);
}

// Attention
// --------------------------------------------------------------------------------------------

static const rt_heads attentions[] = {{16, 12, 1024, 64, 0.125f, true},
                                      {4, 2, 100, 32, 0.1767767f, true},
                                      {2, 4, 256, 128, 0.08838835f, true},
                                      {1, 1, 1, 64, 0.125f, true},
                                      {8, 3, 197, 64, 0.125f, false}};

static int64_t check_attention(const rt_heads *a, rt_kernel_op op)
{
    DnnMaker m = {.stage = &stage, .dnn = &dnn};
    DnnKernel *k = calloc(1, sizeof *k);
    char key[80];
    snprintf(key, sizeof key, "attention%s %" PRId64 "x%" PRId64,
             op == RT_ATTENTION ? "" : "_grad", a->t, a->size);
    rt_kernel row = {.key = key, .op = op, .attention = *a};
    if (rt__dnn_attention(&m, &row, k))
        fail_msg("%s", stage.message);
    assert_engines(k, false);
    int64_t bytes = k->workspace_bytes;
    printf("%s: %s, %" PRId64 " bytes\n", key, k->implementation, bytes);
    rt__dnn_unmake(k);
    free(k);
    return bytes;
}

static void attention_has_plans(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof attentions / sizeof *attentions; i++) {
        const rt_heads *a = &attentions[i];
        int64_t square = a->n * a->heads * a->t * a->t * 2;
        int64_t forward = check_attention(a, RT_ATTENTION);
        assert_true(a->t < 256 || forward < square); // no scores in memory
        // In the form that adds nothing up in passing.
        assert_true(check_attention(a, RT_ATTENTION_GRAD) >= square);
    }
}

// What is wrong
// ----------------------------------------------------------------------------------------

static void wrong_rows_are_told(void **state)
{
    (void)state;
    rt_stage s;
    DnnMaker m = {.stage = &s, .dnn = &dnn};
    DnnKernel *k = calloc(1, sizeof *k);
    rt_kernel row = dnn_row("a wrong height", RT_CONV2D, images[2].conv, RT_BF16);
    dnn_stage(&s);
    row.conv.p--;
    assert_int_equal(rt__dnn_convolution_kernel(&m, &row, k), RT_E_KERNEL);
    assert_non_null(strstr(s.message, "`a wrong height`: convolution operation: "));
    assert_non_null(strstr(s.message, "BAD_PARAM"));
    rt__dnn_unmake(k); // is nothing
    free(k);
}

static void wrong_cards_are_told(void **state)
{
    (void)state;
    rt_stage s;
    Dnn d;
    dnn_stage(&s);
    assert_int_equal(rt__dnn_open(&s, &d, "{\"deviceVer\": "), RT_E_ENVIRONMENT);
    assert_non_null(strstr(s.message, "does not take the properties of a card"));
    assert_null(d.properties);
}

int main(void)
{
    if (!dnn_is_there())
        return 77;
    dnn_stage(&stage);
    char *card = dnn_h200();
    int error = rt__dnn_open(&stage, &dnn, card);
    free(card);
    if (error)
        return 1;
    const struct CMUnitTest tests[] = {
        DNN_TEST(bf16_rows_have_plans),      DNN_TEST(rows_before_norms_have_sums),
        DNN_TEST(f32_rows_have_exact_plans), DNN_TEST(attention_has_plans),
        DNN_TEST(wrong_rows_are_told),       DNN_TEST(wrong_cards_are_told)};
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    rt__dnn_close(&dnn);
    return failures;
}
