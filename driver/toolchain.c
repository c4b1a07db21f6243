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
    t.has_c_backend = !access(arena_printf(a, "%s/libstagecc-rt-dnnl.a", t.lib_dir), R_OK);
    return t;
}

typedef VEC(const char *) Words;

static void push_words(Arena *a, Words *argv, const char *text)
{
    for (char *word = strtok(arena_strdup(a, text), " "); word; word = strtok(NULL, " "))
        vec_push(a, argv, word);
}

static pid_t compile_one(Arena *a, const Plan *plan, const Backend *backend, const char *dir,
                         const char *name)
{
    Toolchain t = toolchain_find(a);
    Words argv = {0};
    vec_push(a, &argv, t.cc);
    push_words(a, &argv, codegen_flags(a, plan, backend));
    vec_push(a, &argv, arena_printf(a, "-I%s", t.include_dir));
    vec_push(a, &argv, arena_printf(a, "%s/%s%s", dir, name, backend->extension));
    vec_push(a, &argv, "-o");
    vec_push(a, &argv, arena_printf(a, "%s/%s", dir, name));
    vec_push(a, &argv, arena_printf(a, "-L%s", t.lib_dir));
    push_words(a, &argv, backend->libraries);
    vec_push(a, &argv, NULL);
    return process_start(argv.items, NULL, 0);
}

int toolchain_build(Arena *a, const Plan *plan, const Backend *backend, const char *dir,
                    const char *const *names, int n)
{
    Toolchain t = toolchain_find(a);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    pid_t *pid = arena_array(a, pid_t, n);
    int failed = -1, status = EXIT_DONE;
    for (int i = 0; i < n + (int)cores; i++) {
        int done = i - (int)cores; // wait for the oldest before one more starts
        int ended = done >= 0 && done < n ? process_wait(pid[done]) : EXIT_DONE;
        failed = ended ? done : failed;
        status = status ? status : ended;
        if (i < n)
            pid[i] = compile_one(a, plan, backend, dir, names[i]);
    }
    if (!status || status == EXIT_INTERRUPTED)
        return status;
    error_at(NO_LOC, "the C compiler (%s) failed on %s/%s%s", t.cc, dir, names[failed],
             backend->extension);
    return EXIT_BUG;
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
