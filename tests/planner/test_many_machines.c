// Plans for very many machines, which are counted, leveled or taken by whole groups: what was planted is found,
// what is found is as good as what is known to be there, and fits.
#include "passes/planner/search.h"
#include "tests/planner/random_problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

typedef struct Case {
    Arena arena;
    Random random;
    Problem *p;
    Machines *m;
    CostOptions o;
} Case;

static bool near(double x, double y)
{
    return x == y || fabs(x - y) <= 1e-9 * fabs(y);
}

static void never_slower(double t, double than)
{
    if (t > than * (1 + 1e-9))
        fail_msg("%.17g s, and %.17g s without looking far", t, than);
}

// A chain made of stages: one second a machine, few bytes between stages and many within, parameters too
// large to replicate but where replicas are planted.
typedef struct Planted {
    int n, first[701], replicas[701], machines;
} Planted;

static Problem *plant(Case *c, Planted *g, int n_stages)
{
    Arena *a = &c->arena;
    Problem *p = arena_new(a, Problem);
    g->n = n_stages;
    g->machines = 0;
    p->nodes = arena_array(a, ProblemNode, 8 * g->n);
    p->tensors = arena_array(a, ProblemTensor, 8 * g->n);
    p->n_profiles = 1;
    for (int s = 0; s < g->n; s++) {
        int n = random_int(&c->random, 1, 8);
        g->first[s] = p->n;
        g->replicas[s] =
            s % 2 && random_one_in(&c->random, 2) ? random_int(&c->random, 2, 4) : 1;
        g->machines += g->replicas[s];
        for (int i = 0; i < n; i++, p->n++) {
            int *user = arena_new(a, int);
            *user = p->n + 1;
            double seconds = (double)g->replicas[s] / n;
            p->tensors[p->n] = (ProblemTensor){p->n, user, 1, i == n - 1 ? 1 : 1e6};
            p->nodes[p->n] = (ProblemNode){.name = arena_printf(a, "n%d", p->n),
                                           .forward_s = {seconds / 4},
                                           .backward_s = {seconds / 4 * 3},
                                           .parameter_bytes = g->replicas[s] > 1 ? 0 : 1e6};
        }
    }
    g->first[g->n] = p->n;
    p->n_tensors = p->n - 1;
    return p;
}

static void find_planted(Case *c, int n_stages)
{
    Planted g;
    Problem *p = plant(c, &g, n_stages);
    double bytes_per_s = 1e5;
    Machines *m = machines_alike(&c->arena, &g.machines, &bytes_per_s, 1);
    CostOptions o = {.model = "stagecc", .schedule = "1f1b", .overlap = OVERLAP_TRANSFERS};
    PlanResult *r = planner_solve(&c->arena, p, m, &o);
    assert_true(r->feasible && r->exact);
    assert_true(near(r->pipeline_time_s, 1));
    assert_int_equal(r->machines_used, g.machines);
    assert_int_equal(r->n_stages, g.n);
    for (int s = 0; s < g.n; s++) {
        assert_int_equal(r->stages[s].replicas, g.replicas[s]);
        assert_int_equal(r->stages[s].n_nodes, g.first[s + 1] - g.first[s]);
        for (int k = 0; k < r->stages[s].n_nodes; k++)
            assert_int_equal(r->stages[s].nodes[k], g.first[s] + k);
    }
}

static void what_was_planted_is_found(void **state)
{
    (void)state;
    Case c = {0};
    for (int i = 0; i < 102; i++) {
        arena_reset(&c.arena);
        c.random = (Random){(uint64_t)i};
        // The last two on very many machines: all pairs of cuts, windows of them.
        find_planted(&c, i < 100 ? random_int(&c.random, 1, 32) : i == 100 ? 200 : 700);
    }
    arena_release(&c.arena);
}

static int machines_found(Case *c, const Found *found)
{
    return machines_of_stages(stages_of(&c->arena, c->m, found), found->steps.n);
}

