// Where the page is served, and under which names. A page on a loopback address is for this machine only; a web site that
// this machine's browser shows could still read it once its own name leads to 127.0.0.1 (DNS rebinding). Its requests name
// that site as their host; an address of digits or a name of this machine cannot be taken over that way.
#include "base/diag.h"
#include "control/page/inside.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WAITING_MOST = 32, PORT = 6 };

// "[::1]:80" is `::1` and `80`; what has no colon is all host. host: [PAGE_HOST]; port: [PORT]. false: it has no such form.
static bool split(const char *text, char *host, char *port)
{
    const char *start = text, *end = strrchr(text, ':'), *rest = end;
    if (*text == '[') {
        start = text + 1;
        end = strchr(start, ']');
        if (!end || !memchr(start, ':', (size_t)(end - start)) || (end[1] && end[1] != ':'))
            return false;
        rest = end[1] ? end + 1 : NULL;
    } else if (end && memchr(text, ':', (size_t)(end - text))) {
        return false; // an IPv6 address without brackets
    }
    size_t length = end ? (size_t)(end - start) : strlen(start);
    const char *digits = rest ? rest + 1 : "";
    if (length >= PAGE_HOST || strlen(digits) >= PORT ||
        strspn(digits, "0123456789") != strlen(digits))
        return false;
    memcpy(host, start, length);
    host[length] = 0;
    memcpy(port, digits, strlen(digits) + 1);
    return true;
}

static bool is_loopback(const struct sockaddr_storage *a)
{
    if (a->ss_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)a)->sin_addr.s_addr) >> 24 == 127;
    struct sockaddr_in6 six;
    memcpy(&six, a, sizeof six);
    return IN6_IS_ADDR_LOOPBACK(&six.sin6_addr);
}

// -1 with errno set.
static int listening(const struct addrinfo *a)
{
    int on = 1, fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (!bind(fd, a->ai_addr, a->ai_addrlen) && !listen(fd, WAITING_MOST))
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

static void describe(PagePlace *place)
{
    struct sockaddr_storage bound = {0};
    socklen_t bytes = sizeof bound;
    char host[NI_MAXHOST], port[PORT];
    getsockname(place->fd, (struct sockaddr *)&bound, &bytes);
    getnameinfo((struct sockaddr *)&bound, bytes, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    place->loopback = is_loopback(&bound);
    bool six = bound.ss_family == AF_INET6;
    snprintf(place->address, sizeof place->address, "http://%s%.240s%s:%s/", six ? "[" : "",
             host, six ? "]" : "", port);
}

bool page_listen(PagePlace *place, const char *listen)
{
    char port[PORT];
    *place = (PagePlace){.fd = -1};
    bool port_alone = *listen && strspn(listen, "0123456789") == strlen(listen);
    char whole[300];
    snprintf(whole, sizeof whole, "%s%s", port_alone ? "127.0.0.1:" : "", listen);
    if (!split(whole, place->name, port) || !*port || !*place->name || atol(port) > 65535) {
        error_at(NO_LOC, "the page cannot be at `%s`: HOST:PORT is wanted, as 127.0.0.1:7071",
                 listen);
        return false;
    }
    const char *host = strcmp(place->name, "*") ? place->name : "0.0.0.0";
    struct addrinfo *found = NULL,
                    want = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    int status = getaddrinfo(host, port, &want, &found);
    if (!status)
        place->fd = listening(found);
    if (place->fd < 0)
        error_at(NO_LOC, "the page cannot be at %s: %s", listen,
                 status ? gai_strerror(status) : strerror(errno));
    else
        describe(place);
    if (found)
        freeaddrinfo(found);
    return place->fd >= 0;
}

bool page_host_good(const PagePlace *place, const char *host)
{
    char name[PAGE_HOST], port[PORT], own[PAGE_HOST] = "";
    unsigned char binary[sizeof(struct in6_addr)];
    if (!place->loopback)
        return true;
    if (!host || !split(host, name, port))
        return false;
    gethostname(own, sizeof own - 1);
    return inet_pton(AF_INET, name, binary) == 1 || inet_pton(AF_INET6, name, binary) == 1 ||
           !strcasecmp(name, "localhost") || !strcasecmp(name, place->name) ||
           (*own && !strcasecmp(name, own));
}
