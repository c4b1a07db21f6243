// Frames of the control protocol: what the table allows is read back as it was, and everything beside it is refused by
// name: every truncation, other versions, lengths, ids and senders, text too long or no UTF-8, fields out of their tables.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "control/message.h"
#include "plan/segment.h"
#include "plan/stream.h"

#include <stdlib.h>
#include <string.h>

enum { N_IDS = 25 };

static const struct {
    MessageFrom from;
    bool text;
} rows[N_IDS] = {
#define FROM_IS_NONE false
#define FROM_IS_TEXT true
#define FROM_IS_BYTES true
#define MESSAGE(NAME, name, id, FROM, Struct, REST, most, meaning)                             \
    [id] = {FROM_##FROM, FROM_IS_##REST},
#include "control/message.def"
#undef MESSAGE
};

static const StepSpan spans[] = {{1000, 1200, 3, RT_FORWARD, 0, 0},
                                 {1200, 1900, 3, RT_RECV, SEGMENT_WAITS_FOR_RANK, 0},
                                 {1950, 2000, 0, RT_N_OPCODES, SEGMENT_WAITS_FOR_MASTER, 0}};

// One of each, with fields that are allowed.
static Message example(int id)
{
    Message m = {.id = (MessageId)id};
    if (id == MESSAGE_HELLO)
        m.hello = (Hello){9, 1 << 30, 2, 1000, "avx512", DEVICE_CUDA, 0};
    if (id == MESSAGE_WELCOME)
        m.welcome = (Welcome){77, 3, 500};
    if (id == MESSAGE_BEAT)
        m.beat = (Beat){9, 2, 11, WORKER_RUNNING, 2, {{11, 1, 3}, {12, 2, 3}}};
    if (id == MESSAGE_ORDER)
        m.order = (Order){2, 11, 12, 100, ORDER_GO, 0};
    if (id == MESSAGE_START || id == MESSAGE_WARM)
        m.start = (Epoch){.number = 2,
                          .step = 11,
                          .made = 1,
                          .parts = 7,
                          .n_ranks = 2,
                          .copy_every = 1,
                          .source = {0, 1, NOBODY},
                          .incarnations = {5, 6},
                          .ranks = {{3, 3, 0, 1, 0}, {6, 4, 1, NOBODY, 0}}};
    if (id == MESSAGE_PIECE)
        m.piece = (Piece){{1, 2, 3}, 10, 30};
    if (id == MESSAGE_TICKET)
        m.ticket = (Ticket){4, {1, 2, 3}, 40123, TICKET_HERE};
    if (rows[id].text) {
        m.rest = "h1 \xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80";
        m.rest_bytes = strlen(m.rest);
    }
    if (id == MESSAGE_TIMELINE) {
        m.timeline = (Timeline){2, 12, 99, 1000, 2000, 2500, 1, 0};
        m.rest = (const char *)spans;
        m.rest_bytes = sizeof spans;
    }
    return m;
}

// A copy of exactly that size, so that sanitizers see every byte too far.
static bool accepted(const void *frame, size_t bytes, MessageFrom from, char why[MESSAGE_WHY])
{
    Message m;
    void *exact = malloc(bytes + !bytes);
    memcpy(exact, frame, bytes);
    *why = 0;
    bool good = message_check(exact, bytes, from, &m, why);
    free(exact);
    return good;
}

static void refused(const void *frame, size_t bytes, MessageFrom from, const char *what)
{
    char why[MESSAGE_WHY];
    if (accepted(frame, bytes, from, why))
        fail_msg("accepted, and not: %s", what);
    if (!strstr(why, what))
        fail_msg("expected \"%s\" in: %s", what, why);
}

static void reads_what_was_put(void **state)
{
    (void)state;
    for (int id = 1; id < N_IDS; id++) {
        char frame[4096], again[4096], why[MESSAGE_WHY];
        Message m = example(id), got;
        size_t bytes = message_put(frame, sizeof frame, &m);
        assert_int_equal(bytes, message_bytes(m.id) + m.rest_bytes);
        if (!message_check(frame, bytes, rows[id].from, &got, why))
            fail_msg("%s", why);
        assert_int_equal(got.id, id);
        assert_memory_equal(&got.hello, &m.hello, message_bytes(m.id) - sizeof(MessageHeader));
        assert_int_equal(got.rest_bytes, m.rest_bytes);
        assert_int_equal(message_put(again, sizeof again, &got), bytes);
        assert_memory_equal(frame, again, bytes);
        assert_int_equal(message_put(again, bytes - 1, &m), 0); // no room
    }
}

static void refuses_other_frames(void **state)
{
    (void)state;
    for (int id = 1; id < N_IDS; id++) {
        char frame[4096], why[MESSAGE_WHY];
        Message m = example(id);
        size_t bytes = message_put(frame, sizeof frame, &m);
        for (size_t n = 0; n < bytes; n++)
            if (accepted(frame, n, rows[id].from, why))
                fail_msg("%s: %zu of %zu bytes accepted", message_name(m.id), n, bytes);
        refused(frame, bytes + 1, rows[id].from, "length is wrong");
        for (int from = FROM_WORKER; from <= FROM_PEER; from++)
            if (from != (int)rows[id].from)
                refused(frame, bytes, (MessageFrom)from, "not from there");
        frame[0]++;
        refused(frame, bytes, rows[id].from, "its version is 4, this program's 3");
        frame[0]--;
        frame[4] ^= 1;
        refused(frame, bytes, rows[id].from, "length is wrong");
        frame[4] ^= 1;
        frame[3] = 1;
        refused(frame, bytes, rows[id].from, "no such message");
        frame[3] = 0;
        frame[2] = 0;
        refused(frame, bytes, rows[id].from, "no such message");
        frame[2] = N_IDS;
        refused(frame, bytes, rows[id].from, "no such message");
    }
}

static void refuses_text(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80",
        "\xc3",
        "\xc3(",
        "\xc0\xaf",
        "\xe0\x80\xaf",
        "\xed\xa0\x80",
        "\xe2\x82",
        "\xf4\x90\x80\x80",
        "\xf8\x88\x80\x80\x80",
        "\xff",
    };
    char frame[4096];
    Message m = example(MESSAGE_ENDED);
    size_t before = message_bytes(m.id);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        m.rest = "..........";
        m.rest_bytes = 4 + strlen(bad[i]);
        size_t bytes = message_put(frame, sizeof frame, &m);
        memcpy(frame + before + 2, bad[i], strlen(bad[i]));
        refused(frame, bytes, FROM_WORKER, "ENDED: its text is no UTF-8");
        m.rest = bad[i];
        m.rest_bytes = strlen(bad[i]);
        assert_int_equal(message_put(frame, sizeof frame, &m), 0);
    }
    m = example(MESSAGE_ENDED);
    m.rest = "a\0b";
    m.rest_bytes = 3;
    assert_int_equal(message_put(frame, sizeof frame, &m), 0);
}

