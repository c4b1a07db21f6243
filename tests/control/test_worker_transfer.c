// States go from one worker's memory to another's, whatever happens: requests that are lost, connections that end in the
// middle, bytes that are spoilt, a state that is written over, a source that says nothing any more; and strangers at the
// port, who get nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#ifndef STAGECC_ZMQ
int main(void)
{
    return 77;
}
#else
#include "control/worker/transfer.h"
#include "plan/crc32c.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BIG = 3 * (1 << 18) + 12345, ROOM = 2097152 };
#define MS INT64_C(1000000)
#define SECOND_NS (1000 * MS)

typedef struct Network {
    States *source;
    Streams *giver, *taker;
    Transfer *transfer;
    int asked, opened;
    int lose; // so many requests, from the first on
    int64_t now_ns;
    Ticket answer; // not yet heard
    bool answered;
    uint16_t port; // instead of the giver's, for the first connection; 0: its own
} Network;

static void ask(void *user, uint16_t worker, const Fetch *fetch)
{
    Network *n = user;
    assert_int_equal(worker, 4);
    if (n->asked++ < n->lose)
        return;
    n->answer = transfer_answer(n->source, n->giver, fetch, n->now_ns);
    n->answered = true;
}

static Stream *open_stream(void *user, uint16_t worker, const Ticket *ticket)
{
    Network *n = user;
    uint16_t port = n->opened++ || !n->port ? (uint16_t)ticket->port : n->port;
    assert_int_equal(worker, 4);
    return stream_open(n->taker, "127.0.0.1", port, ticket->ticket);
}

static void begin_network(Network *n, States *source)
{
    *n = (Network){.source = source,
                   .giver = streams_open("127.0.0.1"),
                   .taker = streams_open("127.0.0.1")};
    assert_non_null(n->giver);
    assert_non_null(n->taker);
}

static void give_back(Network *n)
{
    for (Parcel *p; (p = streams_back(n->giver, n->now_ns));)
        parcel_free(p);
}

static void end_network(Network *n)
{
    streams_close(n->taker);
    streams_close(n->giver);
}

// A state with a tensor of several pieces, a small one and an empty one; of another plan, so it lies elsewhere.
static Image *source_of(States *s)
{
    static const char *const text =
        "{\"generation_bytes\": 2097152, \"tensors\": ["
        "{\"name\": \"b.big\", \"at\": 4096, \"bytes\": 798777, \"layout\": \"F32 plain\"},"
        "{\"name\": \"a.small\", \"at\": 64, \"bytes\": 100, \"layout\": \"F32 plain\"},"
        "{\"name\": \"a.empty\", \"at\": 512, \"bytes\": 0, \"layout\": \"F32 plain\"}]}";
    json_t *parts = json_loads("{\"a\": 0, \"b\": 1}", 0, NULL);
    Tensors t = {0};
    char why[TENSORS_WHY];
    assert_int_equal(BIG, 798777);
    assert_true(tensors_of_program(&t, text, parts, why));
    Image *image = image_new(s, 1, 0, &t);
    for (uint64_t i = 0; i < image->header->bytes; i++)
        image_generation(image->header, 0)[i] = (uint8_t)(i * 2654435761u >> 13);
    image_settle(image, 10, 2, 3, &(Beginning){5, 6, 7});
    image->parts = 3;
    json_decref(parts);
    return image;
}

static void want_all(Transfer *t, uint8_t *to)
{
    Wanted *wanted = calloc((size_t)t->tensors.n + 1, sizeof *wanted);
    for (int i = 0; i < t->tensors.n; i++) {
        const StateTensor *x = &t->tensors.items[i];
        wanted[i] = (Wanted){x->name, to + x->at, x->bytes};
    }
    transfer_want(t, wanted, t->tensors.n);
}

static void step(Network *n, Transfer *t)
{
    TransferLine line = {.ask = ask, .open = open_stream, .user = n, .number = t->request};
    struct pollfd fd = {.fd = streams_fd(n->taker), .events = POLLIN};
    n->now_ns += 20 * MS;
    transfer_run(t, &line, n->now_ns);
    if (n->answered) {
        assert_false(transfer_take(t, &line, 5, &n->answer, n->now_ns)); // nobody else's
        assert_true(transfer_take(t, &line, 4, &n->answer, n->now_ns));
        n->answered = false;
    }
    if (t->stream)
        poll(&fd, 1, 1);
    streams_seen(n->taker);
    give_back(n);
    assert_true(n->now_ns < 1000 * SECOND_NS);
}

