// What must hold of every plan, on graphs too large to try all of them: more machines, bandwidth or memory
// never hurt, units and names do not matter, what was planted is found.
#include "passes/planner/planner.h"
#include "tests/planner/random_problem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

enum { N_GRAPHS = 60 };

typedef struct Case {
    Arena arena;
    Random random;
    Problem *p;
    Machines *m;
    CostOptions o;
} Case;

// Graphs of 20 to 200 nodes with few enough cuts to look at all: chains with skips, three branches that meet.
static Case *begin(int group, int number)
{
    static Case c;
    arena_reset(&c.arena);
    c.random = (Random){(uint64_t)group << 32 | (uint64_t)number};
    bool chain = number % 2;
    c.p = random_graph(&c.arena, &c.random, random_int(&c.random, 20, chain ? 200 : 36), 1,
                       chain ? SHAPE_CHAIN : SHAPE_LAYERS);
    c.m = random_alike(&c.arena, &c.random, random_int(&c.random, 1, 8));
    c.o = random_options(&c.random);
    c.o.exact_stages = false;
    if (number % 3 == 0)
        c.o.memory_bytes = random_int(&c.random, 1, 100) * 1000.0;
    return &c;
}

static bool near(double x, double y)
{
    return x == y || fabs(x - y) <= 1e-9 * fabs(y);
}

// Seconds of the best plan; infinite: there is none. Every plan must be what it says.
static double solve(Case *c, const Problem *p, const Machines *m, const CostOptions *o)
{
    PlanResult *r = planner_solve(&c->arena, p, m, o);
    if (!r->feasible) {
        assert_non_null(r->why);
        return INFINITY;
    }
    assert_null(planner_evaluate(&c->arena, p, m, o, r->stages, r->n_stages));
    double t = stages_time_s(r->stages, r->n_stages);
    assert_true(near(t, r->pipeline_time_s));
    assert_true(r->lower_bound_s <= t * (1 + 1e-9));
    assert_true(r->exact || m->n_levels > 1);
    return t;
}

static void never_slower(double t, double than)
{
    if (t > than * (1 + 1e-9))
        fail_msg("%.17g s, and %.17g s with less", t, than);
}

static void another_machine_never_hurts(void **state)
{
    (void)state;
    for (int i = 0; i < N_GRAPHS; i++) {
        Case *c = begin(1, i);
        double t = INFINITY;
        for (int n = 1; n <= 6; n++) {
            double b = c->m->levels[0].bytes_per_s;
            Machines *m = machines_alike(&c->arena, &n, &b, 1);
            double next = solve(c, c->p, m, &c->o);
            never_slower(next, t);
            t = next;
        }
    }
}

static void more_bandwidth_memory_or_speed_never_hurts(void **state)
{
    (void)state;
    for (int i = 0; i < N_GRAPHS; i++) {
        Case *c = begin(2, i);
        double t = solve(c, c->p, c->m, &c->o), factor = 1 + 3 * random_unit(&c->random);
        CostOptions roomy = c->o;
        roomy.memory_bytes *= factor;
        never_slower(solve(c, c->p, c->m, &roomy), t);
        c->m->levels[0].bytes_per_s *= factor;
        for (int k = 0; k < c->m->n_hosts * c->m->n_hosts; k++)
            c->m->link[k].bytes_per_s *= factor;
        double faster = solve(c, c->p, c->m, &c->o);
        never_slower(faster, t);
        c->m->types[0].speed *= factor;
        never_slower(solve(c, c->p, c->m, &c->o), faster);
    }
}

static void more_bandwidth_never_hurts_on_levels(void **state)
{
    (void)state;
    for (int i = 0; i < N_GRAPHS; i++) {
        Case *c = begin(3, i);
        c->o.overlap = c->o.overlap == OVERLAP_NONE ? OVERLAP_ALL : c->o.overlap;
        c->m = random_levels(&c->arena, &c->random);
        double t = solve(c, c->p, c->m, &c->o), factor = 1 + 3 * random_unit(&c->random);
        for (int l = 0; l < c->m->n_levels; l++)
            c->m->levels[l].bytes_per_s *= factor;
        never_slower(solve(c, c->p, c->m, &c->o), t);
    }
}

static void units_do_not_matter(void **state)
{
    (void)state;
    for (int i = 0; i < N_GRAPHS; i++) {
        Case *c = begin(4, i);
        double t = solve(c, c->p, c->m, &c->o), s = 1000, b = 8; // milliseconds and bits
        for (int v = 0; v < c->p->n; v++) {
            ProblemNode *n = &c->p->nodes[v];
            n->forward_s[0] *= s;
            n->backward_s[0] *= s;
            n->parameter_bytes *= b;
            n->activation_bytes *= b;
        }
        for (int k = 0; k < c->p->n_tensors; k++)
            c->p->tensors[k].bytes *= b;
        c->m->levels[0].bytes_per_s *= b / s;
        c->m->levels[0].latency_s *= s;
        for (int k = 0; k < c->m->n_hosts * c->m->n_hosts; k++) {
            c->m->link[k].bytes_per_s *= b / s;
            c->m->link[k].latency_s *= s;
        }
        c->o.memory_bytes *= b;
        assert_true(near(solve(c, c->p, c->m, &c->o), t * s));
    }
}

