// How kernels are chosen and kept: by row alone, by name, from a file.
#include "tests/cuda/dnn_test.h"

#include <dirent.h>
#include <sys/mman.h>
#include <unistd.h>

static rt_stage stage;
static Dnn dnn;
static DnnKernel kernel;

static void make(const DnnMaker *m, const rt_kernel *row)
{
    if (rt__dnn_convolution_kernel(m, row, &kernel))
        fail_msg("%s", m->stage->message);
}

// What heuristics say.
static void default_of(const rt_kernel *row, char text[DNN_IMPLEMENTATIONS])
{
    DnnMaker m = {.stage = &stage, .dnn = &dnn};
    make(&m, row);
    memcpy(text, kernel.implementation, sizeof kernel.implementation);
    rt__dnn_unmake(&kernel);
}

// Choice
// --------------------------------------------------------------------------------------------

// Makes `row` as it is named; what is warned about goes to `warning`.
static void make_named(rt_kernel row, const char *implementation, char warning[1024])
{
    rt_stage s;
    DnnMaker m = {.stage = &s, .dnn = &dnn};
    dnn_stage(&s);
    s.quiet = false;
    s.report_fd = memfd_create("report", 0);
    row.implementation = implementation;
    make(&m, &row);
    memset(warning, 0, 1024);
    assert_true(pread(s.report_fd, warning, 1023, 0) >= 0);
    close(s.report_fd);
}

static void assert_named(const rt_kernel *row, const char *implementation)
{
    char warning[1024];
    make_named(*row, implementation, warning);
    assert_string_equal(kernel.implementation, implementation);
    assert_string_equal(warning, "");
    rt__dnn_unmake(&kernel);
}

// The plan of a row as the library writes it, with all that the engine is told.
static char *plan_of(const rt_kernel *row, size_t *bytes)
{
    DnnMaker m = {.stage = &stage, .dnn = &dnn};
    make(&m, row);
    char *json = rt__dnn_json(&kernel.plans[0], bytes);
    assert_non_null(json);
    rt__dnn_unmake(&kernel);
    return json;
}

static void one_row_has_one_plan(void **state)
{
    char chosen[sizeof kernel.implementation];
    size_t n[3];
    rt_kernel row = dnn_exact_row();
    (void)state;
    default_of(&row, chosen);
    assert_non_null(strchr(chosen, '='));
    char *first = plan_of(&row, &n[0]), *again = plan_of(&row, &n[1]);
    row.implementation = chosen;
    char *named = plan_of(&row, &n[2]);
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(first, again, n[0]);
    assert_int_equal(n[0], n[2]);
    assert_memory_equal(first, named, n[0]);
    free(first);
    free(again);
    free(named);
}

static void what_is_named_is_made(void **state)
{
    char chosen[sizeof kernel.implementation];
    rt_kernel exact = dnn_exact_row(), split = dnn_split_row();
    (void)state;
    default_of(&exact, chosen);
    assert_named(&exact, chosen);
    assert_string_not_equal(chosen, "e0");
    assert_named(&exact, "e0"); // which heuristics would not take
    default_of(&split, chosen);
    assert_non_null(strstr(chosen, " + "));
    assert_named(&split, chosen);
    assert_named(&split, "e5 + e1");
}

static void what_is_not_there_is_replaced(void **state)
{
    static const char *const names[] = {"e999",     "e0 k2", "e0 k12345=1",
                                        "jit:avx2", "",      "e0 + e1"};
    char chosen[sizeof kernel.implementation], warning[1024], head[128];
    rt_kernel row = dnn_exact_row();
    (void)state;
    default_of(&row, chosen);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        make_named(row, names[i], warning);
        assert_string_equal(kernel.implementation, chosen);
        snprintf(head, sizeof head, "the plan was made with cuDNN's `%s` for `exact`",
                 names[i]);
        if (!strstr(warning, head))
            fail_msg("%s: %s", names[i], warning);
        rt__dnn_unmake(&kernel);
    }
}