static void refuses_long_frames(void **state)
{
    (void)state;
    char *frame = calloc(1, MESSAGE_MOST + 1), *text = malloc(MESSAGE_MOST);
    memset(text, 'x', MESSAGE_MOST);
    Message m = example(MESSAGE_HELLO);
    m.rest = text;
    m.rest_bytes = 257;
    assert_int_equal(message_put(frame, MESSAGE_MOST, &m), 0);
    m.rest_bytes = 256;
    size_t bytes = message_put(frame, MESSAGE_MOST, &m);
    assert_int_not_equal(bytes, 0);
    frame[bytes] = 'x';
    frame[4]++;
    refused(frame, bytes + 1, FROM_WORKER, "HELLO: its text is too long");
    m = example(MESSAGE_LEAVE);
    bytes = message_put(frame, MESSAGE_MOST, &m);
    frame[4]++;
    refused(frame, bytes + 1, FROM_MASTER, "LEAVE: something behind it");
    refused(frame, MESSAGE_MOST + 1, FROM_MASTER, "too long");
    free(frame);
    free(text);
}

// A field of an example altered.
static void refuses_field(int id, size_t at, unsigned char byte, const char *what)
{
    char frame[4096];
    Message m = example(id);
    size_t bytes = message_put(frame, sizeof frame, &m);
    frame[sizeof(MessageHeader) + at] = (char)byte;
    refused(frame, bytes, rows[id].from, what);
}

