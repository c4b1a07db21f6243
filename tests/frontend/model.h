// Reading models inside a test: text in, graph or collected diagnostics out.
#ifndef STAGECC_TESTS_FRONTEND_MODEL_H
#define STAGECC_TESTS_FRONTEND_MODEL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/text.h"
#include "frontend/frontend.h"

#include <stdlib.h>
#include <string.h>

static Arena model_arena;
static Text model_messages; // "error: ...\n" of the last reading

static void model_collect(void *user, DiagKind kind, Loc loc, const char *message)
{
    static const char *const names[] = {"error", "warning", "note"};
    (void)user;
    text_printf(&model_messages, "%s:%d:%d: %s: %s\n", loc.file ? loc.file : "-", loc.line,
                loc.col, names[kind], message);
}

static Graph *model_parse(const char *path, const char *text, const ModelOptions *options)
{
    ModelOptions o = *options;
    o.header_dir = o.header_dir ? o.header_dir : BINARY_DIR "/include";
    o.micro_batch = o.micro_batch ? o.micro_batch : 4;
    o.real = o.real ? o.real : F32;
    text_release(&model_messages);
    diag_reset();
    diag_capture(model_collect, NULL);
    Graph *g = frontends[0]->parse(&model_arena, path, text, &o);
    diag_capture(NULL, NULL);
    return g;
}

// A model of these statements.
static inline Graph *model_of(const char *body)
{
    const char *text =
        arena_printf(&model_arena, "#include <stagecc/model.h>\nMODEL(m)\n{\n%s\n}\n", body);
    return model_parse("m.c", text, &(ModelOptions){0});
}

static inline Graph *model_file(const char *name)
{
    const char *path = arena_printf(&model_arena, "%s/%s", SOURCE_DIR, name);
    char *text = file_read(path, NULL);
    assert_non_null(text);
    Graph *g = model_parse(path, text, &(ModelOptions){0});
    free(text);
    return g;
}

static inline const Node *model_node(const Graph *g, const char *name)
{
    for (int i = 0; g && i < g->nodes.n; i++)
        if (!strcmp(g->nodes.items[i]->name, name))
            return g->nodes.items[i];
    return NULL;
}

static inline bool model_said(const char *part)
{
    return model_messages.data && strstr(model_messages.data, part);
}

static inline int model_teardown(void **state)
{
    (void)state;
    text_release(&model_messages);
    arena_release(&model_arena);
    return 0;
}

#endif
