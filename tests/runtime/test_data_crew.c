// A crew does all of its work, each piece once, and is through when the call returns.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/data_crew.h"

#include <stdatomic.h>
#include <unistd.h>

enum { MOST = 40, ROUNDS = 100 };

typedef struct Round {
    _Atomic int done[MOST];
    unsigned naps; // of whom the last digits of i are these
} Round;

static void work(void *user, int64_t i)
{
    Round *r = user;
    if (i % 4 == r->naps)
        usleep(50 * (unsigned)(i % 7));
    r->done[i]++;
}

static void check(int threads)
{
    static Round rounds[ROUNDS];
    rt__crew *crew = rt__crew_open(threads);
    for (int k = 0; k < ROUNDS; k++) {
        const int n = k * 7 % (MOST + 1);
        rounds[k] = (Round){.naps = (unsigned)k % 4};
        rt__crew_run(crew, n, work, &rounds[k]);
        for (int i = 0; i < MOST; i++)
            assert_int_equal(rounds[k].done[i], i < n);
    }
    rt__crew_close(crew);
}

static void test_all_once(void **state)
{
    (void)state;
    for (int threads = 0; threads < 6; threads++)
        check(threads);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
