// Measuring by running: the model as one program of the very code that will train, with synthetic
// data, and the seconds between its layer marks. Nothing is estimated and nothing else is timed. Then as
// many such programs at once as there are cores for: stages on one host share its caches and memory.
#include "driver/driver.h"

#include "control/launch.h"
#include "plan/schedule.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST_BESIDE = 8 };
static const double crowded = 1.6; // caches and memory alone do less

// Do its programs measure library kernels?
static bool has_probe(const Backend *b)
{
    return b->kernel_key || b->device;
}

// A second job for the same command line, since passes change the graph they work on. kernels: of what was measured already;
// NULL: nothing was.
static int build_whole(const Job *j, const char *dir, const char *kernels, int64_t *bytes)
{
    Job whole;
    Args args = *j->args;
    args.devices = NULL; // one stage, here, whatever a stage may hold
    args.memory_bytes = 0;
    args.options.recompute = "never";
    if (schedule_open(&args.options)) // both parts of backward, for whatever will be chosen
        options_set(&args.options, "schedule", "zb-h1", FROM_COMMAND_LINE, NO_LOC);
    int status = job_load(&whole, j->arena, &args);
    whole.kernels = kernels;
    if (!status)
        status = job_compile(&whole, 1);
    if (!status && kernels && !whole.plan.n_kernels) { // nothing was chosen
        job_release(&whole);
        return EXIT_DONE;
    }
    if (!status && dir_make(dir))
        fatal("cannot make the directory %s: %s", dir, strerror(errno));
    if (!status)
        status = build_programs(&whole, dir);
    *bytes = status ? 0 : plan_stage_bytes(&whole.plan.stages[0]);
    job_release(&whole);
    return status;
}

// What the times are of. Others take other times.
static json_t *measured_of(const Job *j)
{
    const Options *o = &j->args->options;
    json_int_t parameters = 0;
    for (int i = 0; i < j->graph->nodes.n; i++)
        if (j->graph->nodes.items[i]->op == OP_PARAM)
            parameters += shape_count(j->graph->nodes.items[i]->shape);
    return json_pack("{s:s, s:I, s:I, s:I, s:s, s:s, s:s}", "model", j->graph->name,
                     "parameters", parameters, "micro_batch", (json_int_t)j->graph->micro_batch,
                     "threads", (json_int_t)o->threads, "dtype", o->dtype, "isa", o->isa,
                     "backend", j->backend->name);
}

static void compare_measured(const Job *j, const json_t *root, const char *file)
{
    json_t *was = json_object_get(root, "measured"), *now = measured_of(j), *value;
    const char *key;
    json_object_foreach(now, key, value)
    {
        json_t *then = json_object_get(was, key);
        if (!then || json_equal(value, then))
            continue;
        char *text[2] = {json_dumps(then, JSON_ENCODE_ANY), json_dumps(value, JSON_ENCODE_ANY)};
        warning_at((Loc){file, 0, 0},
                   "these times were measured with %s %s, here it is %s: run `stagecc profile` "
                   "with the options of this command",
                   key, text[0], text[1]);
        free(text[0]);
        free(text[1]);
    }
    json_decref(now);
}

static bool has_layer(const Graph *g, const char *name)
{
    for (int i = 0; i < g->layers.n; i++)
        if (!strcmp(g->layers.items[i]->name, name))
            return true;
    return false;
}

// false: reported.
static bool read_layer(const Job *j, const json_t *layer, LayerTime *out, const char *file)
{
    const char *name = json_string_value(json_object_get(layer, "name"));
    const struct {
        const char *key;
        double *seconds;
    } times[] = {{"forward_s", &out->forward_s},
                 {"backward_s", &out->backward_s},
                 {"weight_s", &out->weight_s},
                 {"update_s", &out->update_s}};
    out->layer = arena_strdup(j->arena, name ? name : "");
    if (!has_layer(j->graph, out->layer)) {
        error_at((Loc){file, 0, 0},
                 "these times are of another model: %s has no layer `%s`; make them with "
                 "`stagecc profile`",
                 j->graph->name, out->layer);
        return false;
    }
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        *times[i].seconds = json_number_value(json_object_get(layer, times[i].key));
        if (*times[i].seconds >= 0)
            continue;
        error_at((Loc){file, 0, 0}, "%s of layer `%s` is %g: a time is not negative",
                 times[i].key, out->layer, *times[i].seconds);
        return false;
    }
    return true;
}

static int read_times(Job *j, const char *file)
{
    json_error_t trouble;
    json_t *root = json_load_file(file, 0, &trouble), *layers = json_object_get(root, "layers");
    size_t n = json_array_size(layers);
    LayerTime *times = arena_array(j->arena, LayerTime, n + 1);
    bool good = n > 0, readable = root;
    for (size_t i = 0; i < n && good; i++)
        good = read_layer(j, json_array_get(layers, i), &times[i], file);
    j->compile.program = (ProgramCosts){
        .load_s = json_number_value(json_object_get(root, "load_s")),
        .norm_s = json_number_value(json_object_get(root, "norm_s")),
        .process_bytes = json_integer_value(json_object_get(root, "process_bytes")),
        .library_bytes = json_integer_value(json_object_get(root, "library_bytes")),
        .beside_programs = (int)json_integer_value(json_object_get(root, "beside_programs")),
        .beside_slowdown = json_number_value(json_object_get(root, "beside_slowdown"))};
    if (good)
        compare_measured(j, root, file);
    json_decref(root);
    j->compile.times = times;
    j->compile.n_times = (int)n;
    if (!n)
        error_at((Loc){file, readable ? 0 : trouble.line, readable ? 0 : trouble.column},
                 "there are no measured times%s%s; make them with `stagecc profile`",
                 readable ? "" : ": ", readable ? "" : trouble.text);
    return good ? EXIT_DONE : EXIT_INPUT;
}

