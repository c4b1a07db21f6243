// Beside the programs that run, those of what comes next are started (docs/control.md, "Warm").
#include "control/master/seats.h"

#include <string.h>

enum { WARM_S = 60 };
#define SECOND_NS INT64_C(1000000000)

bool next_is_for(const Server *s, const Seats *seats)
{
    return s->next.number == s->core.epoch.number + 1 &&
           epoch_workers(&s->next) == seats_workers(seats);
}

// To those who have not heard it and have no epoch to make ready: then they would not listen.
static void tell(Server *s)
{
    const Epoch *e = &s->next;
    uint64_t untold = epoch_workers(e) & ~s->warm_told;
    char *text = untold ? start_text(s, e) : NULL;
    Message m = {.id = MESSAGE_WARM, .warm = *e, .rest = text};
    m.rest_bytes = text ? strlen(text) : 0;
    for (uint32_t w = 0; w < s->core.n_members; w++) {
        const Beat *beat = &s->core.members[w].beat;
        bool listens = beat->phase == WORKER_RUNNING || beat->phase == WORKER_STOPPED;
        if (!(untold >> w & 1) || beat->epoch != s->core.epoch.number || !listens)
            continue;
        server_send(s, s->faces[w].key, &m);
        s->warm_told |= UINT64_C(1) << w;
    }
    free(text);
}

void next_begin(Server *s, const BuiltPlan *built, const Seats *seats)
{
    Epoch *e = &s->next;
    *e = (Epoch){.number = s->core.epoch.number + 1,
                 .parts = s->core.config.parts,
                 .copy_every = s->core.config.copy_every};
    ranks_fill(s, built, seats, e);
    memset(e->source, 0xff, sizeof e->source); // NOBODY: not yet
    for (uint32_t r = 0; r < e->n_ranks; r++) {
        e->ranks[r].copier = epoch_neighbour(e, r);
        e->incarnations[e->ranks[r].worker] =
            s->core.members[e->ranks[r].worker].has.incarnation;
    }
    s->warmed = s->warm_told = 0;
    s->warm_ns = progress_now_ns();
    tell(s);
}

void next_heard(Server *s, uint32_t worker, const Warmed *m)
{
    if (m->number != s->next.number)
        return;
    s->warmed |= UINT64_C(1) << worker;
    if (!m->can)
        story(s, "%s starts its programs of the next plan when it is time",
              members_name(s, worker));
}

bool next_is_warm(Server *s)
{
    tell(s);
    return (s->warmed & epoch_workers(&s->next)) == epoch_workers(&s->next) ||
           progress_now_ns() - s->warm_ns > WARM_S * SECOND_NS;
}

void next_take(const Epoch *from, Epoch *e)
{
    memcpy(e->ranks, from->ranks, sizeof e->ranks);
    e->n_ranks = from->n_ranks;
    e->plan = from->plan;
}
