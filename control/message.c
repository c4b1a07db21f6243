#include "control/message.h"

#include "base/utf8.h"
#include "control/timeline.h"

#include <stdio.h>
#include <string.h>

enum { MOST_SPEED = 1000 * 1000 }; // thousandths

typedef enum MessageRest { REST_NONE, REST_TEXT, REST_BYTES } MessageRest;

typedef struct Row {
    const char *name;
    MessageFrom from;
    uint32_t bytes; // of the struct
    MessageRest rest;
    uint32_t most; // of the rest
} Row;

#define MESSAGE(NAME, name, id, FROM, Struct, REST, most, meaning)                             \
    [id] = {#NAME, FROM_##FROM, sizeof(Struct), REST_##REST, most},
static const Row rows[] = {
#include "control/message.def"
};
#undef MESSAGE
enum { N_ROWS = sizeof rows / sizeof *rows };

#define MESSAGE(NAME, name, id, FROM, Struct, REST, most, meaning)                             \
    _Static_assert(sizeof(MessageHeader) + sizeof(Struct) + (most) <= MESSAGE_MOST, "a frame");
#include "control/message.def"
#undef MESSAGE

static const Row *row_of(unsigned id)
{
    return id < N_ROWS && rows[id].name ? &rows[id] : NULL;
}

size_t message_bytes(MessageId id)
{
    return sizeof(MessageHeader) + rows[id].bytes;
}

const char *message_name(MessageId id)
{
    return rows[id].name;
}

// Fields
// -----------------------------------------------------------------------------------------

static bool is_zero(const void *data, size_t bytes)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++)
        if (p[i])
            return false;
    return true;
}

static const char *wrong_hello(const Hello *h)
{
    size_t isa = strnlen(h->isa, sizeof h->isa);
    if (!h->incarnation || !h->slots || !h->speed_milli)
        return "no incarnation, no slots or no speed";
    if (h->slots > MOST_RANKS || h->speed_milli > MOST_SPEED || h->memory_bytes > INT64_MAX)
        return "no machine has so much";
    if (isa == sizeof h->isa || !utf8_good(h->isa, isa) ||
        !is_zero(h->isa + isa, sizeof h->isa - isa))
        return "isa is no name";
    if (h->device >= N_DEVICE_KINDS || h->zero)
        return "no such kind of device";
    return NULL;
}

static const char *wrong_beat(const Beat *b)
{
    if (b->phase >= N_WORKER_PHASES || b->n_held > MOST_HELD)
        return "no such phase, or too many states";
    if (!is_zero(&b->held[b->n_held], (MOST_HELD - b->n_held) * sizeof *b->held))
        return "states behind the last one";
    return b->incarnation ? NULL : "no incarnation";
}

static const char *wrong_rank(uint32_t rank, uint32_t zero)
{
    return rank < MOST_RANKS && !zero ? NULL : "no such rank";
}

static const char *beyond(uint64_t from, uint64_t whole, size_t bytes)
{
    return from <= whole && bytes <= whole - from ? NULL : "a piece beyond the end";
}

