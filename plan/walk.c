// One counter per edge and end says all about a ring, because messages keep their order: message seq
// was sent when `sent > seq`, its slot is free when every consumer's `released > seq - slots`. The
// ranks run in turns, each as far as it can; when a whole turn brings nothing on, they are deadlocked.
#include "plan/walk.h"

#include "base/text.h"
#include "plan/rounds.h"

#include <stdio.h>

const char *const opcode_name[RT_N_OPCODES] = {
#define X(KIND, name, meaning, operands) name,
    STREAM_INSTRUCTIONS(X)
#undef X
};

const char *instr_text(const Plan *p, const rt_instr *i, char *buffer, int size)
{
    if (i->opcode >= RT_N_OPCODES)
        snprintf(buffer, (size_t)size, "opcode %d", i->opcode);
    else if (i->opcode <= RT_RELEASE)
        snprintf(buffer, (size_t)size, "%s %s mb %u", opcode_name[i->opcode],
                 i->edge < p->n_edges ? p->edges[i->edge].name : "of no edge", i->mb);
    else
        snprintf(buffer, (size_t)size, "%s mb %u", opcode_name[i->opcode], i->mb);
    return buffer;
}

typedef struct End { // of an edge in one consumer
    int64_t received, released;
    WalkRef *release_at; // [messages * steps]
} End;

typedef struct Ring {
    int64_t acquired, sent;
    WalkRef *send_at; // [messages * steps]
    End *ends;        // [n_consumers]
} Ring;

typedef struct Walker {
    const Walk *walk;
    Arena arena;
    Ring *rings;
    int *at; // [n_ranks]: the next instruction
    Rounds rounds;
    WalkRef *waits;
    int n_waits;
    char *why;
    int why_size;
} Walker;

typedef enum Outcome { RAN, WAITS, WRONG } Outcome;

static Outcome wrong(Walker *w, int rank, const rt_instr *i, const char *what)
{
    char text[128], name[64];
    snprintf(w->why, (size_t)w->why_size, "%s, instruction %d (%s): %s",
             plan_rank_name(w->walk->plan, rank, name, sizeof name), w->at[rank],
             instr_text(w->walk->plan, i, text, sizeof text), what);
    return WRONG;
}

static int consumer_index(const PlanEdge *e, int rank)
{
    for (int c = 0; c < e->n_consumers; c++)
        if (e->consumers[c] == rank)
            return c;
    return -1;
}

static Outcome acquire(Walker *w, int rank, const rt_instr *i, int64_t seq)
{
    const PlanEdge *e = &w->walk->plan->edges[i->edge];
    Ring *r = &w->rings[i->edge];
    if (seq != r->acquired || r->sent != r->acquired)
        return wrong(w, rank, i, "slots are acquired in the order of messages, one at a time");
    int64_t last = seq - e->slots; // the message that lay in this slot before
    for (int c = 0; c < e->n_consumers && last >= 0 && !w->walk->unbounded; c++) {
        if (r->ends[c].released <= last)
            return WAITS;
        w->waits[w->n_waits++] = r->ends[c].release_at[last];
    }
    r->acquired++;
    return RAN;
}

static Outcome receive(Walker *w, int rank, const rt_instr *i, int64_t seq, End *end)
{
    Ring *r = &w->rings[i->edge];
    if (seq != end->received)
        return wrong(w, rank, i, "messages are received in the order in which they were sent");
    if (r->sent <= seq)
        return WAITS;
    w->waits[w->n_waits++] = r->send_at[seq];
    end->received++;
    return RAN;
}

const char *message_misplaced(const Plan *p, bool eval, int rank, const rt_instr *i)
{
    if (i->edge >= p->n_edges || p->edges[i->edge].eval != eval)
        return "these streams have no such edge";
    const PlanEdge *e = &p->edges[i->edge];
    bool producer = i->opcode == RT_ACQUIRE || i->opcode == RT_SEND;
    if (producer && e->producer != rank)
        return "this stage is not the producer of the edge";
    if (!producer && consumer_index(e, rank) < 0)
        return "this stage is no consumer of the edge";
    int message = plan_message(e, i->mb);
    if (message < 0)
        return "another edge carries this micro-batch";
    return message < plan_messages(p, e) ? NULL : "the edge has fewer messages a step";
}

static Outcome at_edge(Walker *w, int rank, const rt_instr *i)
{
    const Plan *p = w->walk->plan;
    const char *misplaced = message_misplaced(p, w->walk->eval, rank, i);
    if (misplaced)
        return wrong(w, rank, i, misplaced);
    const PlanEdge *e = &p->edges[i->edge];
    Ring *r = &w->rings[i->edge];
    int c = consumer_index(e, rank);
    int before = w->at[rank] / plan_stream(p, rank, w->walk->eval)->n;
    int64_t seq = (int64_t)before * plan_messages(p, e) + plan_message(e, i->mb);
    WalkRef here = {rank, w->at[rank]};
    if (i->opcode == RT_ACQUIRE)
        return acquire(w, rank, i, seq);
    if (i->opcode == RT_RECV)
        return receive(w, rank, i, seq, &r->ends[c]);
    if (i->opcode == RT_SEND) {
        if (seq != r->sent || r->acquired <= seq)
            return wrong(w, rank, i,
                         "its slot was not acquired, or an earlier message is missing");
        r->send_at[r->sent++] = here;
        return RAN;
    }
    End *end = &r->ends[c];
    if (seq != end->released || end->received <= seq)
        return wrong(w, rank, i, "it was not received, or an earlier message is still held");
    end->release_at[end->released++] = here;
    return RAN;
}

