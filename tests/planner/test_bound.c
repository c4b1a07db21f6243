// The bound for graphs with too many cuts, on graphs with few: it is never above the optimum, and knows more than the
// sum of the work. Spots of narrow cuts beside all cuts.
#include "passes/planner/bound.h"
#include "passes/planner/cuts.h"
#include "passes/planner/narrow.h"
#include "tests/planner/random_problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

enum { GRAPHS = 600, POSITIONS = 200, WIDTHS = 16, MANY = 1 << 20 };

static bool within(double least, double x, double most)
{
    double slack = 1e-9 * (1 + fabs(x));
    return least <= x + slack && x <= most + slack;
}

// How many spots hold the cut's sums, among those of at most its width.
static int spots_with(const Narrow *n, const Cuts *c, int cut)
{
    int found = 0;
    for (int w = 0; w <= n->n_widths && w * n->bytes <= c->bytes[cut] * (1 + 1e-9); w++)
        for (int x = 0; x < n->n; x++) {
            const Spot *s = &n->spots[w * n->n + x];
            found += within(s->least_s, c->least[cut], s->most_s) &&
                     within(s->least_parameters, c->parameters[cut], s->most_parameters);
        }
    return found;
}

// Some cut has this number of seconds, of parameters.
static bool some_cut_has(const Cuts *c, const double *sums, double x)
{
    for (int i = 0; i < c->n; i++)
        if (within(x, sums[i], x))
            return true;
    return false;
}

static void spots_are_those_of_the_narrow_cuts(void **state)
{
    (void)state;
    for (int i = 0; i < GRAPHS; i++) {
        Arena a = {0};
        Random r = {(uint64_t)i};
        const Problem *p = random_problem(&a, &r, random_int(&r, 1, 12), 1);
        Core core = core_of(&a, p);
        Cuts *cuts = cuts_all(&a, &core, MANY);
        double most = exp(3 + 6 * random_unit(&r));
        Narrow *n = narrow_cuts(&a, &core, POSITIONS, most, WIDTHS);
        assert_non_null(n);
        for (int k = 0; k < cuts->n; k++)
            if (cuts->bytes[k] <= most)
                assert_true(spots_with(n, cuts, k));
        for (int k = 0; k < n->n * (n->n_widths + 1); k++) {
            const Spot *s = &n->spots[k];
            if (s->least_s > s->most_s)
                continue;
            assert_true(some_cut_has(cuts, cuts->least, s->least_s));
            assert_true(some_cut_has(cuts, cuts->least, s->most_s));
            assert_true(some_cut_has(cuts, cuts->parameters, s->least_parameters));
            assert_true(some_cut_has(cuts, cuts->parameters, s->most_parameters));
        }
        arena_release(&a);
    }
}

static double work_of(const Core *c, const Machines *m)
{
    double sum = 0;
    for (int v = 0; v < c->n; v++)
        sum += c->least[v];
    return sum / m->types[0].speed / m->n;
}

static void no_plan_is_below_the_bound(void **state)
{
    (void)state;
    int closer = 0, near = 0;
    for (int i = 0; i < GRAPHS; i++) {
        Arena a = {0};
        Random r = {(uint64_t)i + 77};
        const Problem *p = random_problem(&a, &r, random_int(&r, 2, 12), 1);
        Machines *m = random_alike(&a, &r, random_int(&r, 2, 6));
        CostOptions o = random_options(&r);
        o.overlap = (Overlap)random_int(&r, 0, 1);
        const PlanResult *plan = planner_solve(&a, p, m, &o);
        m->levels[0] = m->host ? *m->link : m->levels[0];
        Core core = core_of(&a, p);
        double work = work_of(&core, m), time = plan->pipeline_time_s;
        double bound = plan->feasible ? bound_of_width(&a, &core, m, &o, work, 2 * time) : work;
        if (plan->feasible && (!plan->exact || bound > time * (1 + 1e-9))) {
            printf("seed %d: bound %.17g, best plan %.17g\n", i + 77, bound, time);
            print_problem(p, m, &o);
            fail();
        }
        assert_true(bound >= work);
        closer += plan->feasible && bound > work * 1.01;
        near += plan->feasible && bound > time * 0.99 && work < time * 0.9;
        arena_release(&a);
    }
    print_message(
        "of %d, %d above all work by all machines, %d within 1 %% of the optimum where "
        "that was 10 %% off\n",
        GRAPHS, closer, near);
    assert_true(closer > GRAPHS / 2);
    assert_true(near > GRAPHS / 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spots_are_those_of_the_narrow_cuts),
        cmocka_unit_test(no_plan_is_below_the_bound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
