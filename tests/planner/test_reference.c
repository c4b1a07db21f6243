// What PipeDream's optimizer answered for public profiles, and what our form of its recurrence does:
// the same times. Skipped where the profiles are absent.
#include "passes/planner/pipedream.h"
#include "tests/planner/profiles.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

typedef struct Counts {
    int rows, same, worse, by_others, too_many, failed, answered, explained;
    double slowest_s;
} Counts;

static bool differs(const json_t *row, const char *key, double ours)
{
    double theirs = json_number_value(json_object_get(row, key));
    if (fabs(ours - theirs) <= 1e-9 * theirs)
        return false;
    printf("%s %s: %s is %.12g, the reference says %.12g\n",
           json_string_value(json_object_get(row, "model")),
           json_string_value(json_object_get(row, "args")), key, ours, theirs);
    return true;
}

static void compare(Arena *a, const json_t *row, Counts *c)
{
    const char *args = json_string_value(json_object_get(row, "args"));
    CostOptions o;
    Machines *m = machines_of_args(a, args, &o);
    Problem *p = problem_named(a, json_string_value(json_object_get(row, "model")));
    assert_non_null(p);
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    PlanResult *r = pipedream_solve(a, p, m, &o);
    clock_gettime(CLOCK_MONOTONIC, &end);
    double s =
        (double)(end.tv_sec - begin.tv_sec) + 1e-9 * (double)(end.tv_nsec - begin.tv_nsec);
    c->slowest_s = fmax(c->slowest_s, s);
    if (getenv("VERBOSE"))
        printf("%6.3f s  %s %s\n", s, json_string_value(json_object_get(row, "model")), args);
    c->rows++;
    if (!r) {
        c->too_many++;
        return;
    }
    if (json_object_get(row, "reference_failed")) {
        c->failed++;
        c->answered += r->feasible;
        c->explained += !r->feasible && r->why;
        return;
    }
    if (!r->feasible) {
        printf("%s %s: %s\n", json_string_value(json_object_get(row, "model")), args, r->why);
        c->worse++;
        return;
    }
    bool other = false;
    other |= differs(row, "pipeline_time_s", r->pipeline_time_s);
    other |= differs(row, "data_parallel_time_s", r->data_parallel_time_s);
    other |= differs(row, "single_machine_time_s", r->single_machine_time_s);
    double slowest = 0;
    for (int i = 0; i < r->n_stages; i++)
        slowest = fmax(slowest, r->stages[i].time_s);
    if (fabs(slowest - r->pipeline_time_s) > 1e-12 || r->machines_used > m->n) {
        printf("%s: the stages say %.12g, the plan %.12g\n", args, slowest, r->pipeline_time_s);
        other = true;
    }
    if (m->n_levels == 1) {
        const char *why =
            pipedream_evaluate(a, pipedream_graph(a, p), m, &o, r->stages, r->n_stages);
        double again = stages_time_s(r->stages, r->n_stages);
        if (why || fabs(again - r->pipeline_time_s) > 1e-12) {
            printf("%s: by its stages the plan takes %.12g, not %.12g %s\n", args, again,
                   r->pipeline_time_s, why ? why : "");
            other = true;
        }
    }
    c->same += !other;
    c->worse += other;
}

static void the_reference_is_reproduced(void **state)
{
    (void)state;
    if (!profiles_at()) {
        print_message("no public profiles beside the sources: skipped\n");
        skip();
    }
    Arena a = {0};
    const char *path = arena_printf(&a, "%s/reference_plans.json", profiles_at());
    json_t *rows = json_load_file(path, 0, NULL), *row;
    assert_non_null(rows);
    Counts c = {0};
    size_t i;
    json_array_foreach(rows, i, row)
    {
        Arena scratch = {0};
        compare(&scratch, row, &c);
        arena_release(&scratch);
    }
    printf(
        "%d rows: %d the same, %d others; the reference failed in %d of them: %d answered, %d "
        "explained; %d with too many cuts; at most %.3f s\n",
        c.rows, c.same, c.worse, c.failed, c.answered, c.explained, c.too_many, c.slowest_s);
    assert_int_equal(c.worse, 0);
    json_decref(rows);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_reference_is_reproduced)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
