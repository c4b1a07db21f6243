// A worker of UCX, its address in the job's memory for others to read, and connections. The earlier
// rank connects as soon as it knows the address and says hello; the later one connects back then and says it too, so
// that connections never cross. Every connection has UCX's error handling between
// peers, which tells both sides of one that broke (and takes TCP where shared memory might do); what
// stays silent is found by the launcher's heartbeat and by the time limit of waits.
#include "runtime/ucx/ucx.h"

#include "runtime/wait.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETTLE_NS = 200 * 1000 * 1000, SETTLE_LOOK_NS = 1000 * 1000 };

// Which edges cross hosts
// -------------------------------------------------------------------------

static bool is_remote(const rt_stage *s, int peer)
{
    return s->peers[peer].by == &rt__ucx;
}

static bool sends(const rt_stage *s, int edge)
{
    const rt_edge *e = &s->program->edges[edge];
    bool remote = false;
    for (int c = 0; c < e->n_consumers; c++)
        remote |= is_remote(s, e->consumers[c]);
    return remote && e->producer == s->rank;
}

static bool receives(const rt_stage *s, int edge)
{
    return s->edges[edge].mine && is_remote(s, s->program->edges[edge].producer);
}

static bool needed(const rt_stage *s)
{
    for (int i = 0; i < s->program->n_edges; i++)
        if (sends(s, i) || receives(s, i))
            return true;
    return false;
}

static void need(rt_stage *s, int peer)
{
    UcxPeer *p = &s->ucx->peers[peer];
    s->ucx->missing += is_remote(s, peer) && !p->needed;
    p->needed |= is_remote(s, peer);
}

// Rings
// -----------------------------------------------------------------------------------------

static int no_memory(rt_stage *s)
{
    char name[RT__RANK_NAME];
    return rt_fail(s, RT_E_MEMORY, "%s: no memory for what it knows of messages",
                   rt__rank_name(s->program, s->rank, name));
}

// The first consumer of a host is sent the messages, all tell the producer when they are done.
static int open_consumer(rt_stage *s, int edge)
{
    const rt_edge *e = &s->program->edges[edge];
    UcxRing *ring = &s->ucx->rings[edge];
    bool first = rt__first_here(s, edge) == s->rank;
    ring->headers = calloc((size_t)e->slots, sizeof *ring->headers);
    ring->arrivals = first ? calloc((size_t)e->slots, sizeof *ring->arrivals) : NULL;
    if (!ring->headers || (first && !ring->arrivals))
        return no_memory(s);
    for (int i = 0; first && i < e->slots; i++)
        ring->arrivals[i] = (UcxArrival){.stage = s, .edge = edge};
    return 0;
}

static int open_producer(rt_stage *s, int edge)
{
    const rt_edge *e = &s->program->edges[edge];
    UcxRing *ring = &s->ucx->rings[edge];
    ring->headers = calloc((size_t)e->slots * (size_t)e->n_consumers, sizeof *ring->headers);
    return ring->headers ? 0 : no_memory(s);
}

static int open_rings(rt_stage *s)
{
    int error = 0;
    for (int i = 0; i < s->program->n_edges && !error; i++) {
        const rt_edge *e = &s->program->edges[i];
        if (receives(s, i)) {
            need(s, e->producer);
            error = open_consumer(s, i);
        } else if (sends(s, i)) {
            for (int c = 0; c < e->n_consumers; c++)
                need(s, e->consumers[c]);
            error = open_producer(s, i);
        }
    }
    return error;
}

// The worker
// --------------------------------------------------------------------------------------

static int failed(rt_stage *s, const char *what, ucs_status_t status)
{
    char name[RT__RANK_NAME];
    return rt_fail(s, RT_E_ENVIRONMENT, "%s: UCX cannot %s: %s",
                   rt__rank_name(s->program, s->rank, name), what, ucp.status_string(status));
}

