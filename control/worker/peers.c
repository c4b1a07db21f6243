// Other workers of the epoch. To each goes one connection, for requests and news of this one; theirs come to the
// listening socket, which admits nobody else. So a worker that has not heard of the epoch yet turns the others away, and
// those try again much later: they do not come too early.
#include "control/worker/agent.h"

#include <stdio.h>
#include <string.h>

#define LATE_NS (SECOND_NS / 50)

static bool is_same(const Peer *p, const StartPeer *s)
{
    return p->used && !strcmp(p->key, s->key) && !strcmp(p->endpoint, s->endpoint);
}

static void forget(Peer *p)
{
    if (p->socket)
        net_disconnect(p->socket);
    *p = (Peer){0};
}

static void adopt(Agent *g, const StartPeer *s)
{
    Peer *p = &g->peers[s->worker];
    if (is_same(p, s))
        return;
    forget(p);
    p->used = true;
    memcpy(p->key, s->key, sizeof p->key);
    snprintf(p->endpoint, sizeof p->endpoint, "%s", s->endpoint);
    p->connect_ns = s->worker == g->core.number ? INT64_MAX : agent_now() + LATE_NS;
}

void peers_work(Agent *g, int64_t now_ns)
{
    for (int w = 0; w < MOST_WORKERS; w++) {
        Peer *p = &g->peers[w];
        if (!p->used || now_ns < p->connect_ns)
            continue;
        p->connect_ns = INT64_MAX;
        p->socket = net_connect(g->net, p->endpoint, p->key);
    }
}

void peers_adopt(Agent *g, const Start *s)
{
    bool stays[MOST_WORKERS] = {false};
    for (int i = 0; i < s->n_peers; i++)
        stays[s->peers[i].worker] = true;
    for (int w = 0; w < MOST_WORKERS; w++)
        if (g->peers[w].used && !stays[w])
            forget(&g->peers[w]);
    for (int i = 0; i < s->n_peers; i++)
        adopt(g, &s->peers[i]);
}

int peers_of_key(const Agent *g, const CurveKey key)
{
    for (int w = 0; w < MOST_WORKERS; w++)
        if (g->peers[w].used && !strcmp(g->peers[w].key, key))
            return w;
    return -1;
}

int peers_of_socket(const Agent *g, const NetSocket *s)
{
    for (int w = 0; w < MOST_WORKERS; w++)
        if (g->peers[w].socket == s)
            return w;
    return -1;
}

bool peers_tell(Agent *g, uint16_t worker, const Message *m)
{
    Peer *p = worker < MOST_WORKERS ? &g->peers[worker] : NULL;
    if (!p || !p->socket || !p->up)
        return false;
    size_t bytes = message_put(g->frame, sizeof g->frame, m);
    return bytes && net_send(p->socket, NULL, g->frame, bytes);
}

void peers_close(Agent *g)
{
    for (int w = 0; w < MOST_WORKERS; w++)
        forget(&g->peers[w]);
}