// Unless replicas have to come to it together (plan/rounds.h).
static Outcome compute(Walker *w, int rank, const rt_instr *i)
{
    int64_t before = w->at[rank] / plan_stream(w->walk->plan, rank, w->walk->eval)->n;
    if (w->walk->eval)
        return RAN;
    rounds_come(&w->rounds, rank, i, before);
    if (rounds_missing(&w->rounds, rank, i, before) >= 0)
        return WAITS;
    rounds_ran(&w->rounds, rank, i);
    return RAN;
}

static Outcome advance(Walker *w, int rank)
{
    const Stream *s = plan_stream(w->walk->plan, rank, w->walk->eval);
    const rt_instr *i = &s->instr[w->at[rank] % s->n];
    w->n_waits = 0;
    if (i->opcode >= RT_N_OPCODES)
        return wrong(w, rank, i, "there is no such instruction");
    Outcome outcome = i->opcode <= RT_RELEASE ? at_edge(w, rank, i) : compute(w, rank, i);
    if (outcome != RAN)
        return outcome;
    if (w->walk->visit)
        w->walk->visit(w->walk->user, &(WalkStep){rank, w->at[rank], i, w->waits, w->n_waits});
    w->at[rank]++;
    return RAN;
}

static void init(Walker *w)
{
    const Plan *p = w->walk->plan;
    int most = 1;
    w->at = arena_array(&w->arena, int, p->n_ranks);
    w->rounds = rounds_of(&w->arena, p);
    w->rings = arena_array(&w->arena, Ring, p->n_edges);
    for (int e = 0; e < p->n_edges; e++) {
        const PlanEdge *edge = &p->edges[e];
        if (edge->eval != w->walk->eval)
            continue;
        int messages = plan_messages(p, edge) * w->walk->steps;
        most = edge->n_consumers > most ? edge->n_consumers : most;
        w->rings[e].send_at = arena_array(&w->arena, WalkRef, messages);
        w->rings[e].ends = arena_array(&w->arena, End, edge->n_consumers);
        for (int c = 0; c < edge->n_consumers; c++)
            w->rings[e].ends[c].release_at = arena_array(&w->arena, WalkRef, messages);
    }
    w->waits = arena_array(&w->arena, WalkRef, most);
}

static bool finished(const Walker *w, int rank)
{
    return w->at[rank] == plan_stream(w->walk->plan, rank, w->walk->eval)->n * w->walk->steps;
}

// Whom an instruction that cannot run waits for.
static int blocker(const Walker *w, int rank, const rt_instr *i)
{
    if (i->opcode > RT_RELEASE)
        return rounds_missing(&w->rounds, rank, i,
                              w->at[rank] / plan_stream(w->walk->plan, rank, false)->n);
    const PlanEdge *e = &w->walk->plan->edges[i->edge];
    const Ring *r = &w->rings[i->edge];
    if (i->opcode == RT_RECV)
        return e->producer;
    for (int c = 0; c < e->n_consumers; c++)
        if (r->ends[c].released <= r->acquired - e->slots)
            return e->consumers[c];
    return e->producer;
}

static void report_deadlock(Walker *w)
{
    const Plan *p = w->walk->plan;
    Text t = {0};
    text_puts(&t, "deadlock:");
    for (int r = 0; r < p->n_ranks; r++) {
        if (finished(w, r))
            continue;
        const Stream *stream = plan_stream(p, r, w->walk->eval);
        const rt_instr *i = &stream->instr[w->at[r] % stream->n];
        char text[128], name[64], other[64];
        text_printf(&t, " %s at instruction %d (%s) waits for %s;",
                    plan_rank_name(p, r, name, sizeof name), w->at[r],
                    instr_text(p, i, text, sizeof text),
                    plan_rank_name(p, blocker(w, r, i), other, sizeof other));
    }
    snprintf(w->why, (size_t)w->why_size, "%.*s", (int)t.length - 1, t.data);
    text_release(&t);
}

// After the last step nothing may be under way.
static bool complete(Walker *w)
{
    const Plan *p = w->walk->plan;
    for (int e = 0; e < p->n_edges; e++) {
        const PlanEdge *edge = &p->edges[e];
        const Ring *r = &w->rings[e];
        int64_t all = (int64_t)plan_messages(p, edge) * w->walk->steps;
        if (edge->eval != w->walk->eval)
            continue;
        bool good = r->sent == all;
        for (int c = 0; c < edge->n_consumers; c++)
            good &= r->ends[c].released == all;
        if (!good) {
            snprintf(
                w->why, (size_t)w->why_size,
                "edge %s: not every message of a step is sent and released by every consumer",
                edge->name);
            return false;
        }
    }
    return true;
}

static bool run(Walker *w)
{
    const Plan *p = w->walk->plan;
    for (bool moved = true, waiting = true; waiting;) {
        if (!moved) {
            report_deadlock(w);
            return false;
        }
        moved = waiting = false;
        for (int r = 0; r < p->n_ranks; r++) {
            Outcome o = RAN;
            while (!finished(w, r) && (o = advance(w, r)) == RAN)
                moved = true;
            if (o == WRONG)
                return false;
            waiting |= o == WAITS;
        }
    }
    return complete(w);
}

bool plan_walk(const Walk *walk, char *why, int why_size)
{
    Walker w = {.walk = walk, .why = why, .why_size = why_size};
    init(&w);
    bool good = run(&w);
    arena_release(&w.arena);
    return good;
}
