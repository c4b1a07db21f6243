// What programs report. A step is told once, in order, when all have saved it: one that is done again after a loss, whose
// bits are the same, is none twice. Errors that would come again and again end the job.
//
// Who reports is believed what its own programs may say now: its key says who it is, not that it is right.
#include "control/master/server.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_FAILURES = 3, TOLD_AGAIN = 4 };

static int64_t integer(const json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

static void tell(Server *s, const json_t *event)
{
    progress_event(&s->progress, event);
    if (s->options->event)
        s->options->event(s->options->user, event);
}

static void forget(Server *s, int i)
{
    json_decref(s->reports[i].event);
    s->reports[i] = s->reports[--s->n_reports];
}

// Of a step that was done again the newest epoch's counts, whose bits are the same.
static void keep(Server *s, uint64_t epoch, json_t *event)
{
    int64_t step = integer(event, "step");
    const char *name = json_string_value(json_object_get(event, "event"));
    for (int i = 0; i < s->n_reports; i++) {
        const json_t *other = s->reports[i].event;
        if (s->reports[i].step != step ||
            strcmp(json_string_value(json_object_get(other, "event")), name) != 0)
            continue;
        if (s->reports[i].epoch > epoch)
            return;
        forget(s, i);
        break;
    }
    // How far they were the master before this one knew.
    bool may_be = step > s->logged && step < (int64_t)master_first_free(&s->core);
    if (s->n_reports == MOST_REPORTS || !may_be)
        return;
    s->reports[s->n_reports++] = (StepReport){step, epoch, json_incref(event)};
}

// Seldom enough that the page can show all.
static void remember(Server *s, const json_t *event)
{
    int64_t step = integer(event, "step");
    s->loss = json_number_value(json_object_get(event, "loss"));
    s->samples_per_s = json_number_value(json_object_get(event, "samples_per_s"));
    if (step % s->thinning)
        return;
    json_array_append_new(s->history, json_pack("[I, f, f, f]", (json_int_t)step, s->loss,
                                                s->samples_per_s, clock_unix_seconds()));
    if (json_array_size(s->history) <= MOST_HISTORY)
        return;
    s->thinning *= 2;
    for (size_t i = json_array_size(s->history); i-- > 0;)
        if (json_integer_value(json_array_get(json_array_get(s->history, i), 0)) % s->thinning)
            json_array_remove(s->history, i);
}

static int next_report(const Server *s)
{
    int found = -1;
    for (int i = 0; i < s->n_reports; i++) {
        bool due = s->reports[i].step <= (int64_t)s->core.saved;
        if (due && (found < 0 || s->reports[i].step < s->reports[found].step))
            found = i;
    }
    return found;
}

void reports_tell(Server *s)
{
    for (int i; (i = next_report(s)) >= 0; forget(s, i)) {
        const json_t *event = s->reports[i].event;
        tell(s, event);
        if (!strcmp(json_string_value(json_object_get(event, "event")), "step")) {
            remember(s, event);
            s->logged = s->reports[i].step;
        }
    }
}

// An error that is no echo of another one's end
// ------------------------------------------------------------------------------------------------

static bool will_come_again(int status)
{
    return status != EXIT_PEER && status != EXIT_INTERRUPTED;
}

static void on_error(Server *s, uint32_t worker, const json_t *event)
{
    const char *message = json_string_value(json_object_get(event, "message"));
    int64_t said = integer(event, "status");
    int status = said > 0 && said <= UINT8_MAX ? (int)said : EXIT_PEER;
    if (!will_come_again(status))
        return;
    story(s, "%s: %s", members_name(s, worker), message ? message : "a program has failed");
    bool again = s->failures && s->failed_step == (int64_t)s->core.saved;
    s->failures = again ? s->failures + 1 : 1;
    s->failed_step = (int64_t)s->core.saved;
    if (s->failures < (status == EXIT_LOSS ? 2 : MOST_FAILURES))
        return;
    progress_end_line(&s->progress);
    error_at(NO_LOC, "%s: %s (%d times behind step %" PRId64 ")", members_name(s, worker),
             message ? message : "a program has failed", s->failures, s->failed_step);
    s->status = status;
    s->ended = true;
}

// ------------------------------------------------------------------------------------------------

static void on_start(Server *s, const json_t *event)
{
    int64_t last = integer(event, "last_step");
    bool unknown = s->core.config.last_step == INT64_MAX; // else training was stopped before
    if (unknown && last >= (int64_t)s->core.committed)
        ledger_last_step(s, last); // for good
    progress_event(&s->progress, event);
}

// Of the last steps it is not known whether they were told before
// the last master ended: workers keep their reports, and who is told again sees it by their numbers.
void reports_begin(Server *s)
{
    int64_t committed = (int64_t)s->core.committed;
    s->logged = committed > TOLD_AGAIN ? committed - TOLD_AGAIN : 0;
}

// Its texts are shown on terminals.
static json_t *read_event(const Message *m)
{
    json_t *event = json_loadb(m->rest, m->rest_bytes, JSON_REJECT_DUPLICATES, NULL), *value;
    const char *key;
    json_object_foreach(event, key, value)
    {
        char *text = json_is_string(value) ? strdup(json_string_value(value)) : NULL;
        if (text)
            json_string_set(value, utf8_printable(text));
        free(text);
    }
    return event;
}

void reports_heard(Server *s, uint32_t worker, const Message *m)
{
    bool now = m->report.epoch == s->core.epoch.number;
    const Epoch *e = now ? &s->core.epoch : &s->before;
    if (m->report.epoch != e->number || !epoch_rank_of(e, m->report.rank, worker))
        return;
    json_t *event = read_event(m);
    const char *name = json_string_value(json_object_get(event, "event"));
    if (!name) {
        json_decref(event);
        return;
    }
    if (!strcmp(name, "step") || !strcmp(name, "eval") || !strcmp(name, "checkpoint"))
        keep(s, m->report.epoch, event);
    else if (now && !strcmp(name, "error"))
        on_error(s, worker, event);
    else if (now && !strcmp(name, "start"))
        on_start(s, event);
    else if (now && !strcmp(name, "done")) {
        json_decref(s->done);
        s->done = json_incref(event);
    } else if (now && m->report.epoch == 1)
        progress_event(&s->progress, event); // "data", warnings: once
    json_decref(event);
}

void reports_end(Server *s)
{
    reports_tell(s); // those that came late
    progress_end_line(&s->progress);
    if (s->done && s->options->event && !s->status)
        s->options->event(s->options->user, s->done);
    while (s->n_reports)
        forget(s, 0);
    json_decref(s->done);
    json_decref(s->history);
}
