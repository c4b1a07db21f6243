// Places: random models run on a memory that knows its tensors (tests/passes/pretend.h).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "passes/pack.h"
#include "passes/planner/planner.h"
#include "passes/values.h"
#include "tests/passes/from_text.h"
#include "tests/passes/pretend.h"
#include "tests/passes/random_model.h"

#include <stdio.h>

// Merges neighbouring element-wise layers into groups, which are units.
static void fuse_at_random(Model *m)
{
    int unit_of[MAX_LAYERS + 2] = {0}, unit = 0, groups = 0;
    for (int i = 2; i <= m->n + 1; i++) {
        Node *n = i <= m->n ? m->value[i] : m->g->loss, *before = m->value[i - 1];
        bool fuse = i <= m->n && node_is(n, 'E') && node_is(before, 'E') && random_below(2);
        if (fuse && before->group < 0) {
            before->group = groups++;
            m->twin[i - 1]->group = groups++;
        }
        if (fuse) {
            n->group = before->group;
            m->twin[i]->group = m->twin[i - 1]->group;
        }
        unit += !fuse;
        unit_of[i - 1] = unit;
    }
    for (int i = 0; i < m->g->nodes.n; i++)
        m->g->nodes.items[i]->unit = unit_of[m->g->nodes.items[i]->unit];
}

static void tensors_keep_their_places(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        random_state = (uint64_t)round * 3571 + 1;
        Model *m = random_model(10 + random_below(20), 20);
        fuse_at_random(m);
        m->g->output = m->value[m->n - random_below(3)];
        m->c.no_plan = false;
        diag_output(fopen("/dev/null", "w"), false);
        static const char *const schedules[] = {"1f1b", "gpipe", "zb-h1"};
        plan_random_model(m, 1 + random_below(4), 1 + random_below(6),
                          schedules[random_below(3)]);
        for (int s = 0; s < m->plan.n_stages; s++)
            pretend_stage(m->g, &m->plan, s);
        free_model(m);
    }
    diag_reset();
}

static void same_places_again(void **state)
{
    (void)state;
    Model *m[2];
    for (int i = 0; i < 2; i++) {
        random_state = 17;
        m[i] = random_model(20, 0);
        plan_random_model(m[i], 3, 4, "1f1b");
    }
    for (int s = 0; s < 3; s++)
        assert_memory_equal(m[0]->plan.stages[s].places, m[1]->plan.stages[s].places,
                            sizeof(Place) * (size_t)m[0]->plan.n_nodes);
    assert_true(plan_hash(&m[0]->plan) == plan_hash(&m[1]->plan));
    free_model(m[0]);
    free_model(m[1]);
}

static void packs_as_tight_as_can_be(void **state)
{
    (void)state;
    Arena a = {0};
    Block chain[] = {{100, 0, 1, 0}, {64, 1, 2, 0}, {128, 2, 3, 0}, {1, 3, 4, 0}};
    assert_int_equal(pack(&a, chain, 4), 128 + 64);
    Block together[] = {{1, 0, 9, 0}, {65, 3, 4, 0}, {64, 4, 5, 0}, {64, 5, 6, 0}};
    assert_int_equal(pack(&a, together, 4), 64 + 128 + 64);
    assert_int_equal(pack(&a, NULL, 0), 0);
    arena_release(&a);
}

static const Place *place_of(const Case *t, const char *name)
{
    return &t->plan.stages[0].places[case_node(t, name)->id];
}

static void lies_with(const Case *t, const char *a, const char *b, bool together)
{
    const Place *x = place_of(t, a), *y = place_of(t, b);
    if (together != (x->kind == y->kind && x->offset == y->offset))
        fail_msg("%s at %d %lld, %s at %d %lld", a, x->kind, (long long)x->offset, b, y->kind,
                 (long long)y->offset);
}

// An element-wise result lies where an input dies: in scratch, or in the slot of a value that has waited. Not where
// the input is read once more, by a member behind it or later, nor if it waits itself.
static void element_wise_in_place(void **state)
{
    (void)state;
    Case *t =
        case_new("graph g micro_batch 4\n" SAMPLE("x", "4,8") TARGET("t", "4,8")
                     PARAM("w", "8,8") PARAM("v", "8,8") PARAM("b", "8") "y = linear x w\n"
                                                                         "r = relu y\n"
                                                                         "z = linear r v\n"
                                                                         "s = gelu z\n"
                                                                         "u = linear s v\n"
                                                                         "p = sigmoid u\n"
                                                                         "q = mul p u\n"
                                                                         "l = mse q t\n"
                                                                         "loss l\noutput q\n");
    t->c.stages = 1;
    t->options.micro_batches = 2;
    case_run(t, "fold,dce,eval,autodiff,optimizer,layout,units,cost,partition,schedule,memory");
    lies_with(t, "y", "r", false); // r waits for backward
    lies_with(t, "d_r", "d_y", true);
    lies_with(t, "z", "s", false); // the gradient of gelu reads z
    lies_with(t, "u", "p", false); // and that of mul u
    lies_with(t, "y.eval", "r.eval", true);
    lies_with(t, "z.eval", "s.eval", true);
    lies_with(t, "u.eval", "p.eval", false); // q.eval reads u.eval
    lies_with(t, "p.eval", "q.eval", true);
    case_free(t);
}

