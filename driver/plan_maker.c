// Plans and programs for whatever workers there are, built in the background by `stagecc build` while training goes on:
//
//   JOURNAL/plans/NAME/         plan.json, parts.json, devices.json, stage0, stage0.c, …; NAME tells what it is for
//   JOURNAL/plans/NAME.log      what the build said
//
// A folder has its name once all of it is there. The plan alone is made in no time (NAME.sketch), programs take seconds.
#include "driver/plan_maker.h"

#include "base/text.h"
#include "control/progress.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { FORGOTTEN_S = 3 }; // what nobody wishes for any more is not built
#define SECOND_NS INT64_C(1000000000)

typedef VEC(const char *) Words;

typedef enum BuildState { WANTED, SKETCHING, BUILDING, BUILT, FAILED } BuildState;

typedef struct Build {
    char name[PLAN_NAME + 1];
    Machine *machines;
    int n;
    BuildState state;
    PlanUrgency urgency;
    int64_t asked_ns; // when it was last wished for
    pid_t pid;
    BuiltPlan plan;
    char why[PLAN_WHY];
} Build;

struct MakerState {
    Arena *arena;
    const Args *args;
    const JobModel *job;
    const char *self;          // this program, as it was when it began
    const char *dir, *profile; // JOURNAL/plans; NULL: no measured times
    int threads;
    uint64_t model; // of its text and options
    VEC(Build *) builds;
};

static const char *path_of(const MakerState *k, const Build *b, const char *file)
{
    return arena_printf(k->arena, "%s/%s%s", k->dir, b->name, file);
}

// What was built
// ------------------------------------------------------------------------------------------------

static bool add_file(MakerState *k, const Build *b, const char *name, PlanFile *file)
{
    struct stat st;
    file->name = name;
    file->path = path_of(k, b, arena_printf(k->arena, "/%s", name));
    file->sha256 = stat(file->path, &st) ? NULL : hosts_sha256(k->arena, file->path);
    file->bytes = file->sha256 ? (int64_t)st.st_size : 0;
    return file->sha256;
}

static bool load_files(MakerState *k, Build *b, const Plan *plan)
{
    PlanFile *files = arena_array(k->arena, PlanFile, plan->n_stages + 2);
    bool good =
        add_file(k, b, "plan.json", &files[0]) && add_file(k, b, "parts.json", &files[1]);
    for (int i = 0; i < plan->n_stages && good; i++)
        good = add_file(k, b, arena_printf(k->arena, "stage%d", i), &files[2 + i]);
    b->plan.files = files;
    b->plan.n_files = plan->n_stages + 2;
    return good;
}

// The plan alone. false: it is not there, or not whole.
static bool load_plan(MakerState *k, Build *b, const char *path)
{
    char *text = file_read(path, NULL);
    const Plan *plan = text ? plan_from_json(k->arena, path, text) : NULL;
    free(text);
    if (!plan)
        return false;
    b->plan.name = b->name;
    b->plan.plan = plan;
    b->plan.given = str_starts(b->name, GIVEN_PLAN);
    b->plan.machines = b->machines;
    b->plan.n_machines = b->n;
    return true;
}

static bool load(MakerState *k, Build *b)
{
    if (!load_plan(k, b, path_of(k, b, "/plan.json")) || !load_files(k, b, b->plan.plan))
        return false;
    b->state = BUILT;
    return true;
}

// Of an earlier master's plan, from the devices.json beside it.
static bool load_machines(MakerState *k, Build *b)
{
    const char *path = path_of(k, b, "/devices.json");
    char *text = file_read(path, NULL);
    const Devices *d = text ? devices_from_json(k->arena, path, text) : NULL;
    free(text);
    if (!d)
        return false;
    b->n = d->n;
    b->machines = arena_array(k->arena, Machine, d->n + 1);
    for (int i = 0; i < d->n; i++)
        b->machines[i] = (Machine){(uint32_t)(d->devices[i].speed * SPEED_ONE + 0.5),
                                   (uint64_t)d->devices[i].memory_bytes};
    return true;
}

