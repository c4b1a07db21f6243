// stagecc master: training that is planned again while it runs (docs/control.md).
#include "driver/cards.h"
#include "driver/plan_maker.h"
#include "driver/prebuilt.h"

#include "base/text.h"
#include "base/utf8.h"
#include "control/ask.h"
#include "plan/schedule.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef STAGECC_ZMQ

typedef struct Setup {
    Arena *arena;
    Args *args;
    const char *journal, *profile;
    Prebuilt prebuilt;
    JobModel job;
    Plan plan; // of the whole model
    MasterOptions options;
} Setup;

static const char *beside(Arena *a, const char *file, const char *name)
{
    const char *slash = strrchr(file, '/');
    return slash ? arena_printf(a, "%.*s/%s", (int)(slash - file), file, name) : name;
}

// "3", "2:4"
static bool read_workers(const char *text, int *least, int *most)
{
    char *end = NULL;
    *least = 1;
    *most = MOST_WORKERS;
    if (!text)
        return true;
    long low = strtol(text, &end, 10), high = low;
    bool good = end != text;
    if (good && *end == ':') {
        const char *second = end + 1;
        high = *second ? strtol(second, &end, 10) : MOST_WORKERS;
        end = *second ? end : end + 1;
    }
    good = good && !*end && low >= 1 && high >= low && high <= MOST_WORKERS;
    if (!good)
        error_at(NO_LOC, "--workers is MIN or MIN:MAX, from 1 to %d, like 2:4; not `%s`",
                 MOST_WORKERS, text);
    *least = (int)low;
    *most = (int)high;
    return good;
}

bool master_asked_well(const Args *args)
{
    int steps, least, most;
    if (!args->data)
        error_at(NO_LOC, "training data are missing: --data KIND:PATH");
    return args->data && whole_number("steps", args->steps, INT32_MAX, &steps) &&
           read_workers(args->workers, &least, &most);
}

// Training begins behind the step of --resume. One checkpoint, not the newest of a directory: a master that is started
// again with its journal has to begin with the same one.
static bool read_resume(Setup *m)
{
    const char *path = m->args->resume;
    json_error_t error;
    if (!path)
        return true;
    const char *file = arena_printf(m->arena, "%s/manifest.json", path);
    json_t *manifest = json_load_file(file, 0, &error);
    json_t *step = json_object_get(manifest, "step");
    m->options.first_step = json_integer_value(step);
    bool good = json_is_integer(step) && m->options.first_step >= 0;
    json_decref(manifest);
    if (!good)
        error_at((Loc){path, 0, 0}, "is no checkpoint: --resume of a master names one of them, "
                                    "like DIR/step-000100, with its manifest.json");
    return good;
}

// They travel as JSON.
static bool options_are_text(const MasterOptions *o)
{
    for (int i = 0; i < o->n_options; i++)
        if (!utf8_good(o->options[i], strlen(o->options[i]))) {
            error_at(NO_LOC, "%s is no UTF-8: workers are told of it as text",
                     o->options[i - 1]);
            return false;
        }
    return true;
}

static int read_arguments(Setup *m)
{
    Args *args = m->args;
    MasterOptions *o = &m->options;
    const char *key = args->key ? args->key : "keys/master.key";
    int steps = -1;
    if (!master_asked_well(args) || prebuilt_open(m->arena, args, &m->prebuilt))
        return EXIT_INPUT;
    whole_number("steps", args->steps, INT32_MAX, &steps);
    o->copy_every = 1;
    if (!whole_number("copy-every", args->copy_every, 1 << 20, &o->copy_every))
        return EXIT_INPUT;
    read_workers(args->workers, &o->min_workers, &o->max_workers);
    o->listening_fd = args->listening_fd;
    if (!read_resume(m))
        return EXIT_INPUT;
    o->last_step = args->epochs ? -1 : steps;
    o->listen = master_endpoint(m->arena, args->listen ? args->listen : "127.0.0.1");
    o->allow = beside(m->arena, key, "workers.allow");
    o->rehearse = args->rehearse;
    o->page = args->page;
    o->options = program_options(m->arena, args, &o->n_options);
    m->journal = args->journal ? args->journal : "journal";
    if (!o->listen || !options_are_text(o))
        return EXIT_INPUT;
    if (dir_make(m->journal)) {
        error_at((Loc){m->journal, 0, 0}, "cannot make the directory: %s", strerror(errno));
        return EXIT_ENVIRONMENT;
    }
    o->journal = m->journal;
    return key_read(&o->key, key);
}

static void say_nothing(void *user, DiagKind kind, Loc loc, const char *message)
{
    (void)user, (void)kind, (void)loc, (void)message;
}

