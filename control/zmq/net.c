#include "control/zmq/net.h"

#include "base/clock.h"
#include "base/diag.h"
#include "base/text.h"
#include "control/zmq/net_inside.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { DROPPED_MOST = 1000 }; // frames that nobody is to hear, before somebody else has a turn

// Sockets
// ------------------------------------------------------------------------------------------------

// Signals are for the caller's thread: ZeroMQ's start here, with all of them blocked.
static bool start(Net *net)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    net->context = zmq.ctx_new();
    net->zap = net->context ? zmq.socket(net->context, ZMQ_REP) : NULL;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return net->zap && !zmq.bind(net->zap, "inproc://zeromq.zap.01");
}

Net *net_open(const Key *own)
{
    if (!zmq_load())
        return NULL;
    Arena arena = {0};
    Net *net = arena_alloc(&arena, sizeof *net);
    *net = (Net){.own = own, .arena = arena};
    for (int i = 0; i < 2; i++)
        zmq.msg_init(&net->frames[i].part);
    if (start(net))
        return net;
    error_at(NO_LOC, "ZeroMQ cannot be started: %s", zmq.strerror(errno));
    net_close(net, 0);
    return NULL;
}

static void free_socket(NetSocket *s)
{
    for (int i = 0; i < s->peers.n; i++)
        net__waiting_drop(s->peers.items[i].waiting);
    net__waiting_drop(s->waiting);
    Arena arena = s->arena;
    arena_release(&arena);
}

void net_close(Net *net, int linger_ms)
{
    if (!net)
        return;
    for (int i = 0; i < net->sockets.n; i++) {
        net__shut(net->sockets.items[i], linger_ms);
        free_socket(net->sockets.items[i]);
    }
    for (int i = 0; i < 2; i++) {
        zmq.msg_close(&net->frames[i].part);
        free(net->frames[i].joined);
    }
    if (net->zap)
        zmq.close(net->zap); // last: without it all would be admitted
    while (net->context && zmq.ctx_term(net->context) && errno == EINTR)
        ;
    Arena arena = net->arena;
    arena_release(&arena);
}

// ZeroMQ knows other transports, and takes a port modulo 65536. What is between it looks at.
static bool endpoint_good(const char *endpoint, bool listens)
{
    const char *port = strrchr(endpoint, ':');
    if (!str_starts(endpoint, "tcp://") || port - endpoint <= (ptrdiff_t)strlen("tcp://") ||
        strlen(endpoint) >= NET_ENDPOINT)
        return false;
    if (listens && !strcmp(port, ":*"))
        return true;
    size_t digits = strspn(port + 1, "0123456789");
    int number = digits < 6 ? atoi(port + 1) : UINT16_MAX + 1;
    return digits && !port[1 + digits] && number >= !listens && number <= UINT16_MAX;
}

static NetSocket *new_socket(Net *net, const char *endpoint, bool listens)
{
    if (!endpoint_good(endpoint, listens)) {
        error_at(NO_LOC, "`%s` is no endpoint, which is tcp://ADDRESS:PORT", endpoint);
        return NULL;
    }
    Arena arena = {0};
    NetSocket *s = arena_alloc(&arena, sizeof *s);
    *s = (NetSocket){.net = net, .arena = arena, .number = net->numbers++, .listens = listens};
    memcpy(s->endpoint, endpoint, strlen(endpoint) + 1);
    vec_push(&net->arena, &net->sockets, s);
    return s;
}

NetSocket *net_listen(Net *net, const char *endpoint,
                      bool (*admits)(void *user, const CurveKey key), void *user)
{
    NetSocket *s = new_socket(net, endpoint, true);
    if (!s)
        return NULL;
    s->admits = admits;
    s->user = user;
    if (net__bind(s, endpoint))
        return s;
    error_at(NO_LOC, "cannot listen at %s: %s", endpoint, zmq.strerror(errno));
    net_disconnect(s);
    return NULL;
}

NetSocket *net_connect(Net *net, const char *endpoint, const CurveKey server)
{
    NetSocket *s = new_socket(net, endpoint, false);
    if (!s)
        return NULL;
    memcpy(s->server, server, sizeof s->server);
    if (net__connect(s))
        return s;
    error_at(NO_LOC, "cannot connect to %s: %s", endpoint, zmq.strerror(errno));
    net_disconnect(s);
    return NULL;
}

const char *net_endpoint(const NetSocket *s)
{
    return s->endpoint;
}

void net_disconnect(NetSocket *s)
{
    Net *net = s->net;
    int kept = net->taken;
    for (int i = net->taken; i < net->told.n; i++)
        if (net->told.items[i].socket != s)
            net->told.items[kept++] = net->told.items[i];
    net->told.n = kept;
    net->has_next = net->has_next && net->next.socket != s;
    kept = 0;
    for (int i = 0; i < net->sockets.n; i++)
        if (net->sockets.items[i] != s)
            net->sockets.items[kept++] = net->sockets.items[i];
    net->sockets.n = kept;
    net__shut(s, 0);
    free_socket(s);
}

