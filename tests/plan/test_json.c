// plan.json there and back, and files that lie.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "plan/plan.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

// Two stages, an activation, its gradient and an evaluation edge, two micro-batches.
static rt_instr train0[] = {{RT_LOAD, RT_NO_EDGE, 0},
                            {RT_ACQUIRE, 0, 0},
                            {RT_FORWARD, RT_NO_EDGE, 0},
                            {RT_SEND, 0, 0},
                            {RT_LOAD, RT_NO_EDGE, 1},
                            {RT_ACQUIRE, 0, 1},
                            {RT_FORWARD, RT_NO_EDGE, 1},
                            {RT_SEND, 0, 1},
                            {RT_RECV, 1, 0},
                            {RT_BACKWARD, RT_NO_EDGE, 0},
                            {RT_RELEASE, 1, 0},
                            {RT_RECV, 1, 1},
                            {RT_BACKWARD, RT_NO_EDGE, 1},
                            {RT_RELEASE, 1, 1},
                            {RT_UPDATE, RT_NO_EDGE, 0}};
static rt_instr train1[] = {{RT_RECV, 0, 0},           {RT_FORWARD, RT_NO_EDGE, 0},
                            {RT_ACQUIRE, 1, 0},        {RT_BACKWARD, RT_NO_EDGE, 0},
                            {RT_RELEASE, 0, 0},        {RT_SEND, 1, 0},
                            {RT_RECV, 0, 1},           {RT_FORWARD, RT_NO_EDGE, 1},
                            {RT_ACQUIRE, 1, 1},        {RT_BACKWARD, RT_NO_EDGE, 1},
                            {RT_RELEASE, 0, 1},        {RT_SEND, 1, 1},
                            {RT_UPDATE, RT_NO_EDGE, 0}};
static rt_instr eval0[] = {{RT_ACQUIRE, 2, 0}, {RT_EVAL, RT_NO_EDGE, 0}, {RT_SEND, 2, 0},
                           {RT_ACQUIRE, 2, 1}, {RT_EVAL, RT_NO_EDGE, 1}, {RT_SEND, 2, 1}};
static rt_instr eval1[] = {{RT_RECV, 2, 0}, {RT_EVAL, RT_NO_EDGE, 0}, {RT_RELEASE, 2, 0},
                           {RT_RECV, 2, 1}, {RT_EVAL, RT_NO_EDGE, 1}, {RT_RELEASE, 2, 1}};
static int to0[] = {0}, to1[] = {1};
static uint32_t touch_act[] = {1 << RT_FORWARD, 1 << RT_FORWARD | 1 << RT_BACKWARD};
static uint32_t touch_grad[] = {1 << RT_BACKWARD, 1 << RT_BACKWARD};
static uint32_t touch_eval[] = {1 << RT_EVAL, 1 << RT_EVAL};
static PlanEdge edges[] = {
    {"h", 3, 0, to1, 1, 4096, 2, 0, 1, 2, false, touch_act},
    {"d_h", 9, 1, to0, 1, 4096, 2, 0, 1, 2, false, touch_grad},
    {"h.eval", 14, 0, to1, 1, 4096, 2, 0, 1, 2, true, touch_eval},
};
static PlanUnit units[] = {
    {.name = "fc1", .forward_s = 0.1, .backward_s = 1.0 / 3, .parameter_bytes = 64, .node = 3},
    {.name = "fc2", .forward_s = 1e-300, .node = 5},
    {.name = "loss \"é\"", .node = 7, .cut_bytes = 1},
};
static PlanStage stages[] = {
    {.id = 0,
     .replicas = 1,
     .first_unit = 0,
     .last_unit = 0,
     .in_flight = 2,
     .forward_s = 0.1,
     .backward_s = 1.0 / 3,
     .persistent_bytes = 64,
     .state_bytes = 48,
     .slot_bytes = 128,
     .scratch_bytes = 192,
     .edge_bytes = 16384,
     .twin_bytes = 8192,
     .library_bytes = 1},
    {.id = 1, .replicas = 1, .first_unit = 1, .last_unit = 2, .first_rank = 1, .in_flight = 1},
};
static PlanRank ranks[] = {
    {.stage = 0, .train = {train0, 15}, .eval = {eval0, 6}},
    {.stage = 1, .train = {train1, 13}, .eval = {eval1, 6}},
};

