// What `plan` of a profiled graph leaves: plan.json, gpus=N.txt, gpus=N.dot and .svg, and what it prints.
#include "driver/plan_report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// All that there were, used or not: what the names of files say.
static int machines_of_plan(const Plan *plan)
{
    int n = 1;
    for (int l = 0; l < plan->n_levels; l++)
        n *= plan->machines[l];
    return n;
}

static int write_picture(Arena *a, const Plan *plan, const Profile *p, const char *base,
                         bool svg)
{
    Text t = {0};
    plan_picture(&t, plan, p);
    const char *dot = arena_printf(a, "%s.dot", base);
    int status = report_write(dot, &t);
    if (!status && svg)
        draw_svg(dot, arena_printf(a, "%s.svg", base));
    return status;
}

int plan_output(Arena *a, const Plan *plan, const Profile *p, const Args *args,
                const char *explanation)
{
    const char *dir = args->out ? args->out : "plan";
    if (dir_make(dir))
        fatal("cannot make the directory %s: %s", dir, strerror(errno));
    int machines = machines_of_plan(plan);
    const char *base = arena_printf(a, "%s/gpus=%d", dir, machines);
    Text t = {0};
    profile_print(&t, p);
    int status = report_write(arena_printf(a, "%s.txt", base), &t);
    char *json = plan_to_json(plan);
    text_puts(&t, json);
    if (!status)
        status = report_write(arena_printf(a, "%s/plan.json", dir), &t);
    if (!status)
        status = write_picture(a, plan, p, base, !args->no_svg);
    if (!status && args->json) {
        fputs(json, stdout);
    } else if (!status) {
        plan_table(&t, plan);
        printf("%s%s%s/plan.json, gpus=%d.txt, .dot%s\n", t.data,
               explanation ? explanation : "", dir, machines, args->no_svg ? "" : ", .svg");
        text_release(&t);
    }
    free(json);
    return status;
}