bool net_send(NetSocket *s, const CurveKey key, const void *frame, size_t bytes)
{
    CHECK(bytes <= NET_MOST && s->listens == (key != NULL), "control", "net_send");
    if (!s->listens)
        return s->up && net__frame_send(s->data, NULL, s->waiting, frame, bytes);
    const NetPeer *p = net__peer(s, key);
    return p && p->state == NET_PEER_UP && s->admits(s->user, key) &&
           net__frame_send(s->data, p->route, p->waiting, frame, bytes);
}

// Events
// ------------------------------------------------------------------------------------------------

static void serve(Net *net)
{
    if (!net->quiet)
        net__admit(net);
    for (int i = 0; i < net->sockets.n; i++) {
        if (!net->quiet)
            net__watch(net->sockets.items[i]);
        net__try_again(net->sockets.items[i]);
    }
}

static bool told(Net *net)
{
    if (net->taken < net->told.n) {
        net->next = net->told.items[net->taken++];
        return true;
    }
    net->taken = net->told.n = 0;
    return false;
}

static bool heard(NetSocket *s, NetFrame *f, NetEvent *event)
{
    if (s->listens)
        return net__heard(s, f, event);
    *event = (NetEvent){.kind = NET_FRAME, .socket = s, .frame = f->data, .bytes = f->bytes};
    memcpy(event->key, s->server, sizeof event->key);
    return s->up;
}

// Is there an event to take? Ends of connections come before what newer connections say. Each look at a socket is two
// calls of the kernel, so once all have been silent, it is poll that says when the next one is due.
static bool look_ahead(Net *net)
{
    NetFrame *f = &net->frames[net->ahead];
    int silent = 0, dropped = 0;
    while (!net->has_next) {
        serve(net);
        net->has_next = told(net);
        net->quiet |= silent == net->sockets.n;
        if (net->has_next || net->quiet || dropped == DROPPED_MOST)
            break;
        NetSocket *s = net->sockets.items[++net->turn % net->sockets.n];
        NetReceived received = net__frame_receive(s, f);
        silent = received == NET_NOTHING ? silent + 1 : 0;
        net->has_next = received == NET_WHOLE && heard(s, f, &net->next);
        dropped += received != NET_NOTHING;
    }
    return net->has_next;
}

bool net_take(Net *net, NetEvent *event)
{
    if (!look_ahead(net))
        return false;
    *event = net->next;
    net->has_next = false;
    if (event->kind == NET_FRAME)
        net->ahead = !net->ahead; // what comes next shall leave it alone
    return true;
}

static void add_item(Net *net, void *socket, int fd, short events)
{
    zmq_pollitem_t item = {.socket = socket, .fd = fd, .events = events};
    vec_push(&net->arena, &net->items, item);
}

// How many are ready, or -1.
static int poll_all(Net *net, const struct pollfd *fds, int n, long timeout_ms)
{
    net->items.n = 0;
    add_item(net, net->zap, -1, ZMQ_POLLIN);
    for (int i = 0; i < net->sockets.n; i++) {
        add_item(net, net->sockets.items[i]->data, -1, ZMQ_POLLIN);
        add_item(net, net->sockets.items[i]->monitor, -1, ZMQ_POLLIN);
    }
    for (int i = 0; i < n; i++)
        add_item(net, NULL, fds[i].fd,
                 (short)((fds[i].events & POLLIN ? ZMQ_POLLIN : 0) |
                         (fds[i].events & POLLOUT ? ZMQ_POLLOUT : 0) |
                         (fds[i].events & POLLPRI ? ZMQ_POLLPRI : 0)));
    int ready = zmq.poll(net->items.items, net->items.n, timeout_ms);
    for (int i = 0; i < net->items.n && ready > 0; i++)
        net->quiet &= !net->items.items[i].socket || !net->items.items[i].revents;
    return ready;
}

// Until `end`, or something here is to be done before it.
static long most_ms(const Net *net, double end)
{
    for (int i = 0; i < net->sockets.n; i++)
        if (net->sockets.items[i]->again)
            end = fmin(end, net->sockets.items[i]->again);
    double left = ceil(1e3 * (end - clock_seconds()));
    return left < 0 ? 0 : left < INT_MAX ? (long)left : -1;
}

int net_wait(Net *net, struct pollfd *fds, int n, int timeout_ms)
{
    double end = timeout_ms < 0 ? INFINITY : clock_seconds() + 1e-3 * timeout_ms;
    for (;;) {
        bool could_take = net->has_next, can_take = look_ahead(net);
        if (could_take) // so nothing was looked at
            serve(net);
        bool over = can_take || clock_seconds() >= end;
        int polled = poll_all(net, fds, n, over ? 0 : most_ms(net, end));
        if (polled < 0)
            return -1;
        int ready = poll(fds, (nfds_t)n, 0); // with all that poll knows to tell
        if (ready || over || (!polled && clock_seconds() >= end))
            return ready;
    }
}