static Plan example(void)
{
    Plan p = {.model = "mlp",
              .source = "a b/mlp.c",
              .cost_source = "estimate",
              .backend = "ref",
              .options = options_default(),
              .n_nodes = 20,
              .units = units,
              .n_units = 3,
              .stages = stages,
              .n_stages = 2,
              .ranks = ranks,
              .n_ranks = 2,
              .edges = edges,
              .n_edges = 3,
              .step_s = 0.7,
              .lower_bound_s = 0.6,
              .single_s = 1.5,
              .planning_s = 0.01,
              .beside_programs = 4,
              .beside_slowdown = 1.25};
    p.options.batch = 64;
    p.options.micro_batches = 2;
    p.options.lr = 0.1;
    return p;
}

static void stages_may_have_backends_of_their_own(void **state)
{
    (void)state;
    Arena a = {0};
    Plan p = example(), *q;
    PlanStage both[] = {stages[0], stages[1]};
    both[0].backend = "cuda";
    both[1].backend = "c";
    p.stages = both;
    p.backend = "cuda";
    char *text = plan_to_json(&p);
    q = plan_from_json(&a, "plan.json", text);
    assert_non_null(q);
    assert_string_equal(q->backend, "cuda");
    assert_string_equal(plan_backend(q, &q->stages[0]), "cuda");
    assert_string_equal(q->stages[1].backend, "c");
    assert_true(plan_hash(q) == plan_hash(&p));
    free(text);
    arena_release(&a);
}

static void reads_back_what_it_wrote(void **state)
{
    (void)state;
    Arena a = {0};
    Plan p = example();
    char why[256] = "";
    assert_true(plan_verify_streams(&p, false, why, sizeof why));
    assert_true(plan_verify_streams(&p, true, why, sizeof why));
    char *text = plan_to_json(&p);
    Plan *q = plan_from_json(&a, "plan.json", text);
    assert_non_null(q);
    char *again = plan_to_json(q);
    assert_string_equal(text, again);
    assert_true(q->options.lr == 0.1 && q->units[0].backward_s == 1.0 / 3);
    assert_int_equal(q->ranks[0].train.n, 15);
    assert_memory_equal(q->edges[0].touch, touch_act, sizeof touch_act);
    assert_true(plan_hash(q) == plan_hash(&p));
    assert_int_equal(q->stages[0].state_bytes, 48);
    assert_null(q->stages[0].backend);
    assert_int_equal(plan_stage_bytes(&q->stages[0]), 64 + 2 * 128 + 192 + 16384 + 8192 + 1);
    assert_int_equal(plan_stage_of_unit(q, 0), 0);
    assert_int_equal(plan_stage_of_unit(q, 1), 1);
    assert_int_equal(plan_stage_of_unit(q, 2), 1);
    free(text);
    free(again);
    arena_release(&a);
}

// Of a profiled graph: replicas, machines on levels, unequal devices, no streams.
static int some[] = {2, 0, 3}, other[] = {1}, levels[] = {2, 2};
static double rates[] = {1e10, 1e9};
static PlanStage graph_stages[] = {
    {.id = 0,
     .replicas = 3,
     .devices = some,
     .n_devices = 3,
     .last_unit = 1,
     .in_flight = 400,
     .forward_s = 0.1,
     .backward_s = 0.3,
     .compute_s = 0.15,
     .send_s = 0.05,
     .sync_s = 0.01,
     .time_s = 0.16,
     .recompute = true,
     .parameter_bytes = 1000,
     .out_bytes = 4096},
    {.id = 1,
     .replicas = 1,
     .devices = other,
     .n_devices = 1,
     .first_unit = 2,
     .last_unit = 2,
     .in_flight = 1,
     .receive_s = 0.05,
     .time_s = 0.05,
     .in_bytes = 4096},
};

