// stagecc build: sources and executables.
#include "driver/driver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef VEC(int) Ranks; // replicas, by stage
enum { MAX_REPLICAS = 1024 };

// "0:1,1:1,2:1" as the workflow that stagecc replaces writes it: stage:replicas.
// Where the text is not what it should be; NULL: it is.
static const char *read_ranks(Arena *a, const char *text, Ranks *out)
{
    do {
        char *end;
        long stage = strtol(text, &end, 10);
        long replicas = *end == ':' ? strtol(end + 1, &end, 10) : 0;
        if (stage != out->n || replicas < 1 || replicas > MAX_REPLICAS || (*end && *end != ','))
            return text;
        vec_push(a, out, (int)replicas);
        text = *end ? end + 1 : NULL;
    } while (text);
    return NULL;
}

static int stages_of_ranks(Job *j, const char *text, int *stages)
{
    Ranks ranks = {0};
    const char *trouble = read_ranks(j->arena, text, &ranks);
    if (trouble) {
        error_at(NO_LOC,
                 "--stage_to_num_ranks is STAGE:RANKS,... from stage 0 on, with 1 to %d ranks, "
                 "like 0:2,1:1; trouble at `%s`",
                 MAX_REPLICAS, trouble);
        return EXIT_INPUT;
    }
    j->compile.replicas = ranks.items;
    *stages = ranks.n;
    return EXIT_DONE;
}

// Those that the stage_ids of a profiled graph, or a plan of it, name.
static int stages_of_layers(const Job *j)
{
    int n = 0;
    for (int i = 0; j->graph && i < j->graph->layers.n; i++)
        if (j->graph->layers.items[i]->stage >= n)
            n = j->graph->layers.items[i]->stage + 1;
    return n;
}

static int take_ranks(Job *j, int *stages)
{
    int named = stages_of_layers(j), status = stages_of_ranks(j, j->args->ranks, stages);
    j->compile.by_layer = named == *stages;
    if (!status && named && named != *stages) {
        error_at(NO_LOC, "--stage_to_num_ranks has %d stage%s, the stage_ids of %s name %d",
                 *stages, *stages == 1 ? "" : "s", j->args->operand, named);
        return EXIT_INPUT;
    }
    return status;
}

static void stages_of_plan(Job *j, int *stages)
{
    const Plan *p = j->stored;
    int *cuts = arena_array(j->arena, int, p->n_stages);
    int *replicas = arena_array(j->arena, int, p->n_stages);
    for (int i = 0; i < p->n_stages; i++) {
        cuts[i] = p->stages[i].last_unit;
        replicas[i] = p->stages[i].replicas;
    }
    j->compile.fixed_cuts = cuts;
    if (p->n_ranks > p->n_stages)
        j->compile.replicas = replicas;
    *stages = p->n_stages;
}

int stages_wanted(Job *j, int fallback, int *stages)
{
    const Args *args = j->args;
    if ((args->ranks != NULL) + (args->plan != NULL) + (args->stages > 0) > 1) {
        error_at(NO_LOC, "give one of --stages (or -n), --stage_to_num_ranks and --plan");
        return EXIT_INPUT;
    }
    int named = stages_of_layers(j);
    if (args->ranks)
        return take_ranks(j, stages);
    if (j->stored && !j->node_stages)
        stages_of_plan(j, stages);
    else if (named && !args->stages)
        *stages = named;
    else
        *stages = args->stages ? (int)args->stages : j->devices ? j->devices->n : fallback;
    bool machines = !args->ranks && !j->stored && !(named && !args->stages);
    *stages *= machines ? (int)args->options.virtual_stages : 1; // -n counts machines
    j->compile.by_layer = named && !args->stages;
    j->compile.choose_replicas = args->choose_replicas && !j->compile.by_layer &&
                                 !j->compile.fixed_cuts && args->options.virtual_stages == 1;
    return EXIT_DONE;
}

// out/stage0.plans: kernels that were measured need not be compiled when a program starts.
static int put_plans(const Job *j, int stage, const char *dir)
{
    const char *to = arena_printf(j->arena, "%s/stage%d.plans", dir, stage);
    size_t n = 0;
    char *plans = j->kernel_plans ? file_read(j->kernel_plans, &n) : NULL;
    bool bad = plans && file_write(to, plans, n);
    free(plans);
    if (bad)
        error_at((Loc){to, 0, 0}, "cannot write the plans of kernels: %s", strerror(errno));
    return bad ? EXIT_ENVIRONMENT : EXIT_DONE;
}

int build_programs(Job *j, const char *dir)
{
    Toolchain t = toolchain_find(j->arena);
    CodegenPaths paths = toolchain_paths(&t, j->args);
    int status = EXIT_DONE;
    for (int i = 0; i < j->plan.n_stages && !status; i++)
        status = kernel_tools_check(&t, backend_of_stage(&j->plan, i, j->backend));
    if (!status)
        status = codegen_write(j->graph, &j->plan, j->backend, j->args->line, &paths, dir);
    for (int i = 0; i < j->plan.n_stages && !status; i++)
        if (backend_of_stage(&j->plan, i, j->backend)->device)
            status = put_plans(j, i, dir);
    return status ? status : toolchain_build(j->arena, &j->plan, j->backend, &paths, dir);
}

static void print_programs(const Job *j, const char *dir)
{
    int n = j->plan.n_stages;
    if (j->args->json) {
        char *json = plan_to_json(&j->plan);
        fputs(json, stdout);
        free(json);
        return;
    }
    Text t = {0};
    report_plan_table(&t, &j->plan);
    printf("%s%s: %d stage program%s%s\n", t.data, dir, n, n > 1 ? "s" : "",
           j->args->dry_run ? " would be written and compiled" : ", sources beside them");
    text_release(&t);
}

int command_build(Arena *a, Args *args)
{
    Job j;
    int stages = 1;
    int status = job_load(&j, a, args);
    if (!status)
        status = stages_wanted(&j, 1, &stages);
    if (!status)
        status = job_compile(&j, stages);
    const char *dir = args->out ? args->out : "out";
    if (!status && !args->dry_run) {
        status = report_write_plan(&j, job_dir(&j, dir));
        if (!status)
            status = build_programs(&j, dir);
    }
    if (!status)
        print_programs(&j, dir);
    job_release(&j);
    return status;
}
