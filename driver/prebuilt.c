#include "driver/prebuilt.h"

#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Reading
// ------------------------------------------------------------------------------------------------

static int read_plan(Arena *a, Prebuilt *p)
{
    char why[ORIGIN_WHY];
    const char *path = arena_printf(a, "%s/plan.json", p->dir);
    char *text = file_read(path, NULL);
    if (!text) {
        error_at((Loc){path, 0, 0},
                 "cannot read the plan: %s; `stagecc build` makes such a directory",
                 strerror(errno));
        return EXIT_INPUT;
    }
    p->plan = plan_from_json(a, path, text);
    free(text);
    if (!p->plan)
        return EXIT_INPUT;
    if (origin_read(a, p->dir, &p->origin, why))
        return EXIT_DONE;
    error_at((Loc){p->dir, 0, 0}, "%s", why);
    return EXIT_INPUT;
}

// The command line
// ------------------------------------------------------------------------------------------------

// --lr and --seed are of a run, too.
static bool options_free(const Args *args, const Prebuilt *p)
{
    for (int i = 0; i < args->given.n; i++) {
        const Given *g = &args->given.items[i];
        if (!(g->groups & (MODEL | GRAPH | TARGET)) || !strcmp(g->name, "lr") ||
            !strcmp(g->name, "seed"))
            continue;
        error_at((Loc){p->dir, 0, 0},
                 "this was built with all options of its model: leave --%s out", g->name);
        return false;
    }
    return true;
}

static void forget_given(Args *args)
{
    int kept = 0;
    for (int i = 0; i < args->given.n; i++)
        if (!(args->given.items[i].groups & (MODEL | GRAPH | TARGET)))
            args->given.items[kept++] = args->given.items[i];
    args->given.n = kept;
}

static void give(Arena *a, Args *args, const char *name, const char *value)
{
    vec_push(a, &args->given, ((Given){name, arena_strdup(a, value), MODEL}));
}

// Those of plan.json, but how stages share machines: others have one on each.
static bool give_options(Arena *a, Args *args, const Plan *plan)
{
    char value[64];
    bool good = true, shared = plan->options.virtual_stages > 1;
    for (int i = 0; option_name(i); i++) {
        const char *name = option_name(i);
        if (shared && (!strcmp(name, "virtual-stages") || !strcmp(name, "schedule")))
            continue;
        const char *text = option_value(&plan->options, i, value);
        good &= options_set(&args->options, name, text, FROM_COMMAND_LINE, NO_LOC);
        give(a, args, name, text);
    }
    return good;
}

// Those of origin.json.
static bool give_others(Arena *a, Args *args, const Prebuilt *p)
{
    bool good = true;
    for (int i = 0; i < p->origin.n_options && good; i++) {
        const Given *g = &p->origin.options[i];
        if (!strcmp(g->name, "define"))
            vec_push(a, &args->defines, g->value);
        else if (!strcmp(g->name, "include"))
            vec_push(a, &args->includes, g->value);
        else if (!strcmp(g->name, "input"))
            good = dims_value("input", g->value, &args->input);
        else if (strcmp(g->name, "backend") != 0)
            continue;
        give(a, args, g->name, g->value);
    }
    args->backend = p->plan->backend;
    return good;
}

int prebuilt_open(Arena *a, Args *args, Prebuilt *p)
{
    struct stat st;
    *p = (Prebuilt){.dir = NULL};
    if (stat(args->operand, &st) || !S_ISDIR(st.st_mode))
        return EXIT_DONE; // whoever reads it tells what it is
    p->dir = args->operand;
    int status = read_plan(a, p);
    if (status || !options_free(args, p))
        return EXIT_INPUT;
    if (plan_mixes_backends(p->plan)) {
        error_at((Loc){p->dir, 0, 0}, "its stages have several backends, and programs of a job "
                                      "with a master are of one kind: build it with --backend");
        return EXIT_INPUT;
    }
    forget_given(args);
    if (!give_options(a, args, p->plan) || !give_others(a, args, p))
        return EXIT_INPUT;
    args->operand = p->origin.model;
    return EXIT_DONE;
}

// The model
// ------------------------------------------------------------------------------------------------

bool prebuilt_has_model(const Prebuilt *p)
{
    bool there = !access(p->origin.model, R_OK);
    if (!there)
        warning_at((Loc){p->origin.model, 0, 0},
                   "the model is not there any more: training with the plan of %s alone",
                   p->dir);
    return there;
}

bool prebuilt_same_model(const Prebuilt *p, const Job *j)
{
    bool same = j->graph_hash == p->origin.graph;
    if (!same)
        warning_at((Loc){p->origin.model, 0, 0},
                   "this is not the model any more that %s was built from: training with that "
                   "plan alone",
                   p->dir);
    return same;
}

void prebuilt_fix_stages(Prebuilt *p)
{
    for (int u = 0; u < p->plan->n_units; u++)
        p->plan->units[u].part = plan_stage_of_unit(p->plan, u);
}
