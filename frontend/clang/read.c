// A file becomes a graph: find its MODEL, run it.
#include "frontend/clang/read.h"

#include "base/text.h"
#include "frontend/clang/layers.h"

#include <string.h>

typedef struct Found {
    Converter *converter;
    VEC(Function *) models;
    VEC(Variable *) train;
} Found;

static const char prefix[] = "stagecc_model_";

static enum CXChildVisitResult find(CXCursor c, CXCursor parent, CXClientData data)
{
    (void)parent;
    Found *f = data;
    enum CXCursorKind kind = libclang.getCursorKind(c);
    if (kind != CXCursor_FunctionDecl && kind != CXCursor_VarDecl)
        return CXChildVisit_Continue;
    Arena *a = f->converter->arena;
    const char *name = source_string(f->converter->source, libclang.getCursorSpelling(c));
    if (kind == CXCursor_VarDecl && !strcmp(name, "stagecc_train_settings"))
        vec_push(a, &f->train, convert_variable(f->converter, c));
    else if (kind == CXCursor_FunctionDecl && str_starts(name, prefix) &&
             libclang.isCursorDefinition(c))
        vec_push(a, &f->models, convert_function(f->converter, c));
    return CXChildVisit_Continue;
}

static Spot place_of(Source *s, const Function *f)
{
    return source_spot(s, libclang.getCursorLocation(f->cursor));
}

static Function *only_model(Source *s, Found *f)
{
    if (f->models.n == 0) {
        error_at((Loc){s->path, 0, 0}, "there is no MODEL(name) { ... } in this file");
        return NULL;
    }
    for (int i = 1; i < f->models.n; i++) {
        error_at(place_of(s, f->models.items[i]).loc, "a second MODEL in one file");
        note_at(place_of(s, f->models.items[0]).loc, "the first is here");
    }
    return f->models.n == 1 ? f->models.items[0] : NULL;
}

static Graph *run(Arena *a, Source *s, const ModelOptions *options)
{
    Converter converter;
    converter_init(&converter, s);
    Found found = {.converter = &converter};
    libclang.visitChildren(libclang.getTranslationUnitCursor(s->unit), find, &found);
    Function *model = only_model(s, &found);
    if (!model)
        return NULL;
    Graph *g = graph_new(a, model->name + strlen(prefix), options->micro_batch);
    g->file = arena_strdup(a, s->path);
    Machine m;
    machine_init(&m, a, &converter, g, options);
    Ast at = {.kind = AST_CALL, .type = model->result, .spot = place_of(s, model)};
    for (int i = 0; i < found.train.n; i++)
        layers_train(&m, found.train.items[i]);
    call_function(&m, &at, model, NULL, 0, NULL);
    if (!diag_errors())
        model_review(&m, at.spot.loc);
    machine_release(&m);
    return diag_errors() ? NULL : g;
}

Graph *model_read(Arena *a, const char *path, const char *text, const ModelOptions *options)
{
    Source s;
    Graph *g = source_parse(&s, a, path, text, options) ? run(a, &s, options) : NULL;
    source_release(&s);
    return g;
}
