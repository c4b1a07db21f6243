// The manager: which passes run, what is dumped, what is said about unknown names.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/passes/from_text.h"

#include <unistd.h>

static const char *const model =
    "graph g micro_batch 4\n" SAMPLE("x", "4,6") TARGET("t", "4,6") PARAM("w", "6,6") //
    "s = scale x {value=1}\n"
    "y = linear s w\n"
    "l = mse y t\n"
    "loss l\n";

// What a run writes to stream `number` (1 or 2).
static char *output_of(int number, PassOptions o, bool *good)
{
    char path[] = "/tmp/stagecc_test_XXXXXX";
    int file = mkstemp(path), saved = dup(number);
    Case *t = case_new(model);
    fflush(stdout);
    dup2(file, number);
    *good = passes_run(&t->c, &o);
    fflush(stdout);
    dup2(saved, number);
    close(saved);
    close(file);
    char *text = file_read(path, NULL);
    unlink(path);
    diag_reset();
    case_free(t);
    return text;
}

static int count(const char *text, const char *part)
{
    int n = 0;
    for (; (text = strstr(text, part)); text++)
        n++;
    return n;
}

static void dumps(void **state)
{
    (void)state;
    bool good;
    char *text = output_of(1, (PassOptions){.dump_after = "all"}, &good);
    assert_true(good);
    assert_int_equal(count(text, "# after "), n_passes);
    assert_ptr_equal(strstr(text, "# after fold\ngraph g micro_batch 4"), text);
    Arena a = {0}; // every dump is a graph
    for (char *at = strstr(text, "\n# after "); at; at = strstr(at + 1, "\n# after ")) {
        char *end = strstr(at + 1, "\n# after ");
        char *one = arena_strndup(&a, at, end ? (size_t)(end - at) : strlen(at));
        assert_non_null(ir_read(&a, "dump.ir", one));
    }
    arena_release(&a);
    free(text);
    text = output_of(1, (PassOptions){.dump_after = "dce,eval", .stop_after = "dce"}, &good);
    assert_true(good);
    assert_int_equal(count(text, "# after "), 1);
    assert_int_equal(count(text, "# after dce\n"), 1);
    assert_int_equal(count(text, "scale"), 0);
    free(text);
}

static void runs_the_named(void **state)
{
    (void)state;
    bool good;
    char *text = output_of(1, (PassOptions){.only = "dce,fold", .dump_after = "all"}, &good);
    char *dce = strstr(text, "# after dce"), *fold = strstr(text, "# after fold");
    assert_true(good && fold && dce && fold < dce); // in the order of the table
    assert_int_equal(count(text, "# after "), 2);
    free(text);
    text = output_of(1, (PassOptions){.only = "dce", .stop_after = "fold", .dump_after = "all"},
                     &good);
    assert_true(good);
    assert_string_equal(text, "");
    free(text);
    text = output_of(1, (PassOptions){.only = "", .dump_after = "all"}, &good);
    assert_true(good);
    assert_string_equal(text, "");
    free(text);
}

static void times_on_stderr(void **state)
{
    (void)state;
    bool good;
    char *text = output_of(2, (PassOptions){.timings = true, .stop_after = "eval"}, &good);
    assert_true(good);
    assert_int_equal(count(text, "\n"), 6); // a title, four passes, the sum
    assert_non_null(strstr(text, "\neval "));
    assert_non_null(strstr(text, "\nall "));
    free(text);
}

static void unknown(PassOptions o, const char *message)
{
    bool good;
    char *text = output_of(2, o, &good);
    assert_false(good);
    assert_non_null(strstr(text, message));
    assert_non_null(strstr(text, "the passes are fold, dce, attention, eval, "));
    free(text);
}

static void unknown_names(void **state)
{
    (void)state;
    unknown((PassOptions){.only = "fold,cse"}, "error: --passes: there is no pass `cse`");
    unknown((PassOptions){.only = "fold,"}, "--passes: there is no pass ``");
    unknown((PassOptions){.stop_after = "fol"}, "--stop-after: there is no pass `fol`");
    unknown((PassOptions){.dump_after = "alle"}, "--dump-after: there is no pass `alle`");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dumps), cmocka_unit_test(runs_the_named),
        cmocka_unit_test(times_on_stderr), cmocka_unit_test(unknown_names)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
