// Measuring by running: the model as one program of the very code that will train, with synthetic
// data, and the seconds between its layer marks. Nothing is estimated and nothing else is timed.
#include "driver/driver.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

// A second job for the same command line, since passes change the graph they work on.
static int build_whole(const Job *j, const char *dir)
{
    Job whole;
    Args args = *j->args;
    args.devices = NULL; // one stage, here
    int status = job_load(&whole, j->arena, &args);
    if (!status)
        status = job_compile(&whole, 1);
    if (!status && dir_make(dir))
        fatal("cannot make the directory %s: %s", dir, strerror(errno));
    if (!status)
        status = build_programs(&whole, dir);
    job_release(&whole);
    return status;
}

static int read_times(Job *j, const char *file)
{
    json_error_t error;
    json_t *root = json_load_file(file, 0, &error), *layers = json_object_get(root, "layers");
    size_t n = json_array_size(layers);
    LayerTime *times = arena_array(j->arena, LayerTime, n + 1);
    for (size_t i = 0; i < n; i++) {
        json_t *layer = json_array_get(layers, i);
        const char *name = json_string_value(json_object_get(layer, "name"));
        times[i].layer = arena_strdup(j->arena, name ? name : "");
        times[i].forward_s = json_number_value(json_object_get(layer, "forward_s"));
        times[i].backward_s = json_number_value(json_object_get(layer, "backward_s"));
        times[i].update_s = json_number_value(json_object_get(layer, "update_s"));
    }
    j->compile.program = (ProgramCosts){
        .load_s = json_number_value(json_object_get(root, "load_s")),
        .norm_s = json_number_value(json_object_get(root, "norm_s")),
        .process_bytes = json_integer_value(json_object_get(root, "process_bytes")),
        .library_bytes = json_integer_value(json_object_get(root, "library_bytes"))};
    json_decref(root);
    j->compile.times = times;
    j->compile.n_times = (int)n;
    if (!n)
        error_at((Loc){file, 0, 0},
                 "there are no measured times; make them with `stagecc profile`");
    return n ? EXIT_DONE : EXIT_INPUT;
}

int measured_load(Job *j, const char *dir)
{
    const char *kernels = arena_printf(j->arena, "%s/kernels.json", dir);
    if (j->backend->kernel_key)
        j->kernels = kernels;
    return read_times(j, arena_printf(j->arena, "%s/times.json", dir));
}

static int run_program(const char *const *argv)
{
    int status = process_run(argv, "/dev/null");
    if (status)
        error_at(NO_LOC, "the measuring program %s ended with status %d", argv[0], status);
    return status;
}

int measure(Job *j, const char *dir)
{
    Arena *a = j->arena;
    const char *work = arena_printf(a, "%s/measure", dir),
               *program = arena_printf(a, "%s/stage0", work);
    const char *times = arena_printf(a, "%s/times.json", dir);
    const char *kernels = arena_printf(a, "%s/kernels.json", dir);
    fprintf(stderr, "measuring %s on this machine\n", j->graph->name);
    int status = build_whole(j, work);
    if (!status && j->backend->kernel_key)
        status = run_program((const char *const[]){program, "--probe", kernels, NULL});
    if (!status)
        status = run_program((const char *const[]){program, "--data", "synthetic", "--steps",
                                                   "5", "--profile", times, NULL});
    return status ? status : measured_load(j, dir);
}

int command_profile(Arena *a, Args *args)
{
    Job j;
    int status = job_load(&j, a, args);
    if (!status && args->dry_run) {
        printf("%s/measure/stage0 would be compiled and run\n",
               args->out ? args->out : "profile");
        job_release(&j);
        return EXIT_DONE;
    }
    const char *dir = status ? NULL : job_dir(&j, "profile");
    if (!status)
        status = measure(&j, dir);
    if (!status)
        status = job_compile(&j, 1);
    if (!status)
        status = report_write_profile(&j, dir);
    if (!status && args->json)
        printf("{\"graph\": \"%s/graph.txt\", \"layers\": %d, \"kernels\": %s}\n", dir,
               j.compile.n_times, j.kernels ? "true" : "false");
    else if (!status)
        printf("%s/graph.txt, graph.dot%s%s: %d layers measured\n", dir,
               args->no_svg ? "" : ", graph.svg", j.kernels ? ", kernels.json" : "",
               j.compile.n_times);
    job_release(&j);
    return status;
}
