#include "runtime/ucx/ucx.h"

#include "runtime/segment.h"
#include "runtime/wait.h"

#include <inttypes.h>
#include <poll.h>
#include <string.h>

enum { LOOK_NS = 1000 * 1000 };

// What came
// ---------------------------------------------------------------------------------------

static const char stray[] = "of another job";

// Headers come unaligned, and of any length. Is it this job's? NULL, or how it is not.
static const char *read_header(const rt_stage *s, const void *header, size_t header_bytes,
                               UcxHeader *h)
{
    const rt_program *p = s->program;
    *h = (UcxHeader){0};
    memcpy(h, header, header_bytes < sizeof *h ? header_bytes : sizeof *h);
    if (header_bytes != sizeof *h || h->version != UCX_VERSION || h->bytes != sizeof *h)
        return "of another version of stagecc";
    if (h->job != s->segment->job)
        return stray;
    if (h->plan != rt__plan_number(p))
        return "of another plan (build all programs again)";
    if (h->edge >= p->n_edges || h->from >= rt__n_ranks(p))
        return "of an edge or a stage that there is not";
    return NULL;
}

// A program whose peers were replaced while it stood still goes on some time, and may find an old peer's port taken by
// a new program: that is no trouble of this job.
static ucs_status_t refuse(rt_stage *s, const UcxHeader *h, const char *how)
{
    if (how == stray)
        return UCS_OK; // UCX drops it
    char name[RT__RANK_NAME], from[RT__RANK_NAME];
    bool known = h->from < rt__n_ranks(s->program);
    rt_fail(s, RT_E_PEER, "%s was sent a message %s (number %" PRIu64 " of edge %u from %s)",
            rt__rank_name(s->program, s->rank, name), how, h->seq, h->edge,
            known ? rt__rank_name(s->program, h->from, from) : "nobody in this job");
    return UCS_OK; // likewise
}

// Messages complete in any order, and are seen in theirs.
static void publish(rt_stage *s, int edge)
{
    UcxArrival *arrivals = s->ucx->rings[edge].arrivals;
    SegmentCounter *c = s->edges[edge].published;
    uint64_t slots = (uint64_t)s->program->edges[edge].slots;
    uint64_t n = atomic_load_explicit(&c->value, memory_order_relaxed);
    for (; arrivals[n % slots].here; n++)
        arrivals[n % slots].here = false;
    rt__counter_set(c, n);
}

static void arrived(UcxArrival *a)
{
    a->here = true;
    publish(a->stage, a->edge);
}

static void on_received(void *request, ucs_status_t status, size_t bytes, void *user)
{
    UcxArrival *a = user;
    (void)bytes;
    ucp.request_free(request);
    if (status == UCS_OK)
        arrived(a);
    else
        rt__ucx_broken(&a->stage->ucx->peers[a->stage->program->edges[a->edge].producer],
                       status);
}

// Every consumer of this host is done with the message that lies in its slot.
static bool slot_is_free(const rt_stage *s, int edge, uint64_t seq)
{
    const rt_edge *e = &s->program->edges[edge];
    for (int c = 0; c < e->n_consumers; c++)
        if (s->statuses[e->consumers[c]].host == s->status->host &&
            seq >= atomic_load(&s->edges[edge].released[c].value) + (uint64_t)e->slots)
            return false;
    return true;
}

// What is wrong with this message of a ring; NULL: it is the one that is due, and its slot is free.
static const char *unexpected(const rt_stage *s, const UcxHeader *h, size_t bytes)
{
    const rt_edge *e = &s->program->edges[h->edge];
    const UcxRing *ring = &s->ucx->rings[h->edge];
    if (!ring->arrivals || e->producer != h->from)
        return "of an edge that does not lead from there to here";
    if (bytes != (size_t)e->bytes)
        return "of another size";
    if (h->seq != ring->begun)
        return "out of order";
    if (!slot_is_free(s, h->edge, ring->begun))
        return "for which there is no free slot";
    return NULL;
}