// Bytes that take up to six replicas to send while every machine does its share of the work.
static double random_crossing(Case *c)
{
    int profile = c->m->types[0].profile;
    double seconds = 0, speed = c->m->types[0].speed;
    for (int v = 0; v < c->p->n; v++)
        seconds += c->p->nodes[v].forward_s[profile] + c->p->nodes[v].backward_s[profile];
    return random_int(&c->random, 0, 12) / 4.0 * seconds / speed / c->m->n *
           links_slowest(c->m).bytes_per_s;
}

// Machines are counted, along windows of a chain: as a sweep over all moves would have it.
static void counting_along_chains_is_enough(void **state)
{
    (void)state;
    Case c = {0};
    for (int i = 0; i < 204; i++) {
        arena_reset(&c.arena);
        c.random = (Random){(uint64_t)i};
        int n = i < 4 ? 3100 : random_int(&c.random, 60, 120);
        c.p = random_graph(&c.arena, &c.random, n, 1 + i % 2, SHAPE_CHAIN);
        c.m = random_alike(&c.arena, &c.random, random_int(&c.random, 2, i < 4 ? 9 : 40));
        c.m->types[0].profile = i % 2;
        for (int t = 0; i % 3 && t < c.p->n_tensors; t++)
            c.p->tensors[t].bytes = random_crossing(&c);
        c.o = random_options(&c.random);
        c.o.overlap = OVERLAP_TRANSFERS;
        c.o.exact_stages = false;
        c.o.recompute = random_int(&c.random, 0, 1);
        Core core = core_of(&c.arena, c.p);
        Search q = {
            .arena = &c.arena, .core = &core, .machines = c.m, .options = &c.o, .goal = -1};
        Found counted = {0}, swept = {0};
        assert_true(search_plan(&q, &counted) && counted.proven);
        q.moves = moves_of(&c.arena, c.m, &c.o, 20000);
        q.moves->nested = false; // else they would be counted again
        assert_true(search_plan(&q, &swept) && swept.proven);
        int few = machines_found(&c, &counted), fewest = machines_found(&c, &swept);
        if (!near(counted.steps.time_s, swept.steps.time_s) || few != fewest)
            fail_msg("chain %d: %.17g s on %d by counting, %.17g s on %d", i,
                     counted.steps.time_s, few, swept.steps.time_s, fewest);
    }
    arena_release(&c.arena);
}

// Thousands of machines, on levels or unequal: what holds of all plans.
static void very_many_machines_get_a_plan(void **state)
{
    (void)state;
    Case c = {0};
    for (int i = 0; i < 16; i++) {
        arena_reset(&c.arena);
        c.random = (Random){(uint64_t)i};
        int sizes[] = {8, 48}, n = 384;
        double bytes_per_s[] = {1000, 300};
        c.p = random_graph(&c.arena, &c.random, 60, 1, SHAPE_CHAIN);
        c.m = i % 2 ? machines_alike(&c.arena, sizes, bytes_per_s, 2)
                    : machines_alike(&c.arena, &n, bytes_per_s, 1);
        if (i % 4 > 1)
            random_types(&c.arena, &c.random, c.m, 1, 1e5);
        c.o = random_options(&c.random);
        c.o.exact_stages = false;
        PlanResult *r = planner_solve(&c.arena, c.p, c.m, &c.o);
        if (!r->feasible) {
            assert_true(r->why && c.m->n_types > 1);
            continue;
        }
        assert_null(planner_evaluate(&c.arena, c.p, c.m, &c.o, r->stages, r->n_stages));
        double t = stages_time_s(r->stages, r->n_stages);
        assert_true(near(t, r->pipeline_time_s));
        assert_true(r->lower_bound_s <= t * (1 + 1e-9));
        if (r->exact != near(t, r->lower_bound_s))
            fail_msg("%.17g s, bound %.17g s, exact %d", t, r->lower_bound_s, r->exact);
        if (!c.o.straight && c.m->n_types == 1)
            never_slower(t, r->data_parallel_time_s);
    }
    arena_release(&c.arena);
}

