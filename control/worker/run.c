// An epoch as this worker takes part in it: what START says, the plan, and the job's memory of this host.
#include "control/interface.h"
#include "control/worker/agent.h"

#include "base/diag.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *in_plan(Agent *g, Run *r, const char *name)
{
    return arena_printf(&r->arena, "%s/%s", g->files.plan, name);
}

void run_close(Agent *g, Run *r)
{
    for (uint32_t rank = 0; rank < MOST_RANKS; rank++)
        prepare_stop(g, &r->programs[rank]);
    if (r->opened)
        job_memory_release(&r->memory);
    json_decref(r->parts);
    arena_release(&r->arena);
    *r = (Run){0};
    for (int i = 0; i < MOST_RANKS; i++) {
        r->programs[i].asked_fd = -1;
        r->programs[i].child = (Child){.rank = i, .pid_fd = -1, .report_fd = -1};
    }
}

// Files are named as where the master was started; a worker may lack that directory and need none.
static void go_there(const Agent *g)
{
    const char *directory = g->run.start.directory;
    if (directory && chdir(directory))
        agent_say(g, "%s is not here: relative names of files will not be found", directory);
}

void run_expect(Agent *g, Run *r, const Message *m)
{
    char why[START_WHY];
    r->of = m->id == MESSAGE_WARM ? m->warm : m->start;
    if (!start_parse(&r->arena, &r->start, m->rest, m->rest_bytes, why)) {
        snprintf(r->why, sizeof r->why, "%s", why);
        agent_say(g, "%s", r->why);
        return;
    }
    peers_adopt(g, &r->start);
    if (agent_next_of(g, r, -1) < 0)
        return;
    if (!files_expect(&g->files, r->start.files, r->start.n_files))
        snprintf(r->why, sizeof r->why, "%s", g->files.why);
}

void run_adopt(Agent *g, const Message *m)
{
    copies_stop(g, false);
    if (warm_take(g, m))
        return;
    if (g->next.of.number <= m->start.number)
        warm_drop(g); // else whoever has just joined hears of this epoch behind it
    run_close(g, &g->run);
    run_expect(g, &g->run, m);
    if (agent_next(g, -1) >= 0)
        go_there(g);
}

static bool read_parts(Agent *g, Run *r)
{
    const char *path = in_plan(g, r, "parts.json");
    char *text = file_read(path, NULL);
    json_t *json = text ? json_loads(text, 0, NULL) : NULL;
    r->parts = json_incref(json_object_get(json, "parts"));
    json_decref(json);
    free(text);
    return json_is_object(r->parts);
}

static const Plan *read_plan(Agent *g, Run *r)
{
    const char *path = in_plan(g, r, "plan.json");
    char *text = file_read(path, NULL);
    const Plan *plan = text ? plan_from_json(&r->arena, path, text) : NULL;
    free(text);
    return plan;
}

static bool open_memory(Run *r)
{
    const Epoch *e = &r->of;
    if (job_memory_init(&r->memory, r->plan))
        return false;
    SegmentHeader *h = r->memory.header;
    h->job = r->start.job;
    h->n_hosts = r->n_hosts;
    job_supervise(&r->memory, e->step, e->step); // no step begins
    job_gate(&r->memory, r->warm);
    for (uint32_t i = 0; i < e->n_ranks; i++) {
        r->memory.statuses[i].host = e->ranks[i].worker;
        segment_status_read(&r->shown[i].status, &r->memory.statuses[i]);
    }
    return true;
}

static void make_launch(Agent *g, Run *r)
{
    int n = r->plan->n_ranks;
    r->told = arena_array(&r->arena, bool, shown_ids(r->plan));
    int *states = arena_array(&r->arena, int, n);
    int *cards = arena_array(&r->arena, int, n), n_here = 0;
    bool *here = arena_array(&r->arena, bool, n);
    for (int i = 0; i < n; i++) {
        states[i] = cards[i] = -1;
        here[i] = r->of.ranks[i].worker == g->core.number;
        if (here[i] && g->options->has.device == DEVICE_CUDA)
            cards[i] = n_here++;
    }
    r->launch = (Launch){.plan = r->plan,
                         .dir = arena_strdup(&r->arena, g->files.plan),
                         .options = r->start.options,
                         .n_options = r->start.n_options,
                         .rehearse = r->start.rehearse,
                         .states = states,
                         .here = here,
                         .cards = cards,
                         .quiet = true};
}

bool run_open(Agent *g, Run *r)
{
    if (r->opened || *r->why)
        return r->opened;
    r->plan = read_plan(g, r);
    r->n_hosts = (uint32_t)__builtin_popcountll(epoch_workers(&r->of));
    if (!r->plan || !read_parts(g, r))
        snprintf(r->why, sizeof r->why, "the master's %s cannot be read",
                 r->plan ? "parts.json" : "plan.json");
    else if ((uint32_t)r->plan->n_ranks != r->of.n_ranks)
        snprintf(r->why, sizeof r->why, "the epoch has %u ranks, and its plan.json %d",
                 r->of.n_ranks, r->plan->n_ranks);
    else if (!open_memory(r))
        snprintf(r->why, sizeof r->why, "cannot make the job's memory: %s", strerror(errno));
    else
        r->opened = true;
    if (r->opened)
        make_launch(g, r);
    return r->opened;
}
