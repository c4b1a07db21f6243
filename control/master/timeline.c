// What all ranks did when in the same step, for the page. Workers tell of steps that they choose alike (plan/steps.h), so
// the last few of each rank are enough for one that all have.
//
// Times are those of CLOCK_MONOTONIC where the rank runs. What comes from the clock that this program reads too needs
// nothing. Another one is taken to be behind by the least that any of its last words seemed to need on their way, which is
// too much by what the quickest one really needed. So ranks of different hosts are drawn right against each other but for
// the difference of their hosts' quickest words to the master; those of one host are, exactly.
#include "control/timeline.h"

#include "control/master/server.h"
#include "plan/segment.h"
#include "plan/walk.h"

#include <math.h>

#define MINUTE_NS INT64_C(60000000000) // clocks do not drift far apart in two of them

// Clocks
// ------------------------------------------------------------------------------------------------

static HostClock *clock_find(Server *s, uint64_t id)
{
    for (int i = 0; i < s->n_clocks; i++)
        if (s->clocks[i].id == id)
            return &s->clocks[i];
    return NULL;
}

// A new one takes the place of one that nothing has been heard of for longest where there is none left.
static HostClock *clock_add(Server *s, uint64_t id)
{
    HostClock *c = &s->clocks[0];
    for (int i = 1; i < s->n_clocks; i++)
        if (s->clocks[i].since_ns < c->since_ns)
            c = &s->clocks[i];
    if (s->n_clocks < MOST_WORKERS)
        c = &s->clocks[s->n_clocks++];
    *c = (HostClock){.id = id, .least_ns = {INT64_MAX, INT64_MAX}, .since_ns = INT64_MIN};
    return c;
}

static void clock_heard(Server *s, const Timeline *t, int64_t now_ns)
{
    HostClock *c = clock_find(s, t->clock);
    if (!c)
        c = clock_add(s, t->clock);
    if (c->since_ns < now_ns - MINUTE_NS) {
        c->least_ns[1] = c->least_ns[0];
        c->least_ns[0] = INT64_MAX;
        c->since_ns = now_ns;
    }
    int64_t ahead_ns = t->clock == s->clock ? 0 : now_ns - t->sent_ns;
    c->least_ns[0] = ahead_ns < c->least_ns[0] ? ahead_ns : c->least_ns[0];
}

// By how much the master's clock is ahead of this one.
static int64_t clock_ahead(Server *s, uint64_t id)
{
    const HostClock *c = clock_find(s, id);
    if (!c)
        return 0;
    return c->least_ns[0] < c->least_ns[1] ? c->least_ns[0] : c->least_ns[1];
}

// Pictures
// ------------------------------------------------------------------------------------------------

static bool is_of(const Server *s, const RankPicture *p)
{
    return p->of.epoch == s->core.epoch.number && p->of.step;
}

static const RankPicture *picture_of(const Server *s, uint32_t rank, uint64_t step)
{
    for (int i = 0; i < MOST_PICTURES; i++) {
        const RankPicture *p = &s->pictures[rank][i];
        if (is_of(s, p) && p->of.step == step)
            return p;
    }
    return NULL;
}

void timeline_heard(Server *s, uint32_t worker, const Message *m, int64_t now_ns)
{
    const Timeline *t = &m->timeline;
    const Epoch *e = &s->core.epoch;
    bool now = t->epoch == e->number && epoch_rank_of(e, t->rank, worker);
    if (!now || t->step <= e->step || t->step > s->core.saved + STEPS_AHEAD)
        return;
    clock_heard(s, t, now_ns);
    if (!s->pictures)
        s->pictures = calloc(MOST_RANKS, sizeof *s->pictures);
    if (!s->pictures || picture_of(s, t->rank, t->step))
        return;
    RankPicture *oldest = &s->pictures[t->rank][0];
    for (int i = 0; i < MOST_PICTURES; i++) {
        RankPicture *p = &s->pictures[t->rank][i];
        if (!is_of(s, p))
            p->of.step = 0;
        oldest = p->of.step < oldest->of.step ? p : oldest;
    }
    oldest->of = *t;
    oldest->n = (uint32_t)(m->rest_bytes / sizeof(StepSpan));
    memcpy(oldest->spans, m->rest, m->rest_bytes);
}

void timeline_end(Server *s)
{
    free(s->pictures);
    s->pictures = NULL;
}

// The newest step that all ranks have told of; 0: there is none.
static uint64_t common_step(const Server *s)
{
    uint64_t newest = 0;
    for (int i = 0; s->pictures && i < MOST_PICTURES; i++) {
        const RankPicture *first = &s->pictures[0][i];
        bool all = is_of(s, first) && first->of.step > newest;
        for (uint32_t r = 1; r < s->core.epoch.n_ranks && all; r++)
            all = picture_of(s, r, first->of.step);
        newest = all ? first->of.step : newest;
    }
    return newest;
}

// JSON
// ------------------------------------------------------------------------------------------------

static double since_ms(int64_t ns, int64_t origin_ns)
{
    return round((double)(ns - origin_ns) * 1e-3) * 1e-3;
}

static json_t *span_json(const StepSpan *span, int64_t origin_ns)
{
    char kind[40];
    const char *name = span->opcode < RT_N_OPCODES ? opcode_name[span->opcode] : "begin";
    if (span->waiting)
        snprintf(kind, sizeof kind, "wait_%s",
                 span->waiting == SEGMENT_WAITS_FOR_MASTER ? "master" : name);
    return json_pack("[s, i, f, f]", span->waiting ? kind : name, (int)span->mb,
                     since_ms(span->begin_ns, origin_ns), since_ms(span->end_ns, origin_ns));
}

// origin_ns: of the clock that it was measured with.
static json_t *rank_json(const RankPicture *p, int64_t origin_ns)
{
    json_t *spans = json_array();
    for (uint32_t i = 0; i < p->n; i++)
        json_array_append_new(spans, span_json(&p->spans[i], origin_ns));
    return json_pack("{s:i, s:f, s:f, s:o}", "rank", (int)p->of.rank, "begin_ms",
                     since_ms(p->of.begin_ns, origin_ns), "end_ms",
                     since_ms(p->of.end_ns, origin_ns), "spans", spans);
}

json_t *timeline_json(Server *s)
{
    uint64_t step = common_step(s), clocks = 0;
    int64_t origin_ns = INT64_MAX; // of the master's clock
    if (!step)
        return json_null();
    for (uint32_t r = 0; r < s->core.epoch.n_ranks; r++) {
        const Timeline *t = &picture_of(s, r, step)->of;
        int64_t begin_ns = t->begin_ns + clock_ahead(s, t->clock);
        HostClock *c = clock_find(s, t->clock);
        clocks |= c ? UINT64_C(1) << (c - s->clocks) : 0;
        origin_ns = begin_ns < origin_ns ? begin_ns : origin_ns;
    }
    json_t *ranks = json_array();
    for (uint32_t r = 0; r < s->core.epoch.n_ranks; r++) {
        const RankPicture *p = picture_of(s, r, step);
        json_array_append_new(ranks, rank_json(p, origin_ns - clock_ahead(s, p->of.clock)));
    }
    return json_pack("{s:I, s:i, s:o}", "step", (json_int_t)step, "clocks",
                     __builtin_popcountll(clocks), "ranks", ranks);
}
