// Strangers on the port of a Net (control/zmq/net.h): closed in time, little of what they say is read, and a client that is
// admitted goes on exchanging frames all the while.
//
// ZeroMQ's recv is the one of this program, which counts by the port at the other end: exactly what was read. Memory is
// what malloc gave out in the whole process, looked at every turn.
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
#include "tests/control/curve_by_hand.h"
#include "tests/control/net_sides.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PORTS = 1 << 16,
    FLOOD = 10 << 20,      // bytes that a stranger has to say
    READ_MOST = 64 << 10,  // that are read
    MEMORY_MOST = 1 << 20, // bytes that it costs
    GREETING = 64,
    RECORDED = 1 << 16,
};
#define CLOSED_IN 3.0 // s: twice what is promised, for machines that have other things to do

static atomic_size_t bytes_read[PORTS];

ssize_t recv(int fd, void *to, size_t bytes, int flags);
ssize_t recv(int fd, void *to, size_t bytes, int flags)
{
    struct sockaddr_in peer = {.sin_port = 0};
    socklen_t size = sizeof peer;
    ssize_t n = recvfrom(fd, to, bytes, flags, NULL, NULL);
    if (n > 0 && !getpeername(fd, (struct sockaddr *)&peer, &size))
        atomic_fetch_add(&bytes_read[ntohs(peer.sin_port)], (size_t)n);
    return n;
}

