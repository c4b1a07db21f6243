// Places, checked by pretending to run: every stage executes its streams on a memory in which each
// 64-byte cell bears the name of the tensor that was written there last. Who reads a tensor must find
// its name in all its cells.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "passes/pack.h"
#include "passes/values.h"
#include "tests/passes/random_model.h"

#include <stdio.h>

enum { CELL = 64 };

typedef struct Memory {
    const Model *m;
    const Plan *p;
    const PlanStage *stage;
    int64_t *cells;
    int64_t n_cells;
} Memory;

static int64_t tag_of(const Node *n, int mb, const Place *place)
{
    return 1 + n->id * 1000 + (place->kind == PLACE_PERSISTENT ? 0 : mb);
}

static int64_t *cells_of(Memory *x, const Node *n, int mb, int *count)
{
    const Place *place = &x->stage->places[n->id];
    int64_t base = 0, size = 0;
    switch (place->kind) {
    case PLACE_NONE:
    case PLACE_EDGE: *count = 0; return NULL;
    case PLACE_PERSISTENT: size = x->stage->persistent_bytes; break;
    case PLACE_SLOT:
        base = x->stage->persistent_bytes + mb % x->stage->in_flight * x->stage->slot_bytes;
        size = x->stage->slot_bytes;
        break;
    case PLACE_SCRATCH:
        base = x->stage->persistent_bytes + x->stage->in_flight * x->stage->slot_bytes;
        size = x->stage->scratch_bytes;
        break;
    }
    assert_int_equal(place->offset % CELL, 0);
    assert_int_equal(place->bytes, n->bytes);
    assert_true(place->offset >= 0 && place->offset + place->bytes <= size);
    *count = (int)((place->bytes + CELL - 1) / CELL);
    return x->cells + (base + place->offset) / CELL;
}

static void write_value(Memory *x, const Node *n, int mb)
{
    int count;
    int64_t *cells = cells_of(x, n, mb, &count);
    for (int i = 0; i < count; i++)
        cells[i] = tag_of(n, mb, &x->stage->places[n->id]);
}

static void read_value(Memory *x, Node *input, int mb)
{
    int count;
    const Node *n = value_root(input);
    const int64_t *cells = cells_of(x, n, mb, &count);
    for (int i = 0; i < count; i++)
        assert_int_equal(cells[i], tag_of(n, mb, &x->stage->places[n->id]));
}

static bool here(const Memory *x, const Node *n)
{
    return plan_stage_of_unit(x->p, n->unit) == x->stage->id;
}

// A stored, computed tensor of this stage has a place, unless only its own group knows it.
static void must_have_place(const Memory *x, const Node *n)
{
    const Graph *g = x->m->g;
    bool outside = n->group < 0 || n == g->loss || n == g->output;
    outside |= n->phase == PHASE_EVAL && n->forward == g->output;
    for (int i = 0; i < x->m->g->nodes.n; i++)
        for (int k = 0; k < x->m->g->nodes.items[i]->n_inputs; k++)
            outside |= x->m->g->nodes.items[i]->inputs[k] == n &&
                       x->m->g->nodes.items[i]->group != n->group;
    if (!node_is(n, 'X'))
        assert_int_equal(x->stage->places[n->id].kind != PLACE_NONE, outside);
}

// A kernel or a fused loop may read its inputs after it has begun to write its outputs.
static void run_phase(Memory *x, Phase phase, int mb)
{
    const NodeList *nodes = &x->m->g->nodes;
    for (int i = 0; i < nodes->n;) {
        Node *first = nodes->items[i];
        int end = i + 1;
        while (first->group >= 0 && end < nodes->n && nodes->items[end]->group == first->group)
            end++;
        bool runs = first->phase == phase && !node_is(first, 'L') && here(x, first);
        for (int pass = 0; pass < 2 && runs; pass++) // before and after it has written
            for (int k = i; k < end; k++) {
                Node *n = nodes->items[k];
                for (int j = 0; j < n->n_inputs; j++)
                    if (pass || n->group < 0 || n->inputs[j]->group != n->group)
                        read_value(x, n->inputs[j], mb);
                if (pass == 0)
                    must_have_place(x, n);
                if (pass == 0 && k == end - 1)
                    for (int w = i; w < end; w++)
                        write_value(x, nodes->items[w], mb);
            }
        i = end;
    }
}

static void load(Memory *x, Phase phase, int mb)
{
    for (int i = 0; i < x->m->g->nodes.n; i++) {
        Node *n = x->m->g->nodes.items[i];
        if (n->op == OP_INPUT && n->phase == phase) {
            assert_int_not_equal(x->stage->places[i].kind, PLACE_NONE);
            write_value(x, n, mb);
        }
    }
}

// After an evaluation the runtime reads loss, predictions and targets.
static void look_at_results(Memory *x, int mb)
{
    for (int i = 0; i < x->m->g->nodes.n; i++) {
        Node *n = x->m->g->nodes.items[i];
        bool result =
            n->forward && (n->forward == x->m->g->loss || n->forward == x->m->g->output);
        if (n->phase == PHASE_EVAL && (result || n == x->m->target_twin))
            read_value(x, n, mb);
        if (n->phase == PHASE_EVAL && result && here(x, n))
            assert_int_equal(x->stage->places[i].kind, PLACE_SCRATCH);
    }
}

static void run_stream(Memory *x, const Stream *s)
{
    for (int i = 0; i < s->n; i++) {
        int mb = (int)s->instr[i].mb, opcode = s->instr[i].opcode;
        if (opcode == RT_LOAD)
            load(x, s == &x->stage->eval ? PHASE_EVAL : PHASE_FORWARD, mb);
        if (opcode == RT_FORWARD) {
            run_phase(x, PHASE_FORWARD, mb);
            if (here(x, x->m->g->loss))
                assert_int_equal(x->stage->places[x->m->g->loss->id].kind, PLACE_SLOT);
        }
        if (opcode == RT_BACKWARD)
            run_phase(x, PHASE_BACKWARD, mb);
        if (opcode == RT_UPDATE)
            run_phase(x, PHASE_UPDATE, mb);
        if (opcode == RT_EVAL) {
            run_phase(x, PHASE_EVAL, mb);
            look_at_results(x, mb);
        }
    }
}

static void run_stage(const Model *m, int stage)
{
    Memory x = {m, &m->plan, &m->plan.stages[stage], NULL, 0};
    x.n_cells = (x.stage->persistent_bytes + x.stage->in_flight * x.stage->slot_bytes +
                 x.stage->scratch_bytes) /
                CELL;
    x.cells = calloc((size_t)x.n_cells + 1, sizeof *x.cells);
    for (int i = 0; i < m->g->nodes.n; i++)
        if (x.stage->places[i].kind == PLACE_PERSISTENT)
            write_value(&x, m->g->nodes.items[i], 0);
    for (int step = 0; step < 2; step++) {
        run_stream(&x, &x.stage->train);
        run_stream(&x, &x.stage->eval);
    }
    free(x.cells);
}

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
        plan_random_model(m, 1 + random_below(4), 1 + random_below(6),
                          random_below(2) ? "1f1b" : "gpipe");
        for (int s = 0; s < m->plan.n_stages; s++)
            run_stage(m, s);
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
    assert_int_equal(notes, 5);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_keep_their_places), cmocka_unit_test(same_places_again),
        cmocka_unit_test(packs_as_tight_as_can_be), cmocka_unit_test(names_what_is_too_large)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