ucs_status_t rt__ucx_data(void *user, const void *header, size_t header_bytes, void *data,
                          size_t bytes, const ucp_am_recv_param_t *param)
{
    rt_stage *s = user;
    UcxHeader copy, *h = &copy;
    const char *wrong = read_header(s, header, header_bytes, h);
    if (!wrong)
        wrong = unexpected(s, h, bytes);
    if (wrong)
        return refuse(s, h, wrong);
    UcxRing *ring = &s->ucx->rings[h->edge];
    uint64_t slot = ring->begun++ % (uint64_t)s->program->edges[h->edge].slots;
    UcxArrival *a = &ring->arrivals[slot];
    uint8_t *to = s->edges[h->edge].slots + slot * s->edges[h->edge].slot_bytes;
    if (!(param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV)) {
        memcpy(to, data, bytes);
        arrived(a);
        return UCS_OK;
    }
    ucp_request_param_t how = {.op_attr_mask =
                                   UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
                               .cb = {.recv_am = on_received},
                               .user_data = a};
    void *request = ucp.am_recv_data_nbx(s->ucx->worker, data, to, bytes, &how);
    if (!request)
        arrived(a);
    else if (UCS_PTR_IS_ERR(request))
        rt__ucx_broken(&s->ucx->peers[h->from], UCS_PTR_STATUS(request));
    return UCS_INPROGRESS;
}

ucs_status_t rt__ucx_credit(void *user, const void *header, size_t header_bytes, void *data,
                            size_t bytes, const ucp_am_recv_param_t *param)
{
    rt_stage *s = user;
    UcxHeader copy, *h = &copy;
    (void)data, (void)bytes, (void)param;
    const char *wrong = read_header(s, header, header_bytes, h);
    if (wrong)
        return refuse(s, h, wrong);
    const rt_edge *e = &s->program->edges[h->edge];
    for (int c = 0; c < e->n_consumers && e->producer == s->rank; c++) {
        _Atomic uint64_t *released = &s->edges[h->edge].released[c].value;
        if (e->consumers[c] != h->from)
            continue;
        if (h->seq != atomic_load_explicit(released, memory_order_relaxed))
            return refuse(s, h, "out of order");
        atomic_store_explicit(released, h->seq + 1, memory_order_release);
        return UCS_OK;
    }
    return refuse(s, h, "of an edge that does not lead from here to there");
}

ucs_status_t rt__ucx_hello(void *user, const void *header, size_t header_bytes, void *data,
                           size_t bytes, const ucp_am_recv_param_t *param)
{
    rt_stage *s = user;
    UcxHeader copy, *h = &copy;
    (void)data, (void)bytes, (void)param;
    const char *wrong = read_header(s, header, header_bytes, h);
    if (!wrong && !s->ucx->peers[h->from].needed)
        wrong = "of a stage that shares no edge with it";
    if (wrong)
        return refuse(s, h, wrong);
    s->ucx->peers[h->from].heard = true;
    return UCS_OK;
}

// What is sent
// ------------------------------------------------------------------------------------

static void on_sent(void *request, ucs_status_t status, void *user)
{
    ucp.request_free(request);
    if (status != UCS_OK && status != UCS_ERR_CANCELED)
        rt__ucx_broken(user, status);
}

int rt__ucx_post(rt_stage *s, int peer, enum UcxMessage kind, UcxHeader *h, const void *data,
                 size_t bytes)
{
    UcxPeer *to = &s->ucx->peers[peer];
    ucp_request_param_t how = {.op_attr_mask =
                                   UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA,
                               .cb = {.send = on_sent},
                               .user_data = to};
    rt__wait w = {.counter = &to->connected,
                  .target = 1,
                  .by = &rt__ucx,
                  .peer = peer,
                  .what = "a connection",
                  .name = ""};
    int error = rt__wait_for(s, &w);
    if (error)
        return error;
    void *request = ucp.am_send_nbx(to->ep, kind, h, sizeof *h, data, bytes, &how);
    if (UCS_PTR_IS_ERR(request)) // told by the next wait that needs the peer
        rt__ucx_broken(to, UCS_PTR_STATUS(request));
    return 0;
}

