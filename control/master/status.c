// What the master knows, as JSON: of `stagecc status` and the status page (docs/control.md has the fields); and what people
// tell it to do.
#include "control/master/server.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <stdlib.h>
#include <string.h>

static const char *const master_phases[] = {"waiting", "starting", "running", "done"};
static const char *const worker_phases[] = {"stopped", "preparing", "ready", "running"};

// Parts
// ------------------------------------------------------------------------------------------------

static json_t *stage_json(Server *s, const BuiltPlan *built, uint32_t rank)
{
    const Plan *p = built->plan;
    const PlanRank *r = &p->ranks[rank];
    const PlanStage *stage = &p->stages[r->stage];
    uint32_t worker = s->core.epoch.ranks[rank].worker;
    int64_t parameters = 0;
    for (int u = stage->first_unit; u <= stage->last_unit; u++)
        parameters += p->units[u].parameter_bytes;
    return json_pack("{s:i, s:i, s:i, s:i, s:s, s:s, s:f, s:f, s:I, s:I}", "stage", r->stage,
                     "replica", r->replica, "rank", (int)rank, "worker", (int)worker, "first",
                     p->units[stage->first_unit].name, "last", p->units[stage->last_unit].name,
                     "predicted_s", speeds_expected(s, built, rank), "busy_s",
                     s->faces[worker].busy_s, "memory_bytes",
                     (json_int_t)plan_stage_bytes(stage), "parameter_bytes",
                     (json_int_t)parameters);
}

static json_t *plan_json_of(Server *s)
{
    const Epoch *e = &s->core.epoch;
    const BuiltPlan *built = e->number ? ledger_built(s, e->plan) : NULL;
    if (!built)
        return json_null();
    const Plan *p = built->plan;
    json_t *stages = json_array();
    for (uint32_t r = 0; r < e->n_ranks && (int)r < p->n_ranks; r++)
        json_array_append_new(stages, stage_json(s, built, r));
    return json_pack("{s:s, s:s, s:I, s:I, s:f, s:o}", "name", built->name, "schedule",
                     p->options.schedule, "batch", (json_int_t)p->options.batch,
                     "micro_batches", (json_int_t)p->options.micro_batches, "predicted_step_s",
                     p->step_s, "stages", stages);
}

static json_t *worker_json(const Server *s, uint32_t w)
{
    const Member *m = &s->core.members[w];
    const Face *face = &s->faces[w];
    bool here = m->here && !m->ended;
    double heard_ms = (double)(progress_now_ns() - m->heard_ns) * 1e-6;
    uint32_t speed = face->speed_milli ? face->speed_milli : m->has.speed_milli;
    return json_pack("{s:i, s:s, s:b, s:s, s:I, s:f, s:i, s:I, s:f, s:s, s:s, s:b}", "worker",
                     (int)w, "name", members_name(s, w), "here", here, "phase",
                     m->beats ? worker_phases[m->beat.phase] : "unknown", "epoch",
                     (json_int_t)m->beat.epoch, "heard_ms", heard_ms, "slots",
                     (int)m->has.slots, "memory_bytes", (json_int_t)m->has.memory_bytes,
                     "speed", (double)speed / SPEED_ONE, "isa", m->has.isa, "device",
                     m->has.device == DEVICE_CUDA ? "cuda" : "cpu", "drained",
                     m->drained && m->drained == m->has.incarnation);
}

static json_t *stories_json(const Server *s)
{
    json_t *all = json_array();
    int first = s->n_stories > MOST_STORIES ? s->n_stories - MOST_STORIES : 0;
    for (int i = first; i < s->n_stories; i++) {
        const Story *told = &s->stories[i % MOST_STORIES];
        json_t *one = json_pack("{s:f, s:s}", "at", told->at, "text", told->text);
        if (told->epoch)
            json_object_set_new(one, "epoch", json_integer((json_int_t)told->epoch));
        json_array_append_new(all, one);
    }
    return all;
}

json_t *status_json(Server *s)
{
    const Master *m = &s->core;
    char waits[256], job[17], why[PLAN_WHY];
    json_t *workers = json_array();
    int64_t last = m->config.last_step < INT64_MAX ? (int64_t)m->config.last_step : 0;
    if (given_lacks(s, why))
        snprintf(waits, sizeof waits, "waiting for workers: %.230s", why);
    else
        master_waits(m, progress_now_ns(), waits, sizeof waits);
    snprintf(job, sizeof job, "%016llx", (unsigned long long)s->job);
    for (uint32_t w = 0; w < m->n_members; w++)
        json_array_append_new(workers, worker_json(s, w));
    return json_pack(
        "{s:s, s:s, s:f, s:s, s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:o, s:o, s:O, s:o, s:i, s:i, s:f}",
        "job", job, "model", s->options->model, "now", clock_unix_seconds(), "phase",
        master_phases[m->phase], "waits", waits, "epoch", (json_int_t)m->epoch.number, "step",
        (json_int_t)m->saved, "committed", (json_int_t)m->committed, "last_step",
        (json_int_t)last, "loss", s->loss, "samples_per_s", s->samples_per_s, "plan",
        plan_json_of(s), "workers", workers, "history", s->history, "events", stories_json(s),
        "changes", s->changes, "losses", s->losses, "last_pause_s", s->pause_s);
}