static size_t memory_used(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

// The server and its client, who say frames in turns
// ------------------------------------------------------------------------------------------------

static Side *server, *client;
static uint32_t said, answered;

static void exchange(void)
{
    turn();
    if (client->frames == (int)said)
        assert_true(say(client, 0, said++, 1000));
    while (answered < server->next[1])
        assert_true(say(server, 1, answered++, 1000));
}

static void start(void)
{
    said = answered = 0;
    server = server_at("tcp://127.0.0.1:*");
    client = client_of(1, net_endpoint(server->socket));
    UNTIL(client->ups);
    while (client->frames < 10)
        exchange();
}

static void undisturbed(int before)
{
    for (int i = 0; i < 1000 && client->frames <= before + 10; i++)
        exchange();
    assert_true(client->frames > before + 10);
    assert_false(server->disorder || client->disorder);
    assert_int_equal(server->connection[1], 1);
    assert_int_equal(server->downs + client->downs, 0);
    for (int i = 2; i < KEYS; i++)
        assert_int_equal(server->connection[i], 0); // nobody else was heard
}

// What strangers say
// ------------------------------------------------------------------------------------------------

typedef struct Speech {
    uint8_t *bytes;
    size_t n, at_once; // 0: as much as goes; else so many each 50 ms
    bool hangs_up;     // says that it has nothing more to say
} Speech;

static void add(Speech *s, const void *bytes, size_t n)
{
    s->bytes = realloc(s->bytes, s->n + n + 1);
    assert_non_null(s->bytes);
    memcpy(s->bytes + s->n, bytes, n);
    s->n += n;
}

static void add_random(Speech *s, size_t n)
{
    uint64_t x = 88172645463325252u; // xorshift
    s->bytes = realloc(s->bytes, s->n + n);
    assert_non_null(s->bytes);
    for (size_t i = 0; i < n; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        s->bytes[s->n++] = (uint8_t)x;
    }
}

// ZMTP (https://rfc.zeromq.org/spec/23): signature, version, mechanism, as server, filler.
static void add_greeting(Speech *s, uint8_t version, const char *mechanism)
{
    uint8_t greeting[GREETING] = {0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, version};
    snprintf((char *)greeting + 12, 20, "%s", mechanism);
    add(s, greeting, sizeof greeting);
}

static void add_header(Speech *s, uint8_t flags, uint64_t bytes)
{
    uint8_t header[9] = {flags};
    for (int i = 0; i < 8; i++)
        header[1 + i] = (uint8_t)(bytes >> (56 - 8 * i));
    add(s, header, sizeof header);
}

enum { COMMAND = 6, MESSAGE = 2 }; // frames with a long size

static void silence(Speech *s)
{
    (void)s;
}

static void hang_up(Speech *s)
{
    s->hangs_up = true;
}

static void random_bytes(Speech *s)
{
    add_random(s, FLOOD);
}

static void http(Speech *s)
{
    const char *request = "GET / HTTP/1.1\r\nHost: stagecc\r\n\r\n";
    add(s, request, strlen(request));
}

static void half_a_greeting(Speech *s)
{
    add_greeting(s, 3, "CURVE");
    s->n = 11;
}

static void slow_greeting(Speech *s)
{
    add_greeting(s, 3, "CURVE");
    s->at_once = 1;
}

static void greeting_alone(Speech *s)
{
    add_greeting(s, 3, "CURVE");
}

static void no_mechanism(Speech *s)
{
    add_greeting(s, 3, "NULL");
    add(s, "\4\x19\5READY\xbSocket-Type\0\0\0\6DEALER", 27);
    add_random(s, FLOOD);
}

static void plain(Speech *s)
{
    add_greeting(s, 3, "PLAIN");
    add(s, "\4\x0a\5HELLO\1a\1b", 12);
    add_random(s, FLOOD);
}

static void version_2(Speech *s)
{
    add_greeting(s, 1, "");
    s->n = 12;
    add(s, "\5\0\0\0\5hello", 10);
    add_random(s, FLOOD);
}

static void version_1(Speech *s)
{
    add(s, "\1\0\6\0hello", 9);
    add_random(s, FLOOD);
}

static void oversized(Speech *s)
{
    add_greeting(s, 3, "CURVE");
    add_header(s, COMMAND, FLOOD);
    add_random(s, FLOOD);
}

static void absurd(Speech *s)
{
    add_greeting(s, 3, "CURVE");
    add_header(s, MESSAGE, UINT64_MAX);
    add_random(s, FLOOD);
}

static void longest(Speech *s) // that ZeroMQ takes
{
    add_greeting(s, 3, "CURVE");
    add_header(s, COMMAND, (32 << 10) + 64);
    add_random(s, FLOOD);
}

static void as_a_frame(Speech *s) // that goes in parts
{
    add_greeting(s, 3, "CURVE");
    add_header(s, COMMAND, NET_MOST);
    add_random(s, FLOOD);
}

static void truncated(Speech *s)
{
    add_greeting(s, 3, "CURVE");
    add_header(s, COMMAND, 30000);
    add_random(s, 29000);
}

static void bad_hello(Speech *s)
{
    add_greeting(s, 3, "CURVE");
    add(s, "\4\xc8\5HELLO\1\0", 10);
    add_random(s, 192);
    add_random(s, FLOOD);
}

// A stranger's visit
// ------------------------------------------------------------------------------------------------

typedef struct Visit {
    int fd;
    uint16_t port; // its own
    size_t said;
    double from, until; // until: 0 as long as it is open
    double said_at;
} Visit;

static int knock(uint16_t *own)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    a.sin_port = htons((uint16_t)atoi(strrchr(net_endpoint(server->socket), ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, size), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    *own = ntohs(a.sin_port);
    atomic_store(&bytes_read[*own], 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void visit_begin(Visit *v)
{
    *v = (Visit){.from = clock_seconds()};
    v->fd = knock(&v->port);
}

static void visit_go_on(Visit *v, const Speech *s)
{
    char heard[1000];
    double now = clock_seconds();
    size_t most = s->n - v->said;
    if (s->at_once)
        most = now < v->said_at + 0.05 || !most ? 0 : s->at_once;
    ssize_t n = most ? send(v->fd, s->bytes + v->said, most, MSG_NOSIGNAL) : 0;
    if (n > 0) {
        v->said += (size_t)n;
        v->said_at = now;
    }
    if (s->hangs_up && v->said == s->n)
        shutdown(v->fd, SHUT_WR);
    do
        n = read(v->fd, heard, sizeof heard);
    while (n > 0);
    if (n == 0 || errno != EAGAIN)
        v->until = now;
}

// A visit that has begun goes on until it is closed.
static void stay_on(const char *name, Visit *v, const Speech *s)
{
    int before = client->frames;
    size_t memory = memory_used(), most = memory;
    while (!v->until) {
        visit_go_on(v, s);
        exchange();
        size_t now = memory_used();
        most = now > most ? now : most;
        assert_true(clock_seconds() < v->from + CLOSED_IN);
    }
    close(v->fd);
    size_t read = atomic_load(&bytes_read[v->port]);
    print_message(
        "%-18s closed after %4.0f ms, %8zu bytes sent, %6zu read, %4zu KiB of memory, "
        "%d exchanges\n",
        name, 1e3 * (v->until - v->from), v->said, read, (most - memory) >> 10,
        client->frames - before);
    assert_true(read <= READ_MOST && (read > 0 || s->n == 0));
    assert_true(most - memory <= MEMORY_MOST);
    undisturbed(before);
}

static void stay(const char *name, const Speech *s)
{
    Visit v;
    visit_begin(&v);
    stay_on(name, &v, s);
}

static void strangers(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        void (*speak)(Speech *s);
    } kinds[] = {{"silence", silence},
                 {"hangs up", hang_up},
                 {"random bytes", random_bytes},
                 {"HTTP", http},
                 {"half a greeting", half_a_greeting},
                 {"slow greeting", slow_greeting},
                 {"greeting alone", greeting_alone},
                 {"no mechanism", no_mechanism},
                 {"PLAIN", plain},
                 {"ZMTP 2.0", version_2},
                 {"ZMTP 1.0", version_1},
                 {"oversized frame", oversized},
                 {"absurd frame", absurd},
                 {"longest frame", longest},
                 {"1 MiB", as_a_frame},
                 {"truncated frame", truncated},
                 {"bad HELLO", bad_hello}};
    start();
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        Speech s = {0};
        kinds[i].speak(&s);
        stay(kinds[i].name, &s);
        free(s.bytes);
    }
}

static void many_at_once(void **state)
{
    (void)state;
    enum { MANY = 200 };
    static Visit visits[MANY];
    Speech s = {0};
    truncated(&s);
    start();
    int before = client->frames, open = MANY;
    size_t memory = memory_used(), most = memory;
    for (int i = 0; i < MANY; i++)
        visit_begin(&visits[i]);
    double from = clock_seconds();
    while (open) {
        open = 0;
        for (int i = 0; i < MANY; i++) {
            if (!visits[i].until)
                visit_go_on(&visits[i], &s);
            open += !visits[i].until;
        }
        exchange();
        size_t now = memory_used();
        most = now > most ? now : most;
        assert_true(clock_seconds() < from + CLOSED_IN);
    }
    for (int i = 0; i < MANY; i++) {
        close(visits[i].fd);
        assert_true(atomic_load(&bytes_read[visits[i].port]) <= READ_MOST);
    }
    print_message("%d truncated frames: %.0f ms, %zu KiB of memory each, %d exchanges\n",
                  (int)MANY, 1e3 * (clock_seconds() - from), (most - memory) / MANY >> 10,
                  client->frames - before);
    assert_true(most - memory <= (size_t)MANY * MEMORY_MOST);
    undisturbed(before);
    free(s.bytes);
}

// Between a client and the server: what passes is recorded, and may be changed
// ------------------------------------------------------------------------------------------------

typedef struct Between {
    int listening, near, far; // near: the client's; -1: none
    uint8_t record[RECORDED]; // what the first client said
    size_t recorded;
    int served;          // clients
    bool flip, oversize; // the next bytes of the client
} Between;

static void between_open(Between *b, char *endpoint)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    *b = (Between){.near = -1, .far = -1};
    b->listening = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(b->listening, (struct sockaddr *)&a, size), 0);
    assert_int_equal(listen(b->listening, 1), 0);
    assert_int_equal(getsockname(b->listening, (struct sockaddr *)&a, &size), 0);
    snprintf(endpoint, NET_ENDPOINT, "tcp://127.0.0.1:%d", ntohs(a.sin_port));
}

