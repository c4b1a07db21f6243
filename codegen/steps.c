// How sources become a program. A stage's own head, build.ninja and the driver say the same words, because
// they have them from here.
#include "codegen/program.h"

#include <string.h>

#ifndef STAGECC_SANITIZER_FLAGS
#define STAGECC_SANITIZER_FLAGS ""
#endif

typedef VEC(const char *) Words;

static void add_text(Arena *a, Words *words, const char *text)
{
    for (char *word = strtok(arena_strdup(a, text), " "); word; word = strtok(NULL, " "))
        vec_push(a, words, word);
}

static StepWords named(const char *name, Words words)
{
    return (StepWords){name, words.items, words.n};
}

static StepWords one_word(Arena *a, const char *name, const char *word)
{
    Words words = {0};
    vec_push(a, &words, word);
    return named(name, words);
}

// No contraction and no fast-math: the same bits with every compiler that is asked this way.
static Words host_flags(Arena *a, const Plan *p, const Backend *b, const CodegenPaths *paths)
{
    Words words = {0};
    add_text(a, &words, "-std=gnu17 -O3 -ffp-contract=off -Wall -Wextra");
    vec_push(a, &words, backend_march(b->isa ? b->isa : p->options.isa));
    if (b->libraries_openmp)
        vec_push(a, &words, "-fopenmp");
    if (b->flags)
        add_text(a, &words, b->flags);
    add_text(a, &words, STAGECC_SANITIZER_FLAGS);
    vec_push(a, &words, arena_printf(a, "-I%s", paths->include_dir));
    return words;
}

// more: another folder of libraries, or NULL.
static StepWords libraries(Arena *a, const CodegenPaths *paths, const char *more,
                           const char *text)
{
    Words words = {0};
    vec_push(a, &words, arena_printf(a, "-L%s", paths->lib_dir));
    if (more)
        vec_push(a, &words, arena_printf(a, "-L%s", more));
    add_text(a, &words, text);
    return named("libraries", words);
}

static CompileSteps one_step(Arena *a, const Plan *p, const Backend *b,
                             const CodegenPaths *paths, const char *name)
{
    CompileStep program = {.rule = "program",
                           .what = "the C compiler",
                           .tool = one_word(a, "cc", paths->cc),
                           .before = named("flags", host_flags(a, p, b, paths)),
                           .behind = libraries(a, paths, NULL, b->libraries),
                           .in = {arena_printf(a, "%s%s", name, b->extension)},
                           .out = name};
    return (CompileSteps){.items = {program}, .n = 1};
}

static StepWords kernel_flags(Arena *a, const KernelCompiler *k, const CodegenPaths *paths)
{
    Words words = {0};
    add_text(a, &words, k->flags);
    vec_push(a, &words, arena_printf(a, "-I%s", paths->include_dir));
    vec_push(a, &words, "-c");
    return named("kernel_flags", words);
}

// Objects, and the program of them.
static CompileSteps three_steps(Arena *a, const Plan *p, const Backend *b,
                                const CodegenPaths *paths, const char *name)
{
    KernelCompiler k = b->kernel_compiler(a, p, paths);
    Words flags = host_flags(a, p, b, paths);
    vec_push(a, &flags, "-c");
    const char *object = arena_printf(a, "%s.o", name);
    const char *source = arena_printf(a, "%s%s", name, b->kernel_extension);
    const char *kernels = arena_printf(a, "%s.o", source);
    CompileStep host = {.rule = "host",
                        .what = "the C compiler",
                        .tool = one_word(a, "cc", paths->cc),
                        .before = named("flags", flags),
                        .in = {arena_printf(a, "%s%s", name, b->extension)},
                        .out = object};
    CompileStep second = {.rule = "kernels",
                          .what = k.what,
                          .tool = one_word(a, k.name, k.tool),
                          .before = kernel_flags(a, &k, paths),
                          .in = {source},
                          .out = kernels};
    CompileStep program = {
        .rule = "program",
        .what = "the linker",
        .tool = host.tool,
        .behind = libraries(a, paths, k.lib_dir,
                            arena_printf(a, "%s%s", k.libraries, STAGECC_SANITIZER_FLAGS)),
        .in = {object, kernels},
        .out = name};
    return (CompileSteps){.items = {host, second, program}, .n = 3};
}

// The plan's stages have several backends, each with rules and words of its own.
static bool differ(const Plan *p, int stage)
{
    return stage < p->n_stages && p->stages[stage].backend;
}

CompileSteps codegen_steps(Arena *a, const Plan *p, const Backend *b, const CodegenPaths *paths,
                           int stage)
{
    const char *name = arena_printf(a, "stage%d", stage);
    b = backend_of_stage(p, stage, b);
    CompileSteps steps = b->kernel_extension ? three_steps(a, p, b, paths, name)
                                             : one_step(a, p, b, paths, name);
    for (int i = 0; i < steps.n && differ(p, stage); i++) {
        CompileStep *s = &steps.items[i];
        s->rule = arena_printf(a, "%s_%s", b->name, s->rule);
        s->before.name = arena_printf(a, "%s_%s", b->name, s->before.name);
        s->behind.name = arena_printf(a, "%s_%s", b->name, s->behind.name);
    }
    return steps;
}

static const char *joined(Arena *a, const char *line, const StepWords *words)
{
    for (int i = 0; i < words->n; i++)
        line = arena_printf(a, "%s%s%s", line, *line ? " " : "", words->items[i]);
    return line;
}

const char *step_line(Arena *a, const CompileStep *step)
{
    const char *line = joined(a, joined(a, "", &step->tool), &step->before);
    for (int i = 0; i < 2 && step->in[i]; i++)
        line = arena_printf(a, "%s %s", line, step->in[i]);
    return joined(a, arena_printf(a, "%s -o %s", line, step->out), &step->behind);
}
