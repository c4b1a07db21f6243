// A plan of the same graph and options trains the same bits as any other, and its states are of the same tensors. Where it
// cuts decides which parts move: only between parts of the job. Its predictions may come from other times than the job's,
// so they are made again: what plans foresee is what workers are measured by.
#include "driver/given_plan.h"

#include "base/text.h"
#include "control/launch.h"
#include "driver/origin.h"
#include "plan/devices.h"
#include "plan/schedule.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct Taking {
    Arena *arena;
    const JobModel *job;
    const char *dir;
    char *why; // [PLAN_WHY]; "": nothing is wrong so far
    Plan *plan;
    Origin origin;
    char number[17]; // of the plan, which its programs have in them as text
    uint64_t hash;   // of the plan and its programs
} Taking;

static bool wrong(Taking *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(Taking *t, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    if (!*t->why)
        vsnprintf(t->why, PLAN_WHY, format, ap);
    va_end(ap);
    return false;
}

// What lies there
// ------------------------------------------------------------------------------------------------

static void on_diagnostic(void *user, DiagKind kind, Loc loc, const char *message)
{
    (void)loc;
    if (kind == DIAG_ERROR)
        wrong(user, "plan.json: %s", message);
}

static bool read_all(Taking *t)
{
    const char *path = arena_printf(t->arena, "%s/plan.json", t->dir);
    char *text = file_read(path, NULL), why[ORIGIN_WHY] = "";
    if (!text)
        return wrong(t, "there is no plan.json of `stagecc build`: %s", strerror(errno));
    DiagCapture before = diag_capture(on_diagnostic, t);
    t->plan = plan_from_json(t->arena, path, text);
    diag_restore(before);
    free(text);
    if (!t->plan)
        return wrong(t, "its plan.json cannot be read");
    if (t->plan->why || !plan_has_streams(t->plan))
        return wrong(t, "it has no programs: `stagecc build` makes them");
    return origin_read(t->arena, t->dir, &t->origin, why) || wrong(t, "%s", why);
}

// Is it of the job?
// ------------------------------------------------------------------------------------------------

// They decide when something is computed, and not what.
static bool is_free(const char *option)
{
    static const char *const names[] = {"schedule", "virtual-stages", "drain-every",
                                        "recompute"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i], option))
            return true;
    return false;
}

static bool same_options(Taking *t)
{
    const Plan *mine = t->job->plan;
    char value[2][64];
    for (int i = 0; option_name(i); i++) {
        const char *theirs = option_value(&t->plan->options, i, value[0]);
        const char *ours = option_value(&mine->options, i, value[1]);
        if (!is_free(option_name(i)) && strcmp(theirs, ours) != 0)
            return wrong(t, "it was built with --%s %s, and this job has --%s %s",
                         option_name(i), theirs, option_name(i), ours);
    }
    if (schedule_asynchronous(&t->plan->options))
        return wrong(t, "--schedule %s: a master moves synchronous schedules only",
                     t->plan->options.schedule);
    if (strcmp(t->plan->backend, mine->backend) != 0)
        return wrong(t, "it was built with --backend %s, and this job has --backend %s",
                     t->plan->backend, mine->backend);
    return true;
}

static bool same_model(Taking *t)
{
    const Plan *p = t->plan, *mine = t->job->plan;
    if (strcmp(p->model, mine->model) != 0)
        return wrong(t, "it is of the model %s, and this job trains %s", p->model, mine->model);
    if (!same_options(t))
        return false;
    bool same = t->origin.graph == t->job->graph && p->n_units == mine->n_units;
    for (int u = 0; u < p->n_units && same; u++)
        same = !strcmp(p->units[u].name, mine->units[u].name);
    for (int i = 0; i < t->origin.n_tensors && same; i++)
        same = t->origin.tensors[i].unit < p->n_units;
    return same || wrong(t,
                         "its %s is not the model of this job: it has other layers, or "
                         "layers with other settings; build it again",
                         p->model);
}

static bool cuts_between_parts(Taking *t)
{
    const PlanUnit *units = t->job->plan->units;
    for (int s = 0; s < t->plan->n_stages - 1; s++) {
        int last = t->plan->stages[s].last_unit;
        if (units[last].part == units[last + 1].part)
            return wrong(t,
                         "it cuts between %s and %s, and in this job these move together: "
                         "build it with --parts %d%s%s",
                         units[last].name, units[last + 1].name, MOST_PARTS,
                         t->job->profile ? " --profile " : "",
                         t->job->profile ? t->job->profile : "");
    }
    return true;
}

static bool fits(Taking *t)
{
    int ranks = t->plan->n_ranks, machines = plan_machines_used(t->plan);
    return (ranks <= MOST_RANKS && machines <= MOST_RANKS) ||
           wrong(t, "it has %d programs, and a master starts %d at most", ranks, MOST_RANKS);
}

// Keeping it
// ------------------------------------------------------------------------------------------------

static void take_unit(PlanUnit *to, const PlanUnit *from)
{
    to->part = from->part;
    to->forward_s = from->forward_s;
    to->backward_s = from->backward_s;
    to->weight_s = from->weight_s;
    to->update_s = from->update_s;
}