int measured_load(Job *j, const char *dir)
{
    const char *kernels = arena_printf(j->arena, "%s/kernels.json", dir);
    if (has_probe(j->backend))
        j->kernels = kernels;
    j->kernel_plans = arena_printf(j->arena, "%s/measure/stage0.plans", dir);
    return read_times(j, arena_printf(j->arena, "%s/times.json", dir));
}

static int ended(const char *program, int status)
{
    if (status)
        error_at(NO_LOC, "the measuring program %s ended with status %d", program, status);
    return status;
}

// Forward and backward of a micro-batch; 0: the file has none.
static double seconds_in(const char *file)
{
    json_t *root = json_load_file(file, 0, NULL), *layer;
    double sum = 0;
    size_t i;
    json_array_foreach(json_object_get(root, "layers"), i, layer) sum +=
        json_number_value(json_object_get(layer, "forward_s")) +
        json_number_value(json_object_get(layer, "backward_s"));
    json_decref(root);
    return sum;
}

// As many as there are cores and free memory for.
static int programs_at_once(const Job *j, int64_t bytes)
{
    int64_t fit = launch_cores() / j->args->options.threads;
    int64_t available = (int64_t)sysconf(_SC_AVPHYS_PAGES) * sysconf(_SC_PAGESIZE);
    int64_t held = bytes + j->compile.program.process_bytes + j->compile.program.library_bytes;
    if (held > 0 && available / held < fit)
        fit = available / held;
    return (int)(fit < MOST_BESIDE ? fit : MOST_BESIDE);
}

// What the driver knows of the times goes into their file.
static void add_to_times(const char *times, json_t *more)
{
    json_t *root = json_load_file(times, 0, NULL);
    json_object_update(root, more);
    json_decref(more);
    if (json_dump_file(root, times, JSON_INDENT(1) | JSON_REAL_PRECISION(9)))
        fatal("cannot write %s: %s", times, strerror(errno));
    json_decref(root);
}

// What programs lose that run at once, in `times` too.
static int measure_beside(Job *j, const char *program, const char *times, int n)
{
    Arena *a = j->arena;
    const char **file = arena_array(a, const char *, n);
    const char *const **argv = arena_array(a, const char *const *, n);
    for (int i = 0; i < n; i++) {
        file[i] = arena_printf(a, "%s.beside%d", times, i);
        argv[i] = arena_copy(a,
                             ((const char *const[]){program, "--data", "synthetic", "--steps",
                                                    "5", "--profile", file[i], NULL}),
                             8 * sizeof(char *));
    }
    int status = ended(program, process_run_all(argv, n, "/dev/null"));
    double sum = 0, alone = seconds_in(times);
    for (int i = 0; i < n; i++) {
        sum += seconds_in(file[i]) / n;
        remove(file[i]);
    }
    if (status || alone <= 0)
        return status;
    if (sum > crowded * alone)
        warning_at(
            NO_LOC,
            "%d programs at once take %.1f times as long as one: something else seems to run "
            "on this machine, and predictions will be off",
            n, sum / alone);
    j->compile.program.beside_programs = n;
    j->compile.program.beside_slowdown = sum / alone;
    add_to_times(times,
                 json_pack("{s:i, s:f}", "beside_programs", n, "beside_slowdown", sum / alone));
    return 0;
}

int measure(Job *j, const char *dir)
{
    Arena *a = j->arena;
    const char *work = arena_printf(a, "%s/measure", dir),
               *program = arena_printf(a, "%s/stage0", work);
    const char *times = arena_printf(a, "%s/times.json", dir);
    const char *kernels = arena_printf(a, "%s/kernels.json", dir);
    const char *const probe[] = {program, "--probe", kernels, NULL};
    const char *const profile[] = {program, "--data",    "synthetic", "--steps",
                                   "5",     "--profile", times,       NULL};
    int64_t bytes = 0;
    fprintf(stderr, "measuring %s on this machine\n", j->graph->name);
    int status = build_whole(j, work, NULL, &bytes);
    if (!status && has_probe(j->backend))
        status = ended(program, process_run(probe, "/dev/null"));
    if (!status && j->backend->device) // which of several ways to compute them is now known
        status = build_whole(j, work, kernels, &bytes);
    if (!status)
        status = ended(program, process_run(profile, "/dev/null"));
    if (!status)
        add_to_times(times, json_pack("{s:o}", "measured", measured_of(j)));
    if (!status)
        status = measured_load(j, dir);
    // On devices of their own programs take nothing from each other.
    int n = status || j->backend->device ? 0 : programs_at_once(j, bytes);
    return n > 1 ? measure_beside(j, program, times, n) : status;
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