// Until it is over.
static void run(Network *n, Transfer *t, uint8_t *to)
{
    while (t->phase != TRANSFER_MOVED && t->phase != TRANSFER_FAILED) {
        if (t->phase == TRANSFER_LISTED)
            want_all(t, to);
        step(n, t);
    }
}

static void run_until(Network *n, Transfer *t, TransferPhase phase)
{
    while (t->phase != phase)
        step(n, t);
}

static void check_all(const Transfer *t, const Image *image, const uint8_t *to)
{
    assert_string_equal(t->why, "");
    for (int i = 0; i < t->tensors.n; i++) {
        const StateTensor *theirs = tensors_find(&image->tensors, t->tensors.items[i].name);
        assert_memory_equal(to + t->tensors.items[i].at,
                            image_generation(image->header, 0) + theirs->at, theirs->bytes);
    }
    assert_int_equal(t->beginning.seed, 5);
    assert_int_equal(t->beginning.epoch, 6);
    assert_int_equal(t->beginning.index, 7);
}

typedef struct Fixture {
    States states;
    Image *image;
    Network n;
    Transfer t;
    uint8_t *to;
} Fixture;

static int set_up(void **state)
{
    Fixture *f = calloc(1, sizeof *f);
    f->image = source_of(&f->states);
    begin_network(&f->n, &f->states);
    f->to = calloc(1, ROOM);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    Fixture *f = *state;
    transfer_release(&f->t);
    end_network(&f->n); // gives back what is left
    assert_true(!f->states.images || !f->image->pins);
    states_release(&f->states);
    free(f->to);
    free(f);
    return 0;
}

static void all_of_it(void **state)
{
    Fixture *f = *state;
    for (int i = 0; i < 20; i++) {
        memset(f->to, 0, ROOM);
        transfer_begin(&f->t, 4, &(Held){10, 2, 3}, f->n.now_ns);
        run(&f->n, &f->t, f->to);
        assert_int_equal(f->t.tensors.n, 3);
        check_all(&f->t, f->image, f->to);
    }
    assert_int_equal(f->n.asked, 20);
    while (f->image->pins) // what was taken is given back once its thread has ended
        give_back(&f->n);
}

static void lost_requests(void **state)
{
    Fixture *f = *state;
    f->n.lose = 2;
    transfer_begin(&f->t, 4, &(Held){10, 2, 3}, 0);
    run(&f->n, &f->t, f->to);
    assert_int_equal(f->n.asked, 3);
    check_all(&f->t, f->image, f->to);
}

static void only_what_is_asked_for(void **state)
{
    Fixture *f = *state;
    transfer_begin(&f->t, 4, &(Held){10, 2, 1}, 0);
    run(&f->n, &f->t, f->to);
    assert_int_equal(f->t.tensors.n, 2);
    assert_null(tensors_find(&f->t.tensors, "b.big"));
    check_all(&f->t, f->image, f->to);
}

static void some_of_what_comes(void **state)
{
    Fixture *f = *state;
    transfer_begin(&f->t, 4, &(Held){10, 2, 3}, 0);
    run_until(&f->n, &f->t, TRANSFER_LISTED);
    Wanted *wanted = calloc(1, sizeof *wanted);
    *wanted = (Wanted){"b.big", f->to, BIG};
    transfer_want(&f->t, wanted, 1);
    run(&f->n, &f->t, f->to);
    assert_int_equal(f->t.phase, TRANSFER_MOVED);
    assert_memory_equal(f->to, image_generation(f->image->header, 0) + 4096, BIG);
}

static void what_is_not_there(void **state)
{
    Fixture *f = *state;
    transfer_begin(&f->t, 4, &(Held){10, 2, 3}, 0);
    run_until(&f->n, &f->t, TRANSFER_LISTED);
    Wanted *wanted = calloc(1, sizeof *wanted);
    *wanted = (Wanted){"b.big", f->to, BIG - 1};
    transfer_want(&f->t, wanted, 1);
    assert_string_equal(f->t.why, "worker 4 has another size of b.big, or nothing");
}

static void not_held(void **state)
{
    Fixture *f = *state;
    transfer_begin(&f->t, 4, &(Held){11, 2, 3}, 0);
    run(&f->n, &f->t, f->to);
    assert_string_equal(f->t.why, "worker 4 does not hold all of the state behind step 11");
    transfer_begin(&f->t, 4, &(Held){10, 3, 3}, 0);
    run(&f->n, &f->t, f->to);
    assert_int_equal(f->t.phase, TRANSFER_FAILED);
}

