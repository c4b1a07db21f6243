#include "control/interface.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool interface_endpoint(const char *endpoint)
{
    const char *begin = str_starts(endpoint, "tcp://") ? endpoint + strlen("tcp://") : "";
    const char *colon = strrchr(begin, ':'), *port = colon ? colon + 1 : "";
    size_t n = colon ? (size_t)(colon - begin) : 0, digits = strspn(port, "0123456789");
    bool six = n > 2 && begin[0] == '[' && begin[n - 1] == ']';
    char host[INET6_ADDRSTRLEN] = "";
    uint8_t bytes[sizeof(struct in6_addr)];
    begin += six;
    n -= six ? 2 : 0;
    if (n >= sizeof host || !digits || digits > 5 || port[digits])
        return false;
    memcpy(host, begin, n);
    return inet_pton(six ? AF_INET6 : AF_INET, host, bytes) == 1;
}

// An address without port as text; false: it is neither IPv4 nor IPv6.
static bool text_of(const struct sockaddr *a, char *text, socklen_t size)
{
    const void *bytes = NULL;
    if (a && a->sa_family == AF_INET)
        bytes = &((const struct sockaddr_in *)(const void *)a)->sin_addr;
    else if (a && a->sa_family == AF_INET6)
        bytes = &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
    return bytes && inet_ntop(a->sa_family, bytes, text, size);
}

bool interface_device(const char *address, char *device, size_t size)
{
    struct ifaddrs *all;
    bool found = false;
    if (getifaddrs(&all))
        return false;
    for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next) {
        char text[INET6_ADDRSTRLEN];
        found = text_of(i->ifa_addr, text, sizeof text) && !strcmp(text, address);
        if (found)
            snprintf(device, size, "%s", i->ifa_name);
    }
    freeifaddrs(all);
    return found;
}

// Where packets to a host leave from: a socket that is connected and sends nothing.
static bool address_towards(const char *host, char *text, socklen_t size)
{
    struct addrinfo want = {.ai_socktype = SOCK_DGRAM}, *list;
    struct sockaddr_storage own = {0};
    socklen_t n = sizeof own;
    if (getaddrinfo(host, "9", &want, &list))
        return false;
    int fd = socket(list->ai_family, list->ai_socktype | SOCK_CLOEXEC, 0);
    bool found = fd >= 0 && !connect(fd, list->ai_addr, list->ai_addrlen) &&
                 !getsockname(fd, (struct sockaddr *)&own, &n) &&
                 text_of((const struct sockaddr *)&own, text, size);
    freeaddrinfo(list);
    if (fd >= 0)
        close(fd);
    return found;
}

bool interface_of_job(const char *towards, char *device, size_t size)
{
    char text[INET6_ADDRSTRLEN], here[INET6_ADDRSTRLEN];
    const char *ssh = getenv("SSH_CONNECTION"); // client, its port, this host, its port
    if (ssh && sscanf(ssh, "%*s %*s %45s", here) == 1 && interface_device(here, device, size))
        return true;
    return towards && address_towards(towards, text, sizeof text) &&
           interface_device(text, device, size);
}

bool interface_address(const char *device, const char *towards, char *text, size_t size)
{
    struct ifaddrs *all;
    bool found = false;
    if (!device)
        return address_towards(towards, text, (socklen_t)size);
    if (getifaddrs(&all))
        return false;
    for (const struct ifaddrs *i = all; i && !found; i = i->ifa_next)
        found = !strcmp(i->ifa_name, device) && text_of(i->ifa_addr, text, (socklen_t)size);
    freeifaddrs(all);
    return found;
}

void interface_use(const char *device)
{
    char exactly[80]; // NCCL takes it for a beginning else
    snprintf(exactly, sizeof exactly, "=%s", device);
    setenv("UCX_NET_DEVICES", device, 0);
    setenv("NCCL_SOCKET_IFNAME", exactly, 0);
}