static void take_times(Taking *t)
{
    Plan *p = t->plan;
    for (int u = 0; u < p->n_units; u++)
        take_unit(&p->units[u], &t->job->plan->units[u]);
    for (int i = 0; i < p->n_stages; i++) {
        PlanStage *s = &p->stages[i];
        s->forward_s = s->backward_s = s->weight_s = s->update_s = 0;
        s->compute_s = s->time_s = 0;
        for (int u = s->first_unit; u <= s->last_unit; u++) {
            s->forward_s += p->units[u].forward_s;
            s->backward_s += p->units[u].backward_s;
            s->weight_s += p->units[u].weight_s;
            s->update_s += p->units[u].update_s;
        }
        s->backward_s += s->again_s;
    }
    p->cost_source = t->job->plan->cost_source;
    p->step_s = plan_simulate(p);
}

static bool write_file(Taking *t, const char *path, const char *text, size_t bytes)
{
    return !file_write(path, text, bytes) ||
           wrong(t, "cannot be kept as %.60s: %s", path, strerror(errno));
}

static bool copy_program(Taking *t, int stage, const char *to)
{
    size_t bytes = 0;
    const char *path = launch_program(t->arena, t->dir, stage);
    char *text = access(path, X_OK) ? NULL : file_read(path, &bytes);
    if (!text)
        return wrong(t, "there is no program of stage %d: `stagecc build` makes it", stage);
    if (!memmem(text, bytes, t->number, strlen(t->number))) {
        free(text);
        return wrong(t, "its program of stage %d is of another plan: build it again", stage);
    }
    const char *copy = arena_printf(t->arena, "%s/stage%d", to, stage);
    t->hash = t->hash * 31 + str_hash(text, bytes);
    bool good = write_file(t, copy, text, bytes) && !chmod(copy, 0755);
    free(text);
    return good;
}

// Machines of any speed: people say where it is good.
static bool write_devices(Taking *t, const char *to)
{
    int n = plan_machines_used(t->plan);
    Devices d = {.devices = arena_array(t->arena, Device, n), .n = n};
    for (int i = 0; i < n; i++)
        d.devices[i] = (Device){.name = arena_printf(t->arena, "machine%d", i),
                                .host = "here",
                                .backend = t->plan->backend,
                                .speed = 1};
    char *text = devices_to_json(&d);
    bool good =
        write_file(t, arena_printf(t->arena, "%s/devices.json", to), text, strlen(text));
    free(text);
    return good;
}

static bool write_all(Taking *t, const char *to)
{
    if (dir_make(to))
        return wrong(t, "cannot make the directory %.60s: %s", to, strerror(errno));
    t->hash = plan_hash(t->plan);
    snprintf(t->number, sizeof t->number, "%016" PRIx64, t->hash);
    take_times(t);
    char *text = plan_to_json(t->plan);
    bool good = write_file(t, arena_printf(t->arena, "%s/plan.json", to), text, strlen(text)) &&
                write_devices(t, to) &&
                (!origin_write_parts(&t->origin, t->plan, to) || wrong(t, "cannot be kept"));
    free(text);
    for (int i = 0; i < t->plan->n_stages && good; i++)
        good = copy_program(t, i, to);
    return good;
}

// A name in plans that begins so; NULL: there is none.
static const char *find_name(Arena *a, const char *plans, const char *begin)
{
    const char *found = NULL;
    DIR *dir = opendir(plans);
    const struct dirent *entry;
    while (dir && !found && (entry = readdir(dir)))
        if (str_starts(entry->d_name, begin))
            found = arena_strdup(a, entry->d_name);
    if (dir)
        closedir(dir);
    return found;
}

// The same directory again is the plan that it was.
static const char *put_there(Taking *t, const char *from, const char *plans)
{
    uint64_t parts = 0;
    for (int u = 0; u < t->plan->n_units; u++)
        parts = parts * 31 + (uint64_t)t->plan->units[u].part;
    const char *begin = arena_printf(t->arena, GIVEN_PLAN "%016" PRIx64 "-", t->hash);
    const char *name = arena_printf(t->arena, "%s%016" PRIx64, begin, parts);
    const char *to = arena_printf(t->arena, "%s/%s", plans, name);
    const char *kept = !access(to, F_OK) ? name
                       : t->job->goes_on ? find_name(t->arena, plans, begin)
                                         : NULL;
    if (kept)
        return kept;
    if (!rename(from, to))
        return name;
    wrong(t, "cannot be kept as %.60s: %s", to, strerror(errno));
    return NULL;
}

const char *given_plan_keep(Arena *a, const JobModel *job, const char *dir, const char *plans,
                            char why[PLAN_WHY])
{
    Taking t = {.arena = a, .job = job, .dir = dir, .why = why};
    const char *new = arena_printf(a, "%s/given.new", plans), *name = NULL;
    *why = 0;
    bool good = read_all(&t) && same_model(&t) && cuts_between_parts(&t) && fits(&t);
    if (good && write_all(&t, new))
        name = put_there(&t, new, plans);
    if (good)
        process_run((const char *const[]){"rm", "-rf", "--", new, NULL}, NULL);
    return name;
}
