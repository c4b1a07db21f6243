// What happens to a worker's core and what it wants done: frames become its events, its actions become calls of the other
// files and frames.
#include "control/worker/agent.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// What the core wants
// ---------------------------------------------------------------------------------------

bool agent_tell_master(Agent *g, const Message *m)
{
    size_t bytes = message_put(g->frame, sizeof g->frame, m);
    return bytes && net_send(g->master, NULL, g->frame, bytes);
}

static void say(Agent *g, const WorkerAction *a)
{
    Message m = {.id = a->id};
    char text[256];
    if (a->id == MESSAGE_HELLO) {
        m.hello = a->hello;
        m.rest = text;
        m.rest_bytes =
            (size_t)snprintf(text, sizeof text, "{\"name\": \"%s\", \"peer\": \"%s\"}",
                             g->options->name, net_endpoint(g->listen));
    }
    if (a->id == MESSAGE_BEAT)
        m.beat = a->beat;
    if (a->id == MESSAGE_ENDED) {
        m.ended = a->ended;
        m.rest = g->run.programs[a->ended.rank].error;
    }
    if (a->id == MESSAGE_CANNOT) {
        m.cannot = a->cannot;
        m.rest = g->run.programs[a->cannot.rank].error;
    }
    if (m.rest && !m.rest_bytes)
        m.rest_bytes = strlen(m.rest);
    if (agent_tell_master(g, &m) || a->id == MESSAGE_HELLO)
        return;
    m.rest_bytes = 0; // its report was cut in the middle of a character
    agent_tell_master(g, &m);
}

// Programs that have done all steps are about to end: they may, while the others are waited for.
void agent_leave(Agent *g)
{
    g->left = true;
    g->leaves_ns = agent_now();
    if (!g->finishes)
        programs_end(g);
}

static void perform(Agent *g, const WorkerAction *a)
{
    switch (a->kind) {
    case WORKER_SEND: say(g, a); return;
    case WORKER_PREPARE: prepare_begin(g, a->rank); return;
    case WORKER_LIMIT: programs_limit(g, a); return;
    case WORKER_KEEP: snapshots_begin(g, a->rank, a->step, a->made); return;
    case WORKER_COPY: copies_offer(g, a); return;
    case WORKER_END:
        if (!g->finishes)
            programs_end(g);
        return;
    case WORKER_LEAVE: agent_leave(g); return;
    }
}

// "stage 1 of 3", "stages 0, 2 of 3"; false: it runs none.
static bool name_stages(const Agent *g, char *text, size_t size)
{
    int last = -1, n = 0;
    size_t at = 0;
    for (int rank = agent_next(g, -1); rank >= 0 && g->run.opened; rank = agent_next(g, rank)) {
        int stage = g->run.plan->ranks[rank].stage;
        if (stage != last && at < size)
            at += (size_t)snprintf(text + at, size - at, "%s%d", n++ ? ", " : "", stage);
        last = stage;
    }
    if (at < size && n)
        snprintf(text + at, size - at, " of %d", g->run.plan->n_stages);
    return n;
}

static void tell_story(const Agent *g, WorkerPhase before)
{
    const Worker *w = &g->core;
    char stages[160];
    if (w->phase == before || g->finishes || !name_stages(g, stages, sizeof stages))
        return;
    if (w->phase == WORKER_RUNNING)
        agent_say(g, "epoch %" PRIu64 ": stage%s %s of %s, behind step %" PRIu64,
                  w->epoch.number, strchr(stages, ',') ? "s" : "", stages, g->run.start.model,
                  w->epoch.step);
    if (w->phase == WORKER_STOPPED)
        agent_say(g, "epoch %" PRIu64 " is over, step %" PRIu64 " is committed",
                  g->run.of.number, w->committed);
}

// Another master's job has nothing to do with what is here.
static void forget_job(Agent *g)
{
    programs_forget(g);
    copies_stop(g, true);
    warm_drop(g);
    run_close(g, &g->run);
}