static void names_what_is_too_large(void **state)
{
    (void)state;
    char *text;
    size_t size;
    random_state = 3;
    Model *m = random_model(6, 0);
    m->g->nodes.items[0]->loc = (Loc){"model.c", 7, 5};
    plan_random_model(m, 1, 2, "1f1b");
    m->c.memory_limit = plan_stage_bytes(&m->plan.stages[0]) - 1;
    FILE *f = open_memstream(&text, &size);
    diag_output(f, false);
    pass_memory(&m->c);
    fclose(f);
    assert_non_null(strstr(text, "stage 0 needs "));
    assert_non_null(strstr(text, "f32[8,8]: 256 B"));
    int notes = 0;
    for (const char *s = text; (s = strstr(s, "note: ")); s++)
        notes++;
    assert_int_equal(notes, 6); // the stage's table, five tensors
    assert_non_null(strstr(text, "stage 0 holds "));
    assert_true(m->c.no_plan);
    free(text);
    diag_output(stderr, false);
    diag_reset();
    m->c.memory_limit++;
    m->c.no_plan = false;
    pass_memory(&m->c);
    assert_false(m->c.no_plan);
    Text table = {0};
    memory_table(&table, &m->plan, m->g);
    assert_non_null(strstr(table.data, "x f32[4,8]  model.c:7"));
    text_release(&table);
    free_model(m);
}

static int64_t half_and_16(int64_t parameters, int64_t inputs, bool bf16)
{
    return (bf16 ? parameters / 2 : 0) + inputs + 16;
}

// In places that begin at multiples of 64 bytes.
static int64_t bytes_of(const Model *m, Op op)
{
    int64_t bytes = 0;
    for (int i = 0; i < m->g->nodes.n; i++) {
        const Node *n = m->g->nodes.items[i];
        if (n->op == op && n->phase == PHASE_FORWARD)
            bytes += (n->bytes + 63) / 64 * 64;
    }
    return bytes;
}

// Calls of a kind share their memory; one of a kind needs what the largest does.
static void bound_by_output(const Node *n, int64_t bytes[N_CALL_MEMORY])
{
    bytes[CALL_ROOM] = n->op == OP_INPUT ? 1 << 20 : n->bytes;
    bytes[CALL_WORKSPACE] = 8;
}

// What a device holds beside tensors counts, in the plan and where cuts are looked for.
static void devices_hold_more(void **state)
{
    (void)state;
    static const DeviceMemory device = {half_and_16, bound_by_output};
    random_state = 3;
    Model *m = random_model(6, 0);
    plan_random_model(m, 1, 2, "1f1b");
    const PlanStage *s = &m->plan.stages[0];
    int64_t plain = plan_stage_bytes(s), most = 0;
    for (int i = 0; i < m->g->nodes.n; i++)
        if (m->g->nodes.items[i]->bytes > most && !node_is(m->g->nodes.items[i], 'L'))
            most = m->g->nodes.items[i]->bytes;
    m->c.device = &device;
    pass_memory(&m->c);
    int64_t inputs = bytes_of(m, OP_INPUT), parameters = bytes_of(m, OP_PARAM);
    assert_true(inputs && parameters && parameters < s->persistent_bytes);
    assert_int_equal(plan_stage_bytes(s), plain + 16 + inputs + most + 8);
    m->options.dtype = "bf16";
    pass_memory(&m->c);
    assert_int_equal(s->library_bytes, 16 + inputs + most + 8 + parameters / 2);
    StageMemory parts = stage_memory(s);
    assert_int_equal(stage_memory_bytes(&parts), plan_stage_bytes(s));
    free_model(m);
}

static int64_t mebibyte(int64_t parameters, int64_t inputs, bool bf16)
{
    (void)parameters, (void)inputs, (void)bf16;
    return 1 << 20;
}

// A stage of its own on a processor and on a device that holds a MiB beside it; `first` is the job's own backend.
static Model *plan_both(MachineType *types, const DeviceMemory *first)
{
    static int type[] = {0, 1};
    static Machines machines = {.n = 2, .n_types = 2, .type = type};
    random_state = 3;
    Model *m = random_model(6, 0);
    machines.types = types;
    m->c.machines = &machines;
    m->c.device = first;
    plan_random_model(m, 2, 2, "1f1b");
    return m;
}

// Cuts are looked for with the memory of the machine that a stage is on, not with that of the job's own backend.
static void memory_is_that_of_its_machine(void **state)
{
    (void)state;
    static const DeviceMemory device = {mebibyte, bound_by_output};
    MachineType types[] = {{.speed = 1, .memory_bytes = 1e6, .backend = "c"},
                           {.speed = 1, .backend = "cuda", .device = &device}};
    Model *m = plan_both(types, &device);
    assert_false(m->c.no_plan);
    for (int s = 0; s < 2; s++) {
        const PlanStage *stage = &m->plan.stages[s];
        assert_int_equal(stage->library_bytes >= 1 << 20, stage->devices[0] == 1);
    }
    free_model(m);
    char *text = NULL;
    size_t size = 0;
    FILE *told = open_memstream(&text, &size);
    diag_output(told, false);
    types[0].memory_bytes = 0;
    types[1].memory_bytes = 1e6;
    m = plan_both(types, NULL);
    fclose(told);
    assert_true(m->c.no_plan);
    assert_int_equal(m->plan.n_stages, 0); // that was seen before anything was cut
    assert_non_null(strstr(text, "workspaces, bf16 copies"));
    free(text);
    diag_output(stderr, false);
    diag_reset();
    free_model(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_keep_their_places),    cmocka_unit_test(same_places_again),
        cmocka_unit_test(packs_as_tight_as_can_be),     cmocka_unit_test(element_wise_in_place),
        cmocka_unit_test(names_what_is_too_large),      cmocka_unit_test(devices_hold_more),
        cmocka_unit_test(memory_is_that_of_its_machine)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
