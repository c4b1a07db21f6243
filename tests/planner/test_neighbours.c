// Graphs that have too many cuts for the search, by a limit set low on purpose: what families of cuts near a plan
// make of it, against the best of all cuts.
#include "passes/planner/coarse.h"
#include "passes/planner/neighbours.h"
#include "passes/planner/search.h"
#include "tests/planner/random_problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { N_GRAPHS = 120, FEW_CUTS = 100, MOST_MOVES = 20000 };

typedef struct Case {
    Arena arena;
    Random random;
    Problem *p;
    Machines *m;
    CostOptions o;
    Core core;
} Case;

// 36 to 60 nodes in branches that meet, or any graph of up to 18: hundreds or thousands of cuts.
static Case *begin(int group, int number)
{
    static Case c;
    arena_reset(&c.arena);
    c.random = (Random){(uint64_t)group << 32 | (uint64_t)number};
    bool layers = number % 2;
    c.p = random_graph(&c.arena, &c.random,
                       random_int(&c.random, layers ? 36 : 16, layers ? 60 : 18), 1,
                       layers ? SHAPE_LAYERS : SHAPE_ANY);
    c.core = core_of(&c.arena, c.p);
    return &c;
}

static void machines_and_options(Case *c, int number)
{
    c->m = number % 5 == 4 ? random_levels(&c->arena, &c->random)
                           : random_alike(&c->arena, &c->random, random_int(&c->random, 2, 8));
    if (number % 5 == 3)
        random_types(&c->arena, &c->random, c->m, 1, 0);
    c->o = random_options(&c->random);
    c->o.exact_stages = false;
    if (number % 3 == 0)
        c->o.memory_bytes = random_int(&c->random, 10, 100) * 1000.0;
}

static bool near(double x, double y)
{
    return fabs(x - y) <= 1e-9 * fabs(y);
}

// Seconds of what a search finds, by the definitions; infinite: nothing.
static double seconds_of(Case *c, int most_cuts, bool orders_alone)
{
    Search q = {.arena = &c->arena,
                .core = &c->core,
                .machines = c->m,
                .options = &c->o,
                .moves = moves_of(&c->arena, c->m, &c->o, MOST_MOVES),
                .goal = -1,
                .most_cuts = most_cuts,
                .orders_alone = orders_alone};
    Found found = {0};
    if (!search_plan(&q, &found))
        return INFINITY;
    StageChoice *stages = stages_of(&c->arena, c->m, &found);
    assert_null(planner_evaluate(&c->arena, c->p, c->m, &c->o, stages, found.steps.n));
    double t = stages_time_s(stages, found.steps.n);
    if (c->m->n_levels == 1)
        assert_true(near(t, found.steps.time_s));
    // On levels a move may be taken to cost more than it does.
    assert_true(t <= found.steps.time_s * (1 + 1e-9));
    return found.steps.time_s;
}

static void plans_from_families_lie_between_those_of_orders_and_the_best(void **state)
{
    (void)state;
    int n = 0, by_orders = 0, by_families = 0;
    for (int i = 0; i < N_GRAPHS; i++) {
        Case *c = begin(1, i);
        machines_and_options(c, i);
        if (!cuts_all(&c->arena, &c->core, 100000) || cuts_all(&c->arena, &c->core, FEW_CUTS))
            continue;
        double best = seconds_of(c, 0, false), orders = seconds_of(c, FEW_CUTS, true),
               families = seconds_of(c, FEW_CUTS, false);
        if (families < best * (1 - 1e-9) || families > orders * (1 + 1e-9)) {
            print_problem(c->p, c->m, &c->o);
            fail_msg("graph %d: %.17g s by orders, %.17g s by families, %.17g s at best", i,
                     orders, families, best);
        }
        n += best < INFINITY;
        by_orders += orders < best * 1.0002;
        by_families += families < best * 1.0002;
    }
    print_message("of %d plans orders found the best %d times, families %d times\n", n,
                  by_orders, by_families);
    assert_true(n > N_GRAPHS / 2);
    assert_true(by_families > by_orders);
}

// Nodes whose grain is below zero join no other; a graph that had become cyclic would put several of them in one.
static void coarse_graphs_have_no_cycles(void **state)
{
    (void)state;
    int joined = 0;
    for (int i = 0; i < N_GRAPHS; i++) {
        Case *c = begin(2, i);
        double *grain = arena_array(&c->arena, double, c->core.n);
        for (int v = 0; v < c->core.n; v++)
            grain[v] = random_one_in(&c->random, 2) ? -1 : random_unit(&c->random) * 4;
        Core *coarse = core_coarse(&c->arena, &c->core, grain, i % 4 < 2);
        int *alone = arena_array(&c->arena, int, coarse->n);
        for (int v = 0; v < c->core.n; v++) {
            int node = c->core.members.items[c->core.members.first[v]];
            alone[coarse->core_of[node]] += grain[v] < 0;
            assert_true(alone[coarse->core_of[node]] <= 1);
        }
        joined += c->core.n - coarse->n;
    }
    assert_true(joined > N_GRAPHS);
}

// Every family has cuts, within the limit, of all the nodes.
static void families_are_small(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        Case *c = begin(3, 2 * i + 1);
        int *order = arena_array(&c->arena, int, c->core.n), families = 0;
        for (int v = 0; v < c->core.n; v++)
            order[v] = v;
        Cuts *chain = cuts_of_order(&c->arena, &c->core, order);
        Step steps[] = {{0, c->core.n / 2, NULL}, {c->core.n / 2, c->core.n, NULL}};
        Steps plan = {.items = steps, .n = 2};
        Neighbours n;
        neighbours_init(&n, &c->core, FEW_CUTS);
        for (int k = 0; k < 2 * N_NEIGHBOUR_KINDS; k++) {
            Cuts *family = neighbours_next(&n, chain, &plan);
            families += family != NULL;
            assert_true(!family || (family->n > 1 && family->n <= FEW_CUTS));
            assert_true(!family || near(family->least[family->n - 1], chain->least[c->core.n]));
        }
        assert_true(families > 0 && n.count == 2 * N_NEIGHBOUR_KINDS && n.work > 0);
        neighbours_release(&n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_from_families_lie_between_those_of_orders_and_the_best),
        cmocka_unit_test(coarse_graphs_have_no_cycles),
        cmocka_unit_test(families_are_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
