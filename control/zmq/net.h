// Frames between processes that have proved who they are: ZeroMQ with CURVE. A Net is one process's end: its key,
// sockets that listen and sockets that connect, and one place to wait for all of them. Nothing here knows what a frame
// says.
//
//   listening   admits the keys that `admits` says yes to; whoever else comes is closed within NET_HANDSHAKE_MS, has had
//               less than 64 KiB read, and is never seen by the caller
//   connecting  pins the other side's key; what is lost comes back by itself
//
// Frames of a connection come in order. A key has one connection to a listening socket: the newest that said something.
// What comes from one that was replaced, or is over, is dropped; its other side is not told. Frames that were sent and not
// taken are lost with a connection, so both sides say all that they have to say again in the next one. A new connection
// is let in by net_wait and net_take: a caller that does not come back within NET_HANDSHAKE_MS makes it try again.
#ifndef STAGECC_CONTROL_ZMQ_NET_H
#define STAGECC_CONTROL_ZMQ_NET_H

#include "control/curve.h"
#include "control/keys.h"

#include <poll.h>
#include <stdint.h>

enum { NET_MOST = 1 << 20, NET_HANDSHAKE_MS = 1000, NET_ENDPOINT = 128 };

typedef struct Net Net;
typedef struct NetSocket NetSocket;

typedef enum NetEventKind {
    NET_FRAME,
    NET_UP,   // connecting: the connection is there, the other side has proved its key
    NET_DOWN, // it is gone. Listening: the newest one of this key; connecting: it is tried again
} NetEventKind;

typedef struct NetEvent {
    NetEventKind kind;
    NetSocket *socket;
    CurveKey key;         // the other side's
    uint64_t connection;  // listening: which one of this key, counted over the socket; else 0
    const uint8_t *frame; // [bytes], at any alignment; until the next net_take
    size_t bytes;
} NetEvent;

// NULL: reported (ZeroMQ is not there). own: outlives the Net.
Net *net_open(const Key *own);
// Sends what is under way for `linger_ms` more; NULL is allowed.
void net_close(Net *net, int linger_ms);

// "tcp://10.0.0.7:7070", "tcp://[::1]:7070"; port `*`: any that is free. NULL: reported. `admits` may be called during
// net_wait, net_take and net_send, by this thread alone, and for each frame: from a key that it stops to admit nothing more is
// taken, NET_DOWN comes instead of its next frame, and nothing is sent to it. When it is admitted again, its connection is
// a new one.
NetSocket *net_listen(Net *net, const char *endpoint,
                      bool (*admits)(void *user, const CurveKey key), void *user);
const char *net_endpoint(const NetSocket *s); // where it listens, or connects to, with its port
// NULL: reported (the endpoint is none). The host need not be there yet.
NetSocket *net_connect(Net *net, const char *endpoint, const CurveKey server);
void net_disconnect(
    NetSocket *s); // forgets what is under way, and events of it that were not taken

// Queue a frame of at most NET_MOST bytes; never waits. key: to whom, of a listening socket; NULL of a connecting one.
// false: there is no such connection, or more than 64 MiB wait for it already: the frame is lost, as by a cut.
bool net_send(NetSocket *s, const CurveKey key, const void *frame, size_t bytes);

// As poll(2), until an event can be taken, one of fds is ready, or the time is over (-1: without end). Number of ready
// fds; -1: a signal came.
int net_wait(Net *net, struct pollfd *fds, int n, int timeout_ms);
// The next event; false: there is none now.
bool net_take(Net *net, NetEvent *event);

#endif
