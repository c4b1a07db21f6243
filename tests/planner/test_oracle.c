// The planner against all plans there are: thousands of small random graphs, on machines alike, unequal, on
// levels and on hosts, with memory limits just above and below what can be planned. STAGECC_LONG=1 looks
// at hundreds of thousands.
#include "passes/planner/search.h"
#include "tests/planner/oracle.h"
#include "tests/planner/random_problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

typedef struct Case {
    Arena arena;
    Random random;
    int number;
    Problem *p;
    Machines *m;
    CostOptions o;
    PlanResult *r;
} Case;

static int many(int quick)
{
    return getenv("STAGECC_LONG") ? 25 * quick : quick;
}

static Case *begin(int group, int number)
{
    static Case c;
    arena_reset(&c.arena);
    c.number = number;
    c.random = (Random){(uint64_t)group << 32 | (uint64_t)number};
    return &c;
}

static bool near(double x, double y)
{
    return fabs(x - y) <= 1e-9 * fabs(y);
}

#define AGREE(c, condition, ...)                                                               \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            printf("graph %d: ", (c)->number);                                                 \
            printf(__VA_ARGS__);                                                               \
            printf("\n");                                                                      \
            print_problem((c)->p, (c)->m, &(c)->o);                                            \
            fail_msg("%s", #condition);                                                        \
        }                                                                                      \
    } while (0)

// The plan is one, costs what it is said to cost, and nothing is below the bound.
static void check_plan(Case *c, const Oracle *k)
{
    double seconds;
    const PlanResult *r = c->r;
    const char *why = oracle_price(k, r->stages, r->n_stages, &seconds);
    AGREE(c, !why, "%s", why);
    AGREE(c, near(r->pipeline_time_s, seconds), "%.17g s are said to be %.17g", seconds,
          r->pipeline_time_s);
    AGREE(c, r->lower_bound_s <= r->pipeline_time_s * (1 + 1e-9), "the bound %.17g of %.17g",
          r->lower_bound_s, r->pipeline_time_s);
}

// Plans as many as there are: the planner must find one that is as good as the best, and know that it is.
static void check_exact(Case *c, const Oracle *k, double best)
{
    c->r = planner_solve(&c->arena, c->p, c->m, &c->o);
    if (best == INFINITY) {
        AGREE(c, !c->r->feasible, "a plan of %.17g s where there is none",
              c->r->pipeline_time_s);
        assert_non_null(c->r->why);
        return;
    }
    AGREE(c, c->r->feasible, "no plan (%s) where one takes %.17g s", c->r->why, best);
    check_plan(c, k);
    AGREE(c, near(c->r->pipeline_time_s, best), "%.17g s (%s), the best takes %.17g s",
          c->r->pipeline_time_s, c->r->method, best);
    AGREE(c, c->r->exact && c->r->lower_bound_s == c->r->pipeline_time_s,
          "the best of %s is not known as such", c->r->method);
}

// The least memory with which there is a plan, whatever it takes.
static double least_memory(Arena *a, const Oracle *k)
{
    Oracle bytes = *k;
    bytes.memory = true;
    return oracle_tails(a, &bytes)->best;
}

static double fullest(const PlanResult *r)
{
    double most = 0;
    for (int s = 0; s < r->n_stages; s++)
        most = fmax(most, r->stages[s].memory_bytes);
    return most;
}

// Limits at, below and between what the smallest and the fastest plan need.
static void check_limits(Case *c, Oracle *k)
{
    double least = least_memory(&c->arena, k), most = fullest(c->r);
    if (least < 1 || least == INFINITY)
        return;
    double limits[] = {least, least - 0.5, most - 1, most,
                       floor(least + random_unit(&c->random) * (most - least))};
    int n = random_int(&c->random, 0, 4);
    for (int i = 0; i < 2; i++, n = (n + 1) % 5) {
        c->o.memory_bytes = fmax(limits[n], 0.5);
        OracleTails *t = oracle_tails(&c->arena, k);
        AGREE(c, (t->best < INFINITY) == (c->o.memory_bytes >= least),
              "%g bytes are enough, the limit is %g", least, c->o.memory_bytes);
        check_exact(c, k, t->best);
    }
}