static Plan graph_example(void)
{
    static const char *names[] = {"a", "b", "c", "d"};
    return (Plan){.model = "graph.txt",
                  .cost_model = "pipedream",
                  .cost_source = "profile",
                  .options = options_default(),
                  .n_nodes = 20,
                  .units = units,
                  .n_units = 3,
                  .stages = graph_stages,
                  .n_stages = 2,
                  .machines = levels,
                  .bandwidths = rates,
                  .n_levels = 2,
                  .device_names = names,
                  .n_device_names = 4,
                  .machines_used = 4,
                  .asynchronous = true,
                  .overlap = "transfers",
                  .method = "every cut (4 of them)",
                  .explain = "{\"limit\":\"compute\",\"gain\":[0.10000000000000001]}",
                  .pipeline_s = 0.16,
                  .lower_bound_s = 0.15,
                  .data_parallel_s = 0.3,
                  .single_s = 0.5};
}

static void reads_back_a_graph_plan(void **state)
{
    (void)state;
    Arena a = {0};
    Plan p = graph_example();
    char *text = plan_to_json(&p);
    Plan *q = plan_from_json(&a, "plan.json", text);
    assert_non_null(q);
    char *again = plan_to_json(q);
    assert_string_equal(text, again);
    assert_false(plan_has_streams(q));
    assert_int_equal(q->n_levels, 2);
    assert_true(q->machines[1] == 2 && q->bandwidths[1] == 1e9 && q->machines_used == 4);
    assert_true(q->data_parallel_s == 0.3 && q->pipeline_s == 0.16 && q->asynchronous);
    const PlanStage *s = &q->stages[0];
    assert_int_equal(s->n_devices, 3);
    assert_int_equal(s->devices[0], 2);
    assert_true(s->recompute && s->compute_s == 0.15 && s->time_s == 0.16);
    assert_true(s->in_flight == 400 && s->out_bytes == 4096 && s->parameter_bytes == 1000);
    assert_string_equal(q->device_names[3], "d");
    assert_string_equal(q->explain, p.explain);
    assert_string_equal(q->method, p.method);
    free(text);
    free(again);
    arena_release(&a);
}

static void hash_ignores_time(void **state)
{
    (void)state;
    Plan p = example();
    uint64_t h = plan_hash(&p);
    p.planning_s = p.step_s = p.beside_slowdown = 5;
    p.source = "elsewhere.c";
    assert_true(plan_hash(&p) == h);
    p.options.lr = 0.2;
    assert_false(plan_hash(&p) == h);
}

