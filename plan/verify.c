// Is a schedule right? First every stage alone: its micro-batches in order, not too many in flight,
// each tensor of an edge touched only while its slot is held. Then all stages together (plan/walk.c),
// for two steps, so that slots are used again.
#include "plan/walk.h"

#include <stdarg.h>
#include <stdio.h>

typedef struct Check {
    const Plan *plan;
    int stage, at;
    bool eval;
    char *why;
    int why_size;
    int loaded, forwarded, backwarded, evaluated; // micro-batches so far
    int *begun,
        *ended; // per edge: RECVs and RELEASEs of a consumer, ACQUIREs and SENDs of a producer
} Check;

static bool fail(Check *c, const rt_instr *i, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail(Check *c, const rt_instr *i, const char *format, ...)
{
    char text[128], what[160];
    va_list ap;
    va_start(ap, format);
    vsnprintf(what, sizeof what, format, ap);
    va_end(ap);
    snprintf(c->why, (size_t)c->why_size, "stage %d, instruction %d (%s): %s", c->stage, c->at,
             instr_text(c->plan, i, text, sizeof text), what);
    return false;
}

static bool in_order(Check *c, const rt_instr *i, int *count)
{
    if ((int)i->mb != *count)
        return fail(c, i, "micro-batches out of order: %d comes next", *count);
    ++*count;
    return true;
}

static bool counts(Check *c, const rt_instr *i)
{
    switch ((rt_opcode)i->opcode) {
    case RT_LOAD: return in_order(c, i, &c->loaded);
    case RT_EVAL: return in_order(c, i, &c->evaluated);
    case RT_FORWARD:
        if (!in_order(c, i, &c->forwarded))
            return false;
        int limit = c->plan->stages[c->stage].in_flight;
        if (c->forwarded - c->backwarded > limit)
            return fail(c, i, "more than %d micro-batches in flight", limit);
        return true;
    case RT_BACKWARD:
        if (c->backwarded >= c->forwarded)
            return fail(c, i, "its forward has not run");
        return in_order(c, i, &c->backwarded);
    case RT_NORM_GATHER:
    case RT_NORM_APPLY:
    case RT_UPDATE:
        if (c->backwarded != c->plan->options.micro_batches)
            return fail(c, i, "gradients of %d micro-batches are missing",
                        (int)c->plan->options.micro_batches - c->backwarded);
        return true;
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
    int mb = edge->per_step == 1 ? 0 : (int)i->mb, touch = edge->touch[c->stage];
    if (c->begun[e] <= mb)
        return fail(c, i, "%s is not %s yet", edge->name,
                    edge->producer == c->stage ? "acquired" : "received");
    if (edge->producer != c->stage)
        return c->ended[e] <= mb || fail(c, i, "%s was released before", edge->name);
    bool writes = (touch & -touch) == 1 << i->opcode;
    if (writes && c->ended[e] > mb)
        return fail(c, i, "%s was sent before it was written", edge->name);
    return c->begun[e] <= mb + edge->slots ||
           fail(c, i, "the slot of %s was acquired again", edge->name);
}

// A message of an edge: this stage's kind of message, and its turn.
static bool message(Check *c, const rt_instr *i)
{
    bool begins = i->opcode == RT_ACQUIRE || i->opcode == RT_RECV;
    const char *misplaced = message_misplaced(c->plan, c->eval, c->stage, i);
    if (misplaced)
        return fail(c, i, "%s", misplaced);
    return in_order(c, i, &(begins ? c->begun : c->ended)[i->edge]);
}

static bool check_instr(Check *c, const rt_instr *i)
{
    const Plan *p = c->plan;
    if (i->opcode <= RT_RELEASE)
        return message(c, i);
    if (!counts(c, i)) // first: a micro-batch out of turn is why its slots are not there
        return false;
    for (int e = 0; e < p->n_edges; e++)
        if (p->edges[e].eval == c->eval && p->edges[e].touch &&
            p->edges[e].touch[c->stage] & 1 << i->opcode && !touches(c, i, e))
            return false;
    return true;
}

static bool check_stage(Check *c)
{
    const Stream *s = plan_stream(&c->plan->stages[c->stage], c->eval);
    int all = (int)c->plan->options.micro_batches;
    for (c->at = 0; c->at < s->n; c->at++)
        if (!check_instr(c, &s->instr[c->at]))
            return false;
    bool good = c->eval ? c->evaluated == all : c->forwarded == all && c->backwarded == all;
    if (!good)
        snprintf(c->why, (size_t)c->why_size, "stage %d does not run all %d micro-batches",
                 c->stage, all);
    return good;
}

bool plan_verify_streams(const Plan *p, bool eval, char *why, int why_size)
{
    Arena arena = {0};
    bool good = true;
    for (int s = 0; good && s < p->n_stages; s++) {
        Check c = {.plan = p, .stage = s, .eval = eval, .why = why, .why_size = why_size};
        c.begun = arena_array(&arena, int, p->n_edges);
        c.ended = arena_array(&arena, int, p->n_edges);
        good = check_stage(&c);
    }
    arena_release(&arena);
    return good && plan_walk(&(Walk){.plan = p, .eval = eval, .steps = 2}, why, why_size);
}
