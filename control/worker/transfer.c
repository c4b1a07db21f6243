#include "control/worker/transfer.h"

#include "plan/crc32c.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND_NS INT64_C(1000000000)
#define AGAIN_NS (2 * SECOND_NS)
enum { LISTING = -1, MOST_LISTING = 1 << 26, MOST_NAME = 256 };

static void fail(Transfer *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void fail(Transfer *t, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(t->why, sizeof t->why, format, ap);
    va_end(ap);
    t->phase = TRANSFER_FAILED;
    t->n_open = 0;
}

void transfer_begin(Transfer *t, uint16_t worker, const Held *state, int64_t now_ns)
{
    transfer_release(t);
    *t = (Transfer){
        .phase = TRANSFER_LISTING, .worker = worker, .state = *state, .moved_ns = now_ns};
}

void transfer_want(Transfer *t, Wanted *wanted, int n)
{
    free(t->wanted);
    t->wanted = wanted;
    t->n_wanted = n;
    t->phase = TRANSFER_MOVING;
}

void transfer_release(Transfer *t)
{
    text_release(&t->text);
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

static void ask(const Transfer *t, const TransferRequest *r, TransferLine *line)
{
    Fetch f = {.request = r->number,
               .step = t->state.step,
               .made = t->state.made,
               .parts = t->state.parts,
               .from = r->from};
    line->ask(line->user, t->worker, &f, r->item == LISTING ? "" : t->wanted[r->item].name);
}

static void ask_new(Transfer *t, int item, uint64_t from, uint64_t bytes, TransferLine *line)
{
    TransferRequest *r = &t->open[t->n_open++];
    *r = (TransferRequest){++line->number, from, bytes, item};
    ask(t, r, line);
}

static void ask_tensors(Transfer *t, TransferLine *line)
{
    while (t->n_open < TRANSFER_WINDOW && t->next < t->n_wanted) {
        const Wanted *w = &t->wanted[t->next];
        uint64_t left = w->bytes - t->from,
                 bytes = left < TRANSFER_PIECE ? left : TRANSFER_PIECE;
        if (bytes)
            ask_new(t, t->next, t->from, bytes, line);
        t->from += bytes;
        if (t->from == w->bytes) {
            t->next++;
            t->from = 0;
        }
    }
    if (!t->n_open)
        t->phase = TRANSFER_MOVED;
}

void transfer_run(Transfer *t, TransferLine *line, int64_t now_ns)
{
    if (t->phase != TRANSFER_LISTING && t->phase != TRANSFER_MOVING)
        return;
    if (now_ns - t->moved_ns > PATIENCE_S * SECOND_NS) {
        fail(t, "worker %d has sent nothing of the state behind step %" PRIu64 " for %d s",
             t->worker, t->state.step, PATIENCE_S);
        return;
    }
    int64_t last = t->asked_ns > t->moved_ns ? t->asked_ns : t->moved_ns;
    if (t->n_open && (!t->asked_ns || now_ns - last > AGAIN_NS)) {
        for (int i = 0; i < t->n_open; i++)
            ask(t, &t->open[i], line);
        t->asked_ns = now_ns;
    }
    int before = t->n_open;
    if (t->phase == TRANSFER_LISTING && !t->n_open)
        ask_new(t, LISTING, t->text.length, 0, line);
    if (t->phase == TRANSFER_MOVING)
        ask_tensors(t, line);
    if (t->n_open > before)
        t->asked_ns = now_ns;
}

// Answers
// ---------------------------------------------------------------------------------------

static void take_listing(Transfer *t, const Message *m)
{
    if (!m->rest_bytes || m->tensor.whole > MOST_LISTING) {
        fail(t, "worker %d lists no tensors", t->worker);
        return;
    }
    text_append(&t->text, m->rest, m->rest_bytes);
    if (t->text.length < m->tensor.whole)
        return;
    json_t *listing = json_loadb(t->text.data, t->text.length, 0, NULL);
    json_int_t seed = 0, epoch = 0, index = 0;
    char why[TENSORS_WHY] = "a listing that is no JSON";
    if (!listing ||
        json_unpack(listing, "{s:I, s:[I, I]}", "seed", &seed, "cursor", &epoch, &index) ||
        !tensors_of_listing(&t->tensors, listing, why))
        fail(t, "worker %d: %s", t->worker, why);
    else
        t->phase = TRANSFER_LISTED;
    t->beginning = (Beginning){seed, (uint64_t)epoch, (uint64_t)index};
    json_decref(listing);
}

static void take_tensor(Transfer *t, const TransferRequest *r, const Message *m)
{
    const Wanted *w = &t->wanted[r->item];
    if (m->rest_bytes != r->bytes || m->tensor.whole != w->bytes) {
        fail(t, "worker %d has another size of %.80s", t->worker, w->name);
        return;
    }
    memcpy(w->to + r->from, m->rest, m->rest_bytes);
}

static bool is_answer(const Transfer *t, const Message *m, TransferRequest *r, int *at)
{
    for (int i = 0; i < t->n_open; i++)
        if (t->open[i].number == m->tensor.request) {
            *r = t->open[i];
            *at = i;
            return true;
        }
    return false;
}

bool transfer_take(Transfer *t, uint16_t from, const Message *m, int64_t now_ns)
{
    TransferRequest r;
    int at;
    if (t->worker != from || !is_answer(t, m, &r, &at))
        return false;
    if (m->tensor.answer == TENSOR_NOT_HELD) {
        fail(t, "worker %d does not hold %s%.80s of the state behind step %" PRIu64, t->worker,
             r.item == LISTING ? "anything" : "",
             r.item == LISTING ? "" : t->wanted[r.item].name, t->state.step);
        return true;
    }
    bool whole = crc32c(0, m->rest, m->rest_bytes) == m->tensor.crc32c;
    if (!whole || m->tensor.from != r.from)
        return true; // it is asked for again
    t->open[at] = t->open[--t->n_open];
    t->moved_ns = now_ns;
    if (r.item == LISTING)
        take_listing(t, m);
    else
        take_tensor(t, &r, m);
    return true;
}

// The other side
// ---------------------------------------------------------------------------------------

static void cut(Message *m, const void *data, uint64_t whole, uint64_t from)
{
    uint64_t left = from < whole ? whole - from : 0;
    m->rest = (const char *)data + (whole - left);
    m->rest_bytes = left < TRANSFER_PIECE ? left : TRANSFER_PIECE;
    m->tensor.from = whole - left;
    m->tensor.whole = whole;
    m->tensor.answer = TENSOR_HERE;
}

size_t transfer_answer(const States *s, const Message *fetch, void *frame, size_t room)
{
    const Fetch *f = &fetch->fetch;
    Message m = {.id = MESSAGE_TENSOR,
                 .tensor = {.request = f->request, .answer = TENSOR_NOT_HELD}};
    Message none = m;
    char name[MOST_NAME + 1];
    Text list = {0};
    Found found = {0};
    Held state = {f->step, f->made, f->parts};
    if (fetch->rest_bytes > MOST_NAME)
        return 0;
    memcpy(name, fetch->rest, fetch->rest_bytes);
    name[fetch->rest_bytes] = 0;
    if (!*name && states_list(s, &state, &list))
        cut(&m, list.data, list.length, f->from);
    else if (*name && states_find(s, f->step, f->made, name, &found))
        cut(&m, found.data, found.tensor->bytes, f->from);
    m.tensor.crc32c = crc32c(0, m.rest, m.rest_bytes);
    size_t bytes = message_put(frame, room, &m);
    if (!found_stays(&found)) // what was read may be of both
        bytes = message_put(frame, room, &none);
    text_release(&list);
    return bytes;
}
