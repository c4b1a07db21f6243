// What becomes of what programs report: a line of --log-json each, and at the end one for the user.
#include "driver/driver.h"

#include "base/diag.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

// Is it new? A master that was killed hears again of the steps that it may not have written.
static bool is_new(RunLog *log, const char *name, const json_t *event)
{
    int64_t step = json_integer_value(json_object_get(event, "step"));
    int64_t *last = !strcmp(name, "step") ? &log->step : &log->evaluated;
    if (step <= *last)
        return false;
    *last = step;
    return true;
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
    } else if (log->file && (!strcmp(name, "step") || !strcmp(name, "eval")) &&
               (!log->goes_on || is_new(log, name, event))) {
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

static void recall_line(RunLog *log, const char *line, size_t bytes)
{
    json_t *o = json_loadb(line, bytes, 0, NULL);
    if (json_object_get(o, "step") && !json_object_get(o, "done"))
        is_new(log, json_object_get(o, "test_loss") ? "eval" : "step", o);
    json_decref(o);
}

// Its last lines; one that was cut off by a kill goes.
static bool recall(RunLog *log)
{
    static char tail[1 << 16];
    if (fseeko(log->file, 0, SEEK_END))
        return false;
    off_t size = ftello(log->file),
          from = size > (off_t)sizeof tail ? size - (off_t)sizeof tail : 0;
    ssize_t n = pread(fileno(log->file), tail, sizeof tail, from);
    const char *line = tail, *end, *last = tail + (n > 0 ? n : 0);
    for (; line < last && (end = memchr(line, '\n', (size_t)(last - line))); line = end + 1)
        recall_line(log, line, (size_t)(end - line));
    return n == size - from && !ftruncate(fileno(log->file), from + (line - tail));
}

int run_log_open(RunLog *log, const Args *args, bool go_on)
{
    *log = (RunLog){.name = args->log_json, .show_json = args->json, .goes_on = go_on};
    if (!log->name)
        return EXIT_DONE;
    log->file = fopen(log->name, go_on ? "a+" : "w");
    if (log->file && (!go_on || recall(log)))
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
