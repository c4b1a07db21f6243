// A Net (control/zmq/net.h): frames between keys, connections that come and go, and strangers.
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
#include "base/clock.h"
#include "control/zmq/net.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CLIENTS = 3, SIDES = 8, PATIENCE_S = 20 };

// One end: what it was told so far.
typedef struct Side {
    Net *net;
    NetSocket *socket;
    const Key *key;
    int frames, ups, downs;
    uint32_t next[CLIENTS + 1]; // of each sender: the number that its next frame should bear
    uint64_t connection[CLIENTS + 1], down_of;
    bool disorder;
    size_t bytes; // of the last frame
} Side;

static Key keys[CLIENTS + 2]; // the server's, its clients', and one of nobody
static bool admitted[CLIENTS + 2];
static Side sides[SIDES];
static int n_sides;

static int index_of(const CurveKey key)
{
    int i = 0;
    while (strcmp(keys[i].public_key, key) != 0)
        i++;
    return i;
}

static bool admits(void *user, const CurveKey key)
{
    (void)user;
    for (int i = 0; i < CLIENTS + 2; i++)
        if (!strcmp(keys[i].public_key, key))
            return admitted[i];
    return false;
}

static void note(Side *s, const NetEvent *e)
{
    int from = index_of(e->key);
    assert_ptr_equal(e->socket, s->socket);
    s->ups += e->kind == NET_UP;
    s->downs += e->kind == NET_DOWN;
    s->down_of = e->kind == NET_DOWN ? e->connection : s->down_of;
    if (e->kind != NET_FRAME)
        return;
    uint32_t number;
    assert_true(e->bytes >= sizeof number);
    memcpy(&number, e->frame, sizeof number);
    s->disorder = s->disorder || number != s->next[from];
    s->next[from] = number + 1;
    s->connection[from] = e->connection;
    s->bytes = e->bytes;
    s->frames++;
    for (size_t i = sizeof number; i < e->bytes; i++)
        s->disorder = s->disorder || e->frame[i] != (uint8_t)(number + i);
}

static void turn(void)
{
    for (int i = 0; i < n_sides; i++) {
        NetEvent e;
        assert_true(net_wait(sides[i].net, NULL, 0, 1) == 0);
        while (net_take(sides[i].net, &e))
            note(&sides[i], &e);
    }
}

#define UNTIL(condition)                                                                       \
    for (double end_ = clock_seconds() + PATIENCE_S; !(condition); turn())                     \
    assert_true(clock_seconds() < end_)

static Side *side(int key)
{
    Side *s = &sides[n_sides++];
    *s = (Side){.net = net_open(&keys[key]), .key = &keys[key]};
    assert_non_null(s->net);
    return s;
}

static Side *server_at(const char *endpoint)
{
    Side *s = side(0);
    s->socket = net_listen(s->net, endpoint, admits, NULL);
    assert_non_null(s->socket);
    return s;
}

static Side *client_of(int key, const char *endpoint)
{
    Side *s = side(key);
    s->socket = net_connect(s->net, endpoint, keys[0].public_key);
    assert_non_null(s->socket);
    return s;
}

static void shut(Side *s)
{
    net_close(s->net, 0);
    *s = sides[--n_sides];
}

static bool say(Side *from, const Side *to, uint32_t number, size_t bytes)
{
    static uint8_t frame[NET_MOST];
    memcpy(frame, &number, sizeof number);
    for (size_t i = sizeof number; i < bytes; i++)
        frame[i] = (uint8_t)(number + i);
    return net_send(from->socket, to ? to->key->public_key : NULL, frame, bytes);
}

static int begin(void **state)
{
    (void)state;
    for (int i = 0; i < CLIENTS + 2; i++) {
        if (key_make(&keys[i], "k", NULL))
            return -1;
        admitted[i] = i >= 1 && i <= CLIENTS;
    }
    return 0;
}

static int finish(void **state)
{
    (void)state;
    while (n_sides)
        shut(&sides[n_sides - 1]);
    return 0;
}

// Among those who are admitted
// ------------------------------------------------------------------------------------------------

static void frames_in_order(void **state)
{
    (void)state;
    static const size_t sizes[] = {4,       5, 32 << 10, (32 << 10) + 1, 100000, NET_MOST - 1,
                                   NET_MOST};
    enum { ROUNDS = 5, SIZES = sizeof sizes / sizeof *sizes };
    Side *server = server_at("tcp://127.0.0.1:*"), *clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = client_of(i + 1, net_endpoint(server->socket));
        assert_false(say(server, clients[i], 0, 4)); // never heard
        assert_false(say(clients[i], NULL, 0, 4));   // not there yet
    }
    UNTIL(clients[0]->ups && clients[1]->ups && clients[2]->ups);
    for (uint32_t k = 0; k < ROUNDS * SIZES; k++)
        for (int i = 0; i < CLIENTS; i++)
            assert_true(say(clients[i], NULL, k, sizes[k % SIZES]));
    UNTIL(server->frames == CLIENTS * ROUNDS * SIZES);
    for (uint32_t k = 0; k < ROUNDS * SIZES; k++)
        for (int i = 0; i < CLIENTS; i++)
            assert_true(say(server, clients[i], k, sizes[k % SIZES]));
    for (int i = 0; i < CLIENTS; i++) {
        UNTIL(clients[i]->frames == ROUNDS * SIZES);
        assert_false(clients[i]->disorder);
        assert_int_equal(server->connection[i + 1], 1);
    }
    assert_false(server->disorder);
    assert_int_equal(server->downs, 0);
    assert_false(net_send(server->socket, keys[CLIENTS + 1].public_key, "nobody", 6));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {TEST(frames_in_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