// Commands
// ------------------------------------------------------------------------------------------------

typedef struct Reply {
    int status;
    json_t *json;
} Reply;

static Reply says(int status, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static Reply says(int status, const char *key, const char *format, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, format);
    vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    return (Reply){status, json_pack("{s:s}", key, utf8_printable(text))};
}

static Reply on_status(Server *s, const json_t *command)
{
    (void)command;
    return (Reply){EXIT_DONE, status_json(s)};
}

static Reply on_rescale(Server *s, const json_t *command)
{
    json_int_t n = json_integer_value(json_object_get(command, "workers"));
    if (s->options->plan_only)
        return says(EXIT_INPUT, "error", "the model is not here, so there is no other plan");
    if (n < s->options->min_workers || n > s->options->max_workers)
        return says(EXIT_INPUT, "error",
                    "this job is for %d to %d workers (--workers), and that is not %lld",
                    s->options->min_workers, s->options->max_workers, (long long)n);
    s->wanted = (int)n;
    given_end(s);
    story(s, "%lld worker%s wanted, by command", (long long)n, n == 1 ? "" : "s");
    server_take(s, &(MasterEvent){.kind = MASTER_REPLAN});
    return says(EXIT_DONE, "done", "from now on %lld worker%s; see stagecc status",
                (long long)n, n == 1 ? "" : "s");
}

static Reply on_plan(Server *s, const json_t *command)
{
    const char *dir = json_string_value(json_object_get(command, "directory"));
    char text[PLAN_WHY] = "which one?";
    bool taken = dir && given_take(s, dir, text);
    return says(taken ? EXIT_DONE : EXIT_INPUT, taken ? "done" : "error", "%s", text);
}

static Reply on_drain(Server *s, const json_t *command)
{
    const char *name = json_string_value(json_object_get(command, "worker"));
    for (uint32_t w = 0; name && w < s->core.n_members; w++) {
        if (strcmp(s->faces[w].name, name) != 0 || !s->core.members[w].here)
            continue;
        MasterEvent event = {.kind = MASTER_DRAIN, .key = s->core.members[w].key};
        story(s, "%s shall leave, by command", name);
        server_take(s, &event);
        return says(EXIT_DONE, "done", "%s leaves when it is no longer needed", name);
    }
    return says(EXIT_INPUT, "error", "there is no worker %s; stagecc status lists them",
                name ? name : "without a name");
}

static Reply on_stop(Server *s, const json_t *command)
{
    (void)command;
    if (!server_stop(s, "stopped by command"))
        return says(EXIT_INPUT, "error", "training has not begun; end the master by a signal");
    return says(EXIT_DONE, "done", "training ends behind step %llu",
                (unsigned long long)s->core.config.last_step);
}

static const struct {
    const char *name;
    Reply (*run)(Server *s, const json_t *command);
} commands[] = {{"status", on_status},
                {"rescale", on_rescale},
                {"plan", on_plan},
                {"drain", on_drain},
                {"stop", on_stop}};

void commands_heard(Server *s, const CurveKey key, const Message *m)
{
    Message answer = {.id = MESSAGE_ANSWER, .answer = {.request = m->command.request}};
    Reply reply = {.status = -1};
    json_t *command = NULL;
    if (strcmp(key, s->options->key.public_key) != 0)
        reply = says(EXIT_INPUT, "error", "commands need the master's own key (--key)");
    else
        command = json_loadb(m->rest, m->rest_bytes, JSON_REJECT_DUPLICATES, NULL);
    const char *name = json_string_value(json_object_get(command, "command"));
    for (size_t i = 0; reply.status < 0 && i < sizeof commands / sizeof *commands; i++)
        if (name && !strcmp(commands[i].name, name))
            reply = commands[i].run(s, command);
    if (reply.status < 0)
        reply = says(EXIT_INPUT, "error", "there is no such command");
    char *text = json_dumps(reply.json, JSON_COMPACT);
    answer.answer.status = (uint32_t)reply.status;
    CHECK(text, "control", "an answer that is no JSON");
    answer.rest = text;
    answer.rest_bytes = strlen(text);
    server_send(s, key, &answer);
    free(text);
    json_decref(reply.json);
    json_decref(command);
}