static void alike_machines_are_planned_as_well_as_can_be(void **state)
{
    (void)state;
    for (int i = 0; i < many(2000); i++) {
        Case *c = begin(1, i);
        c->p = random_problem(&c->arena, &c->random, random_int(&c->random, 1, 8), 1);
        c->m = random_alike(&c->arena, &c->random, random_int(&c->random, 1, 4));
        c->o = random_options(&c->random);
        Oracle *k = oracle_of(&c->arena, c->p, c->m, &c->o);
        OracleTails *t = oracle_tails(&c->arena, k);
        check_exact(c, k, t->best);
        AGREE(c, !c->r->feasible || c->r->machines_used == t->fewest,
              "%d machines, %d do as well", c->r->machines_used, t->fewest);
        if (c->r->feasible)
            check_limits(c, k);
    }
}

static void larger_graphs_on_more_machines_are_too(void **state)
{
    (void)state;
    for (int i = 0; i < many(60); i++) {
        Case *c = begin(2, i);
        c->p = random_problem(&c->arena, &c->random, random_int(&c->random, 8, 10), 1);
        c->m = random_alike(&c->arena, &c->random, 5);
        c->o = random_options(&c->random);
        Oracle *k = oracle_of(&c->arena, c->p, c->m, &c->o);
        OracleTails *t = oracle_tails(&c->arena, k);
        check_exact(c, k, t->best);
        AGREE(c, !c->r->feasible || c->r->machines_used == t->fewest,
              "%d machines, %d do as well", c->r->machines_used, t->fewest);
    }
}

// What is done where the moves would be too many: the same, from the number of machines alone.
static void counting_machines_is_enough(void **state)
{
    (void)state;
    for (int i = 0; i < many(1500); i++) {
        Case *c = begin(7, i);
        c->p = random_problem(&c->arena, &c->random, random_int(&c->random, 1, 7), 1);
        c->m = random_alike(&c->arena, &c->random, random_int(&c->random, 1, 5));
        c->o = random_options(&c->random);
        c->o.exact_stages = false;
        c->o.recompute = random_int(&c->random, 0, 1);
        c->o.memory_bytes = random_int(&c->random, 0, 1) * random_int(&c->random, 1, 9000);
        Core core = core_of(&c->arena, c->p);
        Search q = {
            .arena = &c->arena, .core = &core, .machines = c->m, .options = &c->o, .goal = -1};
        Found found = {0};
        OracleTails *t = oracle_tails(&c->arena, oracle_of(&c->arena, c->p, c->m, &c->o));
        bool any = search_plan(&q, &found);
        AGREE(c, any == (t->best < INFINITY), "a plan: %d, %.17g s", any, t->best);
        AGREE(c, !any || (found.proven && near(found.steps.time_s, t->best)),
              "%.17g s, the best takes %.17g s", found.steps.time_s, t->best);
        StageChoice *stages = any ? stages_of(&c->arena, c->m, &found) : NULL;
        int used = any ? machines_of_stages(stages, found.steps.n) : 0;
        AGREE(c, !any || used == t->fewest, "%d machines, %d do as well", used, t->fewest);
    }
}

static void unequal_machines_are_too(void **state)
{
    (void)state;
    for (int i = 0; i < many(1500); i++) {
        Case *c = begin(3, i);
        int n_profiles = random_int(&c->random, 1, 3);
        c->p = random_problem(&c->arena, &c->random, random_int(&c->random, 1, 7), n_profiles);
        c->m = random_alike(&c->arena, &c->random, random_int(&c->random, 2, 4));
        random_types(&c->arena, &c->random, c->m, n_profiles, 1e4);
        c->o = random_options(&c->random);
        Oracle *k = oracle_of(&c->arena, c->p, c->m, &c->o);
        check_exact(c, k, oracle_tails(&c->arena, k)->best);
        if (c->r->feasible && random_one_in(&c->random, 2)) {
            c->o.memory_bytes = fmax(fullest(c->r) - 1, 0.5);
            check_exact(c, k, oracle_tails(&c->arena, k)->best);
        }
    }
}

