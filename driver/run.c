// stagecc run: start the programs of a directory, one process per replica of a stage, and write down
// what they report.
#include "driver/driver.h"

#include "base/text.h"
#include "control/hub.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef VEC(const char *) Words;

// What the programs are told
// -------------------------------------------------------------------------------

static void add_option(Arena *a, Words *w, const char *name, const char *value)
{
    if (!value)
        return;
    vec_push(a, w, arena_printf(a, "--%s", name));
    vec_push(a, w, value);
}

const char *const *program_options(Arena *a, const Args *args, int *n)
{
    Words w = {0};
    const struct {
        const char *name, *value;
    } given[] = {
        {"data", args->data},
        {"test-data", args->test_data},
        {"steps", args->steps},
        {"epochs", args->epochs},
        {"random-shift", args->random_shift},
        {"init", args->init},
        {"resume", args->resume},
        {"checkpoint", args->checkpoint},
        {"checkpoint-every", args->checkpoint_every},
        {"eval-every", args->eval_every},
        {"seed", args->seed},
        {"lr", args->lr},
    };
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        add_option(a, &w, given[i].name, given[i].value);
    if (args->eval_only)
        vec_push(a, &w, "--eval-only");
    *n = w.n;
    return w.items;
}

// Running
// ---------------------------------------------------------------------------------------------

static int check_programs(Arena *a, const Plan *plan, const char *dir)
{
    for (int i = 0; i < plan->n_stages; i++) {
        const char *path = launch_program(a, dir, i);
        if (!access(path, X_OK))
            continue;
        error_at((Loc){path, 0, 0}, "no program of stage %d: run `stagecc build ... -o %s`", i,
                 dir);
        return EXIT_INPUT;
    }
    return EXIT_DONE;
}

static int print_commands(Arena *a, const Launch *l, const char *hostfile)
{
    const Hosts *hosts = NULL;
    int *host_of = NULL, *cards = NULL;
    int status =
        hostfile ? hosts_choose(a, l->plan, hostfile, &hosts, &host_of, &cards) : EXIT_DONE;
    for (int i = 0; i < l->plan->n_ranks && !status; i++) {
        const PlanRank *rank = &l->plan->ranks[i];
        if (hosts)
            printf("%s: ", hosts->items[host_of[i]].name);
        if (cards && cards[i] >= 0)
            printf("STAGECC_CARD=%d ", cards[i]);
        if (l->plan->stages[rank->stage].replicas > 1)
            printf("STAGECC_REPLICA=%d ", rank->replica);
        printf("%s", launch_program(a, l->dir, rank->stage));
        for (int k = 0; k < l->n_options; k++)
            printf(" %s", l->options[k]);
        if (l->trace)
            printf(" --trace %s", launch_trace(a, l, i));
        const char *state = launch_state(a, l, i);
        if (state)
            printf(" --state %s", state);
        const char *at_least = launch_at_least(a, l, i);
        if (at_least)
            printf(" --at-least %s", at_least);
        putchar('\n');
    }
    return status;
}

static bool can_restart(const Args *args, int *restarts)
{
    if (!whole_number("restarts", args->restarts, 1 << 20, restarts))
        return false;
    if (*restarts && args->hostfile)
        error_at(NO_LOC, "--restarts is for programs on one host: drop --hostfile, or give "
                         "--state DIR and run again when a program was killed");
    return !*restarts || !args->hostfile;
}

static int run_here_or_there(Arena *a, const Launch *l, const Args *args)
{
    if (!args->hostfile)
        return launch_run(l);
    Placement p = {0};
    int status = hosts_place(a, l->plan, l->dir, args->hostfile, &p);
    Hub hub = {.launch = *l, .places = p.places, .n_places = p.n, .place_of = p.place_of};
    hub.launch.cards = p.cards;
    return status ? status : hub_run(&hub);
}

int run_programs(const Plan *plan, const char *dir, const Args *args)
{
    Arena a = {0};
    RunLog log;
    Launch l = {.plan = plan,
                .dir = dir,
                .trace = args->trace,
                .rehearse = args->rehearse,
                .state = args->state,
                .quiet = args->json,
                .event = run_log_event,
                .user = &log};
    l.options = program_options(&a, args, &l.n_options);
    int status = can_restart(args, &l.restarts) ? check_programs(&a, plan, dir) : EXIT_INPUT;
    if (!status && args->dry_run)
        status = print_commands(&a, &l, args->hostfile);
    else if (!status && !(status = run_log_open(&log, args, false)))
        status = run_log_close(&log, run_here_or_there(&a, &l, args));
    arena_release(&a);
    return status;
}

int command_run(Arena *a, Args *args)
{
    const char *path = arena_printf(a, "%s/plan.json", args->operand);
    char *text = file_read(path, NULL);
    if (!text) {
        error_at((Loc){path, 0, 0}, "cannot read the plan: %s; `stagecc build` makes one",
                 strerror(errno));
        return EXIT_INPUT;
    }
    Plan *plan = plan_from_json(a, path, text);
    free(text);
    return plan ? run_programs(plan, args->operand, args) : EXIT_INPUT;
}