// While it is sent, a program begins to write over it; or another program began there meanwhile, and has come as far.
static void written_over(void **state)
{
    Fixture *f = *state;
    for (int again = 0; again < 2; again++) {
        Parcel *p = parcel_new(&f->states, &(Held){10, 2, 3});
        assert_int_equal(f->image->pins, p->n);
        if (again)
            image_reuse(f->image, 10, 2, 4);
        else
            image_set_step(f->image->header, 0, -1);
        uint8_t ticket[TICKET_BYTES];
        assert_true(streams_give(f->n.giver, p, 0, ticket));
        Stream *t = stream_open(f->n.taker, "127.0.0.1", streams_port(f->n.giver), ticket);
        while (stream_phase(t) == STREAM_COMING)
            poll(NULL, 0, 1);
        assert_int_equal(stream_phase(t), STREAM_LISTED);
        StreamPlace *places = calloc(3, sizeof *places);
        places[2].bytes = BIG;
        places[1].bytes = 100;
        stream_into(t, places, 3);
        while (stream_phase(t) == STREAM_LISTED || stream_phase(t) == STREAM_MOVING)
            poll(NULL, 0, 1);
        assert_int_equal(stream_phase(t), STREAM_FAILED);
        stream_close(t);
        while (f->image->pins)
            give_back(&f->n);
        image_set_step(f->image->header, 0, 10);
    }
}

// Nothing is freed or written over that somebody may be taking.
static void pinned(void **state)
{
    Fixture *f = *state;
    Worker nothing = {.n_held = 0};
    f->image->busy = false;
    Parcel *p = parcel_new(&f->states, &(Held){10, 2, 3});
    states_sweep(&f->states, &nothing, true);
    assert_ptr_equal(f->states.images, f->image);
    parcel_free(p);
    states_sweep(&f->states, &nothing, true);
    assert_null(f->states.images);
}

// A port that answers its first caller with these bytes, and ends.
typedef struct Liar {
    int fd;
    uint16_t port;
    const void *bytes;
    size_t n;
    pthread_t thread;
} Liar;

static void *lie(void *liar)
{
    Liar *l = liar;
    char ticket[TICKET_BYTES];
    int fd = accept(l->fd, NULL, NULL);
    assert_int_equal(recv(fd, ticket, sizeof ticket, MSG_WAITALL), TICKET_BYTES);
    assert_int_equal(send(fd, l->bytes, l->n, MSG_NOSIGNAL), (int)l->n);
    close(fd);
    return NULL;
}

static void begin_liar(Liar *l, const void *bytes, size_t n)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    *l = (Liar){.fd = socket(AF_INET, SOCK_STREAM, 0), .bytes = bytes, .n = n};
    assert_false(bind(l->fd, (struct sockaddr *)&at, sizeof at));
    assert_false(listen(l->fd, 1));
    getsockname(l->fd, (struct sockaddr *)&at, &size);
    l->port = ntohs(at.sin_port);
    pthread_create(&l->thread, NULL, lie, l);
}

// The real listing and tensors as they travel; spoil: a byte of them.
static size_t write_stream(const Fixture *f, uint8_t *to, size_t spoil)
{
    static const char listing[] = "{\"seed\":5,\"cursor\":[6,7],\"tensors\":[[\"a.empty\",0,0,"
                                  "\"F32 plain\"],[\"a.small\",0,100,\"F32 plain\"]]}";
    uint64_t bytes = sizeof listing - 1;
    uint32_t seals[3][2] = {{crc32c(0, listing, bytes), 1}, {0, 1}, {0, 1}};
    const uint8_t *small = image_generation(f->image->header, 0) + 64;
    size_t n = 0;
    seals[2][0] = crc32c(0, small, 100);
    memcpy(to, &bytes, 8);
    memcpy(to + 8, listing, bytes);
    n = 8 + bytes;
    memcpy(to + n, seals[0], 8);
    memcpy(to + n + 8, seals[1], 8);
    memcpy(to + n + 16, small, 100);
    memcpy(to + n + 116, seals[2], 8);
    n += 124;
    if (spoil < n)
        to[spoil] ^= 1;
    return n;
}

