// Compiling and running what was generated. Headers and libraries are found beside the executable:
// in the build tree, or under the prefix it was installed to.
#include "driver/driver.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *own_executable(Arena *a)
{
    char *path = realpath("/proc/self/exe", NULL);
    if (!path)
        fatal("cannot find my own executable: %s", strerror(errno));
    const char *kept = arena_strdup(a, path);
    free(path);
    return kept;
}

static const char *parent_of(Arena *a, const char *dir)
{
    const char *slash = strrchr(dir, '/');
    return slash && slash > dir ? arena_strndup(a, dir, (size_t)(slash - dir)) : "/";
}

Toolchain toolchain_find(Arena *a)
{
    const char *dir = parent_of(a, own_executable(a));
    const char *cc = getenv("CC");
    Toolchain t = {.cc = cc && *cc ? cc : STAGECC_CC};
    if (!access(arena_printf(a, "%s/CMakeCache.txt", dir), R_OK)) {
        t.include_dir = arena_printf(a, "%s/include", dir);
        t.lib_dir = dir;
        t.links = arena_printf(a, "%s/stagecc-links", dir);
        t.host = arena_printf(a, "%s/stagecc-host", dir);
    } else {
        const char *prefix = parent_of(a, dir);
        t.include_dir = arena_printf(a, "%s/%s", prefix, STAGECC_INCLUDEDIR);
        t.lib_dir = arena_printf(a, "%s/%s", prefix, STAGECC_LIBDIR);
        t.links = arena_printf(a, "%s/%s/stagecc-links", prefix, STAGECC_LIBEXECDIR);
        t.host = arena_printf(a, "%s/%s/stagecc-host", prefix, STAGECC_LIBEXECDIR);
    }
    const char *beside = arena_printf(a, "%s/stagecc-card", dir); // where `launch` puts it
    t.card = access(beside, X_OK) ? arena_printf(a, "%s/stagecc-card", parent_of(a, t.links))
                                  : beside;
    kernel_tools_find(a, &t);
    t.has_c_backend = !access(arena_printf(a, "%s/libstagecc-rt-dnnl.a", t.lib_dir), R_OK);
    return t;
}

CodegenPaths toolchain_paths(const Toolchain *t, const Args *args)
{
    return (CodegenPaths){.cc = t->cc,
                          .include_dir = t->include_dir,
                          .lib_dir = t->lib_dir,
                          .nvcc = t->nvcc,
                          .cxx = t->cxx,
                          .cuda_lib_dir = t->cuda_lib_dir,
                          .emulated = t->emulated,
                          .architectures = args->architectures};
}

typedef VEC(const char *) Words;

static void add_words(Arena *a, Words *argv, const StepWords *words)
{
    for (int i = 0; i < words->n; i++)
        vec_push(a, argv, words->items[i]);
}

static pid_t start_step(Arena *a, const CompileStep *step, const char *dir)
{
    Words argv = {0};
    add_words(a, &argv, &step->tool);
    add_words(a, &argv, &step->before);
    for (int i = 0; i < 2 && step->in[i]; i++)
        vec_push(a, &argv, arena_printf(a, "%s/%s", dir, step->in[i]));
    vec_push(a, &argv, "-o");
    vec_push(a, &argv, arena_printf(a, "%s/%s", dir, step->out));
    add_words(a, &argv, &step->behind);
    vec_push(a, &argv, NULL);
    return process_start(argv.items, NULL, 0);
}

typedef VEC(CompileStep) Steps;

// Side by side, as many as there are processors.
static int run_steps(Arena *a, const Steps *steps, const char *dir)
{
    int cores = (int)sysconf(_SC_NPROCESSORS_ONLN), n = steps->n;
    pid_t *pid = arena_array(a, pid_t, n + 1);
    int failed = -1, status = EXIT_DONE;
    for (int i = 0; i < n + cores; i++) {
        int done = i - cores; // wait for the oldest before one more starts
        int ended = done >= 0 && done < n ? process_wait(pid[done]) : EXIT_DONE;
        failed = ended ? done : failed;
        status = status ? status : ended;
        if (i < n)
            pid[i] = start_step(a, &steps->items[i], dir);
    }
    if (!status || status == EXIT_INTERRUPTED)
        return status;
    const CompileStep *step = &steps->items[failed];
    error_at(NO_LOC, "%s (%s) failed on %s/%s", step->what, step->tool.items[0], dir,
             step->in[0]);
    return EXIT_BUG;
}

// Of the library that programs for devices link.
static bool has_device_runtime(Arena *a, const CodegenPaths *paths)
{
    return !access(arena_printf(a, "%s/libstagecc-rt-cuda.a", paths->lib_dir), R_OK);
}

int toolchain_build(Arena *a, const Plan *plan, const Backend *backend,
                    const CodegenPaths *paths, const char *dir)
{
    bool kernels = false;
    for (int stage = 0; stage < plan->n_stages; stage++)
        kernels |= backend_of_stage(plan, stage, backend)->kernel_extension != NULL;
    if (kernels && !paths->emulated && !has_device_runtime(a, paths)) {
        error_at(NO_LOC,
                 "the sources are in %s, but this stagecc has no runtime for devices to make "
                 "programs of them: STAGECC_CUDA=emulated makes some for this processor",
                 dir);
        return EXIT_ENVIRONMENT;
    }
    Steps objects = {0}, programs = {0};
    for (int stage = 0; stage < plan->n_stages; stage++) {
        CompileSteps steps = codegen_steps(a, plan, backend, paths, stage);
        for (int i = 0; i < steps.n; i++)
            vec_push(a, i < steps.n - 1 ? &objects : &programs, steps.items[i]);
    }
    int status = run_steps(a, &objects, dir);
    return status ? status : run_steps(a, &programs, dir);
}

void draw_svg(const char *dot_file, const char *svg_file)
{
    enum { MOST_S = 20 };
    const char *const argv[] = {"dot", "-Tsvg", "-o", svg_file, dot_file, NULL};
    int status = process_wait(process_start(argv, NULL, MOST_S));
    if (status == 128 + SIGXCPU || status == 128 + SIGKILL)
        warning_at(NO_LOC, "%s was not drawn: Graphviz took more than %d s", svg_file, MOST_S);
    else if (status)
        warning_at(NO_LOC,
                   "%s was not drawn: is graphviz installed? (apt-get install graphviz)",
                   svg_file);
}
