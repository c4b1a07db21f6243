// The server: libmicrohttpd without threads, on a socket of page_listen. It bounds connections, requests and idle time;
// how long a client may take for a request as a whole is watched here, since a byte now and then is not idle.
#include "control/page/page.h"

#include "base/clock.h"
#include "base/diag.h"
#include "control/page/inside.h"
#include "control/page/library.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 32, REQUEST_BYTES = 8 << 10, PATIENCE_S = 10, ROUNDS = 32 };

typedef struct MHD_Response Response;
typedef struct MHD_Connection Connection;

typedef struct Client {
    Connection *connection; // NULL: nobody
    double until;           // page_seconds at which it has had its time
} Client;

struct Page {
    struct MHD_Daemon *daemon;
    PagePlace place;
    json_t *(*status)(void *user);
    void *user;
    json_t *now; // the status in this page_serve; NULL: nobody asked yet, or there is none
    bool asked;
    Client clients[CLIENTS];
};

double (*page_seconds)(void) = clock_seconds;

// Answers
// ------------------------------------------------------------------------------------------------

// What any answer says of itself: nothing is kept, guessed, framed, or fetched from elsewhere.
static const char *const always[][2] = {
    {"Cache-Control", "no-store"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Content-Security-Policy",
     "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
     "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
};

// text: malloc'd, and taken, where `owned`.
static enum MHD_Result answer(Connection *c, unsigned code, const char *type, char *text,
                              size_t bytes, bool owned)
{
    Response *r = mhd.create_response_from_buffer(
        bytes, text, owned ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!r) {
        if (owned)
            free(text);
        return MHD_NO;
    }
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        mhd.add_response_header(r, always[i][0], always[i][1]);
    mhd.add_response_header(r, "Content-Type", type);
    if (code == MHD_HTTP_METHOD_NOT_ALLOWED)
        mhd.add_response_header(r, "Allow", "GET, HEAD");
    enum MHD_Result result = mhd.queue_response(c, code, r);
    mhd.destroy_response(r);
    return result;
}

static enum MHD_Result refuse(Connection *c, unsigned code, const char *why)
{
    return answer(c, code, "text/plain; charset=utf-8", (char *)why, strlen(why), false);
}

static const json_t *status_now(Page *p)
{
    if (!p->asked)
        p->now = p->status(p->user);
    p->asked = true;
    return p->now;
}

static enum MHD_Result answer_nothing(Connection *c)
{
    return refuse(c, MHD_HTTP_SERVICE_UNAVAILABLE, "there is no status now\n");
}

static enum MHD_Result answer_status(Page *p, Connection *c)
{
    // 13 digits: a time of day in milliseconds
    const json_t *status = status_now(p);
    char *text = status ? json_dumps(status, JSON_COMPACT | JSON_REAL_PRECISION(13)) : NULL;
    return text ? answer(c, MHD_HTTP_OK, "application/json", text, strlen(text), true)
                : answer_nothing(c);
}

static enum MHD_Result answer_metrics(Page *p, Connection *c)
{
    Text out = {0};
    const json_t *status = status_now(p);
    if (!status)
        return answer_nothing(c);
    page_metrics(&out, status);
    return answer(c, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", out.data,
                  out.length, true);
}

static const struct {
    const char *url;
    enum MHD_Result (*answer)(Page *p, Connection *c);
} routes[] = {
    {"/status.json", answer_status},
    {"/metrics", answer_metrics},
};

// Called once when the head of a request is there (*seen is NULL), then for its body, then at its end.
// NOLINTNEXTLINE(readability-function-size): libmicrohttpd says what its arguments are
static enum MHD_Result handle(void *user, Connection *c, const char *url, const char *method,
                              const char *version, const char *body, size_t *bytes, void **seen)
{
    Page *p = user;
    (void)version, (void)body;
    bool reads = !strcmp(method, "GET") || !strcmp(method, "HEAD");
    if (!reads)
        return refuse(c, MHD_HTTP_METHOD_NOT_ALLOWED, "this page is for reading\n");
    if (!*seen || *bytes) { // a body of GET means nothing
        *seen = p;
        *bytes = 0;
        return MHD_YES;
    }
    if (!page_host_good(&p->place, mhd.lookup_connection_value(c, MHD_HEADER_KIND, "Host")))
        return refuse(
            c, MHD_HTTP_MISDIRECTED_REQUEST,
            "this page answers to its address, to localhost and to its machine's name\n");
    for (const PageFile *f = page_files; f->url; f++)
        if (!strcmp(url, f->url))
            return answer(c, MHD_HTTP_OK, f->type, (char *)f->begin,
                          (size_t)(f->end - f->begin), false);
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (!strcmp(url, routes[i].url))
            return routes[i].answer(p, c);
    return refuse(c, MHD_HTTP_NOT_FOUND, "there is /, /status.json and /metrics\n");
}

// Patience
// ------------------------------------------------------------------------------------------------

static void client_changed(void *user, Connection *c, void **socket_context,
                           enum MHD_ConnectionNotificationCode what)
{
    Page *p = user;
    Client *client = *socket_context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        if (client)
            client->connection = NULL;
        return;
    }
    for (int i = 0; i < CLIENTS && !client; i++)
        if (!p->clients[i].connection)
            client = &p->clients[i];
    if (client) // there are as many as libmicrohttpd lets in
        *client = (Client){c, page_seconds() + PATIENCE_S};
    *socket_context = client;
}