// TCP, unless UCX_TLS asks for others.
static int open_context(rt_stage *s)
{
    ucp_config_t *config;
    ucp_params_t params = {.field_mask =
                               UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_ESTIMATED_NUM_EPS,
                           .features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP,
                           .estimated_num_eps = (size_t)rt__n_ranks(s->program)};
    ucs_status_t status = ucp.config_read(NULL, NULL, &config);
    if (status != UCS_OK)
        return failed(s, "read its configuration", status);
    if (!getenv("UCX_TLS"))
        ucp.config_modify(config, "TLS", "tcp");
    status = ucp.init_version(UCP_API_MAJOR, UCP_API_MINOR, &params, config, &s->ucx->context);
    ucp.config_release(config);
    return status == UCS_OK ? 0 : failed(s, "start", status);
}

static ucs_status_t handle(rt_stage *s, enum UcxMessage id, ucp_am_recv_callback_t callback)
{
    ucp_am_handler_param_t params = {
        .field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID | UCP_AM_HANDLER_PARAM_FIELD_FLAGS |
                      UCP_AM_HANDLER_PARAM_FIELD_CB | UCP_AM_HANDLER_PARAM_FIELD_ARG,
        .id = id,
        .flags = UCP_AM_FLAG_WHOLE_MSG,
        .cb = callback,
        .arg = s};
    return ucp.worker_set_am_recv_handler(s->ucx->worker, &params);
}

static int open_worker(rt_stage *s)
{
    ucp_worker_params_t params = {.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE,
                                  .thread_mode = UCS_THREAD_MODE_SINGLE};
    ucs_status_t status = ucp.worker_create(s->ucx->context, &params, &s->ucx->worker);
    if (status != UCS_OK)
        return failed(s, "make a worker", status);
    status = ucp.worker_get_efd(s->ucx->worker, &s->ucx->event_fd);
    if (status == UCS_OK)
        status = handle(s, UCX_DATA, rt__ucx_data);
    if (status == UCS_OK)
        status = handle(s, UCX_CREDIT, rt__ucx_credit);
    if (status == UCS_OK)
        status = handle(s, UCX_HELLO, rt__ucx_hello);
    return status == UCS_OK ? 0 : failed(s, "wait for messages", status);
}

// The launcher takes it to the other hosts before the first barrier.
static int show_address(rt_stage *s)
{
    char name[RT__RANK_NAME];
    ucp_address_t *address;
    size_t bytes;
    ucs_status_t status = ucp.worker_get_address(s->ucx->worker, &address, &bytes);
    if (status != UCS_OK)
        return failed(s, "tell its address", status);
    SegmentAddress *mine = &segment_addresses(s->segment)[s->rank];
    bool fits = bytes <= sizeof mine->data;
    if (fits) {
        memcpy(mine->data, address, bytes);
        atomic_store(&mine->bytes, (uint32_t)bytes);
    }
    ucp.worker_release_address(s->ucx->worker, address);
    return fits ? 0
                : rt_fail(s, RT_E_ENVIRONMENT,
                          "%s: UCX's address has %zu bytes, more than %zu: name the "
                          "network devices to use in UCX_NET_DEVICES",
                          rt__rank_name(s->program, s->rank, name), bytes, sizeof mine->data);
}

int rt__ucx_open(rt_stage *s)
{
    const char *why;
    char name[RT__RANK_NAME];
    if (!needed(s))
        return 0;
    if (!ucp_load(&why))
        return rt_fail(s, RT_E_ENVIRONMENT,
                       "%s has neighbours on other hosts, and UCX cannot be loaded: %s; "
                       "apt-get install libucx0, or `stagecc deploy`",
                       rt__rank_name(s->program, s->rank, name), why);
    s->ucx = calloc(1, sizeof *s->ucx);
    if (!s->ucx)
        return no_memory(s);
    s->ucx->rings = calloc((size_t)s->program->n_edges, sizeof *s->ucx->rings);
    s->ucx->peers = calloc((size_t)rt__n_ranks(s->program), sizeof *s->ucx->peers);
    int error = s->ucx->rings && s->ucx->peers ? open_rings(s) : no_memory(s);
    if (!error)
        error = open_context(s);
    if (!error)
        error = open_worker(s);
    return error ? error : show_address(s);
}

// Peers
// -----------------------------------------------------------------------------------------

void rt__ucx_broken(UcxPeer *peer, ucs_status_t status)
{
    if (!*peer->broken)
        snprintf(peer->broken, sizeof peer->broken, "cannot be reached any more (%s)",
                 ucp.status_string(status));
}