// Whose engine is not allowed without that, not even by name.
static void tf32_may_use_tensor_cores(void **state)
{
    DnnMaker m = {.stage = &stage, .dnn = &dnn, .tf32 = true};
    char chosen[sizeof kernel.implementation], fast[sizeof chosen], warning[1024];
    rt_kernel row = dnn_row("large", RT_CONV2D, dnn_conv(256, 64, 56, 64, 3), RT_F32);
    (void)state;
    default_of(&row, chosen);
    make(&m, &row);
    memcpy(fast, kernel.implementation, sizeof fast);
    rt__dnn_unmake(&kernel);
    assert_string_not_equal(fast, chosen);
    make_named(row, fast, warning);
    assert_string_equal(kernel.implementation, chosen);
    assert_non_null(strstr(warning, "` for `large`, which this library"));
    rt__dnn_unmake(&kernel);
}

// Kept plans
// --------------------------------------------------------------------------------------------

static cudnnStatus_t (*create)(cudnnBackendDescriptorType_t type, DnnDesc *d);
static int n_asked; // heuristics

static cudnnStatus_t count_asked(cudnnBackendDescriptorType_t type, DnnDesc *d)
{
    n_asked += type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR;
    return create(type, d);
}

// Opens all rows with a file of plans, a folder of them, or none; how often heuristics were asked.
static int open_in(const char *plans, const char *folder, const char *card, int64_t *workspace)
{
    rt_kernel rows[] = {
        dnn_exact_row(), {.key = "a product", .op = RT_MATMUL}, dnn_split_row()};
    char *h200 = dnn_h200();
    rt__convolutions_options o = {
        .properties = h200, .plans = plans, .folder = folder, .card = card};
    rt__convolutions *made = NULL;
    create = cudnn.BackendCreateDescriptor;
    cudnn.BackendCreateDescriptor = count_asked;
    n_asked = 0;
    if (rt__convolutions_open(&stage, rows, 3, &o, &made))
        fail_msg("%s", stage.message);
    cudnn.BackendCreateDescriptor = create;
    *workspace = rt__convolutions_workspace(made);
    assert_int_equal(rt__convolutions_kernel(made, 0)->n_plans, 1);
    assert_int_equal(rt__convolutions_kernel(made, 1)->n_plans, 0);
    assert_int_equal(rt__convolutions_kernel(made, 2)->n_plans, 2);
    assert_int_equal(*workspace, rt__convolutions_kernel(made, 2)->workspace_bytes);
    rt__convolutions_close(made);
    free(h200);
    return n_asked;
}

static int open_with(const char *plans, const char *card, int64_t *workspace)
{
    return open_in(plans, NULL, card, workspace);
}

static void plans_are_kept(void **state)
{
    char path[] = "/tmp/stagecc-plans-XXXXXX";
    int fd = mkstemp(path);
    int64_t first, second;
    (void)state;
    unlink(path); // a file that is not there is no complaint
    int asked = open_with(path, "H200", &first);
    assert_true(asked >= 3);
    assert_int_equal(access(path, R_OK), 0);
    assert_int_equal(open_with(path, "H200", &second), 0);
    assert_int_equal(first, second);
    assert_int_equal(open_with(path, "H100", &second), asked);
    assert_int_equal(open_with(NULL, NULL, &second), asked);
    assert_int_equal(truncate(path, 1000), 0);
    assert_int_equal(open_with(path, "H100", &second), asked);
    assert_int_equal(open_with(path, "H100", &second), 0); // written anew
    unlink(path);
    close(fd);
}

static int files_in(const char *folder)
{
    int n = 0;
    DIR *d = opendir(folder);
    for (const struct dirent *e; d && (e = readdir(d));)
        n += *e->d_name != '.';
    if (d)
        closedir(d);
    return n;
}

// What programs with other rows keep there stays, and what one keeps in a file beside it is not written again.
static void plans_are_shared(void **state)
{
    char root[] = "/tmp/stagecc-plans-XXXXXX", folder[64], file[64], command[128];
    int64_t first, second;
    (void)state;
    assert_non_null(mkdtemp(root));
    snprintf(folder, sizeof folder, "%s/a/b", root);
    snprintf(file, sizeof file, "%s/file", root);
    int asked = open_in(NULL, folder, "H200", &first);
    assert_true(asked >= 3);
    assert_int_equal(files_in(folder), 3); // one graph, and two
    assert_int_equal(open_in(NULL, folder, "H200", &second), 0);
    assert_int_equal(first, second);
    assert_int_equal(open_in(NULL, folder, "H100", &second), asked);
    assert_int_equal(files_in(folder), 6);
    assert_int_equal(open_in(NULL, folder, "H200", &second), 0);
    assert_int_equal(open_in(file, folder, "H200", &second), 0);
    assert_int_equal(access(file, F_OK), -1);
    open_with(file, "H200", &second);
    snprintf(folder, sizeof folder, "%s/c", root);
    assert_int_equal(open_in(file, folder, "H200", &second), 0);
    assert_int_equal(files_in(folder), 0);
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c,concurrency-mt-unsafe)
}