// Whatever is spoilt or cut off is not taken, and is asked for again.
static void spoilt_or_cut(void **state)
{
    Fixture *f = *state;
    uint8_t bytes[512];
    size_t n = write_stream(f, bytes, SIZE_MAX);
    for (size_t at = 0; at < 2 * n; at += 3) {
        Liar liar;
        write_stream(f, bytes, at);
        begin_liar(&liar, bytes, at < n ? n : at - n);
        f->n.port = liar.port;
        f->n.opened = f->n.asked = 0;
        memset(f->to, 0, ROOM);
        transfer_begin(&f->t, 4, &(Held){10, 2, 1}, f->n.now_ns);
        run(&f->n, &f->t, f->to);
        assert_int_equal(f->n.opened, 2);
        check_all(&f->t, f->image, f->to);
        pthread_join(liar.thread, NULL);
        close(liar.fd);
    }
}

static void patience_ends(void **state)
{
    Fixture *f = *state;
    TransferLine line = {.ask = ask, .open = open_stream, .user = &f->n};
    f->n.lose = 100;
    transfer_begin(&f->t, 4, &(Held){10, 2, 3}, 0);
    transfer_run(&f->t, &line, PATIENCE_S * SECOND_NS);
    assert_int_equal(f->t.phase, TRANSFER_ASKING);
    transfer_run(&f->t, &line, PATIENCE_S * SECOND_NS + 1);
    assert_string_equal(f->t.why,
                        "worker 4 has sent nothing of the state behind step 10 for 10 s");
}

static int call(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_false(connect(fd, (struct sockaddr *)&at, sizeof at));
    return fd;
}

// Closed on: at once with a wrong or used ticket, after a second without any; nothing is said to them.
static void strangers(void **state)
{
    Fixture *f = *state;
    uint8_t ticket[TICKET_BYTES] = {0}, much[64] = {0};
    char said;
    uint16_t port = streams_port(f->n.giver);
    int silent = call(port), wrong = call(port), loud = call(port);
    assert_int_equal(send(wrong, ticket, sizeof ticket, 0), TICKET_BYTES);
    assert_int_equal(send(loud, much, sizeof much, 0), (int)sizeof much);
    assert_true(recv(wrong, &said, 1, 0) <= 0);
    assert_true(recv(loud, &said, 1, 0) <= 0);
    assert_true(recv(silent, &said, 1, 0) <= 0);
    close(silent);
    close(wrong);
    close(loud);
    // A ticket is good once.
    Parcel *p = parcel_new(&f->states, &(Held){10, 2, 1});
    assert_true(streams_give(f->n.giver, p, 0, ticket));
    int first = call(port);
    assert_int_equal(send(first, ticket, sizeof ticket, 0), TICKET_BYTES);
    assert_int_equal(recv(first, &said, 1, 0), 1);
    int second = call(port);
    assert_int_equal(send(second, ticket, sizeof ticket, 0), TICKET_BYTES);
    assert_true(recv(second, &said, 1, 0) <= 0);
    close(first);
    close(second);
    // And not for ever.
    p = parcel_new(&f->states, &(Held){10, 2, 1});
    assert_true(streams_give(f->n.giver, p, 0, ticket));
    f->n.now_ns = (PATIENCE_S + 1) * SECOND_NS;
    while (f->image->pins)
        give_back(&f->n);
    int late = call(port);
    assert_int_equal(send(late, ticket, sizeof ticket, 0), TICKET_BYTES);
    assert_true(recv(late, &said, 1, 0) <= 0);
    close(late);
}

// Nobody waits for who is closed, wherever it stands.
static void closed_in_the_middle(void **state)
{
    Fixture *f = *state;
    transfer_begin(&f->t, 4, &(Held){10, 2, 3}, 0);
    run_until(&f->n, &f->t, TRANSFER_COMING);
    transfer_release(&f->t);
    transfer_begin(&f->t, 4, &(Held){10, 2, 3}, 0);
    run_until(&f->n, &f->t, TRANSFER_LISTED);
    transfer_release(&f->t);
    transfer_begin(&f->t, 4, &(Held){10, 2, 3}, 0);
    run_until(&f->n, &f->t, TRANSFER_LISTED);
    want_all(&f->t, f->to);
    transfer_release(&f->t);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(all_of_it),
        TEST(lost_requests),
        TEST(only_what_is_asked_for),
        TEST(some_of_what_comes),
        TEST(what_is_not_there),
        TEST(not_held),
        TEST(written_over),
        TEST(pinned),
        TEST(spoilt_or_cut),
        TEST(patience_ends),
        TEST(closed_in_the_middle),
        TEST(strangers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
