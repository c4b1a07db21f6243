// stagecc deploy: the programs of a directory, stagecc-host and every library they load beyond libc (driver/bundle.h).
#include "driver/bundle.h"

#include "base/text.h"
#include "control/remote.h"
#include "driver/driver.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct Deploy {
    Arena *arena;
    const char *dir;
    json_t *report; // of --json; NULL: text
} Deploy;

// Without UCX the programs of a host run among themselves all the same.
static void add_ucx(Bundle *b)
{
    setenv("UCX_WARN_UNUSED_ENV_VARS", "n", 0);
    if (!bundle_loaded(b, "libucp.so.0") && !diag_errors())
        warning_at(NO_LOC, "UCX is not here, so hosts need their own: apt-get install libucx0");
}

static bool add_stage(const Deploy *d, Bundle *b, int stage)
{
    const char *name = arena_printf(d->arena, "stage%d", stage),
               *path = arena_printf(d->arena, "%s/%s", d->dir, name),
               *plans = arena_printf(d->arena, "%s.plans", path);
    return bundle_program(b, name, path) &&
           (access(plans, R_OK) ||
            bundle_file(b, arena_printf(d->arena, "%s.plans", name), plans));
}

static bool collect(const Deploy *d, Bundle *b, const Plan *plan)
{
    bool good = bundle_program(b, "stagecc-host", toolchain_find(d->arena).host) &&
                bundle_file(b, "plan.json", arena_printf(d->arena, "%s/plan.json", d->dir));
    for (int i = 0; i < plan->n_stages && good; i++)
        good = add_stage(d, b, i);
    if (good && plan->n_ranks > 1)
        add_ucx(b);
    return good && !diag_errors();
}

static void tell(void *deploy, const char *host, bool copied)
{
    const Deploy *d = deploy;
    if (d->report)
        json_array_append_new(json_object_get(d->report, "hosts"),
                              json_pack("{s:s, s:b}", "host", host, "copied", copied));
    else
        printf("%s: %s\n", host, copied ? "copied" : "has the same programs already");
}

static int deploy(Deploy *d, Bundle *b, const Plan *plan, const Hosts *hosts)
{
    static const char trial[] =
        "for p in stage[0-9]*[0-9] stage[0-9]; do [ -e $p ] || continue; LD_LIBRARY_PATH=\"$PWD/lib\" ./$p --check || exit $?; done";
    if (!collect(d, b, plan) || !bundle_close(b, hosts_manifest(d->arena, d->dir)))
        return EXIT_ENVIRONMENT;
    int status = bundle_copy(b, hosts, trial, tell, d);
    if (d->report && !status) {
        json_object_set_new(d->report, "bundle", json_string(b->name));
        json_object_set_new(d->report, "files", json_integer(b->files.n));
        json_dumpf(d->report, stdout, JSON_SORT_KEYS);
        putchar('\n');
    }
    return status;
}

static Plan *read_plan(Arena *a, const char *dir)
{
    const char *path = arena_printf(a, "%s/plan.json", dir);
    char *text = file_read(path, NULL);
    if (!text)
        error_at((Loc){path, 0, 0}, "cannot read the plan: %s; `stagecc build` makes one",
                 strerror(errno));
    Plan *plan = text ? plan_from_json(a, path, text) : NULL;
    free(text);
    return plan;
}

static void print_steps(const char *dir, const Hosts *hosts)
{
    for (int i = 0; i < hosts->n; i++)
        if (!host_is_local(hosts->items[i].name))
            printf("%s: the programs of %s and their libraries, by %s %s\n",
                   hosts->items[i].name, dir, remote_shell(), hosts->items[i].name);
}

int command_deploy(Arena *a, Args *args)
{
    if (!args->hostfile) {
        error_at(NO_LOC, "deploy needs --hostfile FILE: the hosts to copy to");
        return EXIT_INPUT;
    }
    const Plan *plan = read_plan(a, args->operand);
    const Hosts *hosts = plan ? hostfile_read(a, args->hostfile) : NULL;
    if (!hosts)
        return EXIT_INPUT;
    if (args->dry_run) {
        print_steps(args->operand, hosts);
        return EXIT_DONE;
    }
    Bundle b;
    Deploy d = {.arena = a, .dir = args->operand};
    if (args->json)
        d.report = json_pack("{s:[]}", "hosts");
    bundle_begin(&b, a, arena_printf(a, "the programs of %s", d.dir));
    int status = deploy(&d, &b, plan, hosts);
    bundle_end(&b);
    json_decref(d.report);
    return status;
}