// States are named by steps, and programs of asynchronous schedules have one behind a drain only.
static int check_schedule(const Job *j)
{
    if (!schedule_asynchronous(&j->args->options))
        return EXIT_DONE;
    error_at(NO_LOC,
             "--schedule %s: a master moves synchronous schedules only, like 1f1b or gpipe",
             j->args->options.schedule);
    return EXIT_INPUT;
}

// What is measured here is measured on a device.
static bool has_device(Arena *a)
{
    uint64_t bytes;
    DiagCapture before = diag_capture(say_nothing, NULL);
    int status = cards_here(a, 1, &bytes);
    diag_restore(before);
    diag_reset();
    if (status)
        warning_at(NO_LOC,
                   "there is no CUDA device here, so times are estimated: --profile DIR "
                   "takes those that `stagecc profile` measured on a worker's host");
    return !status;
}

// Once for a journal: plans of different times would cut elsewhere.
static int find_times(Setup *m, Job *j)
{
    const char *dir = arena_printf(m->arena, "%s/profile", m->journal);
    m->profile = m->args->profile ? m->args->profile : dir;
    if (m->args->profile)
        return EXIT_DONE;
    if (!access(arena_printf(m->arena, "%s/times.json", dir), R_OK))
        return measured_load(j, dir);
    if (j->backend->device && !has_device(m->arena)) {
        m->profile = NULL;
        return EXIT_DONE;
    }
    fprintf(stderr, "measuring the model's layers here; once, into %s\n", dir);
    return measure(j, dir);
}

static int compile_model(Setup *m, Job *j)
{
    int status = check_schedule(j);
    if (!status)
        status = find_times(m, j);
    j->compile.most_parts = MOST_PARTS;
    if (!status)
        status = job_compile(j, 1);
    m->plan = j->plan;
    m->job = (JobModel){.plan = &m->plan, .graph = j->graph_hash};
    return status;
}

static void do_without_model(Setup *m)
{
    prebuilt_fix_stages(&m->prebuilt);
    m->job = (JobModel){.plan = m->prebuilt.plan, .graph = m->prebuilt.origin.graph};
    m->options.plan_only = true;
}

static int look_at_model(Setup *m)
{
    Job j;
    const Prebuilt *p = &m->prebuilt;
    if (p->dir && !prebuilt_has_model(p)) {
        do_without_model(m);
        return EXIT_DONE;
    }
    int status = job_load(&j, m->arena, m->args);
    if (!status && p->dir && !prebuilt_same_model(p, &j))
        do_without_model(m);
    else if (!status)
        status = compile_model(m, &j);
    job_release(&j);
    return status;
}

static int parts_of(const Plan *p)
{
    return p->units[p->n_units - 1].part + 1;
}

// Parts are fixed when a job begins, and so is whether it has its model.
static int make_plans(Setup *m, bool goes_on)
{
    char why[PLAN_WHY];
    MasterOptions *o = &m->options;
    o->model = m->job.plan->model;
    o->n_parts = parts_of(m->job.plan);
    m->job.profile = m->profile;
    o->maker = plan_maker(m->arena, m->args, &m->job, m->journal, m->profile);
    if (!m->prebuilt.dir)
        return EXIT_DONE;
    m->job.goes_on = goes_on;
    o->plan = o->maker.given(o->maker.user, m->prebuilt.dir, why);
    m->job.goes_on = false; // from now on what is kept is of this job
    if (!o->plan) {
        error_at((Loc){m->prebuilt.dir, 0, 0}, "%s", why);
        return EXIT_INPUT;
    }
    o->n_parts = parts_of(o->plan->plan);
    o->plan_only |= o->n_parts != parts_of(m->job.plan);
    return EXIT_DONE;
}

static void on_event(void *log, const json_t *event)
{
    run_log_event(log, 0, event);
}

int command_master(Arena *a, Args *args)
{
    Setup m = {.arena = a, .args = args};
    RunLog log;
    int status = read_arguments(&m);
    if (!status)
        status = look_at_model(&m);
    bool goes_on = !access(arena_printf(a, "%s/journal", m.journal), R_OK);
    if (!status)
        status = make_plans(&m, goes_on);
    if (status || (status = run_log_open(&log, args, goes_on)))
        return status;
    const char *backend = m.job.plan->backend;
    m.options.device = backend && !strcmp(backend, "cuda") ? DEVICE_CUDA : DEVICE_CPU;
    m.options.event = on_event;
    m.options.user = &log;
    m.options.quiet = args->json;
    status = run_log_close(&log, master_run(&m.options));
    key_wipe(&m.options.key);
    return status;
}

#else
int command_master(Arena *a, Args *args)
{
    (void)a, (void)args;
    error_at(NO_LOC, "a master talks by ZeroMQ, and this stagecc was built without it: apt-get "
                     "install libzmq3-dev, then build stagecc again");
    return EXIT_ENVIRONMENT;
}
#endif