UcxHeader rt__ucx_header(const rt_stage *s, int edge, uint64_t seq)
{
    return (UcxHeader){.version = UCX_VERSION,
                       .bytes = sizeof(UcxHeader),
                       .edge = (uint16_t)edge,
                       .from = (uint16_t)s->rank,
                       .seq = seq,
                       .job = s->segment->job,
                       .plan = rt__plan_number(s->program)};
}

// A header stays until its message was read on the other side: the next message of its slot waits
// for that. data NULL: a credit.
static int tell(rt_stage *s, int peer, int edge, uint64_t seq, UcxHeader *h, const void *data)
{
    *h = rt__ucx_header(s, edge, seq);
    size_t bytes = data ? (size_t)s->program->edges[edge].bytes : 0;
    return rt__ucx_post(s, peer, data ? UCX_DATA : UCX_CREDIT, h, data, bytes);
}

// The first of those of a host is told for all.
static int tell_consumer(rt_stage *s, int edge, int consumer, uint64_t seq)
{
    const rt_edge *e = &s->program->edges[edge];
    if (rt__first_consumer(s, edge, s->statuses[e->consumers[consumer]].host) !=
        e->consumers[consumer])
        return 0;
    uint64_t slot = seq % (uint64_t)e->slots;
    UcxHeader *h = &s->ucx->rings[edge].headers[slot * (uint64_t)e->n_consumers];
    const void *data = s->edges[edge].slots + slot * s->edges[edge].slot_bytes;
    return tell(s, e->consumers[consumer], edge, seq, h + consumer, data);
}

static int tell_producer(rt_stage *s, int edge, uint64_t seq)
{
    const rt_edge *e = &s->program->edges[edge];
    UcxHeader *h = &s->ucx->rings[edge].headers[seq % (uint64_t)e->slots];
    return tell(s, e->producer, edge, seq, h, NULL);
}

// Waiting
// -----------------------------------------------------------------------------------------

static bool progress(rt_stage *s)
{
    if (!s->ucx)
        return false;
    while (ucp.worker_progress(s->ucx->worker))
        continue;
    if (s->ucx->missing)
        rt__ucx_connect(s);
    return true;
}

static void sleep_on(rt_stage *s, const rt__wait *w, int64_t ns)
{
    (void)w;
    if (ucp.worker_arm(s->ucx->worker) != UCS_OK)
        return;                          // something has come
    if (s->ucx->missing && ns > LOOK_NS) // addresses come by memory
        ns = LOOK_NS;
    struct pollfd p = {.fd = s->ucx->event_fd, .events = POLLIN};
    struct timespec most = {ns / 1000000000, ns % 1000000000};
    ppoll(&p, 1, &most, NULL);
}

// A peer that has ended closes its connections: that is news for who needs it alone.
static const char *lost(rt_stage *s, int peer, const rt__wait *w)
{
    bool needed = w->by == &rt__ucx && w->peer == peer && s->ucx;
    return needed && *s->ucx->peers[peer].broken ? s->ucx->peers[peer].broken : NULL;
}

static bool reaches(const rt_stage *s, int peer)
{
    return s->statuses[peer].host != s->status->host;
}

const rt_transport rt__ucx = {.name = "ucx",
                              .reaches = reaches,
                              .open = rt__ucx_open,
                              .close = rt__ucx_close,
                              .send = tell_consumer,
                              .release = tell_producer,
                              .progress = progress,
                              .sleep = sleep_on,
                              .lost = lost};