static void other_readers_find_their_fields(void **state)
{
    (void)state;
    Plan p = example();
    char *text = plan_to_json(&p);
    json_t *o = json_loads(text, 0, NULL);
    static const char *const keys[] = {"model",
                                       "cost_model",
                                       "machines",
                                       "batch",
                                       "micro_batches",
                                       "schedule",
                                       "options",
                                       "contract",
                                       "pipeline_time_s",
                                       "lower_bound_s",
                                       "single_machine_time_s",
                                       "planning_s",
                                       "machines_used",
                                       "feasible",
                                       "stages"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_non_null(json_object_get(o, keys[i]));
    json_t *s = json_array_get(json_object_get(o, "stages"), 1);
    static const char *const of_stage[] = {"id",        "replicas", "devices", "nodes",
                                           "compute_s", "sync_s",   "send_s",  "memory_bytes"};
    for (size_t i = 0; i < sizeof of_stage / sizeof *of_stage; i++)
        assert_non_null(json_object_get(s, of_stage[i]));
    assert_string_equal(json_string_value(json_array_get(json_object_get(s, "nodes"), 1)),
                        "loss \"é\"");
    json_decref(o);
    free(text);
}

// The text is refused, with a message that contains `what` ("": any).
static void refused(const char *text, const char *what)
{
    Arena a = {0};
    char *said;
    size_t size;
    FILE *f = open_memstream(&said, &size);
    diag_output(f, false);
    Plan *p = plan_from_json(&a, "plan.json", text);
    fclose(f);
    if (p || !strstr(said, what) || !strstr(said, "plan.json"))
        fail_msg("%s: expected \"%s\" in:\n%s", p ? "accepted" : "refused", what, said);
    free(said);
    diag_output(stderr, false);
    diag_reset();
    arena_release(&a);
}

static void refuses(const Plan *p, const char *what)
{
    char *text = plan_to_json(p);
    refused(text, what);
    free(text);
}

static void wrong_machines(void **state)
{
    (void)state;
    Plan p = graph_example();
    other[0] = 2;
    refuses(&p, "stages[1].devices names device 2, which is taken");
    other[0] = 4;
    refuses(&p, "stages[1].devices has in place 0 no device from 0 to 3");
    other[0] = 1;
    rates[1] = 0;
    refuses(&p, "bandwidths has in place 1 no positive number");
    rates[1] = 1e9;
    levels[0] = 1 << 20;
    refuses(&p, "machines are none, or more than 1048576");
    levels[0] = 2;
    p.why = "too little memory";
    refuses(&p, "there is no plan in it: too little memory");
}

static void refused_after(const char *path, json_t *value, const char *what)
{
    Plan p = example();
    char *text = plan_to_json(&p), *copy = strdup(path), *rest = copy;
    json_t *root = json_loads(text, 0, NULL), *o = root;
    char *key = strsep(&rest, "/");
    for (; rest; key = strsep(&rest, "/")) {
        o = json_is_array(o) ? json_array_get(o, (size_t)atoi(key)) : json_object_get(o, key);
        assert_non_null(o);
    }
    if (json_is_array(o))
        json_array_set_new(o, (size_t)atoi(key), value);
    else if (value)
        json_object_set_new(o, key, value);
    else
        json_object_del(o, key);
    char *spoilt = json_dumps(root, 0);
    refused(spoilt, what);
    free(spoilt);
    free(copy);
    free(text);
    json_decref(root);
}

static void names_the_wrong_field(void **state)
{
    (void)state;
    refused_after("stages/1/last_unit", json_integer(7),
                  "stages[1].last_unit is 7, not from 2 to 2");
    refused_after("stages/0/last_unit", json_integer(-1), "stages[0].last_unit is -1");
    refused_after("stages/1/id", json_string("1"), "stages[1].id is not a whole number");
    refused_after("stages/1/nodes/0", json_string("fc9"),
                  "stages[1].nodes differs from units in place 0");
    refused_after("units/2/cut_bytes", NULL, "units[2].cut_bytes is missing");
    refused_after("units/2/forward_s", json_real(-1),
                  "units[2].forward_s is not a time in seconds");
    refused_after("edges/0/producer", json_integer(1),
                  "edges[0].consumers are not other ranks");
    refused_after("edges/0/slots", json_integer(0), "edges[0].slots is 0, not from 1 to 2");
    refused_after("edges/2/touch/0/0", json_string("jump"),
                  "edges[2].touch names no instruction");
    refused_after("ranks/0/train/2", json_string("forward"), "ranks[0].train has in place 2");
    refused_after("ranks/0/train/2", json_string("forward 0 0 0"),
                  "ranks[0].train has in place 2");
    refused_after("ranks/0/train/2", json_string("forward 2"),
                  "names in place 2 micro-batch 2 of 2");
    refused_after("options/micro-batches", json_integer(0),
                  "micro-batches takes a whole number");
    refused_after("options/micro-batches", json_integer(5), "options contradict each other");
    refused_after("options/hue", json_integer(0), "there is no option `hue`");
    refused_after("model", json_null(), "model is not a string");
    refused("[]", "the plan is not an object");
    refused("{\"model\": \"m\",\n \"model\": 1}", "plan.json:2:");
}

static void names_the_wrong_stream(void **state)
{
    (void)state;
    refused_after("ranks/0/train/7", json_string("release 0 1"),
                  "this stage is no consumer of the edge");
    refused_after("ranks/0/train/2", json_string("forward 1"),
                  "micro-batches out of order: 0 comes next");
    refused_after("ranks/0/train/1", json_string("recv 1 0"), "is not acquired yet");
    refused_after("ranks/1/train/4", json_string("send 1 0"), "order");
    refused_after("stages/0/in_flight", json_integer(1), "more than 1 micro-batches in flight");
    refused_after("edges/0/touch/0", json_pack("[s]", "update"),
                  "h was sent before it was written");
    refused_after("edges/1/per_step", json_integer(1), "fewer messages a step");
}

// Whatever one value is replaced by: a message or a plan that is right, never a crash.
static void survive(json_t *root, json_t *parent, const char *key, size_t index)
{
    static const char *const values[] = {"null",       "-1",
                                         "0",          "1",
                                         "2147483648", "9223372036854775807",
                                         "1e308",      "true",
                                         "\"\"",       "\"forward 1\"",
                                         "[]",         "[0]",
                                         "{}"};
    json_t *old = key ? json_object_get(parent, key) : json_array_get(parent, index);
    json_incref(old);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        Arena a = {0};
        json_t *v = json_loads(values[i], JSON_DECODE_ANY, NULL);
        if (key)
            json_object_set_new(parent, key, v);
        else
            json_array_set_new(parent, index, v);
        char *text = json_dumps(root, 0);
        Plan *p = plan_from_json(&a, "plan.json", text);
        assert_int_equal(p == NULL, diag_errors() > 0);
        diag_reset();
        free(text);
        arena_release(&a);
    }
    if (key)
        json_object_set(parent, key, old);
    else
        json_array_set(parent, index, old);
    json_decref(old);
}

