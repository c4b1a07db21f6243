// Places, checked by pretending to run: every stage executes its streams on a memory in which each
// 64-byte cell bears the name of the tensor that was written there last. Who reads a tensor must find
// its name in all its cells.
#ifndef STAGECC_TESTS_PRETEND_H
#define STAGECC_TESTS_PRETEND_H

#include "passes/values.h"
#include "plan/plan.h"
#include "plan/schedule.h"

#include <stdlib.h>

enum { CELL = 64 };

typedef struct Memory {
    const Graph *g;
    const Plan *p;
    const PlanStage *stage;
    int64_t *cells;
    int64_t n_cells;
    int version; // of the weights that the instruction works with
    int part;    // of the last pass: so many have run
} Memory;

static inline int64_t tag_of(const Memory *x, const Node *n, int mb)
{
    PlaceKind kind = x->stage->places[n->id].kind;
    int which = kind == PLACE_PERSISTENT ? 0 : kind == PLACE_WEIGHT ? x->version : mb;
    return 1 + n->id * 1000 + which;
}

static inline int64_t *cells_of(Memory *x, const Node *n, int mb, int *count)
{
    const Place *place = &x->stage->places[n->id];
    int64_t base = 0, size = 0;
    int64_t kept = x->stage->persistent_bytes + plan_weight_bytes(x->stage);
    switch (place->kind) {
    case PLACE_NONE:
    case PLACE_EDGE: *count = 0; return NULL;
    case PLACE_PERSISTENT: size = x->stage->persistent_bytes; break;
    case PLACE_WEIGHT:
        base = x->version % x->stage->versions * x->stage->version_bytes;
        size = x->stage->persistent_bytes;
        assert_true(place->offset >= size - x->stage->version_bytes);
        break;
    case PLACE_SLOT:
        base = kept + mb / x->stage->replicas % x->stage->in_flight * x->stage->slot_bytes;
        size = x->stage->slot_bytes;
        break;
    case PLACE_SCRATCH:
        base = kept + x->stage->in_flight * x->stage->slot_bytes;
        size = x->stage->scratch_bytes;
        break;
    }
    assert_int_equal(place->offset % CELL, 0);
    assert_int_equal(place->bytes, n->bytes);
    assert_true(place->offset >= 0 && place->offset + place->bytes <= size);
    *count = (int)((place->bytes + CELL - 1) / CELL);
    return x->cells + (base + place->offset) / CELL;
}

static inline void write_value(Memory *x, const Node *n, int mb)
{
    int count;
    int64_t *cells = cells_of(x, n, mb, &count);
    for (int i = 0; i < count; i++)
        cells[i] = tag_of(x, n, mb);
}

static inline void read_value(Memory *x, Node *input, int mb)
{
    int count;
    const Node *n = value_root(input);
    const int64_t *cells = cells_of(x, n, mb, &count);
    for (int i = 0; i < count; i++)
        assert_int_equal(cells[i], tag_of(x, n, mb));
}

// What a node reads has a place, but for numbers in the code and values inside its group.
static inline void read_input(Memory *x, const Node *reader, Node *input, int mb)
{
    const Node *n = value_root(input);
    bool mate = reader->group >= 0 && n->group == reader->group;
    if (value_stored(n) && !mate)
        assert_int_not_equal(x->stage->places[n->id].kind, PLACE_NONE);
    read_value(x, input, mb);
}

static inline bool here(const Memory *x, const Node *n)
{
    if (n->phase == PHASE_UPDATE && n->forward && n->forward->op == OP_PARAM)
        return x->stage->places[n->forward->id].kind != PLACE_NONE;
    return plan_stage_of_unit(x->p, n->unit) == x->stage->id;
}

// A stored, computed tensor of this stage has a place, unless only its own group knows it.
static inline void must_have_place(const Memory *x, const Node *n)
{
    const Graph *g = x->g;
    bool read = false, outside = n == g->loss || n == g->output;
    outside |= n->phase == PHASE_EVAL && n->forward && n->forward == g->output;
    for (int i = 0; i < g->nodes.n; i++)
        for (int k = 0; k < g->nodes.items[i]->n_inputs; k++) {
            const Node *reader = g->nodes.items[i];
            bool reads = reader->inputs[k] == n && reader->op != OP_RESULT;
            read |= reads;
            outside |= reads && !value_handed_on(n, reader);
        }
    if (!node_is(n, 'X') && !node_is(n, 'V'))
        assert_int_equal(x->stage->places[n->id].kind != PLACE_NONE, outside || !read);
}

