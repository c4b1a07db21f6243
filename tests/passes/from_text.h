// A graph from IR text through some passes, and its nodes as short lines:
//   NAME = OP INPUT... [backward|update|eval] [from NAME] [group N] [unit N]
// without attributes, types and places. Leaves are left out unless asked for.
#ifndef STAGECC_TESTS_FROM_TEXT_H
#define STAGECC_TESTS_FROM_TEXT_H

#include "ir/text.h"
#include "passes/pass.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Case {
    Arena arena, scratch;
    Options options;
    Plan plan;
    Compile c;
} Case;

static inline Case *case_new(const char *text)
{
    Case *t = calloc(1, sizeof *t);
    t->options = options_default();
    t->c = (Compile){.perm = &t->arena,
                     .scratch = &t->scratch,
                     .graph = ir_read(&t->arena, "test.ir", text),
                     .plan = &t->plan,
                     .options = &t->options,
                     .fuse = true};
    assert_non_null(t->c.graph);
    return t;
}

static inline void case_run(Case *t, const char *passes)
{
    diag_reset();
    t->options.batch = t->options.micro_batches * t->c.graph->micro_batch;
    t->plan = (Plan){.model = "test", .cost_source = "estimate", .options = t->options};
    assert_true(passes_run(&t->c, &(PassOptions){.only = passes}));
}

static inline void case_free(Case *t)
{
    arena_release(&t->arena);
    arena_release(&t->scratch);
    free(t);
}

static inline Node *case_node(const Case *t, const char *name)
{
    for (int i = 0; i < t->c.graph->nodes.n; i++)
        if (!strcmp(t->c.graph->nodes.items[i]->name, name))
            return t->c.graph->nodes.items[i];
    fail_msg("no node %s", name);
    return NULL;
}

static inline void short_line(Text *out, const Node *n)
{
    text_printf(out, "%s = %s", n->name, op_info[n->op].name);
    for (int i = 0; i < n->n_inputs; i++)
        text_printf(out, " %s", n->inputs[i]->name);
    if (n->phase != PHASE_FORWARD)
        text_printf(out, " %s", phase_name[n->phase]);
    if (n->forward)
        text_printf(out, " from %s", n->forward->name);
    if (n->group >= 0)
        text_printf(out, " group %d", n->group);
    if (n->unit >= 0)
        text_printf(out, " unit %d", n->unit);
    text_puts(out, "\n");
}

enum { WITH_LEAVES = 1 << N_PHASES };

// The nodes of some phases (bits), in order, are exactly these.
static inline void expect_nodes(const Case *t, int phases, const char *lines)
{
    Text got = {0};
    text_puts(&got, "");
    for (int i = 0; i < t->c.graph->nodes.n; i++) {
        const Node *n = t->c.graph->nodes.items[i];
        if (phases >> n->phase & 1 && (phases & WITH_LEAVES || !node_is(n, 'L')))
            short_line(&got, n);
    }
    const char *text = got.data ? got.data : "";
    if (strcmp(text, lines))
        fail_msg("expected\n%s\ngot\n%s", lines, text);
    text_release(&got);
}

enum {
    FORWARD_NODES = 1 << PHASE_FORWARD,
    BACKWARD_NODES = 1 << PHASE_BACKWARD,
    UPDATE_NODES = 1 << PHASE_UPDATE,
    EVAL_NODES = 1 << PHASE_EVAL
};

#define PARAM(name, shape) name " = param {shape=[" shape "], dtype=\"f32\", init=\"normal\"}\n"
#define BUFFER(name, shape)                                                                    \
    name " = buffer {shape=[" shape "], dtype=\"f32\", init=\"constant\"}\n"
#define SAMPLE(name, shape)                                                                    \
    name " = input {shape=[" shape "], dtype=\"f32\", role=\"sample\"}\n"
#define TARGET(name, shape)                                                                    \
    name " = input {shape=[" shape "], dtype=\"f32\", role=\"target\"}\n"

#endif