// A folder that cannot be written to, or a file there that is damaged, is said once, and plans are made.
static void bad_folders_are_warnings(void **state)
{
    char root[] = "/tmp/stagecc-plans-XXXXXX", warning[1024] = "";
    char *h200 = dnn_h200();
    rt_stage s;
    rt__convolutions *made = NULL;
    (void)state;
    int fd = mkstemp(root); // no folder
    rt__convolutions_options o = {.properties = h200, .folder = root, .card = "H200"};
    rt_kernel own[] = {dnn_exact_row(), dnn_split_row()};
    dnn_stage(&s);
    s.quiet = false;
    s.report_fd = memfd_create("report", 0);
    assert_int_equal(rt__convolutions_open(&s, own, 2, &o, &made), 0);
    rt__convolutions_close(made);
    assert_true(pread(s.report_fd, warning, sizeof warning - 1, 0) >= 0);
    const char *first = strstr(warning, root);
    assert_non_null(first);
    assert_null(strstr(first + 1, root));
    close(s.report_fd);
    unlink(root);
    close(fd);
    free(h200);
}

static void the_cache_says_where(void **state)
{
    char path[RT__PATH];
    (void)state;
    setenv("HOME", "/home/me", 1);
    unsetenv("XDG_CACHE_HOME");
    assert_true(rt__plan_folder_find(path));
    assert_string_equal(path, "/home/me/.cache/stagecc/plans");
    setenv("XDG_CACHE_HOME", "relative", 1);
    assert_true(rt__plan_folder_find(path));
    assert_string_equal(path, "/home/me/.cache/stagecc/plans");
    setenv("XDG_CACHE_HOME", "/var/cache/me", 1);
    assert_true(rt__plan_folder_find(path));
    assert_string_equal(path, "/var/cache/me/stagecc/plans");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    assert_false(rt__plan_folder_find(path));
}

// A kept plan that the library does not take is made anew. What was made by name is for those who name it.
static void other_plans_are_not_taken(void **state)
{
    char chosen[sizeof kernel.implementation];
    rt__plans plans = {0};
    rt_kernel row = dnn_exact_row();
    DnnMaker m = {.stage = &stage, .dnn = &dnn, .plans = &plans};
    (void)state;
    default_of(&row, chosen);
    row.implementation = "e0";
    make(&m, &row);
    assert_string_equal(kernel.implementation, "e0");
    rt__dnn_unmake(&kernel);
    row.implementation = NULL;
    make(&m, &row);
    assert_string_equal(kernel.implementation, chosen);
    rt__dnn_unmake(&kernel);
    assert_int_equal(plans.n, 2);
    assert_string_equal(
        rt__plans_find(&plans, "exact as e0, form 1, graph 1 of 1")->implementation, "e0");
    assert_true(
        rt__plans_add(&plans, "exact, form 1, graph 1 of 1", "e1", strdup("{\"a\":1}"), 7));
    make(&m, &row);
    assert_string_equal(kernel.implementation, chosen);
    rt__dnn_unmake(&kernel);
    assert_int_equal(plans.n, 2);
    assert_string_equal(rt__plans_find(&plans, "exact, form 1, graph 1 of 1")->implementation,
                        chosen);
    rt__plans_release(&plans);
}

// A row whose sums no engine adds up: a plan that is kept without them is not taken for one with them.
static void kept_plans_have_their_form(void **state)
{
    rt__plans plans = {0};
    rt_kernel row = dnn_row("sums", RT_CONV2D, dnn_conv(4, 16, 12, 24, 3), RT_F32);
    DnnMaker m = {.stage = &stage, .dnn = &dnn, .plans = &plans};
    (void)state;
    row.epilogue = RT_SUMS;
    for (int i = 0; i < 2; i++) {
        make(&m, &row);
        assert_int_equal(kernel.form, 1);
        assert_int_equal(plans.n, 1);
        rt__dnn_unmake(&kernel);
    }
    rt__plans_release(&plans);
}