// What no value of a field may be, whoever asks; whether it makes sense now is for the cores to say.
static const char *wrong_field(const Message *m)
{
    switch (m->id) {
    case MESSAGE_HELLO: return wrong_hello(&m->hello);
    case MESSAGE_WELCOME: return m->welcome.worker < MOST_WORKERS ? NULL : "no such worker";
    case MESSAGE_REFUSED:
        return m->refused.why < N_REFUSED && !m->refused.zero ? NULL : "no such reason";
    case MESSAGE_BEAT: return wrong_beat(&m->beat);
    case MESSAGE_ORDER:
        return m->order.what < N_ORDERS && m->order.ends <= 1 ? NULL : "no such order";
    case MESSAGE_START:
        return m->start.copy_every ? epoch_wrong(&m->start) : "its states are never copied";
    case MESSAGE_WARM: return epoch_wrong(&m->warm);
    case MESSAGE_WARMED: return m->warmed.can < 2 && !m->warmed.zero ? NULL : "no such answer";
    case MESSAGE_ENDED: return wrong_rank(m->ended.rank, 0);
    case MESSAGE_CANNOT: return wrong_rank(m->cannot.rank, m->cannot.zero);
    case MESSAGE_LEAVE: return m->leave.drained < 2 && !m->leave.zero ? NULL : "no such reason";
    case MESSAGE_TIMES: return wrong_rank(m->times.rank, m->times.zero);
    case MESSAGE_PIECE: return beyond(m->piece.from, m->piece.whole, m->rest_bytes);
    case MESSAGE_ANSWER: return m->answer.zero ? "no such status" : NULL;
    case MESSAGE_REPORT: return wrong_rank(m->report.rank, m->report.zero);
    case MESSAGE_TIMELINE:
        if (wrong_rank(m->timeline.rank, m->timeline.zero))
            return "no such rank";
        return timeline_wrong(&m->timeline, m->rest, m->rest_bytes);
    case MESSAGE_STATUS: return wrong_rank(m->status.rank, m->status.zero);
    case MESSAGE_ADDRESS: return wrong_rank(m->address.rank, m->address.zero);
    case MESSAGE_ID: return wrong_rank(m->edge_id.rank, m->edge_id.zero);
    case MESSAGE_OFFER: return wrong_rank(m->offer.rank, m->offer.zero);
    case MESSAGE_TICKET:
        return m->ticket.answer < N_TICKET_ANSWERS && m->ticket.port <= UINT16_MAX
                   ? NULL
                   : "no such answer";
    case MESSAGE_WANT:
    case MESSAGE_FETCH:
    case MESSAGE_COMMAND: return NULL;
    }
    return "no such message";
}

// What is wrong with a message's rest or fields; NULL: nothing.
static const char *wrong(const Row *row, const Message *m)
{
    if (m->rest_bytes > row->most)
        return row->rest == REST_NONE ? "something behind it" : "its text is too long";
    if (row->rest == REST_TEXT && !utf8_good(m->rest, m->rest_bytes))
        return "its text is no UTF-8";
    return wrong_field(m);
}

// Frames
// -----------------------------------------------------------------------------------------

size_t message_put(void *frame, size_t room, const Message *m)
{
    const Row *row = row_of(m->id);
    if (!row || wrong(row, m))
        return 0;
    size_t bytes = sizeof(MessageHeader) + row->bytes + m->rest_bytes;
    MessageHeader h = {MESSAGE_VERSION, (uint16_t)m->id, (uint32_t)bytes};
    if (bytes > room)
        return 0;
    memcpy(frame, &h, sizeof h);
    memcpy((char *)frame + sizeof h, &m->hello, row->bytes);
    if (m->rest_bytes)
        memcpy((char *)frame + sizeof h + row->bytes, m->rest, m->rest_bytes);
    return bytes;
}

static bool refuse(char why[MESSAGE_WHY], const char *name, const char *what)
{
    snprintf(why, MESSAGE_WHY, "%s: %s", name, what);
    return false;
}

bool message_check(const void *frame, size_t bytes, MessageFrom from, Message *m,
                   char why[MESSAGE_WHY])
{
    MessageHeader h;
    if (bytes < sizeof h || bytes > MESSAGE_MOST)
        return refuse(why, "a frame", bytes < sizeof h ? "too short" : "too long");
    memcpy(&h, frame, sizeof h);
    const Row *row = row_of(h.id);
    if (h.version != MESSAGE_VERSION) {
        snprintf(why, MESSAGE_WHY, "a frame: its version is %d, this program's %d", h.version,
                 MESSAGE_VERSION);
        return false;
    }
    if (!row || row->from != from)
        return refuse(why, row ? row->name : "a frame",
                      row ? "not from there" : "no such message");
    if (h.bytes != bytes || bytes < message_bytes((MessageId)h.id))
        return refuse(why, row->name, "cut off, or its length is wrong");
    m->id = (MessageId)h.id;
    m->rest = (const char *)frame + message_bytes(m->id);
    m->rest_bytes = bytes - message_bytes(m->id);
    memcpy(&m->hello, (const char *)frame + sizeof h, row->bytes);
    const char *what = wrong(row, m);
    return what ? refuse(why, row->name, what) : true;
}