// Building
// ------------------------------------------------------------------------------------------------

static bool write_devices(MakerState *k, const Build *b, const char *path)
{
    DeviceLink link = {.from = "here", .to = "here", .bytes_per_s = 1e9, .per_device = true};
    Devices d = {.devices = arena_array(k->arena, Device, b->n + 1),
                 .n = b->n,
                 .links = &link,
                 .n_links = 1};
    for (int i = 0; i < b->n; i++)
        d.devices[i] = (Device){.name = arena_printf(k->arena, "machine%d", i),
                                .host = "here",
                                .backend = k->job->plan->backend,
                                .memory_bytes = (int64_t)b->machines[i].memory_bytes,
                                .speed = (double)b->machines[i].speed_milli / SPEED_ONE,
                                .threads = k->threads};
    char *text = devices_to_json(&d);
    bool good = !file_write(path, text, strlen(text));
    free(text);
    return good;
}

// Options of the model, as the master was given them; those of the cut are the maker's.
static void add_given(MakerState *k, Words *w)
{
    for (int i = 0; i < k->args->given.n; i++) {
        const Given *g = &k->args->given.items[i];
        if (!(g->groups & (MODEL | GRAPH | TARGET)))
            continue;
        vec_push(k->arena, w,
                 g->value ? arena_printf(k->arena, "--%s=%s", g->name, g->value)
                          : arena_printf(k->arena, "--%s", g->name));
    }
}

// What nobody may ever need is built behind training, where that has the cores.
static const char *const niceness[] = {
    [PLAN_SKETCHED] = "0", [PLAN_IN_CASE] = "10", [PLAN_WANTED] = "0", [PLAN_MISSED] = "0"};

static const char build_shell[] = "log=\"$0\"; exec nice -n \"$@\" > \"$log\" 2>&1";
static const char sketch_shell[] =
    "log=\"$0\"; exec nice -n \"$@\" 2> \"$log\" > \"${log%.log}.sketch/plan.json\"";

// The plan and its programs; of a sketch the plan alone.
static void start(MakerState *k, Build *b, bool sketch)
{
    const char *out = path_of(k, b, sketch ? ".sketch" : ".new");
    const char *devices = arena_printf(k->arena, "%s/devices.json", out);
    Words w = {0};
    process_run((const char *const[]){"rm", "-rf", "--", out, NULL}, NULL);
    if (dir_make(out) || !write_devices(k, b, devices))
        fatal("%s: cannot write: %s", out, strerror(errno));
    vec_push(k->arena, &w, "sh");
    vec_push(k->arena, &w, "-c");
    vec_push(k->arena, &w, sketch ? sketch_shell : build_shell);
    vec_push(k->arena, &w, path_of(k, b, ".log"));
    vec_push(k->arena, &w, niceness[b->urgency]);
    vec_push(k->arena, &w, k->self);
    vec_push(k->arena, &w, "build");
    vec_push(k->arena, &w, k->args->operand);
    add_given(k, &w);
    if (k->profile)
        vec_push(k->arena, &w, arena_printf(k->arena, "--profile=%s", k->profile));
    vec_push(k->arena, &w, arena_printf(k->arena, "--parts=%d", MOST_PARTS));
    vec_push(k->arena, &w, arena_printf(k->arena, "--devices=%s", devices));
    vec_push(k->arena, &w, "--no-svg");
    vec_push(k->arena, &w, arena_printf(k->arena, "--output=%s", out));
    if (sketch) {
        vec_push(k->arena, &w, "--dry-run");
        vec_push(k->arena, &w, "--json");
    }
    vec_push(k->arena, &w, NULL);
    b->pid = process_start(w.items, NULL, 0);
    b->state = sketch ? SKETCHING : BUILDING;
}