// Two neighbours take 1 s; whoever looks at slow links alone finds 2 s, and must not call that the best.
static void very_many_machines_on_levels_are_not_said_to_be_planned_best(void **state)
{
    (void)state;
    Arena a = {0};
    ProblemNode nodes[] = {{"a", .forward_s = {1}}, {"b", .forward_s = {1}}};
    int user = 1, sizes[] = {200, 2};
    double bytes_per_s[] = {1000, 1};
    ProblemTensor tensor = {0, &user, 1, 100};
    Problem p = {.nodes = nodes, .n = 2, .tensors = &tensor, .n_tensors = 1, .n_profiles = 1};
    CostOptions o = {.model = "stagecc", .schedule = "1f1b", .straight = true};
    o.overlap = OVERLAP_TRANSFERS;
    PlanResult *r = planner_solve(&a, &p, machines_alike(&a, sizes, bytes_per_s, 2), &o);
    assert_true(r->feasible && r->lower_bound_s <= 1);
    assert_int_equal(r->exact, near(r->pipeline_time_s, 1));
    arena_release(&a);
}

// Servers of eight machines with a stage planted on each: three layers of 8 s, whose gradients are summed quickly
// within a server and slowly between two. Fewer than eight machines for fewer layers do not come out even.
static void very_many_machines_are_taken_by_whole_servers(void **state)
{
    (void)state;
    enum { SERVERS = 48, LAYERS = 3 * SERVERS };
    Arena a = {0};
    int sizes[] = {8, SERVERS}, users[LAYERS];
    double bytes_per_s[] = {1e9, 1e5};
    ProblemNode nodes[LAYERS];
    ProblemTensor tensors[LAYERS];
    for (int v = 0; v < LAYERS; v++) {
        users[v] = v + 1;
        tensors[v] = (ProblemTensor){v, &users[v], 1, 1};
        nodes[v] =
            (ProblemNode){.name = "n", .backward_s = {8.0 / 3}, .parameter_bytes = 1e6 / 3};
    }
    Problem p = {.nodes = nodes,
                 .n = LAYERS,
                 .tensors = tensors,
                 .n_tensors = LAYERS - 1,
                 .n_profiles = 1};
    for (int overlap = OVERLAP_NONE; overlap <= OVERLAP_ALL; overlap++) {
        CostOptions o = {.model = "stagecc", .schedule = "1f1b", .overlap = (Overlap)overlap};
        PlanResult *r = planner_solve(&a, &p, machines_alike(&a, sizes, bytes_per_s, 2), &o);
        assert_true(r->feasible);
        never_slower(r->pipeline_time_s, 1.001);
    }
    arena_release(&a);
}

// A plan for as many machines that are all as slow as the slowest, and as small as the smallest, is one for them.
static void very_many_unequal_machines_are_worth_as_many_of_the_least(void **state)
{
    (void)state;
    Case c = {0};
    for (int i = 0; i < 40; i++) {
        arena_reset(&c.arena);
        c.random = (Random){(uint64_t)i};
        c.p = random_graph(&c.arena, &c.random, 40, 1, SHAPE_CHAIN);
        c.m = random_alike(&c.arena, &c.random, 300);
        c.o = random_options(&c.random);
        c.o.exact_stages = false;
        Machines least = *c.m;
        random_types(&c.arena, &c.random, c.m, 1, 1e6);
        for (int t = 0; i % 2 && t < c.m->n_types; t++)
            c.m->types[t].memory_bytes = 0;
        least.types = arena_new(&c.arena, MachineType);
        *least.types = (MachineType){.speed = INFINITY};
        for (int t = 0; t < c.m->n_types; t++) {
            double memory = c.m->types[t].memory_bytes, *own = &least.types->memory_bytes;
            least.types->speed = fmin(least.types->speed, c.m->types[t].speed);
            *own = memory > 0 && (*own <= 0 || memory < *own) ? memory : *own;
        }
        least.type = arena_array(&c.arena, int, least.n);
        PlanResult *r = planner_solve(&c.arena, c.p, c.m, &c.o);
        PlanResult *of_least = planner_solve(&c.arena, c.p, &least, &c.o);
        assert_true(r->feasible || !of_least->feasible);
        if (of_least->feasible)
            never_slower(r->pipeline_time_s, of_least->pipeline_time_s);
    }
    arena_release(&c.arena);
}

