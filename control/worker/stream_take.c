#include "control/worker/stream_inside.h"

#include "plan/crc32c.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HOST = 64, SLICE_MS = 50 };

struct Stream {
    Streams *streams;
    char host[HOST], port[8];
    uint8_t ticket[TICKET_BYTES];
    pthread_t thread;
    _Atomic int phase; // StreamPhase
    _Atomic uint64_t moved;
    char *listing;
    uint64_t listing_bytes;
    pthread_mutex_t lock; // of what follows
    pthread_cond_t told;  // closing or places
    int fd;               // connected; -1: not yet
    bool closing;
    StreamPlace *places;
    int n_places;
};

static bool is_closing(Stream *t)
{
    pthread_mutex_lock(&t->lock);
    bool closing = t->closing;
    pthread_mutex_unlock(&t->lock);
    return closing;
}

// The connection
// ---------------------------------------------------------------------------------------

// A look at it from time to time: whoever closes it is not kept waiting.
static bool is_connected(Stream *t, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof error;
    for (int ms = 0; ms < PATIENCE_S * 1000 && !is_closing(t); ms += SLICE_MS)
        if (poll(&p, 1, SLICE_MS) > 0)
            return !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) && !error;
    return false;
}

static int connect_to(Stream *t)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *at = NULL;
    if (getaddrinfo(t->host, t->port, &hints, &at))
        return -1;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool good = fd >= 0 && (!connect(fd, at->ai_addr, at->ai_addrlen) ||
                            (errno == EINPROGRESS && is_connected(t, fd)));
    freeaddrinfo(at);
    if (good) {
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
        stream_bound(fd, PATIENCE_S);
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

// From now on it can be cut off from outside.
static bool open_it(Stream *t)
{
    int fd = connect_to(t);
    pthread_mutex_lock(&t->lock);
    t->fd = fd;
    bool good = fd >= 0 && !t->closing;
    pthread_mutex_unlock(&t->lock);
    return good && send(fd, t->ticket, TICKET_BYTES, MSG_NOSIGNAL) == TICKET_BYTES;
}

// To be woken for every few segments takes a sixth of all the time that a stream does.
static bool wait_for(int fd, size_t n)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int low = (int)(n < STREAM_PIECE ? n : STREAM_PIECE);
    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof low);
    return poll(&p, 1, PATIENCE_S * 1000) != 0;
}

static bool get(Stream *t, void *to, size_t n)
{
    char *at = to;
    while (n) {
        if (!wait_for(t->fd, n))
            return false;
        ssize_t got = recv(t->fd, at, n, MSG_DONTWAIT);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got <= 0)
            return false;
        at += got;
        n -= (size_t)got;
        atomic_fetch_add(&t->moved, (uint64_t)got);
    }
    return true;
}

static bool get_sealed(Stream *t, uint8_t *to, uint64_t n)
{
    uint8_t nowhere[1 << 14];
    size_t most = to ? STREAM_PIECE : sizeof nowhere;
    uint32_t crc = 0;
    Seal seal;
    while (n) {
        size_t piece = n < most ? n : most;
        uint8_t *here = to ? to : nowhere;
        if (!get(t, here, piece))
            return false;
        crc = crc32c(crc, here, piece);
        to = to ? to + piece : NULL;
        n -= piece;
    }
    return get(t, &seal, sizeof seal) && seal.whole == 1 && seal.crc32c == crc;
}

static bool get_listing(Stream *t)
{
    if (!get(t, &t->listing_bytes, sizeof t->listing_bytes) ||
        t->listing_bytes > MOST_LISTING || !(t->listing = malloc(t->listing_bytes + 1)))
        return false;
    return get_sealed(t, (uint8_t *)t->listing, t->listing_bytes);
}

static bool wait_for_places(Stream *t)
{
    pthread_mutex_lock(&t->lock);
    while (!t->closing && !t->places)
        pthread_cond_wait(&t->told, &t->lock);
    bool good = !t->closing;
    pthread_mutex_unlock(&t->lock);
    return good;
}

static void enter(Stream *t, StreamPhase phase)
{
    atomic_store(&t->phase, phase);
    streams_tell(t->streams);
}

static bool get_tensors(Stream *t)
{
    enter(t, STREAM_MOVING);
    for (int i = 0; i < t->n_places; i++)
        if (!get_sealed(t, t->places[i].to, t->places[i].bytes))
            return false;
    return true;
}

static void *run(void *stream)
{
    Stream *t = stream;
    stream_give_way();
    bool listed = open_it(t) && get_listing(t);
    if (listed)
        enter(t, STREAM_LISTED);
    bool good = listed && wait_for_places(t) && get_tensors(t);
    enter(t, good ? STREAM_DONE : STREAM_FAILED);
    return NULL;
}

// For the other thread
// ---------------------------------------------------------------------------------------

Stream *stream_open(Streams *s, const char *host, uint16_t port,
                    const uint8_t ticket[TICKET_BYTES])
{
    Stream *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->streams = s;
    t->fd = -1;
    snprintf(t->host, sizeof t->host, "%s", host);
    snprintf(t->port, sizeof t->port, "%u", port);
    memcpy(t->ticket, ticket, TICKET_BYTES);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->told, NULL);
    if (!(errno = pthread_create(&t->thread, NULL, run, t)))
        return t;
    free(t);
    return NULL;
}

StreamPhase stream_phase(const Stream *t)
{
    return (StreamPhase)atomic_load(&t->phase);
}

uint64_t stream_moved(const Stream *t)
{
    return atomic_load(&t->moved);
}

const char *stream_listing(const Stream *t, size_t *bytes)
{
    *bytes = t->listing_bytes;
    return t->listing;
}

void stream_into(Stream *t, StreamPlace *places, int n)
{
    pthread_mutex_lock(&t->lock);
    t->places = places;
    t->n_places = n;
    pthread_cond_signal(&t->told);
    pthread_mutex_unlock(&t->lock);
}

void stream_close(Stream *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->closing = true;
    if (t->fd >= 0)
        shutdown(t->fd, SHUT_RDWR);
    pthread_cond_signal(&t->told);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    if (t->fd >= 0)
        close(t->fd);
    pthread_cond_destroy(&t->told);
    pthread_mutex_destroy(&t->lock);
    free(t->listing);
    free(t->places);
    free(t);
}
