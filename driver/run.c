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

typedef struct Log {
    FILE *file;     // --log-json; NULL: none
    bool show_json; // --json: the last line on stdout
    json_t *result; // of the event "done"
} Log;

// What the programs are told
// -------------------------------------------------------------------------------

static void add_option(Arena *a, Words *w, const char *name, const char *value)
{
    if (!value)
        return;
    vec_push(a, w, arena_printf(a, "--%s", name));
    vec_push(a, w, value);
}

static Words program_options(Arena *a, const Args *args)
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
    return w;
}

// What they report
// ------------------------------------------------------------------------------------

// The fields of an event that belong into the log, under their own names.
static json_t *without_event(const json_t *event)
{
    json_t *o = json_copy((json_t *)(uintptr_t)event);
    json_object_del(o, "event");
    return o;
}

// As many digits as read back to the same bits: nine for a float, whose bits are eight digits long.
static void write_line(FILE *file, json_t *o)
{
    const char *bits = json_string_value(json_object_get(o, "loss_bits"));
    size_t digits = bits && strlen(bits) > 8 ? 17 : 9;
    char *text = json_dumps(o, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(digits));
    if (text)
        fprintf(file, "%s\n", text);
    fflush(file); // somebody may be watching the file
    free(text);
}

static json_t *last_line(const json_t *event, bool done)
{
    json_t *o = json_object(), *rest = without_event(event);
    json_object_set_new(o, "done", json_boolean(done));
    json_object_update(o, rest);
    json_decref(rest);
    return o;
}

static void on_event(void *user, int rank, const json_t *event)
{
    Log *log = user;
    const char *name = json_string_value(json_object_get(event, "event"));
    bool done = !strcmp(name, "done"), failed = !strcmp(name, "error");
    (void)rank;
    if (done || failed) {
        json_decref(log->result);
        log->result = last_line(event, done);
        if (log->file)
            write_line(log->file, log->result);
    } else if (log->file && (!strcmp(name, "step") || !strcmp(name, "eval"))) {
        json_t *o = without_event(event);
        write_line(log->file, o);
        json_decref(o);
    }
}

static void print_result(const Log *log)
{
    const json_t *o = log->result;
    if (!o)
        return;
    if (log->show_json) {
        write_line(stdout, (json_t *)(uintptr_t)o);
        return;
    }
    if (!json_is_true(json_object_get(o, "done")))
        return;
    double rate = json_number_value(json_object_get(o, "samples_per_s"));
    const char *comma = "";
    if (rate > 0) { // else it was an evaluation alone
        printf("%lld steps, %.1f s, %.1f samples/s",
               (long long)json_integer_value(json_object_get(o, "steps")),
               json_number_value(json_object_get(o, "seconds")), rate);
        comma = ", ";
    }
    const json_t *accuracy = json_object_get(o, "test_accuracy");
    if (accuracy)
        printf("%stest accuracy %.2f %%", comma, 100 * json_number_value(accuracy));
    else if (json_object_get(o, "test_loss"))
        printf("%stest loss %.4f", comma, json_number_value(json_object_get(o, "test_loss")));
    putchar('\n');
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

static void print_commands(Arena *a, const Launch *l)
{
    for (int i = 0; i < l->plan->n_ranks; i++) {
        const PlanRank *rank = &l->plan->ranks[i];
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
    Placement p;
    int status = hosts_place(a, l->plan, l->dir, args->hostfile, &p);
    Hub hub = {.launch = *l, .places = p.places, .n_places = p.n, .place_of = p.place_of};
    return status ? status : hub_run(&hub);
}

static int launch(Arena *a, const Launch *l, Log *log, const Args *args)
{
    if (args->log_json && !(log->file = fopen(args->log_json, "w"))) {
        error_at((Loc){args->log_json, 0, 0}, "cannot write: %s", strerror(errno));
        return EXIT_ENVIRONMENT;
    }
    int status = run_here_or_there(a, l, args);
    if (log->file && (ferror(log->file) | fclose(log->file)) && !status) {
        error_at((Loc){args->log_json, 0, 0}, "cannot write: %s", strerror(errno));
        status = EXIT_ENVIRONMENT;
    }
    print_result(log);
    return status;
}

int run_programs(const Plan *plan, const char *dir, const Args *args)
{
    Arena a = {0};
    Log log = {.show_json = args->json};
    Words options = program_options(&a, args);
    Launch l = {.plan = plan,
                .dir = dir,
                .options = options.items,
                .n_options = options.n,
                .trace = args->trace,
                .rehearse = args->rehearse,
                .state = args->state,
                .quiet = args->json,
                .event = on_event,
                .user = &log};
    int status = can_restart(args, &l.restarts) ? check_programs(&a, plan, dir) : EXIT_INPUT;
    if (!status && args->dry_run)
        print_commands(&a, &l);
    else if (!status)
        status = launch(&a, &l, &log, args);
    json_decref(log.result);
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