// Half of 400 machines have room for one node of 1000 bytes, not for two: a plan must fit those it stands on.
static void very_many_unequal_machines_hold_what_they_get(void **state)
{
    (void)state;
    Arena a = {0};
    ProblemNode nodes[] = {{"a", .forward_s = {1}, .activation_bytes = 1000},
                           {"b", .forward_s = {1}, .activation_bytes = 1000}};
    int user = 1, n = 400;
    double bytes_per_s = 1;
    ProblemTensor tensor = {0, &user, 1, 100};
    Problem p = {.nodes = nodes, .n = 2, .tensors = &tensor, .n_tensors = 1, .n_profiles = 1};
    MachineType types[] = {{.speed = 1, .memory_bytes = 1e6},
                           {.speed = 1, .memory_bytes = 1500}};
    Machines *m = machines_alike(&a, &n, &bytes_per_s, 1);
    m->types = types;
    m->n_types = 2;
    for (int i = n / 2; i < n; i++)
        m->type[i] = 1;
    CostOptions o = {.model = "stagecc", .schedule = "1f1b", .micro_batches = 1};
    PlanResult *r =
        planner_solve(&a, &p, m, &o); // ends the process where the plan does not fit
    assert_true(r->feasible && r->lower_bound_s <= r->pipeline_time_s);
    types[1].memory_bytes = 900;
    r = planner_solve(&a, &p, m, &o);
    assert_true(r->feasible || strstr(r->why, "too many machines to tell apart"));
    arena_release(&a);
}

// Each node keeps 1000 bytes, of which a stage that is not the last one needs twice as many, unless it computes
// them again.
static void very_many_machines_compute_again_where_nothing_else_fits(void **state)
{
    (void)state;
    Arena a = {0};
    ProblemNode nodes[4];
    ProblemTensor tensors[3];
    int users[] = {1, 2, 3}, n = 384;
    double bytes_per_s = 100;
    for (int v = 0; v < 4; v++)
        nodes[v] = (ProblemNode){.name = "n", .forward_s = {1}, .activation_bytes = 1000};
    for (int t = 0; t < 3; t++)
        tensors[t] = (ProblemTensor){t, &users[t], 1, 1};
    Problem p = {.nodes = nodes, .n = 4, .tensors = tensors, .n_tensors = 3, .n_profiles = 1};
    Machines *m = machines_alike(&a, &n, &bytes_per_s, 1);
    CostOptions o = {.model = "stagecc", .schedule = "1f1b", .recompute = 2};
    PlanResult *r = planner_solve(&a, &p, m, &o);
    assert_true(r->feasible && r->exact && !r->stages[0].recompute);
    o.memory_bytes = 1500;
    r = planner_solve(&a, &p, m, &o);
    assert_true(r->feasible && r->stages[0].recompute);
    o.recompute = 0;
    assert_false(planner_solve(&a, &p, m, &o)->feasible);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_planted_is_found),
        cmocka_unit_test(counting_along_chains_is_enough),
        cmocka_unit_test(very_many_machines_get_a_plan),
        cmocka_unit_test(very_many_machines_on_levels_are_not_said_to_be_planned_best),
        cmocka_unit_test(very_many_machines_are_taken_by_whole_servers),
        cmocka_unit_test(very_many_unequal_machines_are_worth_as_many_of_the_least),
        cmocka_unit_test(very_many_unequal_machines_hold_what_they_get),
        cmocka_unit_test(very_many_machines_compute_again_where_nothing_else_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