static void refuses_fields(void **state)
{
    (void)state;
    refuses_field(MESSAGE_HELLO, offsetof(Hello, incarnation), 0, "HELLO: no incarnation");
    refuses_field(MESSAGE_HELLO, offsetof(Hello, slots), 0, "no slots");
    refuses_field(MESSAGE_HELLO, offsetof(Hello, slots), MOST_RANKS + 1, "no machine has so");
    refuses_field(MESSAGE_HELLO, offsetof(Hello, speed_milli) + 3, 1, "no machine has so");
    refuses_field(MESSAGE_HELLO, offsetof(Hello, memory_bytes) + 7, 0x80, "no machine has so");
    refuses_field(MESSAGE_HELLO, offsetof(Hello, isa) + 15, 'x', "isa is no name");
    refuses_field(MESSAGE_HELLO, offsetof(Hello, isa) + 1, 0xff, "isa is no name");
    refuses_field(MESSAGE_HELLO, offsetof(Hello, device), N_DEVICE_KINDS, "no such kind");
    refuses_field(MESSAGE_HELLO, offsetof(Hello, zero), 1, "no such kind");
    refuses_field(MESSAGE_WELCOME, offsetof(Welcome, worker), MOST_WORKERS, "no such worker");
    refuses_field(MESSAGE_REFUSED, offsetof(Refused, why), N_REFUSED, "no such reason");
    refuses_field(MESSAGE_BEAT, offsetof(Beat, phase), N_WORKER_PHASES, "no such phase");
    refuses_field(MESSAGE_BEAT, offsetof(Beat, n_held), MOST_HELD + 1, "too many states");
    refuses_field(MESSAGE_BEAT, offsetof(Beat, held) + 2 * sizeof(Held), 1, "behind the last");
    refuses_field(MESSAGE_BEAT, offsetof(Beat, incarnation), 0, "no incarnation");
    refuses_field(MESSAGE_ORDER, offsetof(Order, what), N_ORDERS, "no such order");
    refuses_field(MESSAGE_ORDER, offsetof(Order, ends), 2, "no such order");
    refuses_field(MESSAGE_START, offsetof(Epoch, number), 0, "no such epoch");
    refuses_field(MESSAGE_START, offsetof(Epoch, made), 2, "no such epoch");
    refuses_field(MESSAGE_START, offsetof(Epoch, n_ranks), 0, "no ranks");
    refuses_field(MESSAGE_START, offsetof(Epoch, n_ranks), MOST_RANKS + 1, "or too many");
    refuses_field(MESSAGE_START, offsetof(Epoch, parts), 15, "no owner");
    refuses_field(MESSAGE_START, offsetof(Epoch, copy_every), 0, "never copied");
    refuses_field(MESSAGE_START, offsetof(Epoch, zero), 1, "no such epoch");
    refuses_field(MESSAGE_START, offsetof(Epoch, source), 64, "source is no worker");
    refuses_field(MESSAGE_START, offsetof(Epoch, incarnations), 0, "does not take part");
    refuses_field(MESSAGE_START, offsetof(Epoch, ranks[1].owns), 6, "two owners");
    refuses_field(MESSAGE_START, offsetof(Epoch, ranks[1].runs), 2, "not what it owns");
    refuses_field(MESSAGE_START, offsetof(Epoch, ranks[1].worker), 64, "does not take part");
    refuses_field(MESSAGE_START, offsetof(Epoch, ranks[0].copier), 0, "its own worker");
    refuses_field(MESSAGE_START, offsetof(Epoch, ranks[0].copier), 64, "with nobody");
    refuses_field(MESSAGE_START, offsetof(Epoch, ranks[0].copier), 2, "does not take part");
    refuses_field(MESSAGE_ENDED, offsetof(ProgramEnded, rank), MOST_RANKS, "no such rank");
    refuses_field(MESSAGE_CANNOT, offsetof(Cannot, zero), 1, "no such rank");
    refuses_field(MESSAGE_LEAVE, offsetof(Leave, drained), 2, "no such reason");
    refuses_field(MESSAGE_TIMES, offsetof(Times, rank), MOST_RANKS, "no such rank");
    refuses_field(MESSAGE_PIECE, offsetof(Piece, whole), 9, "beyond the end");
    refuses_field(MESSAGE_PIECE, offsetof(Piece, from) + 1, 3, "beyond the end");
    refuses_field(MESSAGE_WARM, offsetof(Epoch, number), 0, "no such epoch");
    refuses_field(MESSAGE_WARMED, offsetof(Warmed, can), 2, "no such answer");
    refuses_field(MESSAGE_REPORT, offsetof(Report, rank), MOST_RANKS, "no such rank");
    refuses_field(MESSAGE_STATUS, offsetof(RankStatus, zero), 1, "no such rank");
    refuses_field(MESSAGE_ADDRESS, offsetof(RankStatus, rank), MOST_RANKS, "no such rank");
    refuses_field(MESSAGE_ID, offsetof(RankStatus, rank), MOST_RANKS, "no such rank");
    refuses_field(MESSAGE_OFFER, offsetof(Offer, rank), MOST_RANKS, "no such rank");
    refuses_field(MESSAGE_TICKET, offsetof(Ticket, port) + 2, 1, "no such answer");
    refuses_field(MESSAGE_TICKET, offsetof(Ticket, answer), 2, "no such answer");
    refuses_field(MESSAGE_ANSWER, offsetof(Answer, zero), 1, "no such status");
}

