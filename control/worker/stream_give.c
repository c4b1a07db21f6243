#include "control/worker/stream_inside.h"

#include "plan/crc32c.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST_TAKERS = 2 * MOST_WORKERS, TICKET_S = 1, GIVES_WAY = 5 };
#define SECOND_NS INT64_C(1000000000)

typedef struct Gift { // a parcel for whoever has the ticket
    struct Gift *next;
    Parcel *parcel;
    int64_t since_ns;
    enum { GIFT_WAITS, GIFT_GOES, GIFT_GONE } phase;
    uint8_t ticket[TICKET_BYTES];
} Gift;

typedef struct Taker { // a connection
    Streams *streams;
    int fd; // -1: there is none
} Taker;

struct Streams {
    int listen_fd, tell_fd, end_fd;
    uint16_t port;
    pthread_t listener;
    pthread_mutex_t lock; // of what follows
    pthread_cond_t ended; // a taker
    Gift *gifts;
    Taker takers[MOST_TAKERS];
    int n_takers;
};

void streams_tell(Streams *s)
{
    eventfd_write(s->tell_fd, 1);
}

void stream_give_way(void)
{
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), GIVES_WAY);
}

void stream_bound(int fd, int seconds)
{
    const struct timeval most = {.tv_sec = seconds};
    int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof most);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

// A taker
// ---------------------------------------------------------------------------------------

static bool put(int fd, const void *data, size_t n, int flags)
{
    const char *at = data;
    while (n) {
        ssize_t sent = send(fd, at, n, MSG_NOSIGNAL | flags);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        at += sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool put_summed(int fd, const uint8_t *data, uint64_t n, uint32_t *crc)
{
    while (n) {
        size_t piece = n < STREAM_PIECE ? n : STREAM_PIECE;
        *crc = crc32c(*crc, data, piece);
        if (!put(fd, data, piece, MSG_MORE))
            return false;
        data += piece;
        n -= piece;
    }
    return true;
}

static bool put_tensor(int fd, const Found *found, bool last)
{
    Seal seal = {0};
    if (!put_summed(fd, found->data, found->tensor->bytes, &seal.crc32c))
        return false;
    seal.whole = found_stays(found);
    return put(fd, &seal, sizeof seal, last ? 0 : MSG_MORE) && seal.whole;
}

static void put_parcel(int fd, const Parcel *p)
{
    uint64_t bytes = p->listing.length;
    Seal seal = {.whole = 1};
    bool good = put(fd, &bytes, sizeof bytes, MSG_MORE) &&
                put_summed(fd, (const uint8_t *)p->listing.data, bytes, &seal.crc32c) &&
                put(fd, &seal, sizeof seal, 0);
    for (int i = 0; i < p->n && good; i++)
        good = put_tensor(fd, &p->tensors[i], i + 1 == p->n);
}

static Gift *take(Streams *s, const uint8_t ticket[TICKET_BYTES])
{
    pthread_mutex_lock(&s->lock);
    Gift *gift = s->gifts;
    while (gift &&
           (gift->phase != GIFT_WAITS || memcmp(gift->ticket, ticket, TICKET_BYTES) != 0))
        gift = gift->next;
    if (gift)
        gift->phase = GIFT_GOES;
    pthread_mutex_unlock(&s->lock);
    return gift;
}

static void *serve(void *taker)
{
    Taker *t = taker;
    Streams *s = t->streams;
    uint8_t ticket[TICKET_BYTES];
    stream_give_way();
    stream_bound(t->fd, TICKET_S);
    bool said = recv(t->fd, ticket, sizeof ticket, MSG_WAITALL) == (ssize_t)sizeof ticket;
    Gift *gift = said ? take(s, ticket) : NULL;
    if (gift) {
        stream_bound(t->fd, PATIENCE_S);
        put_parcel(t->fd, gift->parcel);
    }
    pthread_mutex_lock(&s->lock);
    if (gift)
        gift->phase = GIFT_GONE;
    close(t->fd);
    t->fd = -1;
    s->n_takers--;
    streams_tell(s);
    pthread_cond_signal(&s->ended);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

// The port
// ----------------------------------------------------------------------------------------

static bool detach(Taker *t)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    bool good = !pthread_create(&thread, &attributes, serve, t);
    pthread_attr_destroy(&attributes);
    return good;
}

// Where as many are there as may be, whoever comes is closed on.
static void let_in(Streams *s, int fd)
{
    Taker *t = NULL;
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < MOST_TAKERS && !t; i++)
        t = s->takers[i].fd < 0 ? &s->takers[i] : NULL;
    if (t)
        *t = (Taker){s, fd};
    if (t && detach(t)) {
        s->n_takers++;
    } else {
        if (t)
            t->fd = -1;
        close(fd);
    }
    pthread_mutex_unlock(&s->lock);
}

static void *listen_for(void *streams)
{
    Streams *s = streams;
    struct pollfd fds[] = {{.fd = s->listen_fd, .events = POLLIN},
                           {.fd = s->end_fd, .events = POLLIN}};
    while (!fds[1].revents) {
        if (poll(fds, 2, -1) < 0)
            continue;
        int fd = fds[0].revents ? accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (fd >= 0)
            let_in(s, fd);
        else if (fds[0].revents && (errno == EMFILE || errno == ENFILE))
            poll(NULL, 0, 100); // until some are closed
    }
    return NULL;
}

static int bind_to(const char *address, uint16_t *port)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *at = NULL;
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    } bound = {.six = {0}};
    socklen_t size = sizeof bound;
    if (getaddrinfo(address, "0", &hints, &at)) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool good = fd >= 0 && !bind(fd, at->ai_addr, at->ai_addrlen) && !listen(fd, MOST_TAKERS) &&
                !getsockname(fd, &bound.any, &size);
    freeaddrinfo(at);
    if (!good && fd >= 0)
        close(fd);
    if (!good)
        return -1;
    *port = ntohs(bound.any.sa_family == AF_INET6 ? bound.six.sin6_port : bound.four.sin_port);
    return fd;
}