static void between_cut(Between *b)
{
    close(b->near);
    close(b->far);
    b->near = b->far = -1;
}

static bool pass(Between *b, int from, int to)
{
    uint8_t bytes[4096];
    ssize_t n = read(from, bytes, sizeof bytes);
    if (n < 0)
        return errno == EAGAIN;
    if (n > 0 && from == b->near && b->served == 1 && b->recorded + (size_t)n <= RECORDED) {
        memcpy(b->record + b->recorded, bytes, (size_t)n);
        b->recorded += (size_t)n;
    }
    if (n > 0 && from == b->near && b->flip) {
        bytes[n - 1] ^= 1;
        b->flip = false;
    }
    if (from == b->near && b->oversize) {
        Speech s = {0};
        b->oversize = false;
        add_header(&s, MESSAGE, FLOOD);
        assert_int_equal(send(to, s.bytes, s.n, MSG_NOSIGNAL), s.n);
        free(s.bytes);
    }
    return n > 0 && send(to, bytes, (size_t)n, MSG_NOSIGNAL) == n; // little is under way
}

static void between_turn(Between *b)
{
    if (b->near < 0 && (b->near = accept4(b->listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        uint16_t port;
        b->far = knock(&port);
        b->served++;
    }
    if (b->near >= 0 && (!pass(b, b->near, b->far) || !pass(b, b->far, b->near)))
        between_cut(b);
}

#define THROUGH(b, condition)                                                                  \
    for (double end_ = clock_seconds() + PATIENCE_S; !(condition);                             \
         between_turn(b), exchange())                                                          \
    assert_true(clock_seconds() < end_)

// What an admitted client said once opens nothing again.
static void replayed_handshake(void **state)
{
    (void)state;
    static Between b;
    char endpoint[NET_ENDPOINT];
    start();
    between_open(&b, endpoint);
    Side *recorded = client_of(2, endpoint);
    THROUGH(&b, recorded->ups);
    assert_true(say(recorded, 0, 0, 1000));
    THROUGH(&b, server->next[2] == 1);
    assert_true(b.recorded > 1000);
    close(b.listening);
    shut(recorded, 0);
    THROUGH(&b, server->downs == 1);
    server->downs = 0;
    Speech s = {0};
    add(&s, b.record, b.recorded);
    server->connection[2] = 0; // so that it is missed by nobody
    stay("replay", &s);
    for (size_t part = 1; part < 5; part++) { // what ZeroMQ sends as one, and parts of that
        s.n = GREETING + 202 * part / 2;
        stay("part of a replay", &s);
    }
    add_random(&s, FLOOD);
    stay("replay and more", &s);
    assert_int_equal(server->connection[2], 0);
    free(s.bytes);
}

// Whoever alters what an admitted client says only cuts its connection.
static void altered(void **state)
{
    (void)state;
    static Between b;
    char endpoint[NET_ENDPOINT];
    start();
    between_open(&b, endpoint);
    Side *far = client_of(2, endpoint);
    for (int k = 0; k < 2; k++) {
        THROUGH(&b, far->ups == k + 1);
        server->next[2] = 0;
        assert_true(say(far, 0, 0, 1000));
        THROUGH(&b, server->connection[2] == (uint64_t)k + 1);
        b.flip = k == 0;
        b.oversize = k == 1;
        assert_true(say(far, 0, 1, 1000)); // lost
        THROUGH(&b, server->over[2] == (uint64_t)k + 1);
        assert_int_equal(server->next[2], 1);
    }
    THROUGH(&b, far->ups == 3);
    assert_int_equal(client->downs, 0);
    close(b.listening);
    between_cut(&b);
}

// Keys
// ------------------------------------------------------------------------------------------------

// Who knows the server's public key gets as far as to the question whether its own is admitted.
static void long_initiate(void **state)
{
    (void)state;
    enum { LONG = 32 << 10 };
    Hand hand;
    start();
    if (!hand_begin(&hand, keys[0].public_key))
        skip();
    for (int broken = 0; broken < 2; broken++) {
        uint8_t hello[HAND_HELLO], heard[GREETING + 2 + HAND_WELCOME];
        size_t n = 0;
        Visit v;
        Speech s = {0};
        visit_begin(&v);
        hand_hello(&hand, hello);
        add_greeting(&s, 3, "CURVE");
        add(&s, "\4\xc8", 2);
        add(&s, hello, sizeof hello);
        assert_int_equal(send(v.fd, s.bytes, s.n, MSG_NOSIGNAL), s.n);
        v.said = s.n;
        while (n < sizeof heard) {
            ssize_t got = read(v.fd, heard + n, sizeof heard - n);
            assert_true(got > 0 || (got < 0 && errno == EAGAIN));
            n += got > 0 ? (size_t)got : 0;
            exchange();
        }
        assert_true(hand_welcome(&hand, heard + GREETING + 2));
        uint8_t *initiate = hand_initiate(&hand, LONG);
        initiate[LONG - 1] ^= (uint8_t)broken;
        add_header(&s, COMMAND, LONG);
        add(&s, initiate, LONG);
        add_random(&s, FLOOD);
        stay_on(broken ? "false INITIATE" : "long INITIATE", &v, &s);
        free(initiate);
        free(s.bytes);
    }
}

static void wrong_keys(void **state)
{
    (void)state;
    start();
    int before = client->frames;
    Side *nobody = client_of(CLIENTS + 1, net_endpoint(server->socket)); // not admitted
    Side *other = side(2, false); // admitted, and looks for another master
    other->socket =
        net_connect(other->net, net_endpoint(server->socket), keys[CLIENTS + 1].public_key);
    for (double end = clock_seconds() + 2.5; clock_seconds() < end;) {
        exchange();
        assert_false(say(nobody, 0, 0, 4) || say(other, 0, 0, 4));
    }
    assert_int_equal(nobody->ups + nobody->downs + nobody->frames, 0);
    assert_int_equal(other->ups + other->downs + other->frames, 0);
    undisturbed(before);
    admitted[CLIENTS + 1] = true; // from now on
    UNTIL(nobody->ups);
}

// Who is asked for frames says something else; when the server is there in its place, it is found.
static void no_server(void **state)
{
    (void)state;
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
    char endpoint[NET_ENDPOINT];
    static Between b;
    between_open(&b, endpoint);
    Side *c = client_of(1, endpoint);
    for (int visits = 0; visits < 2; turn()) {
        int fd = accept(b.listening, NULL, NULL);
        if (fd < 0)
            continue;
        assert_true(send(fd, answer, sizeof answer, MSG_NOSIGNAL) > 0);
        usleep(20000);
        close(fd);
        visits++;
    }
    assert_int_equal(c->ups, 0);
    close(b.listening);
    server_at(endpoint);
    UNTIL(c->ups);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(strangers),     TEST(many_at_once), TEST(replayed_handshake), TEST(altered),
        TEST(long_initiate), TEST(wrong_keys),   TEST(no_server)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
