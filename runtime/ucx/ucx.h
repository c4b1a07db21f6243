// Ranks of different hosts, by UCX's active messages. A message's header says whose it is; data go
// straight into the slot, and back comes a message without data for every slot that was released. Slots lie in
// the job's memory of each host: the producer's in its own, those of consumers in theirs, where the first of
// a host is sent what all of them read.
#ifndef STAGECC_RUNTIME_UCX_UCX_H
#define STAGECC_RUNTIME_UCX_UCX_H

#include "runtime/transport.h"
#include "runtime/ucx/ucp.h"

// On the wire, little-endian. Anything that differs from what is expected ends the job, but for messages of
// another one, which are dropped.
typedef struct UcxHeader {
    uint16_t version, bytes; // UCX_VERSION and the size of this header, in all versions
    uint16_t edge, from;     // index in the plan; the sending rank
    uint64_t seq;            // message of the edge, from 0
    uint64_t job, plan;
} UcxHeader;
_Static_assert(sizeof(UcxHeader) == 32, "as documented");
_Static_assert(offsetof(UcxHeader, seq) == 8 && offsetof(UcxHeader, plan) == 24, "likewise");
enum { UCX_VERSION = 2 };

// Kinds of messages: UCX's number, direction, contents.
#define UCX_MESSAGES(X)                                                                        \
    X(DATA, 1, "to a consumer", "a message of an edge")                                        \
    X(CREDIT, 2, "to a producer", "nothing: the consumer is done with that message")           \
    X(HELLO, 3, "to the other rank", "nothing: the connection is there")
enum UcxMessage {
#define X(NAME, id, direction, contents) UCX_##NAME = id,
    UCX_MESSAGES(X)
#undef X
};

typedef struct UcxArrival {
    rt_stage *stage;
    int edge;
    bool here; // all of it
} UcxArrival;

// One edge of this rank with a rank of another host.
typedef struct UcxRing {
    UcxHeader *headers; // of what is being sent: [slots * n_consumers] or, of credits, [slots]
    UcxArrival *arrivals; // [slots], of the first consumer of this host
    uint64_t begun;       // messages whose data have begun to come
} UcxRing;

// A rank of another host that shares an edge with this one.
typedef struct UcxPeer {
    bool needed;
    bool heard;               // it has said hello
    ucp_ep_h ep;              // NULL: not connected yet
    SegmentCounter connected; // 1 when it is
    UcxHeader hello;
    char broken[128]; // why; "": it is not
} UcxPeer;

struct rt__ucx {
    ucp_context_h context;
    ucp_worker_h worker;
    int event_fd;
    UcxRing *rings; // [n_edges]
    UcxPeer *peers; // [rt__n_ranks]
    int missing;    // peers that are needed and not connected
};

// runtime/ucx/connect.c
int rt__ucx_open(rt_stage *s);
void rt__ucx_close(rt_stage *s);
void rt__ucx_connect(rt_stage *s); // those peers that can be by now
void rt__ucx_broken(UcxPeer *peer, ucs_status_t status);
// runtime/ucx/ucx.c
int rt__ucx_post(rt_stage *s, int peer, enum UcxMessage kind, UcxHeader *h, const void *data,
                 size_t bytes);
UcxHeader rt__ucx_header(const rt_stage *s, int edge, uint64_t seq);
// Called by UCX within progress; `user` is the stage.
ucs_status_t rt__ucx_data(void *user, const void *header, size_t header_bytes, void *data,
                          size_t bytes, const ucp_am_recv_param_t *param);
ucs_status_t rt__ucx_credit(void *user, const void *header, size_t header_bytes, void *data,
                            size_t bytes, const ucp_am_recv_param_t *param);
ucs_status_t rt__ucx_hello(void *user, const void *header, size_t header_bytes, void *data,
                           size_t bytes, const ucp_am_recv_param_t *param);

#endif