void agent_take(Agent *g, const WorkerEvent *event)
{
    WorkerActions actions;
    WorkerPhase before = g->core.phase;
    uint64_t epoch = g->core.epoch.number, job = g->core.job;
    const Message *m = event->kind == WORKER_HEARD ? event->message : NULL;
    if (m && m->id == MESSAGE_LEAVE) {
        g->told_to_leave = true;
        g->finishes = !m->leave.drained;
    }
    worker_take(&g->core, event, agent_now(), &actions);
    tell_story(g, before);
    int first = 0;
    for (; first < actions.n && actions.list[first].kind == WORKER_END; first++)
        perform(g, &actions.list[first]); // those of the epoch before
    if (job && g->core.job != job)
        forget_job(g);
    if (m && m->id == MESSAGE_START && g->core.epoch.number != epoch)
        run_adopt(g, m);
    for (int i = first; i < actions.n; i++)
        perform(g, &actions.list[i]);
}

// What comes
// ---------------------------------------------------------------------------------------

static void refuse_frame(Agent *g, const char *from, const char *why)
{
    if (g->bad == from)
        return;
    g->bad = from;
    agent_say(g, "what came from %s is not understood: %s", from, why);
}

static void on_master(Agent *g, const NetEvent *e)
{
    Message m;
    char why[MESSAGE_WHY];
    if (!message_check(e->frame, e->bytes, FROM_MASTER, &m, why)) {
        refuse_frame(g, "the master", why);
        return;
    }
    if (m.id == MESSAGE_PIECE) {
        files_take(&g->files, &m, agent_now());
        return;
    }
    if (m.id == MESSAGE_WARM) {
        warm_adopt(g, &m);
        return;
    }
    if (m.id == MESSAGE_REFUSED) {
        snprintf(g->last_words, sizeof g->last_words, "%.*s", (int)m.rest_bytes, m.rest);
        utf8_printable(g->last_words);
    }
    agent_take(g, &(WorkerEvent){.kind = WORKER_HEARD, .message = &m});
    if (m.id != MESSAGE_WELCOME)
        return;
    agent_say(g, g->welcomed ? "the master is there again" : "connected to %s as worker %u",
              g->options->master, m.welcome.worker);
    g->welcomed = true;
    programs_say_again(g);
}

static void on_peer(Agent *g, const NetEvent *e)
{
    Message m;
    char why[MESSAGE_WHY];
    int from = peers_of_key(g, e->key);
    if (from < 0)
        return;
    if (!message_check(e->frame, e->bytes, FROM_PEER, &m, why)) {
        refuse_frame(g, "another worker", why);
        return;
    }
    if (m.id == MESSAGE_STATUS || m.id == MESSAGE_ADDRESS || m.id == MESSAGE_ID)
        relay_take(g, (uint16_t)from, &m);
    if (m.id == MESSAGE_FETCH)
        copies_fetched(g, e->key, &m.fetch);
    if (m.id == MESSAGE_OFFER)
        copies_offered(g, (uint16_t)from, &m.offer);
    if (m.id == MESSAGE_TICKET && e->socket != g->listen)
        copies_take(g, (uint16_t)from, &m.ticket);
}

static void on_link(Agent *g, const NetEvent *e)
{
    bool up = e->kind == NET_UP;
    if (e->socket == g->master) {
        if (!up && g->core.welcomed)
            agent_say(g, "lost the master, going on");
        agent_take(g, &(WorkerEvent){.kind = up ? WORKER_CONNECTED : WORKER_CUT});
        return;
    }
    int peer = e->socket == g->listen ? -1 : peers_of_socket(g, e->socket);
    if (peer < 0)
        return;
    g->peers[peer].up = up;
    if (up) {
        relay_again(g);
        copies_again(g, (uint16_t)peer);
    }
}

void agent_hear(Agent *g, const NetEvent *e)
{
    if (e->kind != NET_FRAME)
        on_link(g, e);
    else if (e->socket == g->master)
        on_master(g, e);
    else
        on_peer(g, e);
}
