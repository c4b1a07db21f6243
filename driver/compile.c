// From files to a planned graph. A model is told by its content: IR text begins with "graph ",
// everything else is asked of the frontends.
#include "driver/driver.h"

#include "driver/machines.h"
#include "frontend/frontend.h"
#include "ir/codec.h"
#include "ir/text.h"
#include "plan/schedule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool split_ok(const Args *args)
{
    return options_check(&args->options);
}

// TRAIN settings are applied after the command line, which they never override. Shapes depend on
// the micro-batch, so a model that sets its own batch is read a second time.
static bool apply_train(Args *args, const Graph *g)
{
    bool good = true;
    for (int i = 0; i < g->train.n; i++) {
        const TrainSetting *t = &g->train.items[i];
        good &= options_set(&args->options, t->name, t->value, FROM_MODEL, t->loc);
    }
    return good;
}

static Graph *parse(Job *j, const char *text)
{
    Args *args = j->args;
    Toolchain t = toolchain_find(j->arena);
    ModelOptions m = {
        .defines = args->defines.items,
        .n_defines = args->defines.n,
        .include_dirs = args->includes.items,
        .n_include_dirs = args->includes.n,
        .micro_batch = args->options.batch / args->options.micro_batches,
        .header_dir = t.include_dir,
        .real = !strcmp(args->options.dtype, "f64") ? F64 : F32,
        .input = args->input,
        .stages = j->node_stages,
        .n_stages = j->n_node_stages,
    };
    if (str_starts(text, "graph "))
        return ir_read(j->arena, args->operand, text);
    for (int i = 0; frontends[i]; i++)
        if (frontends[i]->probe(args->operand, text))
            return frontends[i]->parse(j->arena, args->operand, text, &m);
    error_at((Loc){args->operand, 0, 0},
             "this is neither a C model (`#include <stagecc/model.h>`), IR text "
             "(\"graph NAME ...\") nor a profiled graph (\"node1 -- Conv2d(...) -- ...\")");
    return NULL;
}

static int read_model(Job *j, const char *text)
{
    Args *args = j->args;
    if (!split_ok(args))
        return EXIT_INPUT;
    int64_t micro = args->options.batch / args->options.micro_batches;
    j->graph = parse(j, text);
    if (!j->graph)
        return EXIT_INPUT;
    if (!apply_train(args, j->graph) || !split_ok(args))
        return EXIT_INPUT;
    bool again =
        micro != args->options.batch / args->options.micro_batches ||
        (!strcmp(args->options.dtype, "f64") && j->graph->loss && j->graph->loss->dtype != F64);
    if (again && !str_starts(text, "graph "))
        j->graph = parse(j, text);
    return j->graph && !diag_errors() ? EXIT_DONE : EXIT_INPUT;
}

const char *native_isa(bool bf16)
{
    bool wide = false;
#ifdef __x86_64__
    wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    bf16 = bf16 && wide && __builtin_cpu_supports("avx512bf16");
#else
    bf16 = false;
#endif
    return bf16 ? "avx512_bf16" : wide ? "avx512" : "avx2";
}

// `native` is this host's instruction set, written into plan and programs by its own name. Programs in
// f32 have no use for instructions of bf16.
static void settle_isa(Options *o, const Backend *b)
{
    if (b->isa)
        o->isa = b->isa;
    else if (!strcmp(o->isa, "native"))
        o->isa = native_isa(!strcmp(o->dtype, "bf16"));
}

// Of some stage, if stages differ.
static bool has_backend(const Job *j, const Backend *b)
{
    for (int i = 0; j->mixed && i < j->devices->n; i++)
        if (!strcmp(j->devices->devices[i].backend, b->name))
            return true;
    return !j->mixed && j->backend == b;
}

static bool backend_fits(const Options *o, const Backend *b)
{
    if (!strcmp(o->dtype, "f64") && !b->doubles)
        error_at(NO_LOC, "--dtype f64 needs --backend ref");
    else if (!strcmp(o->dtype, "tf32") && !b->tf32)
        error_at(NO_LOC, "--dtype tf32 needs --backend cuda");
    else if (!strcmp(o->dtype, "bf16") && !b->bf16)
        error_at(NO_LOC, "--dtype bf16 needs --backend c or cuda");
    else if (!strcmp(o->dtype, "bf16") && !b->isa && !strcmp(o->isa, "avx2"))
        error_at(NO_LOC, "--dtype bf16 needs --isa avx512_bf16; with --isa avx512 the library "
                         "does without the instructions, slower than f32");
    return !diag_errors();
}

