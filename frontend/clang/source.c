// Parsing with libclang. source_files.c says what a model may read.
#include "frontend/clang/source_parts.h"

#include "frontend/clang/headers.h"

#include <string.h>
#include <unistd.h>

const char *source_string(Source *s, CXString string)
{
    const char *text = libclang.getCString(string);
    const char *copy = arena_strdup(s->arena, text ? text : "");
    libclang.disposeString(string);
    return copy;
}

typedef VEC(const char *) Arguments;

static Arguments arguments(Source *s)
{
    static const char *const fixed[] = {
        "-xc",
        "-std=gnu17",
        "-nostdinc",
        "-Wall",
        "-Wno-unused-function",
        "-Wno-uninitialized",
        "-Wno-missing-braces",
        "-Wno-division-by-zero",
        "-Wno-comment",
        "-Werror=incompatible-pointer-types",
        "-Werror=int-conversion",
        "-Werror=implicit-function-declaration",
        "-Werror=return-type",
        "-D__STAGECC__=1",
        "-ferror-limit=20",
        "-isystem",
        LIBC_DIR,
    };
    Arguments args = {0};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        vec_push(s->arena, &args, fixed[i]);
    const ModelOptions *o = s->options;
    if (o->header_dir) {
        vec_push(s->arena, &args, "-isystem");
        vec_push(s->arena, &args, o->header_dir);
    }
    for (int i = 0; i < o->n_include_dirs; i++)
        vec_push(s->arena, &args, arena_printf(s->arena, "-I%s", o->include_dirs[i]));
    for (int i = 0; i < o->n_defines; i++)
        vec_push(s->arena, &args, arena_printf(s->arena, "-D%s", o->defines[i]));
    vec_push(s->arena, &args, "-ivfsoverlay");
    vec_push(s->arena, &args, source_overlay(s));
    return args;
}

bool source_parse(Source *s, Arena *arena, const char *path, const char *text,
                  const ModelOptions *options)
{
    // A name that could be read as an option of clang's is no longer one behind "./".
    const char *name = *path == '-' || *path == '@' ? arena_printf(arena, "./%s", path) : path;
    *s = (Source){.arena = arena, .path = name, .text = text, .options = options};
    if (!libclang_load())
        return false;
    s->index = libclang.createIndex(0, 0);
    Arguments args = arguments(s);
    struct CXUnsavedFile main_file = {name, text, strlen(text)};
    enum CXErrorCode code = libclang.parseTranslationUnit2(
        s->index, name, args.items, args.n, &main_file, 1, CXTranslationUnit_None, &s->unit);
    if (code || !s->unit) {
        error_at(
            (Loc){path, 0, 0},
            "the C parser failed on this model: it takes too much memory, or is nested too "
            "deeply (error %d)",
            code);
        return false;
    }
    return source_inclusions_fit(s) && source_show_diagnostics(s);
}

void source_release(Source *s)
{
    if (s->unit)
        libclang.disposeTranslationUnit(s->unit);
    if (s->index)
        libclang.disposeIndex(s->index);
    for (int i = 0; i < s->memory_files.n; i++)
        close(s->memory_files.items[i]);
}
