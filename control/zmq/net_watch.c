// What ZeroMQ's monitors tell of connections: messages {u16 event, u32 value}, the endpoint (zmq_socket_monitor(3)).
#include "base/clock.h"
#include "control/zmq/net_inside.h"

#include <string.h>

enum { MONITOR_BYTES = 6, MONITOR_PARTS = 2 };
static const double again_s =
    0.2; // who was not admitted: often the other side only hears of it later

void net__tell(NetSocket *s, NetEventKind kind, const CurveKey key, uint64_t connection)
{
    NetEvent e = {.kind = kind, .socket = s, .connection = connection};
    memcpy(e.key, key, sizeof e.key);
    vec_push(&s->net->arena, &s->net->told, e);
}

static void go_up(NetSocket *s)
{
    int events;
    size_t bytes = sizeof events;
    s->up = true;
    net__waiting_drop(s->waiting);
    s->waiting = net__waiting_new();
    zmq.getsockopt(s->data, ZMQ_EVENTS, &events, &bytes); // it takes notice: frames can be sent
    net__tell(s, NET_UP, s->server, 0);
}

// ZeroMQ's socket is replaced by a fresh one; when there is none to be had, later.
static void start_again(NetSocket *s)
{
    NetSocket fresh = *s;
    bool made = net__connect(&fresh);
    s->again = made ? 0 : clock_seconds() + again_s;
    if (!made)
        return;
    net__shut(s, 0);
    s->data = fresh.data;
    s->monitor = fresh.monitor;
}

// ZeroMQ would connect again by itself, and mix what is left of the old connection with the new one's frames. So what
// comes next comes from another socket.
static void go_down(NetSocket *s)
{
    s->up = false;
    net__tell(s, NET_DOWN, s->server, 0);
    start_again(s);
}

void net__try_again(NetSocket *s)
{
    if (s->again && s->again <= clock_seconds())
        start_again(s);
}

void net__watch(NetSocket *s)
{
    uint8_t words[MONITOR_PARTS][NET_WORD];
    size_t sizes[MONITOR_PARTS];
    while (net__words(s->monitor, words, sizes, MONITOR_PARTS)) {
        uint16_t event;
        int32_t value;
        if (sizes[0] != MONITOR_BYTES)
            continue;
        memcpy(&event, words[0], sizeof event);
        memcpy(&value, words[0] + sizeof event, sizeof value);
        if (s->listens && event == ZMQ_EVENT_DISCONNECTED && value >= 0)
            net__ended(s, value);
        else if (!s->listens && event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED && !s->up)
            go_up(s);
        else if (!s->listens && event == ZMQ_EVENT_DISCONNECTED && s->up)
            go_down(s);
        else if (!s->listens && event == ZMQ_EVENT_DISCONNECTED)
            s->again = clock_seconds() + again_s; // not admitted, or this is no ZeroMQ
        else if (!s->listens && event == ZMQ_EVENT_CONNECT_RETRIED)
            s->again = 0; // but ZeroMQ does not give up
    }
}
