// Learning rates against PyTorch's schedulers (lr_reference.py made the numbers).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/lr.h"

#include <math.h>

enum { STEPS = 24 };

static const struct {
    const char *what;
    rt__lr_schedule schedule;
    double rates[STEPS];
} cases[] = {
#include "tests/runtime/lr_reference.inc"
};

static void test_as_pytorch(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int s = 0; s < STEPS; s++) {
            double rate = rt__lr_at(&cases[i].schedule, s), wanted = cases[i].rates[s];
            if (fabs(rate - wanted) > 1e-12 * fabs(wanted) + 1e-18)
                fail_msg("%s, step %d: %.17g, PyTorch %.17g", cases[i].what, s, rate, wanted);
        }
}

static void test_ends(void **state)
{
    (void)state;
    rt__lr_schedule s = {.name = "cosine", .lr = 1, .final = 0.25, .steps = 10};
    assert_true(rt__lr_at(&s, 10) == 0.25);
    assert_true(rt__lr_at(&s, 1000000) == 0.25); // stays; PyTorch's would rise again
    s.steps = 0;                                 // nobody knows the length: no fall
    assert_true(rt__lr_at(&s, 1000) == 1);
    s.name = "step";
    s.gamma = 0.5;
    assert_true(rt__lr_at(&s, 1000) == 1); // steps 0: never drops
}

static void test_names(void **state)
{
    (void)state;
    assert_true(rt__lr_known("constant") && rt__lr_known("step"));
    assert_true(rt__lr_known("cosine") && rt__lr_known("polynomial"));
    assert_false(rt__lr_known("exponential") || rt__lr_known("") || rt__lr_known(NULL));
    rt__lr_schedule s = {.name = "exponential", .lr = 3};
    assert_true(rt__lr_at(&s, 7) == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_pytorch),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
