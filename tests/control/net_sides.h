// Ends of Nets in one process and thread, which check what they are told. For tests of control/zmq/net.h with cmocka.
#ifndef STAGECC_TESTS_CONTROL_NET_SIDES_H
#define STAGECC_TESTS_CONTROL_NET_SIDES_H

#include "base/clock.h"
#include "control/zmq/net.h"

#include <stdlib.h>
#include <string.h>

enum { CLIENTS = 3, KEYS = CLIENTS + 2, SIDES = 40, PATIENCE_S = 20 };

// One end, and what it was told so far: of each other side, by its key.
typedef struct Side {
    Net *net; // NULL: shut
    NetSocket *socket;
    int key;
    bool listens;
    int frames, ups, downs;
    size_t bytes;
    uint32_t next[KEYS];                   // the number that its next frame should bear
    uint64_t connection[KEYS], over[KEYS]; // the newest one that said something, or ended
    bool disorder;                         // of numbers, or of what stands behind them
} Side;

static Key keys[KEYS]; // the server's, its clients', and one of nobody
static bool admitted[KEYS];
static Side sides[SIDES];
static int n_sides;

static inline int index_of(const CurveKey key)
{
    for (int i = 0; i < KEYS; i++)
        if (!strcmp(keys[i].public_key, key))
            return i;
    return -1;
}

static inline bool admits(void *user, const CurveKey key)
{
    int i = index_of(key);
    (void)user;
    return i >= 0 && admitted[i];
}

static inline uint8_t filling(uint32_t number, size_t i)
{
    return (uint8_t)(number + i + (i >> 10));
}

static inline void note_frame(Side *s, int from, const NetEvent *e)
{
    uint32_t number;
    assert_true(e->bytes >= sizeof number);
    memcpy(&number, e->frame, sizeof number);
    s->disorder = s->disorder || number != s->next[from];
    for (size_t i = sizeof number; i < e->bytes; i++)
        s->disorder = s->disorder || e->frame[i] != filling(number, i);
    s->next[from] = number + 1;
    s->frames++;
    s->bytes += e->bytes;
    assert_true(s->listens ? e->connection >= s->connection[from] : e->connection == 0);
    assert_true(s->listens ? e->connection > s->over[from] : s->ups == s->downs + 1);
    s->connection[from] = e->connection;
}

static inline void note(Side *s, const NetEvent *e)
{
    int from = index_of(e->key);
    assert_ptr_equal(e->socket, s->socket);
    assert_true(from >= 0 && (s->listens ? admitted[from] || e->kind == NET_DOWN : from == 0));
    if (e->kind == NET_FRAME) {
        note_frame(s, from, e);
        return;
    }
    s->ups += e->kind == NET_UP;
    s->downs += e->kind == NET_DOWN;
    if (s->listens) {
        assert_true(e->kind == NET_DOWN && e->connection == s->connection[from]);
        assert_true(s->over[from] < e->connection); // once
        s->over[from] = e->connection;
    } else {
        assert_true(s->ups == s->downs + (e->kind == NET_UP));
    }
}

static inline void turn_of(Side *s)
{
    NetEvent e;
    assert_int_equal(net_wait(s->net, NULL, 0, 1), 0);
    while (net_take(s->net, &e))
        note(s, &e);
}

static inline void turn(void)
{
    for (int i = 0; i < n_sides; i++)
        if (sides[i].net)
            turn_of(&sides[i]);
}

// Lets all sides go on. What is asked may do things, and is asked between turns.
#define UNTIL(condition)                                                                       \
    for (double end_ = clock_seconds() + PATIENCE_S; !(condition); turn())                     \
    assert_true(clock_seconds() < end_)

static inline Side *side(int key, bool listens)
{
    Side *s = &sides[n_sides++];
    assert_true(n_sides <= SIDES);
    *s = (Side){.net = net_open(&keys[key]), .key = key, .listens = listens};
    assert_non_null(s->net);
    return s;
}

static inline Side *server_at(const char *endpoint)
{
    Side *s = side(0, true);
    s->socket = net_listen(s->net, endpoint, admits, NULL);
    assert_non_null(s->socket);
    return s;
}

static inline Side *client_of(int key, const char *endpoint)
{
    Side *s = side(key, false);
    s->socket = net_connect(s->net, endpoint, keys[0].public_key);
    assert_non_null(s->socket);
    return s;
}

static inline void shut(Side *s, int linger_ms)
{
    net_close(s->net, linger_ms);
    s->net = NULL;
}

// to: of a key; 0: a client's only other side.
static inline bool say(Side *from, int to, uint32_t number, size_t bytes)
{
    static uint8_t frame[NET_MOST];
    memcpy(frame, &number, sizeof number);
    for (size_t i = sizeof number; i < bytes; i++)
        frame[i] = filling(number, i);
    return net_send(from->socket, to ? keys[to].public_key : NULL, frame, bytes);
}

static inline int begin(void **state)
{
    (void)state;
    n_sides = 0;
    for (int i = 0; i < KEYS; i++) {
        if (key_make(&keys[i], "k", NULL))
            return -1;
        admitted[i] = i >= 1 && i <= CLIENTS;
    }
    return 0;
}

static inline int finish(void **state)
{
    (void)state;
    for (int i = 0; i < n_sides; i++)
        shut(&sides[i], 0);
    return 0;
}

#endif
