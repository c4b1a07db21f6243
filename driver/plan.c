// stagecc plan: where to cut, and what that will cost.
#include "driver/driver.h"

#include <stdlib.h>
#include <string.h>

// What the planner of graphs heeds and that of models does not, or the other way round, is refused rather than
// ignored.
static bool options_fit(const Args *args, bool profiled)
{
    const Options *o = &args->options;
    const struct {
        bool given, of_graphs;
        const char *name;
    } rows[] = {
        {args->machines.n > 1, true, "more than one number of -n"},
        {args->has_bandwidth, true, "--bandwidth (-b)"},
        {strcmp(args->cost_model, "stagecc") != 0, true, "another --cost-model"},
        {strcmp(args->overlap, "transfers") != 0, true, "another --overlap"},
        {args->fewer_machines, true, "--use_fewer_machines"},
        {args->pins.n > 0, true, "--pin"},
        {args->together.n > 0, true, "--together"},
        {args->no_cut.n > 0, true, "--no-cut"},
        {args->ranks, false, "--stage_to_num_ranks"},
        {args->plan, false, "--plan"},
        {args->profile, false, "--profile"},
        {args->devices && args->machines.n, false, "-n beside --devices"},
        {args->backend, false, "--backend"},
        {args->defines.n > 0, false, "--define (-D)"},
        {options_given(o, "dtype"), false, "--dtype"},
        {options_given(o, "threads"), false, "--threads"},
    };
    bool good = true;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (!rows[i].given || rows[i].of_graphs == profiled)
            continue;
        if (profiled)
            error_at((Loc){args->operand, 0, 0},
                     "%s is for models: a graph has its times, and its planner chooses stages "
                     "and replicas (-n N, or --devices)",
                     rows[i].name);
        else
            error_at((Loc){args->operand, 0, 0},
                     "%s is for graphs: measure the model with `stagecc profile`, then plan "
                     "its graph.txt",
                     rows[i].name);
        good = false;
    }
    return good;
}

int command_plan(Arena *a, Args *args)
{
    Job j;
    int stages = 0;
    bool profiled = graph_file_given(args);
    j = (Job){.arena = a, .args = args};
    int status = !options_fit(args, profiled) ? EXIT_INPUT
                 : profiled                   ? EXIT_DONE
                                              : job_load(&j, a, args);
    if (!status)
        status = stages_wanted(&j, 0, &stages);
    if (!status && !stages && !(profiled && args->devices)) {
        error_at(NO_LOC, "on how many machines? -n N");
        status = EXIT_INPUT;
    }
    if (!status && profiled)
        return graph_file_plan(a, args);
    if (!status)
        status = job_compile(&j, stages);
    Text explanation = {0};
    if (!status && args->explain)
        explain_model(&j, &explanation);
    if (!status)
        status = report_write_plan(&j, job_dir(&j, "plan"));
    if (!status && args->json) {
        char *json = plan_to_json(&j.plan);
        fputs(json, stdout);
        free(json);
    } else if (!status) {
        Text t = {0};
        report_plan_table(&t, &j.plan);
        if (args->explain) {
            text_puts(&t, explanation.data);
            listing(&t, &j);
        }
        printf("%s%s/plan.json, gpus=%d.txt, .dot%s\n", t.data, job_dir(&j, "plan"),
               j.plan.n_ranks, args->no_svg ? "" : ", .svg");
        text_release(&t);
    }
    text_release(&explanation);
    job_release(&j);
    return status;
}
