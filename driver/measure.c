// Measuring by running: the model as one program of the very code that will train, with synthetic
// data, and the seconds between its layer marks. Nothing is estimated and nothing else is timed.
#include "driver/driver.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

// A second job for the same command line, since passes change the graph they work on.
static int build_whole(Job *whole, const Job *j, const char *dir)
{
    int status = job_load(whole, j->arena, j->args);
    whole->kernels = j->kernels;
    if (!status)
        status = job_compile(whole, 1);
    if (!status && dir_make(dir))
        fatal("cannot make the directory %s: %s", dir, strerror(errno));
    return status ? status : build_programs(whole, dir);
}

static bool read_times(Job *j, const char *file)
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
    }
    json_decref(root);
    j->compile.times = times;
    j->compile.n_times = (int)n;
    return n > 0;
}

int measure_layers(Job *j, const char *dir)
{
    const char *work = arena_printf(j->arena, "%s/measure", dir);
    Job whole;
    int status = build_whole(&whole, j, work);
    job_release(&whole);
    if (status)
        return status;
    const char *times = arena_printf(j->arena, "%s/times.json", work);
    const char *const argv[] = {arena_printf(j->arena, "%s/stage0", work),
                                "--data",
                                "synthetic",
                                "--steps",
                                "5",
                                "--profile",
                                times,
                                NULL};
    status = process_run(argv, "/dev/null");
    if (status) {
        error_at(NO_LOC, "the measuring program %s ended with status %d", argv[0], status);
        return status;
    }
    if (!read_times(j, times)) {
        error_at((Loc){times, 0, 0}, "the measuring program left no times");
        return EXIT_BUG;
    }
    return EXIT_DONE;
}

int command_profile(Arena *a, Args *args)
{
    Job j;
    int status = job_load(&j, a, args);
    const char *dir = status ? NULL : job_dir(&j, "profile");
    if (!status)
        status = measure_kernels(&j, dir);
    if (!status)
        status = measure_layers(&j, dir);
    if (!status)
        status = job_compile(&j, 1);
    if (!status)
        status = report_write_profile(&j, dir);
    if (!status)
        printf("%s/graph.txt, graph.dot%s: %d layers measured\n", dir,
               args->no_svg ? "" : ", graph.svg", j.compile.n_times);
    job_release(&j);
    return status;
}
