// Between two hosts: a TCP connection, measured in both directions. Everything is a command of the
// side that connects: take so many blocks of so many bytes and say how long one takes, or send them.
// The receiver's clock counts, block by block, while the sender keeps the connection full.
#include "runtime/links/links.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECT_S = 10, ACCEPT_S = 30, SILENCE_S = 15, TOKEN = 32 };
enum { PINGS = 100, FIRST_BLOCK = 64 << 10, LAST_BLOCK = 16 << 20, MOST_BLOCKS = 100 };
static const double block_s = 0.01, stream_s = 0.4, pings_s = 1;

typedef enum Verb { BYE, TAKE, GIVE } Verb;
typedef struct Command {
    uint32_t verb, blocks, bytes; // network order on the wire
} Command;
typedef struct Answer {
    uint64_t median_ns, spread_ppm;
} Answer;

static uint8_t block[LAST_BLOCK];

// Sockets
// ---------------------------------------------------------------------------------------

static void put(int fd, const void *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = send(fd, (const char *)bytes + done, n - done, MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            links_fail("the connection broke: %s", strerror(errno));
        done += (size_t)k;
    }
}

static int get(int fd, void *bytes, size_t n)
{
    for (size_t done = 0; done < n;) {
        ssize_t k = recv(fd, (char *)bytes + done, n - done, 0);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return 0;
        done += (size_t)k;
    }
    return 1;
}

static void must_get(int fd, void *bytes, size_t n)
{
    errno = 0;
    if (!get(fd, bytes, n))
        links_fail("the connection broke: %s", errno == EAGAIN ? "the other side is silent"
                                               : errno         ? strerror(errno)
                                                       : "the other side has closed it");
}

static void prepare(int fd)
{
    int on = 1;
    struct timeval silence = {SILENCE_S, 0};
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof silence);
}

static void token_text(const char *token, char text[TOKEN])
{
    memset(text, 0, TOKEN);
    memcpy(text, token, strnlen(token, TOKEN - 1));
}

// Blocks
// ----------------------------------------------------------------------------------------

static void send_blocks(int fd, uint32_t blocks, uint32_t bytes)
{
    for (uint32_t i = 0; i < blocks; i++)
        put(fd, block, bytes);
}

// The first block fills the connection and is not counted where there are more.
static Figure take_blocks(int fd, uint32_t blocks, uint32_t bytes)
{
    static double seconds[MOST_BLOCKS];
    double since = links_now_s();
    for (uint32_t i = 0; i < blocks; i++) {
        must_get(fd, block, bytes);
        double now = links_now_s();
        seconds[i] = now - since;
        since = now;
    }
    return blocks > 1 ? figure_of(seconds + 1, (int)blocks - 1) : figure_of(seconds, 1);
}

static void serve(int fd)
{
    Command c;
    while (get(fd, &c, sizeof c)) {
        uint32_t verb = ntohl(c.verb), blocks = ntohl(c.blocks), bytes = ntohl(c.bytes);
        if (verb == BYE || blocks < 1 || blocks > MOST_BLOCKS || bytes < 1 ||
            bytes > LAST_BLOCK)
            return;
        if (verb == GIVE) {
            send_blocks(fd, blocks, bytes);
            continue;
        }
        Figure f = take_blocks(fd, blocks, bytes);
        Answer a = {htobe64((uint64_t)(f.median * 1e9)), htobe64((uint64_t)(f.spread * 1e6))};
        put(fd, &a, sizeof a);
    }
}

static void say(int fd, Verb verb, int blocks, int bytes)
{
    Command c = {htonl(verb), htonl((uint32_t)blocks), htonl((uint32_t)bytes)};
    put(fd, &c, sizeof c);
}

static Figure measure_there(int fd, int blocks, int bytes)
{
    Answer a;
    say(fd, TAKE, blocks, bytes);
    send_blocks(fd, (uint32_t)blocks, (uint32_t)bytes);
    must_get(fd, &a, sizeof a);
    return (Figure){(double)be64toh(a.median_ns) * 1e-9, (double)be64toh(a.spread_ppm) * 1e-6};
}

