// Snapshots: where not every state is copied to another worker (Epoch.copy_every), programs go on while one is, and write over
// it in their images. So the core has a snapshot made first. It lies in a block like a copy of another worker's state, and
// is found and dropped like one. So does what a program would write over in an image that it begins in.
#include "control/worker/agent.h"

#include <inttypes.h>
#include <string.h>

#define AT_ONCE (UINT64_C(64) << 20) // bytes: meanwhile beats are due

static void drop(Snapshot *s)
{
    if (s->copy) {
        s->copy->coming = false;
        s->copy->state.parts = 0;
    }
    tensors_release(&s->tensors);
    *s = (Snapshot){0};
}

void snapshots_begin(Agent *g, uint32_t rank, uint64_t step, uint64_t made)
{
    Snapshot *s = &g->snapshots[rank];
    if (s->epoch == g->core.epoch.number && s->state.step == step)
        return;
    drop(s);
    *s = (Snapshot){.epoch = g->core.epoch.number,
                    .state = {step, made, g->core.epoch.ranks[rank].runs}};
}

// The generation of its program's image that has it; -1: none.
static int generation(const Agent *g, uint32_t rank)
{
    const Snapshot *s = &g->snapshots[rank];
    const Image *image = g->run.programs[rank].image;
    bool now = s->epoch == g->core.epoch.number && s->epoch == g->run.of.number &&
               g->core.phase != WORKER_STOPPED && image;
    return now ? image_has(image, s->state.step, s->state.made) : -1;
}

static bool make_room(Agent *g, Snapshot *s, const Image *image)
{
    tensors_packed(&s->tensors, &image->tensors);
    s->copy = copy_new(&g->states, &s->state, s->tensors.generation_bytes);
    if (!s->copy) {
        if (!s->told)
            agent_say(g,
                      "no memory to keep the state behind step %" PRIu64
                      ": its program waits for it",
                      s->state.step);
        s->told = true;
        return false;
    }
    s->copy->snapshot = true;
    return true;
}

// Some of it; true: that was all.
static bool go_on(Snapshot *s, const Image *image, int from)
{
    const Tensors *to = &s->tensors;
    uint64_t bytes = 0;
    for (; s->next < to->n && bytes < AT_ONCE; s->next++) {
        const StateTensor *x = &to->items[s->next], *y = &image->tensors.items[s->next];
        memcpy(s->copy->data + x->at, image_generation(image->header, from) + y->at, x->bytes);
        bytes += x->bytes;
    }
    return s->next == to->n;
}

static void settle(Snapshot *s, const Image *image, int from)
{
    const ImageHeader *h = image->header;
    Beginning b = {h->seed, h->generation[from].epoch, h->generation[from].index};
    copy_settle(s->copy, &s->tensors, &b);
    s->copy = NULL;
}

static void work(Agent *g, uint32_t rank)
{
    Snapshot *s = &g->snapshots[rank];
    const Image *image = g->run.programs[rank].image;
    int from = generation(g, rank);
    if (from < 0) {
        drop(s); // its program has ended
        return;
    }
    bool there = states_snapshot(&g->states, &s->state);
    if (!there && !s->copy && !make_room(g, s, image))
        return;
    if (!there && !go_on(s, image, from))
        return;
    WorkerEvent e = {
        .kind = WORKER_KEPT, .epoch = s->epoch, .rank = rank, .step = s->state.step};
    if (s->copy)
        settle(s, image, from);
    drop(s);
    agent_take(g, &e);
}

bool snapshots_work(Agent *g)
{
    bool some = false;
    for (uint32_t rank = 0; rank < MOST_RANKS; rank++)
        if (g->snapshots[rank].epoch) {
            work(g, rank);
            some |= g->snapshots[rank].copy != NULL;
        }
    return some;
}
