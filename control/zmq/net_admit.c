// Who is admitted to a listening socket, and which of its connections counts.
//
// ZAP (https://rfc.zeromq.org/spec/27) asks in messages on inproc://zeromq.zap.01; the connection waits for the answer, and is
// closed when none comes in time. A connection's proof, "KEY NUMBER", is our answer's user id.
#include "control/zmq/net_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Of a request: version, id, domain, address, identity, mechanism, the public key.
enum { ZAP_VERSION, ZAP_ID, ZAP_DOMAIN, ZAP_MECHANISM = 5, ZAP_KEY, ZAP_PARTS, KEY_BYTES = 32 };

typedef struct Proof {
    CurveKey key;
    uint64_t tick;
    int fd;
} Proof;

static bool is(const uint8_t *word, size_t bytes, const char *text)
{
    return bytes == strlen(text) && !memcmp(word, text, bytes);
}

static NetSocket *of_domain(const Net *net, const uint8_t *word, size_t bytes)
{
    for (int i = 0; i < net->sockets.n; i++) {
        char domain[NET_WORD];
        snprintf(domain, sizeof domain, "%d", net->sockets.items[i]->number);
        if (net->sockets.items[i]->listens && is(word, bytes, domain))
            return net->sockets.items[i];
    }
    return NULL;
}

static void answer(void *zap, const uint8_t *id, size_t id_bytes, const char *proof)
{
    const char *status = *proof ? "200" : "400";
    zmq.send(zap, "1.0", 3, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq.send(zap, id, id_bytes, ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq.send(zap, status, strlen(status), ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq.send(zap, "", 0, ZMQ_SNDMORE | ZMQ_DONTWAIT); // its text
    zmq.send(zap, proof, strlen(proof), ZMQ_SNDMORE | ZMQ_DONTWAIT);
    zmq.send(zap, "", 0, ZMQ_DONTWAIT); // metadata
}

void net__admit(Net *net)
{
    uint8_t words[ZAP_PARTS][NET_WORD];
    size_t sizes[ZAP_PARTS];
    int n;
    while ((n = net__words(net->zap, words, sizes, ZAP_PARTS))) {
        char proof[NET_WORD] = "";
        CurveKey key;
        bool asked = n == ZAP_PARTS && is(words[ZAP_VERSION], sizes[ZAP_VERSION], "1.0") &&
                     is(words[ZAP_MECHANISM], sizes[ZAP_MECHANISM], "CURVE") &&
                     sizes[ZAP_KEY] == KEY_BYTES && sizes[ZAP_ID] <= NET_WORD;
        NetSocket *s = asked ? of_domain(net, words[ZAP_DOMAIN], sizes[ZAP_DOMAIN]) : NULL;
        if (s) {
            net__watch(s); // ends that came before this
            zmq.z85_encode(key, words[ZAP_KEY], KEY_BYTES);
            if (s->admits(s->user, key))
                snprintf(proof, sizeof proof, "%s %llu", key, (unsigned long long)++net->clock);
        }
        answer(net->zap, words[ZAP_ID],
               n > ZAP_ID && sizes[ZAP_ID] <= NET_WORD ? sizes[ZAP_ID] : 0, proof);
    }
}

static bool proof_of(const NetFrame *f, Proof *proof)
{
    const char *text = zmq.msg_gets(&f->part, "User-Id");
    proof->fd = zmq.msg_get(&f->part, ZMQ_SRCFD);
    if (!text || strlen(text) <= CURVE_CHARS || proof->fd < 0)
        return false;
    memcpy(proof->key, text, CURVE_CHARS);
    proof->key[CURVE_CHARS] = 0;
    proof->tick = strtoull(text + CURVE_CHARS, NULL, 10);
    return true;
}

NetPeer *net__peer(NetSocket *s, const CurveKey key)
{
    for (int i = 0; i < s->peers.n; i++)
        if (!memcmp(s->peers.items[i].key, key, sizeof(CurveKey)))
            return &s->peers.items[i];
    return NULL;
}

static NetPeer *add_peer(NetSocket *s, const CurveKey key)
{
    NetPeer p = {.state = NET_PEER_GONE};
    memcpy(p.key, key, sizeof p.key);
    vec_push(&s->arena, &s->peers, p);
    return &s->peers.items[s->peers.n - 1];
}

static void end(NetSocket *s, NetPeer *p, int state)
{
    if (p->state == NET_PEER_UP)
        net__tell(s, NET_DOWN, p->key, p->connection);
    p->state = state;
}

void net__ended(NetSocket *s, int fd)
{
    uint64_t tick = ++s->net->clock;
    while (s->ends.n <= fd)
        vec_push(&s->arena, &s->ends, 0);
    s->ends.items[fd] = tick;
    for (int i = 0; i < s->peers.n; i++)
        if (s->peers.items[i].fd == fd && s->peers.items[i].state != NET_PEER_GONE)
            end(s, &s->peers.items[i], NET_PEER_GONE);
}

static void begin(NetPeer *p, const Proof *proof, const NetFrame *f)
{
    net__waiting_drop(p->waiting);
    p->waiting = net__waiting_new();
    p->state = NET_PEER_UP;
    p->connection++;
    p->tick = proof->tick;
    p->fd = proof->fd;
    memcpy(p->route, f->route, sizeof p->route);
}

bool net__heard(NetSocket *s, NetFrame *f, NetEvent *event)
{
    Proof proof;
    if (!proof_of(f, &proof))
        return false;
    NetPeer *p = net__peer(s, proof.key);
    if ((p && proof.tick < p->tick) ||
        (proof.fd < s->ends.n && s->ends.items[proof.fd] > proof.tick))
        return false; // a newer connection was heard, or this one is over
    if (!s->admits(s->user, proof.key)) {
        if (p)
            end(s, p, NET_PEER_STRUCK);
        return false;
    }
    p = p ? p : add_peer(s, proof.key);
    if (proof.tick > p->tick || p->state == NET_PEER_STRUCK)
        begin(p, &proof, f);
    *event = (NetEvent){.kind = NET_FRAME,
                        .socket = s,
                        .connection = p->connection,
                        .frame = f->data,
                        .bytes = f->bytes};
    memcpy(event->key, p->key, sizeof event->key);
    return true;
}