// What a program did when: a field of a span altered, or of the step.
static void refuses_spans(void **state)
{
    (void)state;
    size_t first = sizeof(Timeline), second = first + sizeof(StepSpan);
    refuses_field(MESSAGE_TIMELINE, offsetof(Timeline, rank), MOST_RANKS, "no such rank");
    refuses_field(MESSAGE_TIMELINE, offsetof(Timeline, zero), 1, "no such rank");
    refuses_field(MESSAGE_TIMELINE, offsetof(Timeline, step), 0, "no such step");
    refuses_field(MESSAGE_TIMELINE, offsetof(Timeline, clock), 0, "no such step");
    refuses_field(MESSAGE_TIMELINE, offsetof(Timeline, begin_ns) + 1, 9, "no such step");
    refuses_field(MESSAGE_TIMELINE, offsetof(Timeline, begin_ns) + 7, 0x80, "no such step");
    refuses_field(MESSAGE_TIMELINE, offsetof(Timeline, sent_ns) + 7, 0x20, "no such step");
    refuses_field(MESSAGE_TIMELINE, offsetof(Timeline, sent_ns) + 1, 7, "no such step");
    refuses_field(MESSAGE_TIMELINE, offsetof(Timeline, end_ns) + 1, 6, "out of order");
    refuses_field(MESSAGE_TIMELINE, first + offsetof(StepSpan, begin_ns), 0xe7, "out of order");
    refuses_field(MESSAGE_TIMELINE, second + offsetof(StepSpan, begin_ns), 0xaf,
                  "out of order");
    refuses_field(MESSAGE_TIMELINE, second + offsetof(StepSpan, end_ns) + 1, 4, "out of order");
    refuses_field(MESSAGE_TIMELINE, first + offsetof(StepSpan, opcode), RT_N_OPCODES,
                  "no such instruction");
    refuses_field(MESSAGE_TIMELINE, second + offsetof(StepSpan, opcode), RT_N_OPCODES + 1,
                  "no such instruction");
    refuses_field(MESSAGE_TIMELINE, first + offsetof(StepSpan, waiting), 3,
                  "no such instruction");
    refuses_field(MESSAGE_TIMELINE, first + offsetof(StepSpan, zero), 1, "no such instruction");
    char frame[4096];
    Message m = example(MESSAGE_TIMELINE);
    m.rest_bytes--;
    assert_int_equal(message_put(frame, sizeof frame, &m), 0);
    m.rest_bytes = 0;
    assert_int_equal(message_put(frame, sizeof frame, &m), message_bytes(m.id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_was_put), cmocka_unit_test(refuses_other_frames),
        cmocka_unit_test(refuses_text),       cmocka_unit_test(refuses_long_frames),
        cmocka_unit_test(refuses_fields),     cmocka_unit_test(refuses_spans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
