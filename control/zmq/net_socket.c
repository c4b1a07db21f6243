// ZeroMQ's sockets, each with a monitor that tells of its connections.
//
// A peer that has proved nothing yet may send a greeting and then frames as long as all may be; ZeroMQ takes memory for one
// and reads it before it looks. So frames are short (NET_PART), and long ones go in parts.
#include "control/zmq/net_inside.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
    CURVE_ROOM = 64,   // bytes that encryption adds to a part, and some
    RECEIVE_MOST = 64, // frames of a connection that wait to be taken; then it stands still
    BACKLOG = 512,
};

static const struct {
    int option, value;
} options[] = {
    {ZMQ_LINGER, 0},
    {ZMQ_SNDHWM, 0}, // without end: bytes are counted instead, see net_frame.c
    {ZMQ_RCVHWM, RECEIVE_MOST},
    {ZMQ_HANDSHAKE_IVL, NET_HANDSHAKE_MS},
    {ZMQ_BACKLOG, BACKLOG},
    // A host that vanished: after 8 s without a sign from its kernel the connection is over.
    {ZMQ_TCP_KEEPALIVE, 1},
    {ZMQ_TCP_KEEPALIVE_IDLE, 2},  // s
    {ZMQ_TCP_KEEPALIVE_INTVL, 2}, // s
    {ZMQ_TCP_KEEPALIVE_CNT, 3},
    {ZMQ_TCP_MAXRT, 8000}, // ms
};

static const struct {
    int option, value;
} options_of_listening[] = {{ZMQ_CURVE_SERVER, 1}, {ZMQ_ROUTER_MANDATORY, 1}};

static const struct {
    int option, value;
} options_of_connecting[] = {{ZMQ_IMMEDIATE, 1}, // nothing waits for a connection
                             {ZMQ_CONNECT_TIMEOUT, 2000},
                             {ZMQ_RECONNECT_IVL, 100},
                             {ZMQ_RECONNECT_IVL_MAX, 1000}};

#define SET_ALL(socket, table, done)                                                           \
    for (size_t i_ = 0; (done) && i_ < sizeof(table) / sizeof *(table); i_++)                  \
    (done) = set((socket), (table)[i_].option, (table)[i_].value)

static bool set(void *socket, int option, int value)
{
    return !zmq.setsockopt(socket, option, &value, sizeof value);
}

static bool set_key(void *socket, int option, const CurveKey key)
{
    return !zmq.setsockopt(socket, option, key, sizeof(CurveKey));
}

static bool set_common(const NetSocket *s, const char *endpoint)
{
    int64_t most = NET_PART + CURVE_ROOM;
    bool done = !zmq.setsockopt(s->data, ZMQ_MAXMSGSIZE, &most, sizeof most) &&
                set_key(s->data, ZMQ_CURVE_SECRETKEY, s->net->own->secret);
    SET_ALL(s->data, options, done);
    return done && set(s->data, ZMQ_IPV6, strchr(endpoint, '[') != NULL);
}

// Without limits on what it may tell: ZeroMQ would wait for us with a lock held.
static bool monitor(NetSocket *s, int events)
{
    char name[NET_WORD];
    snprintf(name, sizeof name, "inproc://monitor-%d", s->net->numbers++);
    return !zmq.socket_monitor(s->data, name, events) &&
           (s->monitor = zmq.socket(s->net->context, ZMQ_PAIR)) &&
           set(s->monitor, ZMQ_LINGER, 0) && set(s->monitor, ZMQ_RCVHWM, 0) &&
           !zmq.connect(s->monitor, name);
}

static bool failed(NetSocket *s)
{
    int why = errno;
    net__shut(s, 0);
    errno = why;
    return false;
}

bool net__bind(NetSocket *s, const char *endpoint)
{
    char domain[NET_WORD];
    size_t room = sizeof s->endpoint;
    snprintf(domain, sizeof domain, "%d", s->number);
    s->data = zmq.socket(s->net->context, ZMQ_ROUTER);
    bool done = s->data && set_common(s, endpoint) &&
                !zmq.setsockopt(s->data, ZMQ_ZAP_DOMAIN, domain, strlen(domain));
    SET_ALL(s->data, options_of_listening, done);
    done = done && monitor(s, ZMQ_EVENT_DISCONNECTED) && !zmq.bind(s->data, endpoint) &&
           !zmq.getsockopt(s->data, ZMQ_LAST_ENDPOINT, s->endpoint, &room);
    return done || failed(s);
}

bool net__connect(NetSocket *s)
{
    s->data = zmq.socket(s->net->context, ZMQ_DEALER);
    bool done = s->data && set_common(s, s->endpoint) &&
                set_key(s->data, ZMQ_CURVE_PUBLICKEY, s->net->own->public_key) &&
                set_key(s->data, ZMQ_CURVE_SERVERKEY, s->server);
    SET_ALL(s->data, options_of_connecting, done);
    done = done &&
           monitor(s, ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED |
                          ZMQ_EVENT_CONNECT_RETRIED) &&
           !zmq.connect(s->data, s->endpoint);
    return done || failed(s);
}

void net__shut(NetSocket *s, int linger_ms)
{
    if (s->data) {
        zmq.socket_monitor(s->data, NULL, 0); // before its reader goes
        set(s->data, ZMQ_LINGER, linger_ms);
        zmq.close(s->data);
    }
    if (s->monitor)
        zmq.close(s->monitor);
    s->data = s->monitor = NULL;
}