// Stages side by side in the order of the machines are what the planner looks at where links differ.
static void check_side_by_side(Case *c, const Oracle *k)
{
    double anywhere = c->m->n > 4 ? INFINITY : oracle_list(k, PLANS_ANYWHERE);
    double side_by_side = oracle_list(k, PLANS_SIDE_BY_SIDE);
    c->r = planner_solve(&c->arena, c->p, c->m, &c->o);
    AGREE(c, c->r->feasible || side_by_side == INFINITY, "no plan (%s) where one takes %.17g s",
          c->r->why, side_by_side);
    if (!c->r->feasible) {
        assert_non_null(c->r->why);
        return;
    }
    check_plan(c, k);
    AGREE(c, c->r->lower_bound_s <= anywhere * (1 + 1e-9), "the bound %.17g, a plan of %.17g s",
          c->r->lower_bound_s, anywhere);
    AGREE(c, !c->r->exact || anywhere == INFINITY || near(c->r->pipeline_time_s, anywhere),
          "%.17g s said to be the best, one takes %.17g s", c->r->pipeline_time_s, anywhere);
    AGREE(c, c->r->pipeline_time_s <= side_by_side * (1 + 1e-9),
          "%.17g s (%s), the best side by side takes %.17g s", c->r->pipeline_time_s,
          c->r->method, side_by_side);
}

// Half of the plans once more where the fullest stage no longer fits.
static void check_with_less_memory(Case *c)
{
    Oracle *k = oracle_of(&c->arena, c->p, c->m, &c->o);
    check_side_by_side(c, k);
    if (c->r->feasible && random_one_in(&c->random, 2)) {
        c->o.memory_bytes = fmax(fullest(c->r) - 1, 0.5);
        check_side_by_side(c, k);
    }
}

static void levels_are_planned_as_well_as_can_be_side_by_side(void **state)
{
    (void)state;
    for (int i = 0; i < many(1000); i++) {
        Case *c = begin(4, i);
        c->m = random_levels(&c->arena, &c->random);
        c->p = random_problem(&c->arena, &c->random,
                              random_int(&c->random, 1, c->m->n > 4 ? 4 : 5), 1);
        c->o = random_options(&c->random);
        check_with_less_memory(c);
    }
}

static void hosts_with_links_of_their_own_are_too(void **state)
{
    (void)state;
    for (int i = 0; i < many(1000); i++) {
        Case *c = begin(5, i);
        int n_profiles = random_int(&c->random, 1, 2);
        c->m = random_hosts(&c->arena, &c->random, random_int(&c->random, 2, 4));
        if (random_one_in(&c->random, 2))
            random_types(&c->arena, &c->random, c->m, n_profiles, 1e4);
        c->p = random_problem(&c->arena, &c->random, random_int(&c->random, 1, 5), n_profiles);
        c->o = random_options(&c->random);
        check_with_less_memory(c);
    }
}

// The two ways of the oracle itself: by sets of machines, and one plan after another.
static void the_oracle_agrees_with_itself(void **state)
{
    (void)state;
    for (int i = 0; i < many(300); i++) {
        Case *c = begin(6, i);
        c->p = random_problem(&c->arena, &c->random, random_int(&c->random, 1, 5), 2);
        c->m = random_alike(&c->arena, &c->random, random_int(&c->random, 1, 4));
        random_types(&c->arena, &c->random, c->m, 2, 1e4);
        c->o = random_options(&c->random);
        c->o.memory_bytes = random_int(&c->random, 0, 1) * random_int(&c->random, 1, 5000);
        Oracle *k = oracle_of(&c->arena, c->p, c->m, &c->o);
        double listed = oracle_list(k, PLANS_ANYWHERE), best = oracle_tails(&c->arena, k)->best;
        AGREE(c, listed == best || near(listed, best), "%.17g s and %.17g s", listed, best);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oracle_agrees_with_itself),
        cmocka_unit_test(alike_machines_are_planned_as_well_as_can_be),
        cmocka_unit_test(larger_graphs_on_more_machines_are_too),
        cmocka_unit_test(counting_machines_is_enough),
        cmocka_unit_test(unequal_machines_are_too),
        cmocka_unit_test(levels_are_planned_as_well_as_can_be_side_by_side),
        cmocka_unit_test(hosts_with_links_of_their_own_are_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
