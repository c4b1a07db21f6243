// Frames in parts, and how many bytes of them wait. ZeroMQ counts messages of any size; here each part comes back when it
// was sent or is of no use any more, and takes its bytes off the count.
#include "base/diag.h"
#include "control/zmq/net_inside.h"

#include <stdlib.h>
#include <string.h>

enum { PART_COST = 256 }; // bytes of memory beside a part's own, about

typedef struct Part {
    NetWaiting *of;
    size_t bytes;
    uint8_t data[];
} Part;

static void *memory(size_t bytes)
{
    void *p = malloc(bytes);
    if (!p)
        fatal("out of memory (%zu bytes)", bytes);
    return p;
}

NetWaiting *net__waiting_new(void)
{
    NetWaiting *w = memory(sizeof *w);
    atomic_init(&w->bytes, 0);
    atomic_init(&w->holders, 1);
    return w;
}

void net__waiting_drop(NetWaiting *w)
{
    if (w && atomic_fetch_sub(&w->holders, 1) == 1)
        free(w);
}

// Called by ZeroMQ's thread.
static void part_done(void *data, void *part)
{
    Part *p = part;
    (void)data;
    atomic_fetch_sub(&p->of->bytes, p->bytes + PART_COST);
    net__waiting_drop(p->of);
    free(p);
}

static bool part_send(void *socket, NetWaiting *w, const uint8_t *data, size_t bytes, int flags)
{
    zmq_msg_t message;
    Part *p = memory(sizeof *p + bytes);
    *p = (Part){.of = w, .bytes = bytes};
    if (bytes)
        memcpy(p->data, data, bytes);
    atomic_fetch_add(&w->holders, 1);
    atomic_fetch_add(&w->bytes, bytes + PART_COST);
    if (zmq.msg_init_data(&message, p->data, bytes, part_done, p))
        fatal("out of memory (a message)");
    if (zmq.msg_send(&message, socket, flags | ZMQ_DONTWAIT) >= 0)
        return true;
    zmq.msg_close(&message);
    return false;
}

bool net__frame_send(void *socket, const uint8_t *to, NetWaiting *w, const void *frame,
                     size_t bytes)
{
    const uint8_t *data = frame;
    bool sent = atomic_load(&w->bytes) <= NET_WAITING &&
                (!to || zmq.send(socket, to, NET_ROUTE, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0);
    if (!sent)
        return false;
    for (size_t at = 0; at == 0 || at < bytes; at += NET_PART) { // to its end, whatever is lost
        bool last = bytes - at <= NET_PART;
        sent = part_send(socket, w, data + at, last ? bytes - at : NET_PART,
                         last ? 0 : ZMQ_SNDMORE) &&
               sent;
        if (!sent && at == 0)
            break;
    }
    return sent;
}

static NetReceived join(void *socket, NetFrame *f)
{
    bool more = true, fits = true;
    f->joined = f->joined ? f->joined : memory(NET_MOST);
    memcpy(f->joined, f->data, f->bytes);
    f->data = f->joined;
    while (more) {
        zmq_msg_t part;
        zmq.msg_init(&part);
        more = zmq.msg_recv(&part, socket, ZMQ_DONTWAIT) >= 0; // whole messages come at once
        fits = fits && more && zmq.msg_size(&part) <= NET_MOST - f->bytes;
        if (fits) {
            memcpy(f->joined + f->bytes, zmq.msg_data(&part), zmq.msg_size(&part));
            f->bytes += zmq.msg_size(&part);
        }
        more = more && zmq.msg_more(&part);
        zmq.msg_close(&part);
    }
    return fits ? NET_WHOLE : NET_BAD;
}

NetReceived net__frame_receive(const NetSocket *s, NetFrame *f)
{
    bool known = true;
    if (s->listens) {
        int n = zmq.recv(s->data, f->route, NET_ROUTE, ZMQ_DONTWAIT);
        if (n < 0)
            return NET_NOTHING;
        known = n == NET_ROUTE && f->route[0] == 0; // else the peer named itself
    }
    if (zmq.msg_recv(&f->part, s->data, ZMQ_DONTWAIT) < 0)
        return NET_NOTHING;
    f->data = zmq.msg_data(&f->part);
    f->bytes = zmq.msg_size(&f->part);
    NetReceived received = zmq.msg_more(&f->part) ? join(s->data, f) : NET_WHOLE;
    return known ? received : NET_BAD;
}

int net__words(void *socket, uint8_t words[][NET_WORD], size_t *sizes, int most)
{
    int n = 0;
    bool more = true;
    while (more) {
        zmq_msg_t part;
        zmq.msg_init(&part);
        more = zmq.msg_recv(&part, socket, ZMQ_DONTWAIT) >= 0;
        if (more && n < most) {
            sizes[n] = zmq.msg_size(&part);
            memcpy(words[n], zmq.msg_data(&part), sizes[n] < NET_WORD ? sizes[n] : NET_WORD);
        }
        n += more;
        more = more && zmq.msg_more(&part);
        zmq.msg_close(&part);
    }
    return n;
}
