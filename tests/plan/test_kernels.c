// Measured library kernels: read, found again, and what a wrong file gets.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "base/text.h"
#include "plan/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/kernels-XXXXXX";

static void write_text(const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void finds_what_it_read(void **state)
{
    (void)state;
    Arena a = {0};
    Plan p = {0};
    write_text(
        "{\"kernels\": [{\"key\": \"b\", \"implementation\": \"jit:y\", \"scratch_bytes\": 5,"
        " \"copy_bytes\": 7, \"seconds\": 0.5},"
        " {\"key\": \"a\", \"implementation\": \"jit:x\"}, {\"key\": \"no name\"}]}");
    assert_null(plan_kernel(&p, "a")); // nothing was read yet
    assert_true(plan_read_kernels(&a, &p, path));
    assert_int_equal(p.n_kernels, 2);
    const PlanKernel *k = plan_kernel(&p, "b");
    assert_non_null(k);
    assert_string_equal(k->implementation, "jit:y");
    assert_int_equal(k->scratch_bytes, 5);
    assert_int_equal(k->kept_bytes, 7);
    assert_true(k->seconds == 0.5);
    assert_string_equal(plan_kernel(&p, "a")->implementation, "jit:x");
    assert_null(plan_kernel(&p, "c"));
    char *json = plan_to_json(&p); // the contract names them
    assert_non_null(strstr(json, "\"b\": \"jit:y\""));
    free(json);
    arena_release(&a);
}

static void refuses(const char *text, const char *complaint)
{
    Arena a = {0};
    Plan p = {0};
    char *out = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&out, &size);
    diag_output(f, false);
    write_text(text);
    assert_false(plan_read_kernels(&a, &p, path));
    fclose(f);
    diag_output(stderr, false);
    diag_reset();
    if (!strstr(out, complaint))
        fail_msg("expected `%s` in `%s`", complaint, out);
    free(out);
    arena_release(&a);
}

static void names_what_is_wrong(void **state)
{
    (void)state;
    refuses("{\"kernels\": [", ":1:");
    refuses("{}", "no list `kernels`");
    refuses("[]", "make them with `stagecc profile`");
}

int main(void)
{
    int fd = mkstemp(path);
    close(fd);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_it_read),
        cmocka_unit_test(names_what_is_wrong),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