// The same problem with its nodes and tensors in another order.
static Problem *shuffled(Case *c)
{
    Arena *a = &c->arena;
    const Problem *p = c->p;
    Problem *q = arena_copy(a, p, sizeof *p);
    int *to = random_order(a, &c->random, p->n),
        *place = random_order(a, &c->random, p->n_tensors);
    q->nodes = arena_array(a, ProblemNode, p->n);
    q->tensors = arena_array(a, ProblemTensor, p->n_tensors + 1);
    for (int v = 0; v < p->n; v++)
        q->nodes[to[v]] = p->nodes[v];
    for (int i = 0; i < p->n_tensors; i++) {
        const ProblemTensor *t = &p->tensors[i];
        int *users = arena_array(a, int, t->n_users + 1);
        for (int u = 0; u < t->n_users; u++)
            users[t->n_users - 1 - u] = to[t->users[u]];
        q->tensors[place[i]] = (ProblemTensor){to[t->producer], users, t->n_users, t->bytes};
    }
    return q;
}

static void names_do_not_matter(void **state)
{
    (void)state;
    for (int i = 0; i < N_GRAPHS; i++) {
        Case *c = begin(5, i);
        double t = solve(c, c->p, c->m, &c->o);
        assert_true(near(solve(c, shuffled(c), c->m, &c->o), t));
    }
}

// A node of no time and no size behind all others, before all of them, or apart.
static void nodes_that_do_nothing_take_no_machine(void **state)
{
    (void)state;
    for (int i = 0; i < N_GRAPHS; i++) {
        Case *c = begin(6, i);
        PlanResult *r = planner_solve(&c->arena, c->p, c->m, &c->o);
        Problem q = *c->p;
        int v = q.n++;
        q.nodes = arena_array(&c->arena, ProblemNode, q.n);
        memcpy(q.nodes, c->p->nodes, sizeof *q.nodes * (size_t)v);
        q.nodes[v].name = "idle";
        q.tensors = arena_array(&c->arena, ProblemTensor, q.n_tensors + v);
        memcpy(q.tensors, c->p->tensors, sizeof *q.tensors * (size_t)q.n_tensors);
        for (int w = 0; i % 3 && w < v; w++) {
            int *user = arena_new(&c->arena, int);
            *user = i % 3 == 1 ? v : w;
            q.tensors[q.n_tensors++] = (ProblemTensor){i % 3 == 1 ? w : v, user, 1, 0};
        }
        PlanResult *with = planner_solve(&c->arena, &q, c->m, &c->o);
        assert_int_equal(with->feasible, r->feasible);
        assert_true(near(with->pipeline_time_s, r->pipeline_time_s));
        assert_int_equal(with->machines_used, r->machines_used);
    }
}

// 10 s, then 13 that two machines do wherever they are cut: where one byte crosses.
static void of_plans_equally_fast_one_sends_little(void **state)
{
    (void)state;
    Arena a = {0};
    ProblemNode nodes[] = {{"a", .forward_s = {10}},
                           {"b", .forward_s = {4}},
                           {"c", .forward_s = {4}},
                           {"d", .forward_s = {1}},
                           {"e", .forward_s = {4}}};
    int users[] = {1, 2, 3, 4}, three = 3;
    double bytes[] = {5, 9, 1, 7}, bytes_per_s = 100;
    ProblemTensor tensors[4];
    for (int t = 0; t < 4; t++)
        tensors[t] = (ProblemTensor){t, &users[t], 1, bytes[t]};
    Problem p = {.nodes = nodes, .n = 5, .tensors = tensors, .n_tensors = 4, .n_profiles = 1};
    CostOptions o = {.model = "stagecc", .schedule = "1f1b", .straight = true};
    o.overlap = OVERLAP_TRANSFERS;
    PlanResult *r = planner_solve(&a, &p, machines_alike(&a, &three, &bytes_per_s, 1), &o);
    assert_true(r->feasible && near(r->pipeline_time_s, 10));
    assert_int_equal(r->n_stages, 3);
    assert_true(r->stages[0].out_bytes == 5);
    assert_true(r->stages[1].out_bytes == 1);
    arena_release(&a);
}

// More cuts than there are atoms: still a plan, a bound below it, and no claim beyond the two.
static void graphs_with_too_many_cuts_are_planned_all_the_same(void **state)
{
    (void)state;
    Case c = {0};
    for (int i = 0; i < 6; i++) {
        arena_reset(&c.arena);
        c.random = (Random){(uint64_t)i};
        c.p = random_graph(&c.arena, &c.random, 120, 1, i % 2 ? SHAPE_LOOSE : SHAPE_PARTS);
        c.m = i < 4 ? random_alike(&c.arena, &c.random, 4) : random_levels(&c.arena, &c.random);
        c.o = random_options(&c.random);
        c.o.exact_stages = false;
        c.o.recompute = 0;
        PlanResult *r = planner_solve(&c.arena, c.p, c.m, &c.o);
        assert_true(r->feasible);
        assert_null(planner_evaluate(&c.arena, c.p, c.m, &c.o, r->stages, r->n_stages));
        double t = stages_time_s(r->stages, r->n_stages);
        assert_true(near(t, r->pipeline_time_s));
        assert_true(r->lower_bound_s <= t * (1 + 1e-9));
        assert_true(!r->exact || near(t, r->lower_bound_s));
        never_slower(t, r->single_machine_time_s); // one machine is a plan, too
    }
    arena_release(&c.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_machine_never_hurts),
        cmocka_unit_test(more_bandwidth_memory_or_speed_never_hurts),
        cmocka_unit_test(more_bandwidth_never_hurts_on_levels),
        cmocka_unit_test(units_do_not_matter),
        cmocka_unit_test(names_do_not_matter),
        cmocka_unit_test(nodes_that_do_nothing_take_no_machine),
        cmocka_unit_test(of_plans_equally_fast_one_sends_little),
        cmocka_unit_test(graphs_with_too_many_cuts_are_planned_all_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