static void fail(MakerState *k, Build *b)
{
    const char *log = path_of(k, b, ".log");
    char *text = file_read(log, NULL);
    const char *error = text ? strstr(text, "error: ") : NULL;
    b->state = FAILED;
    if (error)
        snprintf(b->why, sizeof b->why, "%.*s", (int)strcspn(error + 7, "\n"), error + 7);
    else
        snprintf(b->why, sizeof b->why, "its build failed: see %s", log);
    free(text);
}

static void finish(MakerState *k, Build *b)
{
    int status = process_wait(b->pid);
    bool sketch = b->state == SKETCHING;
    const char *out = path_of(k, b, sketch ? ".sketch" : ".new");
    bool good =
        !status && (sketch ? load_plan(k, b, arena_printf(k->arena, "%s/plan.json", out))
                           : !rename(out, path_of(k, b, "")) && load(k, b));
    if (sketch)
        process_run((const char *const[]){"rm", "-rf", "--", out, NULL}, NULL);
    if (!good)
        fail(k, b);
    else if (sketch)
        b->state = WANTED;
}

// Begun again when it is wished for.
static void give_up(Build *b)
{
    kill(-b->pid, SIGTERM);
    process_wait(b->pid);
    b->state = WANTED;
}

static bool has_ended(pid_t pid)
{
    siginfo_t info = {0};
    return !waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) && info.si_pid == pid;
}

// What the shell asks for
// ------------------------------------------------------------------------------------------------

static bool is_wished(const Build *b)
{
    return progress_now_ns() - b->asked_ns < FORGOTTEN_S * SECOND_NS;
}

// One at a time, the most urgent one: two would both be there later. What has begun is finished where nothing is more
// urgent: where speeds waver, wishes do, too, and nothing would ever be there.
static void tick(void *user)
{
    MakerState *k = user;
    Build *next = NULL, *running = NULL;
    for (int i = 0; i < k->builds.n; i++) {
        Build *b = k->builds.items[i];
        if ((b->state == BUILDING || b->state == SKETCHING) && has_ended(b->pid))
            finish(k, b);
        if (b->state == BUILDING)
            running = b;
        if (b->state != WANTED || !is_wished(b))
            continue;
        if (b->urgency == PLAN_SKETCHED && !b->plan.plan)
            start(k, b, true);
        else if (b->urgency > PLAN_SKETCHED && (!next || b->urgency > next->urgency))
            next = b;
    }
    if (next && running && next->urgency > running->urgency) {
        give_up(running);
        running = NULL;
    }
    if (next && !running)
        start(k, next, false);
}

static Build *find_build(MakerState *k, const char *name)
{
    for (int i = 0; i < k->builds.n; i++)
        if (!strcmp(k->builds.items[i]->name, name))
            return k->builds.items[i];
    Build *b = arena_new(k->arena, Build);
    *b = (Build){.state = WANTED};
    snprintf(b->name, sizeof b->name, "%s", name);
    vec_push(k->arena, &k->builds, b);
    return b;
}

static void name_plan(const MakerState *k, const Machine *machines, int n,
                      char name[PLAN_NAME + 1])
{
    unsigned long long key = k->model;
    for (int i = 0; i < n; i++)
        key = (key * 31 + machines[i].speed_milli) * 31 + machines[i].memory_bytes;
    snprintf(name, PLAN_NAME + 1, "n%d-%016llx", n, key);
}

static Build *build_for(MakerState *k, const Machine *machines, int n)
{
    char name[PLAN_NAME + 1];
    name_plan(k, machines, n, name);
    Build *b = find_build(k, name);
    if (!b->machines) {
        b->n = n;
        b->machines = arena_copy(k->arena, machines, sizeof *machines * (size_t)n);
        if (!access(path_of(k, b, "/plan.json"), R_OK))
            load(k, b);
    }
    return b;
}

// As urgently as it is wished for of late. To look at a plan that is there is no wish for its programs.
static void wish_for(Build *b, PlanUrgency urgency)
{
    if (urgency == PLAN_SKETCHED && b->plan.plan)
        return;
    b->urgency = urgency > b->urgency || !is_wished(b) ? urgency : b->urgency;
    b->asked_ns = progress_now_ns();
}

