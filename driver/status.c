// stagecc status and rescale: what a master knows, and what it shall do.
#include "driver/driver.h"

#include "control/ask.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int ask(Arena *a, const Args *args, const json_t *command, json_t **answer)
{
    Key key;
    const char *endpoint = master_endpoint(a, args->master ? args->master : "127.0.0.1");
    *answer = NULL;
    int status =
        endpoint ? key_read(&key, args->key ? args->key : "keys/master.key") : EXIT_INPUT;
    if (status)
        return status;
    status = master_ask(endpoint, &key, command, answer);
    key_wipe(&key);
    return status;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text ? text : "";
}

static double number_of(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

// As text
// ------------------------------------------------------------------------------------------------

static void show_workers(const json_t *all)
{
    size_t i;
    json_t *w;
    printf("%-16s %-10s %6s %8s %6s  %s\n", "worker", "phase", "epoch", "heard", "speed",
           "memory");
    json_array_foreach(json_object_get(all, "workers"), i, w)
    {
        char bytes[32];
        bool here = json_is_true(json_object_get(w, "here"));
        printf("%-16s %-10s %6.0f %6.1f s %6.2f  %s%s\n", text_of(w, "name"),
               here ? text_of(w, "phase") : "away", number_of(w, "epoch"),
               1e-3 * number_of(w, "heard_ms"), number_of(w, "speed"),
               human_bytes(bytes, (int64_t)number_of(w, "memory_bytes")),
               json_is_true(json_object_get(w, "drained")) ? ", drained" : "");
    }
}

static void show_stages(const json_t *all)
{
    size_t i;
    json_t *s, *workers = json_object_get(all, "workers");
    printf("%-6s %-16s %-34s %10s %10s\n", "stage", "worker", "layers", "planned", "busy");
    json_array_foreach(json_object_get(json_object_get(all, "plan"), "stages"), i, s)
    {
        const json_t *worker = json_array_get(workers, (size_t)number_of(s, "worker"));
        char layers[160];
        snprintf(layers, sizeof layers, "%s .. %s", text_of(s, "first"), text_of(s, "last"));
        printf("%-6.0f %-16s %-34s %7.3f s  %7.3f s\n", number_of(s, "stage"),
               text_of(worker, "name"), layers, number_of(s, "predicted_s"),
               number_of(s, "busy_s"));
    }
}

static void show(const json_t *all)
{
    printf("%s: %s, step %.0f of %.0f, epoch %.0f", text_of(all, "model"),
           text_of(all, "phase"), number_of(all, "step"), number_of(all, "last_step"),
           number_of(all, "epoch"));
    if (number_of(all, "samples_per_s") > 0)
        printf(", loss %.4f, %.1f samples/s", number_of(all, "loss"),
               number_of(all, "samples_per_s"));
    printf("\n%s\n\n", text_of(all, "waits"));
    show_workers(all);
    if (!json_is_object(json_object_get(all, "plan")))
        return;
    putchar('\n');
    show_stages(all);
}

// The command and what came back, shown by `tell` where it is no error. Releases both.
static int converse(Arena *a, const Args *args, json_t *command, void (*tell)(const json_t *))
{
    json_t *answer = NULL;
    int status = EXIT_INPUT;
    if (command)
        status = ask(a, args, command, &answer);
    else
        error_at(NO_LOC, "names of workers and directories are UTF-8");
    if (answer && args->watch && isatty(STDOUT_FILENO))
        printf("\033[H\033[2J");
    if (answer && args->json) {
        json_dumpf(answer, stdout, JSON_COMPACT);
        putchar('\n');
    } else if (answer && status)
        error_at((Loc){args->plan, 0, 0}, "%s", text_of(answer, "error"));
    else if (answer)
        tell(answer);
    fflush(stdout);
    json_decref(answer);
    json_decref(command);
    return status;
}

static int show_once(Arena *a, const Args *args)
{
    return converse(a, args, json_pack("{s:s}", "command", "status"), show);
}

int command_status(Arena *a, Args *args)
{
    int status = show_once(a, args);
    while (!status && args->watch) {
        sleep(1);
        Arena again = {0};
        status = show_once(&again, args);
        arena_release(&again);
    }
    return status;
}

// ------------------------------------------------------------------------------------------------

static void show_done(const json_t *answer)
{
    printf("%s\n", text_of(answer, "done"));
}

// The master may have been started elsewhere; a directory that is not here may be there.
static json_t *plan_command(Arena *a, const char *plan)
{
    char here[PATH_MAX] = "", whole[PATH_MAX];
    const char *dir = realpath(plan, whole);
    if (!dir && *plan != '/' && getcwd(here, sizeof here))
        dir = arena_printf(a, "%s/%s", here, plan);
    return json_pack("{s:s, s:s}", "command", "plan", "directory", dir ? dir : plan);
}

static json_t *rescale_command(Arena *a, const Args *args)
{
    if (args->stop)
        return json_pack("{s:s}", "command", "stop");
    if (args->drain)
        return json_pack("{s:s, s:s}", "command", "drain", "worker", args->drain);
    if (args->plan)
        return plan_command(a, args->plan);
    return json_pack("{s:s, s:I}", "command", "rescale", "workers", (json_int_t)args->stages);
}

int command_rescale(Arena *a, Args *args)
{
    int asked =
        (args->stages > 0) + (args->plan != NULL) + (args->drain != NULL) + (int)args->stop;
    if (asked != 1) {
        error_at(NO_LOC, "stagecc rescale needs one of -n WORKERS, --plan DIR, --drain WORKER "
                         "and --stop");
        return EXIT_INPUT;
    }
    return converse(a, args, rescale_command(a, args), show_done);
}