static Figure measure_back(int fd, int blocks, int bytes)
{
    say(fd, GIVE, blocks, bytes);
    return take_blocks(fd, (uint32_t)blocks, (uint32_t)bytes);
}

// Half a round trip of a small message.
static Figure measure_latency(int fd)
{
    static double seconds[PINGS];
    double begin = links_now_s();
    int n = 0;
    while (n < PINGS && (n < 5 || links_now_s() - begin < pings_s)) {
        double since = links_now_s();
        measure_there(fd, 1, 64);
        seconds[n++] = (links_now_s() - since) / 2;
    }
    return figure_of(seconds, n);
}

// Blocks that take long enough for the clock and for TCP to find its pace.
static int choose_block(int fd, double *seconds)
{
    int bytes = FIRST_BLOCK;
    for (;; bytes *= 2) {
        double since = links_now_s();
        measure_there(fd, 1, bytes);
        *seconds = links_now_s() - since;
        if (*seconds >= block_s || bytes == LAST_BLOCK)
            return bytes;
    }
}

static void measure(int fd)
{
    double seconds;
    measure_latency(fd); // the first messages find ways and fill caches
    Figure latency = measure_latency(fd);
    int bytes = choose_block(fd, &seconds), blocks = (int)(stream_s / seconds) + 3;
    if (blocks > MOST_BLOCKS)
        blocks = MOST_BLOCKS;
    Figure there = measure_there(fd, blocks, bytes), back = measure_back(fd, blocks, bytes);
    say(fd, BYE, 0, 0);
    links_print(latency, bytes, there.median > back.median ? there : back);
}

// Both ends
// -------------------------------------------------------------------------------------

static int listening_socket(uint16_t *port)
{
    int off = 0, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct sockaddr_in four = {.sin_family = AF_INET};
    socklen_t size = sizeof six;
    if (fd >= 0)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (fd < 0 || bind(fd, (struct sockaddr *)&six, sizeof six)) { // no IPv6 here
        if (fd >= 0)
            close(fd);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || bind(fd, (struct sockaddr *)&four, sizeof four))
            links_fail("cannot open a port: %s", strerror(errno));
    }
    if (listen(fd, 4) || getsockname(fd, (struct sockaddr *)&six, &size))
        links_fail("cannot listen: %s", strerror(errno));
    *port = ntohs(six.sin6_port); // of both families in the same place
    return fd;
}

void links_listen(const char *token)
{
    uint16_t port = 0;
    int listener = listening_socket(&port);
    char wanted[TOKEN], got[TOKEN];
    double end = links_now_s() + ACCEPT_S;
    token_text(token, wanted);
    printf("{\"port\": %d}\n", port);
    fflush(stdout);
    while (links_now_s() < end) {
        struct pollfd p = {.fd = listener, .events = POLLIN};
        if (poll(&p, 1, 1000) <= 0)
            continue;
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        prepare(fd);
        if (get(fd, got, TOKEN) && !memcmp(got, wanted, TOKEN)) {
            serve(fd);
            return;
        }
        close(fd); // a stranger
    }
    links_fail("nobody has connected to port %d within %d s", port, ACCEPT_S);
}

static int connect_to(const struct addrinfo *a)
{
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), error = 0;
    socklen_t size = sizeof error;
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    if (fd < 0)
        return -1;
    if (!connect(fd, a->ai_addr, a->ai_addrlen))
        return fd;
    if (errno == EINPROGRESS && poll(&p, 1, CONNECT_S * 1000) == 1 &&
        !getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) && !error)
        return fd;
    errno = error ? error : errno == EINPROGRESS ? ETIMEDOUT : errno;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

void links_connect(const char *token, const char *address, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list = NULL;
    char text[TOKEN];
    int fd = -1, error = getaddrinfo(address, port, &hints, &list);
    if (error)
        links_fail("the address of %s is not known: %s", address, gai_strerror(error));
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = connect_to(a);
    if (fd < 0)
        links_fail("no connection to %s port %s: %s", address, port, strerror(errno));
    freeaddrinfo(list);
    prepare(fd);
    token_text(token, text);
    put(fd, text, TOKEN);
    measure(fd);
    close(fd);
}
