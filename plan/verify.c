// Is a schedule right? First every rank alone: its micro-batches in order, not too many in flight,
// each tensor of an edge touched only while its slot is held, weights read while their version is there.
// Then all ranks together (plan/walk.c), for two streams, so that slots are used again. The body of an
// asynchronous stream must move every count on by one step; then its repetitions are as good as the
// first ones, which are looked at one by one.
#include "plan/schedule.h"
#include "plan/walk.h"

#include <stdarg.h>
#include <stdio.h>

enum { REPETITIONS = 4 };

typedef struct Counts {
    int loaded, forwarded, backwarded, weighed, evaluated; // micro-batches so far
    int updated;                                           // steps
    int *begun,
        *ended; // per edge: RECVs and RELEASEs of a consumer, ACQUIREs and SENDs of a producer
} Counts;

typedef struct Check {
    const Plan *plan;
    int rank, at;
    const PlanStage *stage;
    bool eval, asynchronous, splits;
    char *why;
    int why_size;
    int own;          // micro-batches of a step
    int parts;        // of the last pass that have run
    Counts now, body; // body: where it began
    int *version;     // [own micro-batches]: what their forwards saw
    bool *reduced;    // per edge of a bucket or of tied weights: it was put, added or taken
} Check;

static const uint32_t reduces = UINT32_C(1) << RT_REDUCE_PUT | UINT32_C(1) << RT_REDUCE_SUM |
                                UINT32_C(1) << RT_REDUCE_GET,
                      shares = UINT32_C(1) << RT_SHARE_PUT | UINT32_C(1) << RT_SHARE_GET;

