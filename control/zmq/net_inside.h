// What the files of a Net share (control/zmq/net*.c).
//
// Whose frame is it? ZeroMQ asks for each connection whose peer has proved a key whether it is admitted (ZAP), and what is
// answered stands with every frame of that connection: the key, and a number of the Net's clock. The clock ticks at
// each such answer and each time the end of a connection is heard of. So of two connections of a key the one with
// the larger number is newer, and a connection is over when its file descriptor was closed at a later tick: ZeroMQ
// tells of an end before it asks about a connection that got the same descriptor.
#ifndef STAGECC_CONTROL_ZMQ_NET_INSIDE_H
#define STAGECC_CONTROL_ZMQ_NET_INSIDE_H

#include "base/arena.h"
#include "base/vec.h"
#include "control/zmq/library.h"
#include "control/zmq/net.h"

#include <stdatomic.h>

enum {
    NET_PART = 32 << 10,    // a frame goes in parts of so many bytes: a stranger may send one
    NET_ROUTE = 5,          // bytes of ZeroMQ's own names for connections
    NET_WAITING = 64 << 20, // bytes
    NET_WORD = 64,          // bytes: of what ZeroMQ says in parts, so many are looked at
};

// Bytes that ZeroMQ has not sent yet, of one connection.
typedef struct NetWaiting {
    atomic_size_t bytes;
    atomic_int holders; // each part, and who sends
} NetWaiting;

typedef struct NetFrame {
    zmq_msg_t part;      // its first one
    uint8_t *joined;     // [NET_MOST], once a frame had several
    const uint8_t *data; // of `part`, or joined
    size_t bytes;
    uint8_t route[NET_ROUTE];
} NetFrame;

typedef enum NetReceived { NET_NOTHING, NET_WHOLE, NET_BAD } NetReceived;

// A key that was heard on a listening socket, and its newest connection.
typedef struct NetPeer {
    CurveKey key;
    enum { NET_PEER_UP, NET_PEER_GONE, NET_PEER_STRUCK } state;
    uint64_t connection, tick;
    int fd;
    uint8_t route[NET_ROUTE];
    NetWaiting *waiting;
} NetPeer;

struct NetSocket {
    Net *net;
    Arena arena; // it lies in it
    char endpoint[NET_ENDPOINT];
    void *data, *monitor; // ZeroMQ's
    int number;           // in the Net
    bool listens;
    // listening
    bool (*admits)(void *user, const CurveKey key);
    void *user;
    VEC(NetPeer) peers;
    VEC(uint64_t) ends; // by file descriptor: the tick of the newest end, or 0
    // connecting
    CurveKey server;
    bool up;
    double again; // when it is tried again from the start, by clock_seconds(); 0: ZeroMQ tries
    NetWaiting *waiting; // NULL: never up
};

struct Net {
    const Key *own;
    void *context, *zap; // ZeroMQ's
    Arena arena;
    VEC(NetSocket *) sockets;
    VEC(NetEvent) told; // that are no frames and wait to be taken, from `taken` on
    int taken, turn, numbers;
    VEC(zmq_pollitem_t) items;
    uint64_t clock;
    bool quiet; // nothing came of any socket, and poll has told of nothing since
    NetEvent next;
    bool has_next;
    NetFrame frames[2]; // that of `next`, and the one that was taken
    int ahead;          // the first one's index
};

// net_socket.c: ZeroMQ's sockets. false: errno says why.
bool net__bind(NetSocket *s, const char *endpoint);
bool net__connect(NetSocket *s); // to s->endpoint
void net__shut(NetSocket *s, int linger_ms);

// net_frame.c
NetWaiting *net__waiting_new(void);
void net__waiting_drop(NetWaiting *w); // NULL is allowed
// to: NULL: the only peer. false: nobody is there, or too much waits.
bool net__frame_send(void *socket, const uint8_t *to, NetWaiting *w, const void *frame,
                     size_t bytes);
NetReceived net__frame_receive(const NetSocket *s, NetFrame *f);
// Copies the parts of a message, at most NET_WORD bytes of each, and gives their number (0: there is none); sizes as they
// came.
int net__words(void *socket, uint8_t words[][NET_WORD], size_t *sizes, int most);

// net_admit.c
void net__admit(Net *net); // answers who is admitted
// An event of this frame, or false: it is to be dropped.
bool net__heard(NetSocket *s, NetFrame *f, NetEvent *event);
NetPeer *net__peer(NetSocket *s, const CurveKey key); // NULL: never heard
void net__ended(NetSocket *s, int fd);

// net_watch.c
void net__watch(NetSocket *s);     // ends and beginnings of connections
void net__try_again(NetSocket *s); // where it is time
void net__tell(NetSocket *s, NetEventKind kind, const CurveKey key, uint64_t connection);

#endif