static void on_error(void *user, ucp_ep_h ep, ucs_status_t status)
{
    (void)ep;
    rt__ucx_broken(user, status);
}

static void connect_to(rt_stage *s, int peer, const SegmentAddress *address)
{
    UcxPeer *to = &s->ucx->peers[peer];
    ucp_ep_params_t params = {.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS |
                                            UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                                            UCP_EP_PARAM_FIELD_ERR_HANDLER,
                              .address = (const ucp_address_t *)(const void *)address->data,
                              .err_mode = UCP_ERR_HANDLING_MODE_PEER,
                              .err_handler = {.cb = on_error, .arg = to}};
    ucs_status_t status = ucp.ep_create(s->ucx->worker, &params, &to->ep);
    if (status != UCS_OK) {
        to->ep = NULL;
        rt__ucx_broken(to, status);
        char name[RT__RANK_NAME], other[RT__RANK_NAME];
        rt_fail(s, RT_E_PEER, "%s cannot connect to %s: %s",
                rt__rank_name(s->program, s->rank, name),
                rt__rank_name(s->program, peer, other), ucp.status_string(status));
        return;
    }
    s->ucx->missing--;
    atomic_store(&to->connected.value, 1);
    to->hello = rt__ucx_header(s, 0, 0);
    rt__ucx_post(s, peer, UCX_HELLO, &to->hello, NULL, 0);
}

void rt__ucx_connect(rt_stage *s)
{
    for (int i = 0; i < rt__n_ranks(s->program); i++) {
        const UcxPeer *p = &s->ucx->peers[i];
        const SegmentAddress *address = &segment_addresses(s->segment)[i];
        bool turn = !*p->broken && (i > s->rank || p->heard);
        if (p->needed && !p->ep && turn && atomic_load(&address->bytes))
            connect_to(s, i, address);
    }
}

// UCX 1.13 aborts in a worker that is destroyed while a connection is still coming up, and now and then in the one on
// the other side: so none is, until everyone needed has said hello, has broken, or has ended.
static bool settled(const rt_stage *s)
{
    for (int i = 0; i < rt__n_ranks(s->program); i++) {
        const UcxPeer *p = &s->ucx->peers[i];
        bool ended = atomic_load(&s->statuses[i].pid) < 0;
        if (p->needed && !p->heard && !*p->broken && !ended)
            return false;
    }
    return true;
}

static void settle(rt_stage *s)
{
    int64_t end = rt__now_ns() + SETTLE_NS;
    rt__ucx.progress(s);
    while (!settled(s) && rt__now_ns() < end) {
        rt__ucx.sleep(s, NULL, SETTLE_LOOK_NS);
        rt__ucx.progress(s);
    }
    rt__ucx.progress(s); // an answer of our own goes out
}

static void disconnect(rt_stage *s, UcxPeer *peer)
{
    ucp_request_param_t how = {.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS,
                               .flags = UCP_EP_CLOSE_FLAG_FORCE};
    void *request = peer->ep ? ucp.ep_close_nbx(peer->ep, &how) : NULL;
    if (!UCS_PTR_IS_PTR(request))
        return;
    while (ucp.request_check_status(request) == UCS_INPROGRESS)
        ucp.worker_progress(s->ucx->worker);
    ucp.request_free(request);
}

static void close_ring(UcxRing *ring)
{
    free(ring->headers);
    free(ring->arrivals);
}

void rt__ucx_close(rt_stage *s)
{
    struct rt__ucx *u = s->ucx;
    if (!u)
        return;
    if (u->worker && atomic_load(&segment_addresses(s->segment)[s->rank].bytes))
        settle(s);
    for (int i = 0; u->worker && i < rt__n_ranks(s->program); i++)
        disconnect(s, &u->peers[i]);
    if (u->worker)
        ucp.worker_destroy(u->worker);
    if (u->context)
        ucp.cleanup(u->context);
    for (int i = 0; u->rings && i < s->program->n_edges; i++)
        close_ring(&u->rings[i]);
    free(u->rings);
    free(u->peers);
    free(u);
    s->ucx = NULL;
}
