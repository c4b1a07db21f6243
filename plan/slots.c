// How many slots an edge needs. The streams run once with rings without bound, and every rank keeps a
// vector clock (Mattern, "Virtual time and global states of distributed systems", 1989): how far
// each other rank has come in all possible timings by the time that this one is where it is. When
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
    int **now;       // [rank][rank]
    int **sent;      // [edge][messages * n_ranks]: the clock that a message carries
    Reader **reader; // [edge][rank]
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
    for (int rank = 0; rank < s->plan->n_ranks; rank++) {
        Reader *r = &s->reader[step->instr->edge][rank];
        while (r->release_at && r->released < f &&
               r->release_at[r->released] < s->now[step->rank][rank])
            r->released++;
        if (r->release_at && f + 1 - r->released > e->slots)
            e->slots = f + 1 - r->released;
    }
}

static void visit(void *user, const WalkStep *step)
{
    Slots *s = user;
    const rt_instr *i = step->instr;
    int n = s->plan->n_ranks, *clock = s->now[step->rank];
    clock[step->rank] = step->at; // so many of its own instructions are done
    if (i->opcode > RT_RELEASE)
        return;
    int message = plan_message(&s->plan->edges[i->edge], i->mb);
    int *carried = s->sent[i->edge] + (size_t)n * (size_t)message;
    if (i->opcode == RT_RECV)
        join(clock, carried, n);
    if (i->opcode == RT_ACQUIRE)
        want_slot(s, step, message);
    if (i->opcode == RT_SEND)
        join(carried, clock, n);
}

// Where a rank is done with each message: at its RELEASE, or, for the producer, at its own last use.
static void find_releases(Slots *s, int edge, int rank, int *release_at)
{
    const PlanEdge *e = &s->plan->edges[edge];
    const Stream *stream = &s->plan->ranks[rank].train;
    for (int i = 0; i < stream->n; i++) {
        const rt_instr *instr = &stream->instr[i];
        bool release = instr->opcode == RT_RELEASE && instr->edge == edge;
        bool own = e->producer == rank && instr->opcode > RT_RELEASE &&
                   e->touch[rank] & UINT32_C(1) << instr->opcode &&
                   plan_message(e, instr->mb) >= 0;
        if (release || own)
            release_at[plan_message(e, instr->mb)] = i;
    }
}

static int in_flight(const Plan *p, int rank)
{
    return p->stages[p->ranks[rank].stage].in_flight;
}

// In no schedule does a ring help beyond what both ends keep in flight and one that is under way.
static void limit(const Plan *p, PlanEdge *e)
{
    int most = in_flight(p, e->producer);
    for (int c = 0; c < e->n_consumers; c++) {
        int flight = in_flight(p, e->consumers[c]);
        most = flight > most ? flight : most;
    }
    e->slots = e->slots > most + 1 ? most + 1 : e->slots;
}

void edges_choose_slots(Arena *a, Plan *p)
{
    Slots s = {p, arena_array(a, int *, p->n_ranks), arena_array(a, int *, p->n_edges),
               arena_array(a, Reader *, p->n_edges)};
    for (int i = 0; i < p->n_ranks; i++)
        s.now[i] = arena_array(a, int, p->n_ranks);
    for (int e = 0; e < p->n_edges; e++) {
        PlanEdge *edge = &p->edges[e];
        if (edge->eval || plan_is_round(edge))
            continue;
        s.sent[e] = arena_array(a, int, plan_messages(p, edge) * p->n_ranks);
        s.reader[e] = arena_array(a, Reader, p->n_ranks);
        edge->slots = 1;
        for (int i = 0; i < p->n_ranks; i++)
            if (edge->touch[i]) {
                s.reader[e][i].release_at = arena_array(a, int, plan_messages(p, edge));
                find_releases(&s, e, i, s.reader[e][i].release_at);
            }
    }
    char why[256];
    Walk walk = {.plan = p, .steps = 1, .unbounded = true, .visit = visit, .user = &s};
    CHECK(plan_walk(&walk, why, sizeof why), "schedule", "%s", why);
    for (int e = 0; e < p->n_edges; e++)
        if (!p->edges[e].eval && !plan_is_round(&p->edges[e]))
            limit(p, &p->edges[e]);
}
