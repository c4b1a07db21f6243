#include "control/worker/transfer.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS INT64_C(1000000000)
#define AGAIN_NS (2 * SECOND_NS) // a request of which nothing came
#define SOON_NS (SECOND_NS / 10) // a stream that has failed

static void fail(Transfer *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fail(Transfer *t, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(t->why, sizeof t->why, format, ap);
    va_end(ap);
    stream_close(t->stream);
    t->stream = NULL;
    t->phase = TRANSFER_FAILED;
}

void transfer_begin(Transfer *t, uint16_t worker, const Held *state, int64_t now_ns)
{
    transfer_release(t);
    *t = (Transfer){
        .phase = TRANSFER_ASKING, .worker = worker, .state = *state, .moved_ns = now_ns};
}

void transfer_release(Transfer *t)
{
    stream_close(t->stream);
    tensors_release(&t->tensors);
    free(t->wanted);
    *t = (Transfer){0};
}

void transfer_again(Transfer *t)
{
    t->asked_ns = 0;
}

// Asking
// ---------------------------------------------------------------------------------------

static void ask(Transfer *t, TransferLine *line, int64_t now_ns)
{
    if (t->asked_ns && now_ns - t->asked_ns < AGAIN_NS)
        return;
    t->request = ++line->number;
    t->asked_ns = now_ns;
    line->ask(line->user, t->worker,
              &(Fetch){t->request, t->state.step, t->state.made, t->state.parts});
}

bool transfer_take(Transfer *t, TransferLine *line, uint16_t from, const Ticket *ticket,
                   int64_t now_ns)
{
    if (t->phase != TRANSFER_ASKING || t->worker != from || t->request != ticket->request)
        return false;
    if (ticket->answer == TICKET_NOT_HELD) {
        fail(t, "worker %d does not hold all of the state behind step %" PRIu64, t->worker,
             t->state.step);
        return true;
    }
    t->stream = line->open(line->user, from, ticket);
    t->moved = 0;
    t->moved_ns = now_ns;
    if (t->stream)
        t->phase = TRANSFER_COMING;
    return true;
}

// What comes
// ---------------------------------------------------------------------------------------

static void take_listing(Transfer *t)
{
    size_t bytes;
    Tensors tensors = {0};
    char why[TENSORS_WHY];
    const char *listing = stream_listing(t->stream, &bytes);
    bool good = parcel_read(listing, bytes, &tensors, &t->beginning, why);
    t->phase = TRANSFER_LISTED;
    if (!good)
        fail(t, "worker %d: %s", t->worker, why);
    else if (t->wanted && !tensors_same(&tensors, &t->tensors))
        fail(t, "worker %d lists other tensors than before", t->worker);
    else if (!t->wanted) {
        t->tensors = tensors;
        return;
    }
    tensors_release(&tensors);
}

// Of all that comes, where it goes: both are in the order of names.
static void move(Transfer *t)
{
    StreamPlace *places = calloc((size_t)t->tensors.n + 1, sizeof *places);
    int next = 0;
    for (int i = 0; i < t->tensors.n && places; i++) {
        const StateTensor *x = &t->tensors.items[i];
        const Wanted *w = next < t->n_wanted ? &t->wanted[next] : NULL;
        bool wanted = w && !strcmp(w->name, x->name) && w->bytes == x->bytes;
        places[i] = (StreamPlace){wanted ? w->to : NULL, x->bytes};
        next += wanted;
    }
    if (places && next == t->n_wanted) {
        stream_into(t->stream, places, t->tensors.n);
        t->phase = TRANSFER_MOVING;
        return;
    }
    fail(t, "worker %d has another size of %.80s, or nothing", t->worker,
         places ? t->wanted[next].name : "everything");
    free(places);
}

void transfer_want(Transfer *t, Wanted *wanted, int n)
{
    free(t->wanted);
    t->wanted = wanted;
    t->n_wanted = n;
    if (n) {
        move(t);
        return;
    }
    stream_close(t->stream); // what was listed is enough
    t->stream = NULL;
    t->phase = TRANSFER_MOVED;
}

static void ask_again(Transfer *t, int64_t now_ns)
{
    stream_close(t->stream);
    t->stream = NULL;
    t->phase = TRANSFER_ASKING;
    t->asked_ns = now_ns - AGAIN_NS + SOON_NS;
}

static void follow(Transfer *t, int64_t now_ns)
{
    uint64_t moved = stream_moved(t->stream);
    StreamPhase phase = stream_phase(t->stream);
    if (moved != t->moved)
        t->moved_ns = now_ns;
    t->moved = moved;
    if (phase == STREAM_FAILED)
        ask_again(t, now_ns);
    else if (phase == STREAM_LISTED && t->phase == TRANSFER_COMING)
        take_listing(t);
    else if (phase == STREAM_DONE && t->phase == TRANSFER_MOVING) {
        stream_close(t->stream);
        t->stream = NULL;
        t->phase = TRANSFER_MOVED;
    }
    if (t->phase == TRANSFER_LISTED && t->wanted)
        move(t); // as it was said the first time
}

void transfer_run(Transfer *t, TransferLine *line, int64_t now_ns)
{
    bool goes = t->phase == TRANSFER_ASKING || t->phase == TRANSFER_COMING ||
                t->phase == TRANSFER_MOVING;
    if (!goes)
        return;
    if (t->stream)
        follow(t, now_ns);
    if (t->phase == TRANSFER_ASKING)
        ask(t, line, now_ns);
    if (t->phase != TRANSFER_MOVED && now_ns - t->moved_ns > PATIENCE_S * SECOND_NS)
        fail(t, "worker %d has sent nothing of the state behind step %" PRIu64 " for %d s",
             t->worker, t->state.step, PATIENCE_S);
}

// The other side
// ---------------------------------------------------------------------------------------

Ticket transfer_answer(States *s, Streams *streams, const Fetch *f, int64_t now_ns)
{
    Ticket t = {.request = f->request, .answer = TICKET_NOT_HELD};
    Parcel *p = parcel_new(s, &(Held){f->step, f->made, f->parts});
    if (p && streams_give(streams, p, now_ns, t.ticket)) {
        t.port = streams_port(streams);
        t.answer = TICKET_HERE;
    } else if (p) {
        parcel_free(p);
    }
    return t;
}