// Names of a form begin with what heuristics take, each once; those that can be made are the library's.
static void check_names(const rt_kernel *row, int form, int least)
{
    char names[8][DNN_IMPLEMENTATIONS] = {""}, chosen[sizeof names[0]];
    DnnMaker m = {.stage = &stage, .dnn = &dnn};
    DnnWish wish = rt__dnn_wish(row, false);
    int n = rt__dnn_names(&m, &wish, form, names, 8), made = 0;
    default_of(row, chosen);
    assert_true(n >= least);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < i; k++)
            assert_string_not_equal(names[i], names[k]);
        wish.implementation = names[i];
        if (!rt__dnn_make_named(&m, &wish, form, &kernel))
            continue;
        assert_true(made++ || !strcmp(names[i], chosen));
        assert_string_equal(kernel.implementation, names[i]);
        assert_int_equal(kernel.form, form);
        rt__dnn_unmake(&kernel);
    }
    assert_true(made >= least);
    wish.implementation = "e999";
    assert_false(rt__dnn_make_named(&m, &wish, form, &kernel));
}

static void implementations_have_names(void **state)
{
    rt_kernel exact = dnn_exact_row(), split = dnn_split_row();
    (void)state;
    check_names(&exact, 0, 2);
    check_names(&split, 1, 2);
}

// What was kept by name is what a row with that name has, and nothing is compiled.
static void named_plans_are_kept(void **state)
{
    char names[8][DNN_IMPLEMENTATIONS] = {""};
    rt__plans plans = {0};
    rt_kernel row = dnn_exact_row();
    DnnMaker m = {.stage = &stage, .dnn = &dnn}, keeper = m;
    DnnWish wish = rt__dnn_wish(&row, false);
    (void)state;
    keeper.plans = &plans;
    assert_true(rt__dnn_names(&m, &wish, 0, names, 2) == 2);
    row.implementation = wish.implementation = names[1];
    assert_true(rt__dnn_make_named(&m, &wish, 0, &kernel));
    rt__dnn_keep(&keeper, &wish, &kernel);
    rt__dnn_unmake(&kernel);
    assert_int_equal(plans.n, 1);
    plans.changed = false;
    make(&keeper, &row);
    assert_string_equal(kernel.implementation, names[1]);
    assert_false(plans.changed); // what is made anew is added
    rt__dnn_unmake(&kernel);
    rt__plans_release(&plans);
}

// Once, of however many rows.
static void what_takes_two_steps_is_said(void **state)
{
    char said[2048] = "", *h200 = dnn_h200();
    rt__convolutions_options o = {.properties = h200};
    rt_kernel own[] = {dnn_exact_row(), dnn_split_row(), dnn_exact_row()};
    (void)state;
    own[2].key = "sums";
    own[2].epilogue = RT_SUMS;
    for (int n = 1; n <= 3; n++) {
        rt__convolutions *made = NULL;
        rt_stage s;
        dnn_stage(&s);
        s.quiet = false;
        s.report_fd = memfd_create("report", 0);
        assert_int_equal(rt__convolutions_open(&s, own, n, &o, &made), 0);
        rt__convolutions_close(made);
        assert_true(pread(s.report_fd, said, sizeof said - 1, 0) >= 0);
        close(s.report_fd);
        const char *first = strstr(said, "\"warning\"");
        assert_int_equal(first != NULL, n > 1);
        assert_true(!first || !strstr(first + 1, "\"warning\""));
        assert_true(n < 2 || strstr(said, "all of `split`"));
        assert_int_equal(strstr(said, "`split` and others") != NULL, n == 3);
    }
    free(h200);
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
        DNN_TEST(one_row_has_one_plan),
        DNN_TEST(what_is_named_is_made),
        DNN_TEST(what_is_not_there_is_replaced),
        DNN_TEST(tf32_may_use_tensor_cores),
        DNN_TEST(plans_are_kept),
        DNN_TEST(plans_are_shared),
        DNN_TEST(bad_folders_are_warnings),
        cmocka_unit_test(the_cache_says_where),
        DNN_TEST(other_plans_are_not_taken),
        DNN_TEST(kept_plans_have_their_form),
        DNN_TEST(implementations_have_names),
        DNN_TEST(named_plans_are_kept),
        DNN_TEST(what_takes_two_steps_is_said),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    rt__dnn_close(&dnn);
    return failures;
}
