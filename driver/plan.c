// stagecc plan: where to cut, and what that will cost.
#include "driver/driver.h"

#include <stdlib.h>

int command_plan(Arena *a, Args *args)
{
    Job j;
    int stages = 0;
    bool profiled = graph_file_given(args);
    j = (Job){.arena = a, .args = args};
    int status = profiled ? EXIT_DONE : job_load(&j, a, args);
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
