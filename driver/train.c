// stagecc train: profile, plan, build and run on this machine.
#include "driver/driver.h"

#include <stdio.h>

static int prepare(Job *j, const char **dir)
{
    int stages = 1;
    int status = stages_wanted(j, 1, &stages);
    if (status)
        return status;
    *dir = job_dir(j, "out");
    if (stages > 1 && !j->compile.fixed_cuts && !j->compile.by_layer && !j->args->profile)
        status = measure(j, *dir);
    if (!status)
        status = job_compile(j, stages);
    if (!status)
        status = report_write_plan(j, *dir);
    return status;
}

int command_train(Arena *a, Args *args)
{
    Job j;
    const char *dir = NULL;
    int status = job_load(&j, a, args);
    if (!status && args->dry_run) {
        job_release(&j);
        return command_build(a, args);
    }
    if (!status)
        status = prepare(&j, &dir);
    if (!status) {
        Text t = {0};
        report_plan_table(&t, &j.plan);
        fputs(t.data, stderr);
        text_release(&t);
        fprintf(stderr, "compiling %d stage program%s into %s\n", j.plan.n_stages,
                j.plan.n_stages > 1 ? "s" : "", dir);
        status = build_programs(&j, dir);
    }
    if (!status)
        status = run_programs(&j.plan, dir, args);
    job_release(&j);
    return status;
}