static inline void write_results(Memory *x, int begin, int end, int mb)
{
    for (int i = begin; i < x->g->nodes.n; i++) {
        const Node *n = x->g->nodes.items[i];
        if (n->op != OP_RESULT || n->inputs[0]->id < begin || n->inputs[0]->id >= end)
            continue;
        assert_int_not_equal(x->stage->places[i].kind, PLACE_NONE);
        write_value(x, n, mb);
    }
}

// Of the last pass: the next part, or what is left of it.
static inline bool runs_now(const Memory *x, const Node *n, bool whole)
{
    int part = plan_part_of_unit(x->stage, n->unit);
    return part == x->part || (whole && part > x->part);
}

// A result may lie where an input lies that is read element by element, by no node behind the one that makes
// it, and by nobody later.
static inline bool in_place(const Memory *x, int begin, int end, Node *input)
{
    const Node *v = value_root(input);
    const Place *at = &x->stage->places[v->id];
    bool lies = at->kind == PLACE_SLOT || at->kind == PLACE_SCRATCH;
    for (int i = begin; i < end && lies; i++) {
        const Node *o = x->g->nodes.items[i];
        const Place *to = &x->stage->places[i];
        if (to->kind != at->kind || to->offset != at->offset || o == v ||
            to->bytes != at->bytes)
            continue;
        assert_true(shape_equal(o->shape, v->shape) && o->layout == v->layout);
        for (int k = 0; k < x->g->nodes.n; k++)
            for (int j = 0; j < x->g->nodes.items[k]->n_inputs; j++) {
                const Node *reader = x->g->nodes.items[k];
                bool reads = value_root(reader->inputs[j]) == v && reader->op != OP_RESULT &&
                             !node_is(reader, 'V');
                bool by_element = node_is(reader, 'E') || reader->op == OP_BATCH_NORM ||
                                  reader->op == OP_BATCH_NORM_INFER ||
                                  reader->op == OP_BATCH_NORM_GRAD;
                assert_true(!reads || k < begin || (k <= i && by_element));
            }
        return true;
    }
    return false;
}

// A kernel or a fused loop may read its inputs after it has begun to write its outputs.
static inline void run_phase(Memory *x, Phase phase, bool whole, int mb)
{
    const NodeList *nodes = &x->g->nodes;
    for (int i = 0; i < nodes->n;) {
        Node *first = nodes->items[i];
        int end = i + 1;
        while (first->group >= 0 && end < nodes->n && nodes->items[end]->group == first->group)
            end++;
        bool computes = !node_is(first, 'L') && !node_is(first, 'V');
        bool runs = computes && first->phase == phase && here(x, first) &&
                    (phase_opcode(phase) != schedule_last_pass(&x->p->options) ||
                     runs_now(x, first, whole));
        for (int pass = 0; pass < 2 && runs; pass++) // before and after it has written
            for (int k = i; k < end; k++) {
                Node *n = nodes->items[k];
                for (int j = 0; j < n->n_inputs; j++)
                    if (pass ? !in_place(x, i, end, n->inputs[j])
                             : n->group < 0 || n->inputs[j]->group != n->group)
                        read_input(x, n, n->inputs[j], mb);
                if (pass == 0)
                    must_have_place(x, n);
                if (pass == 0 && k == end - 1)
                    for (int w = i; w < end; w++)
                        write_value(x, nodes->items[w], mb);
            }
        if (runs)
            write_results(x, i, end, mb);
        i = end;
    }
}

static inline void load(Memory *x, Phase phase, int mb)
{
    for (int i = 0; i < x->g->nodes.n; i++) {
        Node *n = x->g->nodes.items[i];
        if (n->op == OP_INPUT && n->phase == phase) {
            assert_int_not_equal(x->stage->places[i].kind, PLACE_NONE);
            write_value(x, n, mb);
        }
    }
}

// After an evaluation the runtime reads loss, predictions and targets.
static inline void look_at_results(Memory *x, int mb)
{
    for (int i = 0; i < x->g->nodes.n; i++) {
        Node *n = x->g->nodes.items[i];
        bool result = n->forward && (n->forward == x->g->loss || n->forward == x->g->output);
        if (n->phase == PHASE_EVAL &&
            (result || (n->op == OP_INPUT && node_string(n, A_ROLE)[0] == 't')))
            read_value(x, n, mb);
        if (n->phase == PHASE_EVAL && result && here(x, value_root(n)))
            assert_int_equal(x->stage->places[value_root(n)->id].kind, PLACE_SCRATCH);
    }
}

