// What becomes of what programs report: a line of --log-json each, and at the end one for the user.
#include "driver/driver.h"

#include "base/diag.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

void run_log_event(void *user, int rank, const json_t *event)
{
    RunLog *log = user;
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

static void print_result(const RunLog *log)
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

int run_log_open(RunLog *log, const Args *args, bool go_on)
{
    *log = (RunLog){.name = args->log_json, .show_json = args->json};
    if (!log->name || (log->file = fopen(log->name, go_on ? "a" : "w")))
        return EXIT_DONE;
    error_at((Loc){log->name, 0, 0}, "cannot write: %s", strerror(errno));
    return EXIT_ENVIRONMENT;
}

int run_log_close(RunLog *log, int status)
{
    if (log->file && (ferror(log->file) | fclose(log->file)) && !status) {
        error_at((Loc){log->name, 0, 0}, "cannot write: %s", strerror(errno));
        status = EXIT_ENVIRONMENT;
    }
    print_result(log);
    json_decref(log->result);
    return status;
}