static void request_ended(void *user, Connection *c, void **seen,
                          enum MHD_RequestTerminationCode how)
{
    (void)user, (void)seen, (void)how;
    const union MHD_ConnectionInfo *info =
        mhd.get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    Client *client = info->socket_context;
    if (client)
        client->until = page_seconds() + PATIENCE_S;
}

// libmicrohttpd closes what it finds shut.
static void shut_the_slow(Page *p)
{
    double now = page_seconds();
    for (int i = 0; i < CLIENTS; i++) {
        Client *client = &p->clients[i];
        if (client->connection && client->until < now)
            shutdown(
                mhd.get_connection_info(client->connection, MHD_CONNECTION_INFO_CONNECTION_FD)
                    ->connect_fd,
                SHUT_RDWR);
    }
}

// The server
// ------------------------------------------------------------------------------------------------

Page *page_open(const char *listen, json_t *(*status)(void *user), void *user)
{
    if (!mhd_load())
        return NULL;
    Page *p = calloc(1, sizeof *p);
    if (!p)
        fatal("out of memory");
    p->status = status;
    p->user = user;
    if (!page_listen(&p->place, listen)) {
        free(p);
        return NULL;
    }
    p->daemon = mhd.start_daemon(
        MHD_USE_EPOLL, 0, NULL, NULL, handle, p, MHD_OPTION_LISTEN_SOCKET, p->place.fd,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CLIENTS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)REQUEST_BYTES, MHD_OPTION_CONNECTION_MEMORY_INCREMENT,
        (size_t)REQUEST_BYTES / 4, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)PATIENCE_S,
        MHD_OPTION_NOTIFY_CONNECTION, client_changed, p, MHD_OPTION_NOTIFY_COMPLETED,
        request_ended, p, MHD_OPTION_END);
    if (p->daemon)
        return p;
    error_at(NO_LOC, "the page cannot be served: libmicrohttpd did not start");
    close(p->place.fd);
    free(p);
    return NULL;
}

const char *page_address(const Page *p)
{
    return p->place.address;
}

int page_wait_fd(const Page *p)
{
    return mhd.get_daemon_info(p->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
}

// It has seen something of a socket that it has not done yet, and that will not be reported again.
static bool is_behind(Page *p)
{
    MHD_UNSIGNED_LONG_LONG wait_ms;
    return mhd.get_timeout(p->daemon, &wait_ms) == MHD_YES && !wait_ms;
}

void page_serve(Page *p)
{
    shut_the_slow(p);
    // A round takes each connection one thing further; the second lets in who waited for a place of the first.
    for (int round = 0; round < 2 || (round < ROUNDS && is_behind(p)); round++)
        mhd.run(p->daemon);
    json_decref(p->now);
    p->now = NULL;
    p->asked = false;
}

void page_close(Page *p)
{
    if (!p)
        return;
    mhd.stop_daemon(p->daemon);
    free(p);
}