Streams *streams_open(const char *address)
{
    Streams *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->tell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->end_fd = eventfd(0, EFD_CLOEXEC);
    s->listen_fd = bind_to(address, &s->port);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->ended, NULL);
    for (int i = 0; i < MOST_TAKERS; i++)
        s->takers[i].fd = -1;
    bool good = s->tell_fd >= 0 && s->end_fd >= 0 && s->listen_fd >= 0;
    if (good && !(errno = pthread_create(&s->listener, NULL, listen_for, s)))
        return s;
    int saved = errno;
    close(s->tell_fd);
    close(s->end_fd);
    close(s->listen_fd);
    free(s);
    errno = saved;
    return NULL;
}

void streams_close(Streams *s)
{
    if (!s)
        return;
    eventfd_write(s->end_fd, 1);
    pthread_join(s->listener, NULL);
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < MOST_TAKERS; i++)
        if (s->takers[i].fd >= 0)
            shutdown(s->takers[i].fd, SHUT_RDWR);
    while (s->n_takers)
        pthread_cond_wait(&s->ended, &s->lock);
    pthread_mutex_unlock(&s->lock);
    for (Parcel *p; (p = streams_back(s, INT64_MAX));)
        parcel_free(p);
    close(s->tell_fd);
    close(s->end_fd);
    close(s->listen_fd);
    pthread_cond_destroy(&s->ended);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

uint16_t streams_port(const Streams *s)
{
    return s->port;
}

int streams_fd(const Streams *s)
{
    return s->tell_fd;
}

void streams_seen(Streams *s)
{
    eventfd_t n;
    eventfd_read(s->tell_fd, &n);
}

// Parcels
// ---------------------------------------------------------------------------------------

bool streams_give(Streams *s, Parcel *p, int64_t now_ns, uint8_t ticket[TICKET_BYTES])
{
    Gift *gift = calloc(1, sizeof *gift);
    if (!gift || getrandom(gift->ticket, TICKET_BYTES, 0) != TICKET_BYTES) {
        free(gift);
        return false;
    }
    memcpy(ticket, gift->ticket, TICKET_BYTES);
    gift->parcel = p;
    gift->since_ns = now_ns;
    pthread_mutex_lock(&s->lock);
    gift->next = s->gifts;
    s->gifts = gift;
    pthread_mutex_unlock(&s->lock);
    return true;
}

static bool is_back(const Gift *g, int64_t now_ns)
{
    bool late = now_ns - g->since_ns > PATIENCE_S * SECOND_NS;
    return g->phase == GIFT_GONE || (g->phase == GIFT_WAITS && late);
}

Parcel *streams_back(Streams *s, int64_t now_ns)
{
    Parcel *parcel = NULL;
    pthread_mutex_lock(&s->lock);
    for (Gift **at = &s->gifts; *at && !parcel;) {
        Gift *gift = *at;
        if (!is_back(gift, now_ns)) {
            at = &gift->next;
            continue;
        }
        parcel = gift->parcel;
        *at = gift->next;
        free(gift);
    }
    pthread_mutex_unlock(&s->lock);
    return parcel;
}
