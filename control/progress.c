#include "control/progress.h"

#include "base/diag.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TERMINAL_NS (INT64_C(100) * 1000 * 1000)
#define FILE_NS (INT64_C(5) * 1000 * 1000 * 1000)

int64_t progress_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void progress_init(Progress *p, bool quiet)
{
    *p = (Progress){.quiet = quiet, .terminal = isatty(STDERR_FILENO), .tokens = 1};
}

void progress_end_line(Progress *p)
{
    if (p->open)
        fputc('\n', stderr);
    p->open = false;
}

static double real(const json_t *o, const char *key)
{
    return json_number_value(json_object_get(o, key));
}

static int64_t integer(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static void on_start(Progress *p, const json_t *o)
{
    p->first_step = integer(o, "step");
    p->last_step = integer(o, "last_step");
    p->tokens = integer(o, "tokens");
    p->started_ns = progress_now_ns();
}

static void on_data(Progress *p, const json_t *o)
{
    const char *data = json_string_value(json_object_get(o, "data"));
    if (!p->quiet && data)
        fprintf(stderr, "%s\n", data);
}

static void on_step(Progress *p, const json_t *o)
{
    int64_t step = integer(o, "step"), now = progress_now_ns();
    bool last = step == p->last_step;
    if (p->quiet || (!last && now - p->shown_ns < (p->terminal ? TERMINAL_NS : FILE_NS)))
        return;
    p->shown_ns = now;
    double passed = (double)(now - p->started_ns) * 1e-9;
    int64_t done = step - p->first_step;
    int64_t left =
        done > 0 ? (int64_t)(passed / (double)done * (double)(p->last_step - step)) : 0;
    double rate = real(o, "samples_per_s") * (double)(p->tokens > 1 ? p->tokens : 1);
    fprintf(stderr,
            "%sstep %" PRId64 "/%" PRId64 "  loss %.4f  %.1f %s/s  %" PRId64 ":%02" PRId64
            " left%s",
            p->terminal ? "\r\033[K" : "", step, p->last_step, real(o, "loss"), rate,
            p->tokens > 1 ? "tokens" : "samples", left / 60, left % 60,
            p->terminal ? "" : "\n");
    p->open = p->terminal;
}

static void on_eval(Progress *p, const json_t *o)
{
    if (p->quiet)
        return;
    progress_end_line(p);
    fprintf(stderr, "step %" PRId64 ": test loss %.4f", integer(o, "step"),
            real(o, "test_loss"));
    if (json_object_get(o, "test_accuracy"))
        fprintf(stderr, ", accuracy %.2f %%, among the first five %.2f %%",
                100 * real(o, "test_accuracy"), 100 * real(o, "test_top5"));
    fputc('\n', stderr);
}

static void on_checkpoint(Progress *p, const json_t *o)
{
    const char *path = json_string_value(json_object_get(o, "path"));
    if (p->quiet)
        return;
    progress_end_line(p);
    fprintf(stderr, "step %" PRId64 ": checkpoint %s\n", integer(o, "step"), path ? path : "");
}

static void on_warning(Progress *p, const json_t *o)
{
    const char *text = json_string_value(json_object_get(o, "message"));
    progress_end_line(p);
    warning_at(NO_LOC, "%s", text ? text : "");
}

static const struct {
    const char *event;
    void (*show)(Progress *p, const json_t *event);
} events[] = {
    {"data", on_data}, {"start", on_start},           {"step", on_step},
    {"eval", on_eval}, {"checkpoint", on_checkpoint}, {"warning", on_warning},
};

void progress_event(Progress *p, const json_t *event)
{
    const char *name = json_string_value(json_object_get(event, "event"));
    for (size_t i = 0; name && i < sizeof events / sizeof *events; i++)
        if (!strcmp(events[i].event, name))
            events[i].show(p, event);
}