// The model may have set it, so this is asked behind the model.
static bool dtype_fits(const Job *j)
{
    for (int i = 0; backends[i]; i++)
        if (has_backend(j, backends[i]) && !backend_fits(&j->args->options, backends[i]))
            return false;
    return true;
}

// IR text has its micro-batch written into every shape; the batch follows from it.
static int settle_batch(Options *o, const Graph *g)
{
    if (!options_given(o, "batch"))
        o->batch = g->micro_batch * o->micro_batches;
    if (o->batch == g->micro_batch * o->micro_batches)
        return EXIT_DONE;
    error_at((Loc){g->file, 1, 0},
             "this graph is written for micro-batches of %lld; --batch %lld needs %lld of them "
             "(--micro-batches)",
             (long long)g->micro_batch, (long long)o->batch,
             (long long)(o->batch / g->micro_batch));
    return EXIT_INPUT;
}

// A plan of a profiled graph says in which stage each node is.
static bool take_node_stages(Job *j, const Plan *p, const char *path)
{
    if (!j->profiled) {
        error_at((Loc){path, 0, 0},
                 "this is the plan of a profiled graph; make one of the model: stagecc plan "
                 "MODEL -n K -o DIR");
        return false;
    }
    NodeStage *stages = arena_array(j->arena, NodeStage, p->n_units + 1);
    int *replicas = arena_array(j->arena, int, p->n_stages);
    for (int s = 0; s < p->n_stages; s++) {
        const PlanStage *stage = &p->stages[s];
        replicas[s] = stage->replicas;
        for (int u = stage->first_unit; u <= stage->last_unit; u++)
            stages[u] = (NodeStage){p->units[u].name, s};
    }
    j->node_stages = stages;
    j->n_node_stages = p->n_units;
    j->compile.replicas = replicas;
    return true;
}

// A graph may be planned with any ratio; programs need a codec that has it.
static bool codec_known(const Args *args, double ratio, const char *path)
{
    if (!ratio || ratio == 1 || codec_of_ratio(ratio) ||
        options_given(&args->options, "transfer"))
        return true;
    error_at(
        (Loc){path, 0, 0},
        "activations are supposed to travel in 1/%g of their bytes, and no codec does that: "
        "--activation_compression_ratio 2 is bf16, 4 is int8 (or choose with --transfer)",
        ratio);
    return false;
}

static int load_stored_plan(Job *j)
{
    const char *path = arena_printf(j->arena, "%s/plan.json", j->args->plan);
    char *text = file_read(path, NULL);
    if (!text) {
        error_at((Loc){path, 0, 0}, "cannot read the plan: %s", strerror(errno));
        return EXIT_INPUT;
    }
    const Plan *p = plan_from_json(j->arena, path, text);
    free(text);
    if (p && !plan_has_streams(p) && !take_node_stages(j, p, path))
        return EXIT_INPUT;
    if (p && !codec_known(j->args, p->compression, path))
        return EXIT_INPUT;
    j->stored = p;
    char value[64];
    for (int i = 0; p && option_name(i); i++)
        options_set(&j->args->options, option_name(i), option_value(&p->options, i, value),
                    FROM_PLAN, (Loc){path, 0, 0});
    if (p && !strcmp(p->options.recompute, j->args->options.recompute))
        j->compile.again = p;
    return p ? EXIT_DONE : EXIT_INPUT;
}

// Without --backend, and no plan that says one, stages have those of their devices. Where these differ: one of this
// processor, whose instruction set has to be settled.
static const char *backend_of_devices(Job *j)
{
    const Devices *d = j->devices;
    const char *name = d->devices[0].backend;
    for (int i = 1; i < d->n; i++) {
        j->mixed |= strcmp(d->devices[i].backend, d->devices[0].backend) != 0;
        name = backend_find(name)->isa ? d->devices[i].backend : name;
    }
    return name;
}

