// How many slots an edge needs. The streams run once with rings without bound, and every stage keeps a
// vector clock (Mattern, "Virtual time and global states of distributed systems", 1989): how far
// each other stage has come in all possible timings by the time that this one is where it is. When
// the producer wants a slot for message f, the clock tells which messages every reader has surely
// released. Slots for the rest are enough: no timing exists in which the producer waits for a slot.
#include "plan/schedule.h"
#include "plan/walk.h"

#include "base/diag.h"

typedef struct Reader {
    int *release_at; // [messages] position in its stream of the last touch of a message
    int released;    // messages surely released so far
} Reader;

typedef struct Slots {
    Plan *plan;
    int **now;       // [stage][stage]
    int **sent;      // [edge][messages * n_stages]: the clock that a message carries
    Reader **reader; // [edge][stage]
} Slots;

static void join(int *clock, const int *other, int n)
{
    for (int i = 0; i < n; i++)
        clock[i] = other[i] > clock[i] ? other[i] : clock[i];
}

// What slots must hold when message f is about to be written: f itself and all that may be in use.
static void want_slot(Slots *s, const WalkStep *step, int f)
{
    PlanEdge *e = &s->plan->edges[step->instr->edge];
    for (int stage = 0; stage < s->plan->n_stages; stage++) {
        Reader *r = &s->reader[step->instr->edge][stage];
        while (r->release_at && r->released < f &&
               r->release_at[r->released] < s->now[step->stage][stage])
            r->released++;
        if (r->release_at && f + 1 - r->released > e->slots)
            e->slots = f + 1 - r->released;
    }
}

static void visit(void *user, const WalkStep *step)
{
    Slots *s = user;
    int n = s->plan->n_stages, *clock = s->now[step->stage];
    size_t at = (size_t)n * step->instr->mb; // the message's clock in its edge
    clock[step->stage] = step->at;           // so many of its own instructions are done
    if (step->instr->opcode == RT_RECV)
        join(clock, s->sent[step->instr->edge] + at, n);
    if (step->instr->opcode == RT_ACQUIRE)
        want_slot(s, step, (int)step->instr->mb);
    if (step->instr->opcode == RT_SEND)
        join(s->sent[step->instr->edge] + at, clock, n);
}

// Where a stage is done with each message: at its RELEASE, or, for the producer, at its own last use.
static void find_releases(Slots *s, int edge, int stage, int *release_at)
{
    const PlanEdge *e = &s->plan->edges[edge];
    const Stream *stream = &s->plan->stages[stage].train;
    for (int i = 0; i < stream->n; i++) {
        const rt_instr *instr = &stream->instr[i];
        bool release = instr->opcode == RT_RELEASE && instr->edge == edge;
        bool own = e->producer == stage && instr->opcode > RT_RELEASE &&
                   e->touch[stage] & 1 << instr->opcode;
        if (release || own)
            release_at[(int)instr->mb < plan_messages(s->plan, e) ? instr->mb : 0] = i;
    }
}

// In no schedule does a ring help beyond what both ends keep in flight and one that is under way.
static void limit(const Plan *p, PlanEdge *e)
{
    int most = p->stages[e->producer].in_flight;
    for (int c = 0; c < e->n_consumers; c++) {
        int flight = p->stages[e->consumers[c]].in_flight;
        most = flight > most ? flight : most;
    }
    e->slots = e->slots > most + 1 ? most + 1 : e->slots;
}

void edges_choose_slots(Arena *a, Plan *p)
{
    Slots s = {p, arena_array(a, int *, p->n_stages), arena_array(a, int *, p->n_edges),
               arena_array(a, Reader *, p->n_edges)};
    for (int i = 0; i < p->n_stages; i++)
        s.now[i] = arena_array(a, int, p->n_stages);
    for (int e = 0; e < p->n_edges; e++) {
        PlanEdge *edge = &p->edges[e];
        if (edge->eval)
            continue;
        s.sent[e] = arena_array(a, int, plan_messages(p, edge) * p->n_stages);
        s.reader[e] = arena_array(a, Reader, p->n_stages);
        edge->slots = 1;
        for (int i = 0; i < p->n_stages; i++)
            if (edge->touch[i]) {
                s.reader[e][i].release_at = arena_array(a, int, plan_messages(p, edge));
                find_releases(&s, e, i, s.reader[e][i].release_at);
            }
    }
    char why[256];
    Walk walk = {.plan = p, .steps = 1, .unbounded = true, .visit = visit, .user = &s};
    CHECK(plan_walk(&walk, why, sizeof why), "schedule", "%s", why);
    for (int e = 0; e < p->n_edges; e++)
        if (!p->edges[e].eval)
            limit(p, &p->edges[e]);
}
