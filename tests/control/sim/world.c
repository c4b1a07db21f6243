#include "tests/control/sim/world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

uint64_t draw(World *w) // splitmix64
{
    uint64_t x = w->random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

int64_t between(World *w, int64_t least, int64_t most)
{
    return least + (int64_t)(draw(w) % (uint64_t)(most - least + 1));
}

bool chance(World *w, int per_mille)
{
    return (int)(draw(w) % 1000) < per_mille;
}

void story(World *w, const char *format, ...)
{
    if (!w->verbose && !w->remember)
        return;
    char *line = w->story[w->n_story++ % STORY_LINES];
    va_list ap;
    int n = snprintf(line, sizeof *w->story, "%10.4f  ", (double)w->now / (double)SECOND);
    va_start(ap, format);
    vsnprintf(line + n, sizeof *w->story - (size_t)n, format, ap);
    va_end(ap);
    if (w->verbose)
        puts(line);
}

// The queue
// ------------------------------------------------------------------------------------

static bool before(const Event *a, const Event *b)
{
    return a->at < b->at || (a->at == b->at && a->order < b->order);
}

static void push(World *w, Event *e)
{
    if (w->n_queue == w->queue_room) {
        Event **more = arena_array(&w->arena, Event *, w->queue_room * 2 + 256);
        if (w->n_queue)
            memcpy(more, w->queue, sizeof(Event *) * (size_t)w->n_queue);
        w->queue = more;
        w->queue_room = w->queue_room * 2 + 256;
    }
    int i = w->n_queue++;
    for (; i && before(e, w->queue[(i - 1) / 2]); i = (i - 1) / 2)
        w->queue[i] = w->queue[(i - 1) / 2];
    w->queue[i] = e;
}

static Event *pop(World *w)
{
    Event *first = w->queue[0], *last = w->queue[--w->n_queue];
    int i = 0;
    for (int child; (child = 2 * i + 1) < w->n_queue; i = child) {
        if (child + 1 < w->n_queue && before(w->queue[child + 1], w->queue[child]))
            child++;
        if (!before(w->queue[child], last))
            break;
        w->queue[i] = w->queue[child];
    }
    w->queue[i] = last;
    return first;
}

Event *happen_in(World *w, int64_t ns, Happen *happen, int process)
{
    Event *e = w->unused;
    if (e)
        w->unused = (Event *)e->frame;
    else
        e = arena_new(&w->arena, Event);
    *e = (Event){.at = w->now + ns, .order = w->order++, .happen = happen, .process = process};
    if (process >= 0)
        e->life = w->processes[process].life;
    push(w, e);
    return e;
}

// To a process that stands still it happens when that goes on, in the same order.
static void run(World *w, Event *e)
{
    Process *p = e->process >= 0 ? &w->processes[e->process] : NULL;
    w->now = e->at;
    if (p && p->alive && p->life == e->life && p->stands_until > w->now) {
        e->at = p->stands_until;
        push(w, e);
        return;
    }
    if (!p || (p->alive && p->life == e->life))
        e->happen(w, e);
    else if (e->lost)
        e->lost(w, e);
    oracle_look(w, e->process);
    e->frame = w->unused;
    w->unused = e;
}

void run_world(World *w)
{
    while (w->n_queue && !w->violation && !w->ended)
        run(w, pop(w));
}
