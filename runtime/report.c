#include "runtime/report.h"

#include "runtime/evaluate.h"
#include "runtime/loop.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE = 2048, SHOW_TERMINAL_NS = 100 * 1000 * 1000 };
#define SHOW_FILE_NS (INT64_C(5) * 1000 * 1000 * 1000)

typedef struct Line {
    char text[LINE];
    size_t n;
} Line;

// Text
// -------------------------------------------------------------------------------------------

char *rt__json_text(char *to, size_t size, const char *text)
{
    size_t n = 0;
    to[n++] = '"';
    for (; *text && n + 8 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            to[n++] = '\\';
            to[n++] = (char)c;
        } else if (c < 0x20) {
            n += (size_t)snprintf(to + n, size - n, "\\u%04x", c);
        } else {
            to[n++] = (char)c;
        }
    }
    to[n++] = '"';
    to[n] = 0;
    return to;
}

static void add(Line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(Line *l, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(l->text + l->n, LINE - l->n, format, ap);
    va_end(ap);
    l->n += n > 0 ? (size_t)n : 0;
    l->n = l->n < LINE ? l->n : LINE - 1;
}

static void add_text(Line *l, const char *key, const char *text)
{
    char quoted[LINE / 2 + 64];
    add(l, ",\"%s\":%s", key, rt__json_text(quoted, sizeof quoted, text));
}

// A line is shorter than a pipe's atomic unit, so lines never mix.
static void send(const rt_stage *s, Line *l)
{
    add(l, "}\n");
    for (size_t at = 0; at < l->n;) {
        ssize_t n = write(s->report_fd, l->text + at, l->n - at);
        if (n <= 0)
            return;
        at += (size_t)n;
    }
}

static void add_replica(Line *l, const rt_stage *s)
{
    if (s->replicas > 1)
        add(l, ",\"replica\":%d", s->replica);
}

static bool to_launcher(const rt_stage *s)
{
    return !s->quiet && s->report_fd >= 0;
}

static bool by_hand(const rt_stage *s)
{
    return !s->quiet && s->report_fd < 0;
}

// Of those that know the loss, one reports.
static bool tells(const rt_stage *s)
{
    return rt__has_loss(s->program) && s->replica == 0;
}

// A program that is being measured keeps its progress to itself.
static bool shows_progress(const rt_stage *s)
{
    return by_hand(s) && !s->options.profile;
}

void rt__report_open(rt_stage *s)
{
    const char *fd = getenv("STAGECC_REPORT_FD");
    if (fd && *fd)
        s->report_fd = atoi(fd);
}

// Figures
// ----------------------------------------------------------------------------------------

static double per_second(double count, double seconds)
{
    return seconds > 0 ? count / seconds : 0;
}

// The mean over all steps of this process.
static double samples_per_s(const rt_stage *s)
{
    return per_second((double)s->run_samples, s->train_s);
}

// Rows of the logits a sample: more than one for sequences, whose rows are tokens.
static int64_t tokens(const rt_stage *s)
{
    return s->program->rows > 0 ? s->program->rows / s->program->micro_batch : 1;
}

static void bits_of(const rt_stage *s, double x, char text[24])
{
    if (s->program->real == RT_F64) {
        uint64_t bits;
        memcpy(&bits, &x, sizeof bits);
        snprintf(text, 24, "%016" PRIx64, bits);
    } else {
        float f = (float)x;
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        snprintf(text, 24, "%08" PRIx32, bits);
    }
}

// Progress by hand
// -------------------------------------------------------------------------------

static void show_progress(rt_stage *s, int64_t step)
{
    bool terminal = isatty(STDERR_FILENO), last = step == s->last_step;
    int64_t now = rt__now_ns();
    if (!last && now - s->shown_ns < (terminal ? SHOW_TERMINAL_NS : SHOW_FILE_NS))
        return;
    s->shown_ns = now;
    int64_t left =
        (int64_t)per_second((double)(s->last_step - step) * s->train_s, (double)s->run_updates);
    fprintf(stderr,
            "%sstep %" PRId64 "/%" PRId64 "  loss %.4f  %.1f %s/s  %" PRId64 ":%02" PRId64
            " left%s",
            terminal ? "\r\033[K" : "", step, s->last_step, s->loss,
            samples_per_s(s) * (double)tokens(s), tokens(s) > 1 ? "tokens" : "samples",
            left / 60, left % 60, terminal && !last ? "" : "\n");
}

// Events
// -----------------------------------------------------------------------------------------

// The stage that reads the inputs knows what they are.
static void report_data(rt_stage *s)
{
    const char *summary = rt__data_summary(s->data);
    if (shows_progress(s))
        fprintf(stderr, "%s\n", summary);
    if (!to_launcher(s))
        return;
    Line l = {.n = 0};
    add(&l, "{\"event\":\"data\",\"stage\":%d", s->program->stage);
    add_text(&l, "data", summary);
    send(s, &l);
}

void rt__report_start(rt_stage *s)
{
    if (s->program->n_inputs && s->replica == 0)
        report_data(s);
    if (!tells(s) || !to_launcher(s))
        return;
    Line l = {.n = 0};
    add(&l,
        "{\"event\":\"start\",\"step\":%" PRId64 ",\"last_step\":%" PRId64 ",\"batch\":%" PRId64
        ",\"tokens\":%" PRId64,
        s->step, s->last_step, rt__batch(s->program), tokens(s));
    send(s, &l);
}

static void report_to_agent(const rt_stage *s, const char *event, int64_t step)
{
    if (!to_launcher(s) || !s->segment->supervised)
        return;
    Line l = {.n = 0};
    add(&l, "{\"event\":\"%s\",\"rank\":%d,\"step\":%" PRId64, event, s->rank, step);
    send(s, &l);
}

void rt__report_warm(rt_stage *s)
{
    report_to_agent(s, "warm", s->step);
}

void rt__report_ready(rt_stage *s)
{
    report_to_agent(s, "ready", s->step);
}

void rt__report_saved(rt_stage *s, int64_t step)
{
    report_to_agent(s, "saved", step);
}

void rt__report_step(rt_stage *s, int64_t step, int64_t samples)
{
    if (!tells(s))
        return;
    if (shows_progress(s))
        show_progress(s, step);
    if (!to_launcher(s))
        return;
    char bits[24];
    bits_of(s, s->loss, bits);
    Line l = {.n = 0};
    add(&l,
        "{\"event\":\"step\",\"step\":%" PRId64 ",\"loss\":%.*g,\"loss_bits\":\"%s\""
        ",\"samples_per_s\":%.6g",
        step, s->program->real == RT_F64 ? 17 : 9, s->loss, bits,
        per_second((double)samples, s->step_s));
    if (tokens(s) > 1)
        add(&l, ",\"tokens_per_s\":%.6g", per_second((double)(samples * tokens(s)), s->step_s));
    send(s, &l);
}

static void add_score(Line *l, const rt_stage *s)
{
    const rt__score *r = s->score;
    if (!r || !r->rows)
        return;
    add(l, ",\"test_loss\":%.9g", r->loss);
    if (s->program->classes > 0)
        add(l, ",\"test_accuracy\":%.9g,\"test_top5\":%.9g", r->top1, r->top5);
    add(l, ",\"samples\":%" PRIu64, r->samples);
}

void rt__report_eval(rt_stage *s)
{
    if (!tells(s))
        return;
    const rt__score *r = s->score;
    if (shows_progress(s))
        fprintf(stderr, "step %" PRId64 ": test loss %.4f, accuracy %.2f %%, top 5 %.2f %%\n",
                s->step, r->loss, 100 * r->top1, 100 * r->top5);
    if (!to_launcher(s))
        return;
    Line l = {.n = 0};
    add(&l, "{\"event\":\"eval\",\"step\":%" PRId64, s->step);
    add_score(&l, s);
    send(s, &l);
}

void rt__report_checkpoint(rt_stage *s, const char *path)
{
    if (by_hand(s))
        fprintf(stderr, "step %" PRId64 ": checkpoint %s\n", s->step, path);
    if (!to_launcher(s))
        return;
    Line l = {.n = 0};
    add(&l, "{\"event\":\"checkpoint\",\"step\":%" PRId64, s->step);
    add_text(&l, "path", path);
    send(s, &l);
}

void rt__report_warning(rt_stage *s, const char *text)
{
    if (by_hand(s))
        fprintf(stderr, "warning: %s\n", text);
    if (!to_launcher(s))
        return;
    Line l = {.n = 0};
    add(&l, "{\"event\":\"warning\",\"stage\":%d", s->program->stage);
    add_replica(&l, s);
    add_text(&l, "message", text);
    send(s, &l);
}

void rt__report_error(rt_stage *s)
{
    if (by_hand(s))
        fprintf(stderr, "%sstage%d: error: %s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "",
                s->program->stage, s->message);
    if (!to_launcher(s))
        return;
    Line l = {.n = 0};
    add(&l, "{\"event\":\"error\",\"status\":%d,\"stage\":%d", rt_error_status(s->error),
        s->program->stage);
    add_replica(&l, s);
    add(&l, ",\"kind\":\"%s\"", rt_error_word(s->error));
    add_text(&l, "message", s->message);
    send(s, &l);
}

void rt__report_done(rt_stage *s)
{
    if (!tells(s))
        return;
    double seconds = (double)(rt__now_ns() - s->started_ns) * 1e-9;
    if (shows_progress(s))
        printf("done: %" PRId64 " steps in %.1f s, %.1f samples/s\n", s->step, seconds,
               samples_per_s(s));
    if (!to_launcher(s))
        return;
    Line l = {.n = 0};
    add(&l, "{\"event\":\"done\",\"steps\":%" PRId64 ",\"seconds\":%.3f,\"samples_per_s\":%.6g",
        s->step, seconds, samples_per_s(s));
    if (s->run_step)
        add(&l, ",\"loss\":%.*g", s->program->real == RT_F64 ? 17 : 9, s->loss);
    add_score(&l, s);
    send(s, &l);
}