static int choose_backend(Job *j)
{
    const char *name = j->args->backend ? j->args->backend : "c";
    bool open = !j->args->backend, differ = j->stored && plan_mixes_backends(j->stored);
    if (open && j->stored && j->stored->backend && !differ)
        name = j->stored->backend;
    else if (open && j->devices)
        name = backend_of_devices(j);
    else if (open && differ)
        error_at((Loc){j->args->plan, 0, 0},
                 "its stages have several backends: give the --devices FILE.json that says "
                 "which, or one for all with --backend");
    j->backend = backend_find(name);
    if (!j->backend) {
        error_at(NO_LOC, "there is no backend `%s`", name);
        for (int i = 0; backends[i]; i++)
            note_at(NO_LOC, "known: %s", backends[i]->name);
    }
    return diag_errors() ? EXIT_INPUT : EXIT_DONE;
}

const char *operand_read(Arena *a, const Args *args)
{
    size_t size = 0;
    Loc loc = {args->operand, 0, 0};
    char *text = file_read(args->operand, &size);
    if (!text) {
        error_at(loc, "cannot read the model: %s", strerror(errno));
        return NULL;
    }
    size_t length = strlen(text);
    const char *kept = length == size ? arena_strdup(a, text) : NULL;
    if (!kept)
        error_at(loc, "there is a zero byte at offset %zu: this is no text", length);
    free(text);
    return kept;
}

int job_load(Job *j, Arena *a, Args *args)
{
    *j = (Job){.arena = a, .args = args, .profiled = graph_file_given(args)};
    if (args->input.rank && !j->profiled) {
        error_at(NO_LOC, "--input is of profiled graphs: a model says itself what it reads");
        return EXIT_INPUT;
    }
    int status = args->plan ? load_stored_plan(j) : EXIT_DONE;
    if (!codec_known(args, args->compression, NULL))
        status = EXIT_INPUT;
    if (args->devices && !(j->devices = devices_read(a, args->devices)))
        status = EXIT_INPUT;
    if (!status)
        status = choose_backend(j);
    if (status)
        return status;
    const char *kept = operand_read(a, args);
    if (!kept)
        return EXIT_INPUT;
    status = read_model(j, kept);
    settle_isa(&args->options, j->backend);
    if (!status && !dtype_fits(j))
        status = EXIT_INPUT;
    if (!status && str_starts(kept, "graph "))
        status = settle_batch(&args->options, j->graph);
    else if (!status)
        j->graph->block = !strcmp(args->options.isa, "avx2") ? 8 : 16;
    j->graph_hash = status ? 0 : ir_hash(j->graph);
    return status || !args->profile ? status : measured_load(j, args->profile);
}

static bool of_cuda(const char *backend)
{
    return !strcmp(backend, "cuda");
}

// All stages are of one backend.
static bool devices_fit_backend(const Job *j)
{
    for (int i = 0; i < j->devices->n; i++) {
        const Device *d = &j->devices->devices[i];
        bool cuda = of_cuda(d->backend);
        if (cuda == of_cuda(j->backend->name))
            continue;
        error_at(
            d->loc,
            "`%s` is a %s, and --backend %s makes programs for %s: without it each stage is for "
            "its device",
            d->name, cuda ? "CUDA device" : "processor", j->backend->name,
            cuda ? "processors" : "CUDA devices");
        return false;
    }
    return true;
}

// --devices: a stage for each. Times are measured here, so that their speeds alone count.
static bool take_devices(Job *j, int stages)
{
    const char *file = j->args->devices;
    const Devices *d = j->devices;
    if (!d)
        return true;
    if (j->args->options.virtual_stages > 1) {
        error_at((Loc){file, 0, 0}, "--devices gives each stage a device of its own, and "
                                    "--virtual-stages does not: use -n");
        return false;
    }
    if (!j->mixed && !devices_fit_backend(j))
        return false;
    int ranks = 0;
    for (int s = 0; s < stages; s++)
        ranks += j->compile.replicas ? j->compile.replicas[s] : 1;
    if (d->n != ranks) {
        error_at((Loc){file, 0, 0},
                 "there are %d devices and %d %s: a model has one on each of them", d->n, ranks,
                 ranks > stages               ? "replicas of stages"
                 : j->compile.choose_replicas ? "machines (-n)"
                                              : "stages");
        return false;
    }
    for (int i = 0; i < d->n; i++)
        if (d->devices[i].profile)
            warning_at(d->devices[i].loc,
                       "the profile of `%s` is not read for a model: its speed counts",
                       d->devices[i].name);
    int *profile = arena_array(j->arena, int, d->n + 1);
    j->compile.machines =
        machines_of_devices(j->arena, d, file, profile, &j->plan.device_names);
    j->plan.n_device_names = d->n;
    for (int t = 0; j->compile.machines && !j->mixed && t < j->compile.machines->n_types; t++)
        j->compile.machines->types[t].backend = NULL;
    return j->compile.machines;
}