static void visit(json_t *root, json_t *o)
{
    const char *key;
    json_t *v;
    size_t i;
    void *next;
    json_object_foreach_safe(o, next, key, v)
    {
        char *copy = strdup(key);
        survive(root, o, copy, 0);
        visit(root, json_object_get(o, copy));
        free(copy);
    }
    json_array_foreach(o, i, v)
    {
        survive(root, o, NULL, i);
        visit(root, json_array_get(o, i));
    }
}

static void survives_every_replacement(void **state)
{
    (void)state;
    Plan p = example();
    char *text = plan_to_json(&p);
    json_t *root = json_loads(text, 0, NULL);
    FILE *f = fopen("/dev/null", "w");
    diag_output(f, false);
    visit(root, root);
    for (size_t n = strlen(text) - 2; n > 0; n -= n > 97 ? 97 : n) { // cut off anywhere
        Arena a = {0};
        text[n] = 0;
        assert_null(plan_from_json(&a, "plan.json", text));
        arena_release(&a);
    }
    diag_output(stderr, false);
    diag_reset();
    fclose(f);
    json_decref(root);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_back_what_it_wrote),
                                       cmocka_unit_test(stages_may_have_backends_of_their_own),
                                       cmocka_unit_test(reads_back_a_graph_plan),
                                       cmocka_unit_test(wrong_machines),
                                       cmocka_unit_test(hash_ignores_time),
                                       cmocka_unit_test(other_readers_find_their_fields),
                                       cmocka_unit_test(names_the_wrong_field),
                                       cmocka_unit_test(names_the_wrong_stream),
                                       cmocka_unit_test(survives_every_replacement)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
