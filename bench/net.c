// What moving state between processes costs: frames one way over loopback, proved and encrypted (control/zmq/net.h), each in
// its own process. Prints one JSON object.
//   net [BYTES [FRAMES [IN_FLIGHT]]]      BYTES of a frame, 512 KiB; IN_FLIGHT: frames that were not acknowledged yet
#include "control/zmq/net.h"
#include "base/clock.h"
#include "base/diag.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static Key server, client;

static bool admits(void *user, const CurveKey key)
{
    (void)user;
    return !strcmp(key, client.public_key);
}

static void next(Net *net, NetEvent *e)
{
    while (!net_take(net, e))
        net_wait(net, NULL, 0, -1);
}

_Noreturn static void acknowledge(int tell)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    Net *net = net_open(&server);
    NetSocket *s = net ? net_listen(net, "tcp://127.0.0.1:*", admits, NULL) : NULL;
    char endpoint[NET_ENDPOINT] = "";
    if (!s)
        exit(EXIT_ENVIRONMENT);
    snprintf(endpoint, sizeof endpoint, "%s", net_endpoint(s));
    if (write(tell, endpoint, sizeof endpoint) != (ssize_t)sizeof endpoint)
        exit(EXIT_ENVIRONMENT);
    for (;;) {
        NetEvent e;
        next(net, &e);
        if (e.kind == NET_FRAME)
            net_send(s, e.key, "", 0);
    }
}

// Seconds.
static double send_all(Net *net, NetSocket *s, size_t bytes, long frames, long in_flight)
{
    uint8_t *frame = calloc(1, bytes ? bytes : 1);
    NetEvent e;
    long sent = 0, got = 0;
    do
        next(net, &e);
    while (e.kind != NET_UP);
    double from = clock_seconds();
    while (got < frames) {
        for (; sent < frames && sent < got + in_flight; sent++)
            if (!frame || !net_send(s, NULL, frame, bytes))
                fatal("the connection is gone");
        next(net, &e);
        got += e.kind == NET_FRAME;
    }
    free(frame);
    return clock_seconds() - from;
}

int main(int argc, char **argv)
{
    size_t bytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 512 << 10;
    long frames = argc > 2 ? atol(argv[2]) : 4000, in_flight = argc > 3 ? atol(argv[3]) : 16;
    int ends[2];
    char endpoint[NET_ENDPOINT];
    if (bytes > NET_MOST || key_make(&server, "server", NULL) ||
        key_make(&client, "client", NULL) || pipe(ends))
        return EXIT_ENVIRONMENT;
    pid_t pid = fork();
    if (pid == 0)
        acknowledge(ends[1]);
    close(ends[1]);
    Net *net = net_open(&client);
    if (pid < 0 || !net || read(ends[0], endpoint, sizeof endpoint) != (ssize_t)sizeof endpoint)
        return EXIT_ENVIRONMENT;
    NetSocket *s = net_connect(net, endpoint, server.public_key);
    double cpu = clock_cpu_seconds(),
           seconds = s ? send_all(net, s, bytes, frames, in_flight) : 1;
    double total = (double)bytes * (double)frames;
    printf("{\"bytes\": %zu, \"frames\": %ld, \"in_flight\": %ld, \"mb_per_s\": %.1f, "
           "\"frames_per_s\": %.0f, \"sender_cpu_s_per_gb\": %.3f}\n",
           bytes, frames, in_flight, 1e-6 * total / seconds, (double)frames / seconds,
           (clock_cpu_seconds() - cpu) / (1e-9 * total));
    net_close(net, 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    return EXIT_DONE;
}
