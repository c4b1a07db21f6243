// Versions of the weights in asynchronous streams: what the verifier accepts it can tell from what is one
// number beside it, and plan.json keeps all of it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "plan/schedule.h"

#include <stdlib.h>
#include <string.h>

// Two stages, an activation and its gradient.
static Plan *pipeline(Arena *a, const char *schedule, int micro_batches)
{
    Plan *p = arena_new(a, Plan);
    int both = 1 << RT_FORWARD | 1 << RT_BACKWARD;
    static int up[] = {1}, down[] = {0};
    *p = (Plan){.model = "test", .cost_source = "estimate", .n_stages = 2, .n_nodes = 4};
    p->options = options_default();
    p->options.batch = p->options.micro_batches = micro_batches;
    p->options.schedule = schedule;
    p->stages = arena_array(a, PlanStage, 2);
    p->units = arena_array(a, PlanUnit, 2);
    p->n_units = 2;
    for (int s = 0; s < 2; s++) {
        p->units[s] = (PlanUnit){.name = s ? "b" : "a", .node = s};
        p->stages[s] = (PlanStage){
            .id = s, .replicas = 1, .first_unit = s, .last_unit = s, .version_bytes = 640};
    }
    plan_number_ranks(a, p);
    p->edges = arena_array(a, PlanEdge, 2);
    p->n_edges = 2;
    p->edges[0] = (PlanEdge){"h", 2, 0, up, 1, 64, 1, 0, 1, micro_batches, false, NULL};
    p->edges[1] = (PlanEdge){"d_h", 3, 1, down, 1, 64, 1, 0, 1, micro_batches, false, NULL};
    for (int e = 0; e < 2; e++)
        p->edges[e].touch = arena_array(a, uint32_t, 2);
    p->edges[0].touch[0] = 1 << RT_FORWARD;
    p->edges[0].touch[1] = (uint32_t)both;
    p->edges[1].touch[0] = p->edges[1].touch[1] = 1 << RT_BACKWARD;
    Arena scratch = {0};
    schedule_write(a, &scratch, p);
    arena_release(&scratch);
    return p;
}

// The nth instruction of this kind in stage 0.
static rt_instr *find(const Plan *p, rt_opcode opcode, int nth)
{
    rt_instr *i = p->ranks[0].train.instr;
    while (i->opcode != opcode || nth-- > 0)
        i++;
    return i;
}

static void wrong(const Plan *p, const char *what)
{
    char why[256] = "";
    assert_false(plan_verify_streams(p, false, why, sizeof why));
    if (!strstr(why, what))
        fail_msg("expected \"%s\" in: %s", what, why);
}

static void right(const Plan *p)
{
    char why[256] = "";
    if (!plan_verify_streams(p, false, why, sizeof why))
        fail_msg("%s", why);
}

static void follows_versions(void **state)
{
    (void)state;
    Arena a = {0};
    Plan *p = pipeline(&a, "pipedream", 1); // two versions in stage 0
    right(p);
    find(p, RT_FORWARD, 2)->edge++;
    wrong(p, "(forward mb 2): version 2 of the weights is not made yet");
    find(p, RT_FORWARD, 2)->edge -= 2;
    wrong(p, "(backward mb 2): its forward used version 0 of the weights");
    find(p, RT_FORWARD, 2)->edge++;
    p->stages[0].versions = 1;
    wrong(p, "(backward mb 1): version 0 of the weights was overwritten");
    p->stages[0].versions = 2;
    find(p, RT_UPDATE, 1)->edge++;
    wrong(p, "(update mb 1): it makes no version 3 of the weights");
    find(p, RT_UPDATE, 1)->edge--;
    find(p, RT_UPDATE, 1)->mb--;
    wrong(p, "(update mb 0): it is not of micro-batch 1");
    find(p, RT_UPDATE, 1)->mb++;
    right(p);
    p = pipeline(&a, "1f1b", 2);
    right(p);
    find(p, RT_FORWARD, 0)->edge = 0;
    wrong(p, "(forward mb 0): a synchronous schedule has no versions");
    arena_release(&a);
}

static void knows_steps(void **state)
{
    (void)state;
    Arena a = {0};
    Plan *p = pipeline(&a, "pipedream", 2);
    Stream *s = &p->ranks[0].train;
    s->body--;
    wrong(p, "stage 0 does not run one step in its body, which begins at instruction");
    s->body++;
    s->body_end = s->n + 1;
    wrong(p, "stage 0 has no body within its instructions");
    p = pipeline(&a, "pipedream", 2);
    rt_instr *update = find(p, RT_UPDATE, 0), early = update[-2]; // before its last backward
    update[-2] = *update;
    *update = early;
    wrong(p, "gradients of 1 micro-batches are missing");
    p = pipeline(&a, "1f1b", 2);
    p->ranks[0].train.body_end = 3;
    wrong(p, "stage 0 has a body and runs one step");
    arena_release(&a);
}

static void plans_keep_them(void **state)
{
    (void)state;
    Arena a = {0};
    const Plan *p = pipeline(&a, "pipedream-vertical", 1);
    char *text = plan_to_json(p);
    const Plan *q = plan_from_json(&a, "plan.json", text);
    assert_non_null(q);
    assert_int_equal(q->stream_steps, p->stream_steps);
    assert_int_equal(plan_hash(q), plan_hash(p));
    for (int s = 0; s < 2; s++) {
        const PlanStage *have = &q->stages[s], *want = &p->stages[s];
        assert_int_equal(have->versions, 2);
        assert_int_equal(plan_stage_bytes(have), plan_stage_bytes(want));
        assert_int_equal(plan_weight_bytes(have), 640);
        assert_int_equal(q->ranks[s].train.body, p->ranks[s].train.body);
        assert_int_equal(q->ranks[s].train.body_end, p->ranks[s].train.body_end);
        assert_int_equal(q->ranks[s].train.n, p->ranks[s].train.n);
        for (int i = 0; i < p->ranks[s].train.n; i++) {
            assert_int_equal(q->ranks[s].train.instr[i].edge, p->ranks[s].train.instr[i].edge);
            assert_int_equal(q->ranks[s].train.instr[i].mb, p->ranks[s].train.instr[i].mb);
        }
    }
    free(text);
    arena_release(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(follows_versions),
                                       cmocka_unit_test(knows_steps),
                                       cmocka_unit_test(plans_keep_them)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