// As the runtime copies them.
static inline void copy_weights(Memory *x, int from, int to)
{
    for (int i = 0; i < x->g->nodes.n; i++) {
        Node *n = x->g->nodes.items[i];
        if (x->stage->places[i].kind != PLACE_WEIGHT)
            continue;
        x->version = from;
        read_value(x, n, 0);
        x->version = to;
        write_value(x, n, 0);
    }
    x->version = to;
}

// What is put or added up between two parts of backward is done.
static inline void look_at_bucket(const Memory *x, int number)
{
    const PlanBucket *b = x->p->buckets;
    int count = 0;
    while (b->stage != x->stage->id)
        b++;
    while (b + count < x->p->buckets + x->p->n_buckets && b[count].stage == x->stage->id)
        count++;
    b += number % count;
    for (int i = 0; i < x->g->nodes.n && x->part; i++) {
        const Node *n = x->g->nodes.items[i];
        for (int k = 0; k < b->n_nodes && n->op == OP_ACCUMULATE; k++)
            if (b->nodes[k] == n->inputs[0]->id)
                assert_true(plan_part_of_unit(x->stage, n->unit) < x->part);
    }
}

static inline void run_stream(Memory *x, const Stream *s, bool eval)
{
    for (int i = 0; i < s->n; i++) {
        int mb = (int)s->instr[i].mb, opcode = s->instr[i].opcode;
        x->version = rt_has_version(&s->instr[i]) ? rt_version(&s->instr[i]) : 0;
        if (opcode == RT_UPDATE && x->stage->versions > 1)
            copy_weights(x, x->version - 1, x->version);
        if (opcode == RT_LOAD)
            load(x, eval ? PHASE_EVAL : PHASE_FORWARD, mb);
        if (opcode == RT_FORWARD) {
            run_phase(x, PHASE_FORWARD, true, mb);
            if (here(x, x->g->loss))
                assert_int_equal(x->stage->places[x->g->loss->id].kind, PLACE_SLOT);
        }
        rt_opcode last = schedule_last_pass(&x->p->options);
        if (opcode == RT_BACKWARD)
            run_phase(x, PHASE_BACKWARD, true, mb);
        if (opcode == RT_BACKWARD_PART)
            run_phase(x, last == RT_BACKWARD ? PHASE_BACKWARD : PHASE_BACKWARD_WEIGHT, false,
                      mb);
        if (opcode == RT_BACKWARD_WEIGHT)
            run_phase(x, PHASE_BACKWARD_WEIGHT, true, mb);
        if (opcode == RT_REDUCE_PUT || opcode == RT_REDUCE_SUM)
            look_at_bucket(x, mb);
        x->part = opcode == (int)last ? 0 : x->part + (opcode == RT_BACKWARD_PART);
        if (opcode == RT_UPDATE)
            run_phase(x, PHASE_UPDATE, true, mb);
        if (opcode == RT_EVAL) {
            run_phase(x, PHASE_EVAL, true, mb);
            look_at_results(x, mb);
        }
    }
}

static inline void pretend_rank(const Graph *g, const Plan *p, const PlanRank *rank)
{
    Memory x = {.g = g, .p = p, .stage = &p->stages[rank->stage]};
    x.n_cells = (x.stage->persistent_bytes + plan_weight_bytes(x.stage) +
                 x.stage->in_flight * x.stage->slot_bytes + x.stage->scratch_bytes) /
                CELL;
    x.cells = calloc((size_t)x.n_cells + 1, sizeof *x.cells);
    for (int i = 0; i < g->nodes.n; i++)
        if (x.stage->places[i].kind == PLACE_PERSISTENT ||
            x.stage->places[i].kind == PLACE_WEIGHT)
            write_value(&x, g->nodes.items[i], 0);
    for (int step = 0; step < 2; step++) {
        run_stream(&x, &rank->train, false);
        copy_weights(&x, plan_stream_steps(p, false), 0);
        run_stream(&x, &rank->eval, true);
    }
    free(x.cells);
}

static inline void pretend_stage(const Graph *g, const Plan *p, int stage)
{
    for (int r = 0; r < p->stages[stage].replicas; r++)
        pretend_rank(g, p, &p->ranks[p->stages[stage].first_rank + r]);
}

#endif