static bool fits(const Plan *p, const PlanWish *wish)
{
    bool good = true;
    for (int d = 0; d < wish->n; d++)
        good &= (uint64_t)plan_device_bytes(p, d) <= wish->machines[d].memory_bytes;
    return good;
}

// Memory is mostly enough, and a little less or more from day to day: the plan of machines without limits is taken where
// it fits.
static PlanAnswer find(void *user, const PlanWish *wish, const BuiltPlan **out,
                       char why[PLAN_WHY])
{
    MakerState *k = user;
    Machine free[MOST_RANKS];
    for (int i = 0; i < wish->n; i++)
        free[i] = (Machine){wish->machines[i].speed_milli, 0};
    Build *b = build_for(k, free, wish->n);
    if (b->plan.plan && !fits(b->plan.plan, wish))
        b = build_for(k, wish->machines, wish->n);
    wish_for(b, wish->urgency);
    *out = &b->plan;
    if (b->state == FAILED)
        snprintf(why, PLAN_WHY, "%s", b->why);
    bool there = b->state == BUILT || (wish->urgency == PLAN_SKETCHED && b->plan.plan);
    return b->state == FAILED ? PLAN_NONE : there ? PLAN_NEW : PLAN_LATER;
}

static const BuiltPlan *built(void *user, int i)
{
    const MakerState *k = user;
    for (int b = 0; b < k->builds.n; b++)
        if (k->builds.items[b]->state == BUILT && !k->builds.items[b]->plan.given && i-- == 0)
            return &k->builds.items[b]->plan;
    return NULL;
}

static const BuiltPlan *named(void *user, const char *name)
{
    MakerState *k = user;
    Build *b = find_build(k, name);
    if (b->state == BUILT)
        return &b->plan;
    return load_machines(k, b) && load(k, b) ? &b->plan : NULL;
}

static const BuiltPlan *given(void *user, const char *dir, char why[PLAN_WHY])
{
    MakerState *k = user;
    const char *name = given_plan_keep(k->arena, k->job, dir, k->dir, why);
    const BuiltPlan *plan = name ? named(k, name) : NULL;
    if (name && !plan)
        snprintf(why, PLAN_WHY, "%s/%s cannot be read", k->dir, name);
    return plan;
}

// Those of an earlier master, of this model and these options: their names say it.
static void find_built(MakerState *k)
{
    DIR *dir = opendir(k->dir);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        Build b = {.state = WANTED};
        char name[PLAN_NAME + 1] = "";
        if (strlen(entry->d_name) > PLAN_NAME)
            continue;
        memcpy(b.name, entry->d_name, strlen(entry->d_name));
        if (load_machines(k, &b))
            name_plan(k, b.machines, b.n, name);
        if (!strcmp(b.name, name))
            named(k, name);
    }
    if (dir)
        closedir(dir);
}

PlanMaker plan_maker(Arena *a, const Args *args, const JobModel *job, const char *journal,
                     const char *profile)
{
    MakerState *k = arena_new(a, MakerState);
    *k = (MakerState){.arena = a,
                      .args = args,
                      .job = job,
                      .self = own_executable(a),
                      .dir = arena_printf(a, "%s/plans", journal),
                      .profile = profile,
                      .threads = (int)args->options.threads};
    char *text = file_read(args->operand, NULL);
    k->model = text ? str_hash(text, strlen(text)) : 0;
    free(text);
    for (int i = 0; i < args->given.n; i++) {
        const Given *g = &args->given.items[i];
        if (g->groups & (MODEL | GRAPH | TARGET))
            k->model = k->model * 31 + str_hash(g->name, strlen(g->name)) +
                       (g->value ? 7 * str_hash(g->value, strlen(g->value)) : 1);
    }
    if (dir_make(k->dir))
        fatal("cannot make the directory %s: %s", k->dir, strerror(errno));
    find_built(k);
    return (PlanMaker){k, find, built, named, given, tick};
}