static bool fail(Check *c, const rt_instr *i, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail(Check *c, const rt_instr *i, const char *format, ...)
{
    char text[128], what[160], name[64];
    va_list ap;
    va_start(ap, format);
    vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    snprintf(c->why, (size_t)c->why_size, "%s, instruction %d (%s): %s",
             plan_rank_name(c->plan, c->rank, name, sizeof name), c->at,
             instr_text(c->plan, i, text, sizeof text), what);
    return false;
}

// Micro-batches first, first + stride, ... in order.
static bool next_of(Check *c, const rt_instr *i, int *count, int first, int stride)
{
    int next = first + *count * stride;
    if ((int)i->mb != next)
        return fail(c, i, "micro-batches out of order: %d comes next", next);
    ++*count;
    return true;
}

static bool in_order(Check *c, const rt_instr *i, int *count)
{
    return next_of(c, i, count, c->plan->ranks[c->rank].replica, c->stage->replicas);
}

// Are the weights of this version there?
static bool weights(Check *c, const rt_instr *i, int version)
{
    int updated = c->now.updated, versions = c->stage->versions;
    if (!c->asynchronous)
        return version == RT_NO_VERSION || fail(c, i, "a synchronous schedule has no versions");
    if (version > updated)
        return fail(c, i, "version %d of the weights is not made yet", version);
    return version > updated - versions ||
           fail(c, i, "version %d of the weights was overwritten", version);
}

static bool nothing_in_parts(Check *c, const rt_instr *i)
{
    return !c->parts || fail(c, i, "%d parts of the last pass have run, not all", c->parts);
}

// Micro-batches whose last pass has run.
static int finished(const Check *c, const Counts *n)
{
    return c->splits ? n->weighed : n->backwarded;
}

static int *seen_by(const Check *c, const rt_instr *i)
{
    return &c->version[(int)i->mb / c->stage->replicas];
}

static bool forward(Check *c, const rt_instr *i)
{
    int limit = c->stage->in_flight;
    if (!in_order(c, i, &c->now.forwarded) || !weights(c, i, rt_version(i)) ||
        !nothing_in_parts(c, i))
        return false;
    if (c->now.forwarded - finished(c, &c->now) > limit)
        return fail(c, i, "more than %d micro-batches in flight", limit);
    if (c->now.forwarded > c->own * plan_stream_steps(c->plan, false))
        return fail(c, i, "the stream has fewer micro-batches");
    if (c->asynchronous)
        *seen_by(c, i) = rt_version(i);
    return true;
}

// All parts of the last pass but the last one, which is what the pass itself runs.
static bool backward_part(Check *c, const rt_instr *i)
{
    int next = finished(c, &c->now);
    if (next >= (c->splits ? c->now.backwarded : c->now.forwarded))
        return fail(c, i, "what comes before it has not run");
    if (!in_order(c, i, &next) || !weights(c, i, rt_version(i)))
        return false;
    return ++c->parts < c->stage->n_parts ||
           fail(c, i, "the last pass has %d parts, and it runs one itself", c->stage->n_parts);
}

static bool rest_of_parts(Check *c, const rt_instr *i)
{
    int run = c->parts;
    c->parts = 0;
    return !run || run == c->stage->n_parts - 1 ||
           fail(c, i, "%d of %d parts have run", run, c->stage->n_parts);
}

static bool backward(Check *c, const rt_instr *i)
{
    if (!(c->splits ? nothing_in_parts(c, i) : rest_of_parts(c, i)))
        return false;
    if (c->now.backwarded >= c->now.forwarded)
        return fail(c, i, "its forward has not run");
    if (!in_order(c, i, &c->now.backwarded) || !weights(c, i, rt_version(i)))
        return false;
    if (c->asynchronous && *seen_by(c, i) != rt_version(i))
        return fail(c, i, "its forward used version %d of the weights", *seen_by(c, i));
    return (int)i->mb / c->plan->options.micro_batches == c->now.updated ||
           fail(c, i, "its step has begun before the last one was updated");
}

static bool backward_weight(Check *c, const rt_instr *i)
{
    if (!c->splits)
        return fail(c, i, "the schedule does not split backward");
    if (c->now.weighed >= c->now.backwarded)
        return fail(c, i, "its backward has not run");
    return rest_of_parts(c, i) && in_order(c, i, &c->now.weighed);
}

// What comes after the buckets' sums needs all of them, what comes after gradients of tied weights these.
static const PlanEdge *not_exchanged(const Check *c, uint32_t opcodes)
{
    for (int k = 0; k < c->plan->n_edges; k++) {
        const PlanEdge *e = &c->plan->edges[k];
        if (e->eval == c->eval && e->touch && e->touch[c->rank] & opcodes && !c->reduced[k])
            return e;
    }
    return NULL;
}

static bool all_backward(Check *c, const rt_instr *i)
{
    int missing = (c->now.updated + 1) * c->own - finished(c, &c->now);
    return c->eval || !missing ||
           fail(c, i, "gradients of %d micro-batches are missing", missing);
}

// How many of the stage's buckets are done: those of gradients come last, one for each part of backward,
// and all others are when the last micro-batch has been forward.
static int buckets_done(const Check *c, const PlanEdge *e)
{
    int all = (c->now.updated + 1) * c->own;
    bool last = c->now.forwarded >= all && finished(c, &c->now) == all - 1;
    return c->now.updated * e->stride + (last ? e->stride - c->stage->n_parts + c->parts : 0);
}

// A bucket's parts go away, or are added up, once all that it holds is done; they are this step's.
static bool bucket_done(Check *c, const rt_instr *i)
{
    for (int k = 0; k < c->plan->n_edges; k++) {
        const PlanEdge *e = &c->plan->edges[k];
        if (e->eval != c->eval || !e->touch ||
            !(e->touch[c->rank] & UINT32_C(1) << i->opcode) || plan_message(e, i->mb) < 0)
            continue;
        if (plan_message(e, i->mb) != c->now.updated)
            return fail(c, i, "it is not of step %d", c->now.updated);
        return (i->opcode != RT_REDUCE_GET && (int)i->mb < buckets_done(c, e)) ||
               all_backward(c, i);
    }
    return true;
}

// Behind all backwards of its step, and all sums of its gradients.
static bool of_step(Check *c, const rt_instr *i)
{
    int first = c->now.updated * (int)c->plan->options.micro_batches;
    uint32_t before = rt_is_share(i->opcode) ? reduces : reduces | shares;
    const PlanEdge *missing = not_exchanged(c, before);
    if (!all_backward(c, i))
        return false;
    if (missing)
        return fail(c, i, "%s have not been exchanged", missing->name);
    return (int)i->mb == first || fail(c, i, "it is not of micro-batch %d", first);
}

static bool update(Check *c, const rt_instr *i)
{
    int made = c->asynchronous ? c->now.updated + 1 : RT_NO_VERSION;
    if (!of_step(c, i))
        return false;
    if (rt_version(i) != made)
        return fail(c, i, "it makes no version %d of the weights", rt_version(i));
    c->now.updated++;
    for (int e = 0; e < c->plan->n_edges; e++)
        c->reduced[e] = false;
    return true;
}

static bool counts(Check *c, const rt_instr *i)
{
    switch ((rt_opcode)i->opcode) {
    case RT_LOAD: return nothing_in_parts(c, i) && in_order(c, i, &c->now.loaded);
    case RT_EVAL: return in_order(c, i, &c->now.evaluated);
    case RT_FORWARD: return forward(c, i);
    case RT_BACKWARD_PART: return backward_part(c, i);
    case RT_BACKWARD: return backward(c, i);
    case RT_BACKWARD_WEIGHT: return backward_weight(c, i);
    case RT_SHARE_PUT:
    case RT_SHARE_GET:
    case RT_NORM_GATHER:
    case RT_NORM_APPLY: return of_step(c, i);
    case RT_UPDATE: return update(c, i);
    case RT_REDUCE_PUT:
    case RT_REDUCE_SUM:
    case RT_REDUCE_GET: return bucket_done(c, i);
    case RT_ACQUIRE:
    case RT_SEND:
    case RT_RECV:
    case RT_RELEASE:
    case RT_N_OPCODES: return true;
    }
    return true;
}

// May instruction i use edge e's message of its micro-batch now?
static bool touches(Check *c, const rt_instr *i, int e)
{
    const PlanEdge *edge = &c->plan->edges[e];
    int message = plan_message(edge, i->mb);
    uint32_t touch = edge->touch[c->rank];
    const int *begun = c->now.begun, *ended = c->now.ended;
    if (message < 0)
        return true; // of another edge
    c->reduced[e] |= rt_is_reduce(i->opcode) || rt_is_share(i->opcode);
    if (begun[e] <= message)
        return fail(c, i, "%s is not %s yet", edge->name,
                    edge->producer == c->rank ? "acquired" : "received");
    if (edge->producer != c->rank)
        return ended[e] <= message || fail(c, i, "%s was released before", edge->name);
    bool writes = (touch & -touch) == UINT32_C(1) << i->opcode;
    if (writes && ended[e] > message)
        return fail(c, i, "%s was sent before it was written", edge->name);
    return begun[e] <= message + edge->slots ||
           fail(c, i, "the slot of %s was acquired again", edge->name);
}

// A message of an edge: this rank's kind of message, and its turn.
static bool message(Check *c, const rt_instr *i)
{
    bool begins = i->opcode == RT_ACQUIRE || i->opcode == RT_RECV;
    const char *misplaced = message_misplaced(c->plan, c->eval, c->rank, i);
    if (misplaced)
        return fail(c, i, "%s", misplaced);
    const PlanEdge *e = &c->plan->edges[i->edge];
    return next_of(c, i, &(begins ? c->now.begun : c->now.ended)[i->edge], e->first, e->stride);
}

static bool check_instr(Check *c, const rt_instr *i)
{
    const Plan *p = c->plan;
    int opcode = i->opcode; // a part may touch all that its pass does
    if (opcode == RT_BACKWARD_PART)
        opcode = c->splits ? RT_BACKWARD_WEIGHT : RT_BACKWARD;
    if (i->opcode <= RT_RELEASE)
        return message(c, i);
    if (!counts(c, i)) // first: a micro-batch out of turn is why its slots are not there
        return false;
    for (int e = 0; e < p->n_edges; e++)
        if (p->edges[e].eval == c->eval && p->edges[e].touch &&
            p->edges[e].touch[c->rank] & UINT32_C(1) << opcode && !touches(c, i, e))
            return false;
    return true;
}

static bool wrong(Check *c, const char *what, int number)
{
    char name[64];
    snprintf(c->why, (size_t)c->why_size, "%s %s %d",
             plan_rank_name(c->plan, c->rank, name, sizeof name), what, number);
    return false;
}

// A body moves on by a step whatever it touches at all.
static bool moved(int from, int to, int by)
{
    return to - from == by || to == 0;
}

static bool check_body(Check *c)
{
    const Counts *a = &c->body, *b = &c->now;
    bool good = moved(a->loaded, b->loaded, c->own) && b->updated - a->updated == 1 &&
                b->forwarded - a->forwarded == c->own &&
                b->backwarded - a->backwarded == c->own;
    for (int e = 0; e < c->plan->n_edges && good; e++) {
        int by = c->plan->edges[e].per_step;
        good = moved(a->begun[e], b->begun[e], by) && moved(a->ended[e], b->ended[e], by);
    }
    return good || wrong(c, "does not run one step in its body, which begins at instruction",
                         plan_stream(c->plan, c->rank, false)->body);
}

static void enter_body(Arena *a, Check *c)
{
    size_t size = sizeof(int) * (size_t)c->plan->n_edges;
    c->body = c->now;
    c->body.begun = arena_copy(a, c->now.begun, size);
    c->body.ended = arena_copy(a, c->now.ended, size);
}

// Only streams of several steps have a body.
static bool body_lies_inside(Check *c, const Stream *s)
{
    if (c->eval || plan_stream_steps(c->plan, false) == 1)
        return (!s->body && !s->body_end) ||
               wrong(c, "has a body and runs one step, at instruction", s->body);
    return (s->body >= 0 && s->body < s->body_end && s->body_end <= s->n) ||
           wrong(c, "has no body within its instructions, of which there are", s->n);
}

static bool check_rank(Arena *a, Check *c)
{
    const Stream *s = plan_stream(c->plan, c->rank, c->eval);
    int all = c->own * plan_stream_steps(c->plan, c->eval);
    char name[64];
    if (!body_lies_inside(c, s))
        return false;
    for (c->at = 0; c->at < s->n; c->at++) {
        if (s->body_end && c->at == s->body)
            enter_body(a, c);
        if (!check_instr(c, &s->instr[c->at]))
            return false;
        if (c->at + 1 == s->body_end && !check_body(c))
            return false;
    }
    const Counts *n = &c->now;
    bool good = c->eval ? n->evaluated == all : n->forwarded == all && finished(c, n) == all;
    const PlanEdge *missing = good && c->eval ? not_exchanged(c, reduces) : NULL;
    if (missing)
        snprintf(c->why, (size_t)c->why_size, "%s does not exchange %s",
                 plan_rank_name(c->plan, c->rank, name, sizeof name), missing->name);
    else if (!good)
        snprintf(c->why, (size_t)c->why_size, "%s does not run all %d micro-batches",
                 plan_rank_name(c->plan, c->rank, name, sizeof name), all);
    else if (!c->eval && n->updated != plan_stream_steps(c->plan, false))
        return wrong(c, "does not update its weights behind step", n->updated);
    return good && !missing;
}

static bool check_ranks(Arena *a, const Plan *p, bool eval, char *why, int why_size)
{
    bool good = true;
    for (int r = 0; good && r < p->n_ranks; r++) {
        const PlanStage *stage = &p->stages[p->ranks[r].stage];
        Check c = {.plan = p,
                   .rank = r,
                   .stage = stage,
                   .eval = eval,
                   .why = why,
                   .why_size = why_size};
        c.own =
            schedule_share((int)p->options.micro_batches, stage->replicas, p->ranks[r].replica);
        c.asynchronous = schedule_asynchronous(&p->options);
        c.splits = schedule_splits(&p->options);
        c.now.begun = arena_array(a, int, p->n_edges);
        c.now.ended = arena_array(a, int, p->n_edges);
        c.reduced = arena_array(a, bool, p->n_edges);
        c.version = arena_array(
            a, int, c.asynchronous ? plan_own_micro_batches(p, &p->ranks[r], false) : 0);
        good = check_rank(a, &c);
    }
    return good;
}

bool plan_verify_streams(const Plan *p, bool eval, char *why, int why_size)
{
    Arena arena = {0};
    bool good = check_ranks(&arena, p, eval, why, why_size);
    Plan longer = *p;
    if (good && !eval && plan_stream_steps(p, false) > 1) {
        longer = schedule_of_steps(&arena, p, p->stream_steps + REPETITIONS);
        good = check_ranks(&arena, &longer, eval, why, why_size);
    }
    good = good && plan_walk(&(Walk){.plan = &longer, .eval = eval, .steps = 2}, why, why_size);
    arena_release(&arena);
    return good;
}