// Stages stay on the devices of the plan that they come from. How fast these are it does not say.
static void keep_devices(Job *j)
{
    const Plan *from = j->stored;
    if (!from || j->args->devices || !from->n_device_names || !j->compile.fixed_cuts)
        return;
    j->plan.device_names = from->device_names;
    j->plan.n_device_names = from->n_device_names;
    for (int s = 0; s < j->plan.n_stages; s++) {
        j->plan.stages[s].devices = from->stages[s].devices;
        j->plan.stages[s].n_devices = from->stages[s].n_devices;
    }
    note_at((Loc){j->args->plan, 0, 0},
            "predictions are for devices of speed 1: give --devices FILE.json for their own");
}

// Where stages differ, what all of them can: messages between them are plain tensors, so all images are.
static void take_backends(Job *j)
{
    Compile *c = &j->compile;
    c->images = j->mixed ? IMAGES_PLAIN : j->backend->images;
    c->fuse = true;
    for (int i = 0; backends[i]; i++)
        c->fuse &= !has_backend(j, backends[i]) || backends[i]->fuse;
    // What only some would understand, none is given.
    c->attention = j->mixed ? NULL : j->backend->attention;
    c->pitch = !j->mixed && j->backend->pitch;
    c->heads = j->mixed ? NULL : j->backend->heads;
    c->kernel_key = j->backend->kernel_key;
    c->speed = c->speed ? c->speed : j->backend->speed;
    c->device = j->backend->device;
}

int job_compile(Job *j, int stages)
{
    Args *args = j->args;
    int status = schedule_open(&args->options) ? choose_schedule(j, &stages) : EXIT_DONE;
    if (status)
        return status;
    if (stages == 1 && args->options.virtual_stages > 1) { // the whole model, to be measured
        options_set(&args->options, "virtual-stages", "1", FROM_COMMAND_LINE, NO_LOC);
        if (schedule_rules(&args->options)->interleaves)
            options_set(&args->options, "schedule", "1f1b", FROM_COMMAND_LINE, NO_LOC);
    }
    choose_recompute(j, stages);
    j->compile.memory_limit = args->memory_bytes;
    j->plan = (Plan){.model = j->graph->name,
                     .source = args->operand,
                     .cost_source = j->compile.times ? "measured" : "estimate",
                     .backend = j->backend->name,
                     .options = args->options};
    Compile *c = &j->compile;
    c->perm = j->arena;
    c->scratch = &j->scratch;
    c->graph = j->graph;
    c->plan = &j->plan;
    c->options = &args->options;
    c->stages = stages;
    take_backends(j);
    if (!whole_number("parts", args->parts, 1 << 20, &c->most_parts))
        return EXIT_INPUT;
    if (stages && !take_devices(j, stages))
        return EXIT_INPUT;
    if (j->kernels && !plan_read_kernels(j->arena, &j->plan, j->kernels))
        return EXIT_INPUT;
    PassOptions o = {args->passes, args->stop_after, args->dump_after, args->time_passes};
    if (!passes_run(c, &o))
        return c->no_plan ? EXIT_NO_PLAN : EXIT_INPUT;
    keep_devices(j);
    if (j->mixed && j->plan.n_stages)
        j->plan.backend = j->plan.stages[0].backend;
    return EXIT_DONE;
}

const char *job_dir(const Job *j, const char *fallback)
{
    const char *dir = j->args->out ? j->args->out : fallback;
    if (dir_make(dir))
        fatal("cannot make the directory %s: %s", dir, strerror(errno));
    return dir;
}

void job_release(Job *j)
{
    arena_release(&j->scratch);
}
