#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "plan/options.h"

#include <stdlib.h>
#include <string.h>

static char *text;
static size_t text_size;

static FILE *listen(void)
{
    FILE *f = open_memstream(&text, &text_size);
    diag_output(f, false);
    return f;
}

static void heard(FILE *f, const char *what)
{
    fclose(f);
    if (!strstr(text, what))
        fail_msg("expected \"%s\" in:\n%s", what, text);
    free(text);
    diag_output(stderr, false);
    diag_reset();
}

static void refuses(const char *name, const char *value, const char *what)
{
    Options o = options_default();
    FILE *f = listen();
    assert_false(options_set(&o, name, value, FROM_COMMAND_LINE, NO_LOC));
    heard(f, what);
    Options untouched = options_default();
    assert_memory_equal(&o, &untouched, sizeof o);
}

static void sets_what_is_right(void **state)
{
    (void)state;
    Options o = options_default();
    assert_true(options_set(&o, "micro-batches", "8", FROM_COMMAND_LINE, NO_LOC));
    assert_true(options_set(&o, "weight_decay", "1e-4", FROM_MODEL, NO_LOC));
    char word[] = "gpipe";
    assert_true(options_set(&o, "schedule", word, FROM_COMMAND_LINE, NO_LOC));
    memset(word, 'x', 5); // the option keeps no pointer to the caller's text
    assert_int_equal(o.micro_batches, 8);
    assert_true(o.weight_decay == 1e-4);
    assert_string_equal(o.schedule, "gpipe");
    assert_true(options_known("lr_schedule"));
    assert_false(options_known("lr_schedules"));
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    refuses("micro-batchs", "8",
            "there is no option `micro-batchs`; did you mean `micro-batches`?");
    refuses("colour", "8", "there is no option `colour`; `stagecc build --help` lists them");
    refuses("threads", "0", "threads takes a whole number from 1 to 1024, not `0`");
    refuses("threads", "2x", "threads takes a whole number from 1 to 1024, not `2x`");
    refuses("threads", "", "not ``");
    refuses("seed", "-1", "seed takes a whole number from 0, not `-1`");
    refuses("seed", "9223372036854775808", "seed takes a whole number from 0");
    refuses("lr", "nan", "lr takes a number from 0 to 1e+06, not `nan`");
    refuses("momentum", "1.5", "momentum takes a number from 0 to 1, not `1.5`");
    refuses(
        "schedule", "gpipes",
        "schedule is one of auto, 1f1b, gpipe, zb-h1, interleaved, pipedream, pipedream-vertical, pipedream-2bw, not `gpipes`");
    refuses("schedule", "gpipe 1f1b", "schedule is one of auto, 1f1b");
}

static void stronger_sources_win(void **state)
{
    (void)state;
    Options o = options_default();
    options_set(&o, "lr", "1", FROM_COMMAND_LINE, NO_LOC);
    assert_true(options_set(&o, "lr", "2", FROM_MODEL, NO_LOC));
    assert_true(options_set(&o, "lr", "3", FROM_PLAN, NO_LOC));
    assert_true(o.lr == 1);
    options_set(&o, "lr", "4", FROM_COMMAND_LINE, NO_LOC);
    assert_true(o.lr == 4);
    options_set(&o, "batch", "64", FROM_MODEL, NO_LOC);
    options_set(&o, "batch", "128", FROM_PLAN, NO_LOC);
    options_set(&o, "batch", "256", FROM_MODEL, NO_LOC);
    assert_int_equal(o.batch, 128);
    FILE *f = listen(); // hidden, and wrong all the same
    assert_false(options_set(&o, "lr", "fast", FROM_MODEL, (Loc){"m.c", 3, 9}));
    heard(f, "m.c:3:9: error: lr takes a number");
}

static void batches_divide(void **state)
{
    (void)state;
    Options o = options_default();
    assert_true(options_check(&o));
    o.batch = 30;
    o.micro_batches = 4;
    FILE *f = listen();
    assert_false(options_check(&o));
    heard(f, "a batch of 30 does not divide into 4 equal micro-batches: try --micro-batches 3, "
             "--micro-batches 5 or --batch 32");
    o.batch = 2;
    f = listen();
    assert_false(options_check(&o));
    heard(
        f,
        "a batch of 2 cannot be cut into 4 micro-batches: try --micro-batches 2 or --batch 4");
    o.batch = 4;
    o.nesterov = 1;
    f = listen();
    assert_false(options_check(&o));
    heard(f, "Nesterov momentum needs a momentum");
}

// Every row prints as text that sets it to the same value again.
static void values_read_back(void **state)
{
    (void)state;
    Options o = options_default(), again = options_default();
    options_set(&o, "lr", "0.1000000000000000055", FROM_COMMAND_LINE, NO_LOC);
    options_set(&o, "eps", "1e-300", FROM_COMMAND_LINE, NO_LOC);
    options_set(&o, "seed", "9223372036854775807", FROM_COMMAND_LINE, NO_LOC);
    char value[64];
    int n = 0;
    for (; option_name(n); n++) {
        assert_non_null(option_meaning(n));
        assert_true(options_set(&again, option_name(n), option_value(&o, n, value), FROM_MODEL,
                                NO_LOC));
        char back[64];
        assert_string_equal(option_value(&again, n, back), value);
        if (!strcmp(option_name(n), "lr"))
            assert_string_equal(value, "0.1");
    }
    assert_true(n > 20 && again.lr == o.lr && again.eps == o.eps && again.seed == o.seed);
    assert_null(option_name(-1));
    assert_null(option_value(&o, n, value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_what_is_right), cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(stronger_sources_win), cmocka_unit_test(batches_divide),
        cmocka_unit_test(values_read_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
