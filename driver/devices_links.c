// Links: within a host by the transport of the stages, between hosts by TCP. Every pair of hosts is
// measured, in rounds in which each host takes part once, so that pairs do not disturb each other's
// ends and many hosts take as many rounds as there are hosts.
#include "driver/devices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PAIRS = 64, PAIR_BYTES = 40 << 20, LISTEN_S = 30, CONNECT_S = 60 };

static int read_link(const char *who, const char *text, LinkFigures *f)
{
    json_error_t error;
    json_t *o = json_loads(text, 0, &error);
    *f = (LinkFigures){
        .bytes_per_s = devices_number(o, "bytes_per_s"),
        .latency_s = {devices_number(o, "latency_s"), devices_number(o, "latency_spread")},
        .bandwidth_spread = devices_number(o, "bandwidth_spread")};
    json_decref(o);
    if (f->bytes_per_s > 0)
        return EXIT_DONE;
    error_at(NO_LOC, "%s: measuring a link gave no figures", who);
    return EXIT_PEER;
}

// Within hosts
// -----------------------------------------------------------------------------------

// As many pairs as slots give, where there is memory for their messages.
static int pairs_of(const Session *s, int host)
{
    int64_t room = s->figures[host].memory_bytes / 4 / PAIR_BYTES;
    int64_t pairs = s->hosts.items[host].slots / 2;
    pairs = pairs < MAX_PAIRS ? pairs : MAX_PAIRS;
    pairs = pairs < room ? pairs : room;
    return pairs > 1 ? (int)pairs : 1;
}

int devices_links_inside(Session *s)
{
    Question *q = arena_array(s->arena, Question, s->hosts.n + 1);
    int *which = arena_array(s->arena, int, s->hosts.n + 1), n = 0;
    for (int i = 0; i < s->hosts.n; i++) {
        const Host *host = &s->hosts.items[i];
        if (host->slots < 2)
            continue;
        bool spin = host->slots * s->threads <= s->figures[i].cores; // as the launcher decides
        const char *before = arena_printf(s->arena, "timeout 70 \"$d/p\" memory %d %d & p=$!",
                                          pairs_of(s, i), spin);
        q[n] = (Question){.host = host->name,
                          .script = devices_script(s->arena, before, ""),
                          .input = s->links,
                          .what = "measuring its shared memory",
                          .limit_s = 90};
        which[n++] = i;
    }
    if (n)
        devices_progress(s, "measuring shared memory between the slots of a host");
    int status = devices_ask(s, q, n);
    for (int i = 0; i < n && !status; i++)
        status = read_link(q[i].host, q[i].answer, &s->figures[which[i]].inside);
    return status;
}

// Between hosts
// ----------------------------------------------------------------------------------

typedef struct Pair {
    int from, to; // `to` listens
    Remote listener, connector;
    const char *token, *address;
    int port;
} Pair;

static int start(Session *s, Remote *r, int host, const char *words)
{
    const char *name = s->hosts.items[host].name;
    const char *before = arena_printf(s->arena, "timeout 70 \"$d/p\" %s & p=$!", words);
    if (remote_start(s->arena, r, name, devices_script(s->arena, before, ""), s->links))
        return EXIT_DONE;
    error_at(NO_LOC, "cannot start a process for %s: %s", name, strerror(errno));
    return EXIT_ENVIRONMENT;
}

static int start_listener(Session *s, Pair *p)
{
    p->token = devices_token(s->arena);
    p->address = remote_address(s->arena, s->hosts.items[p->to].name);
    return start(s, &p->listener, p->to, arena_printf(s->arena, "listen %s", p->token));
}

static int start_connector(Session *s, Pair *p)
{
    RemoteEnd end = remote_wait(&p->listener, LISTEN_S, true);
    if (end != REMOTE_LINE)
        return remote_failed(s->arena, &p->listener, end, "opening a port");
    json_t *o = json_loads(p->listener.out.data, JSON_DISABLE_EOF_CHECK, NULL);
    p->port = (int)devices_number(o, "port");
    json_decref(o);
    return start(s, &p->connector, p->from,
                 arena_printf(s->arena, "connect %s %s %d", p->token, p->address, p->port));
}

static int finish(Session *s, Pair *p)
{
    const char *from = s->hosts.items[p->from].name, *to = s->hosts.items[p->to].name;
    const char *both = arena_printf(s->arena, "measuring the link to %s", to);
    RemoteEnd end = remote_wait(&p->connector, CONNECT_S, false);
    if (end == REMOTE_ENDED && p->connector.status == 0)
        return read_link(both, p->connector.out.data ? p->connector.out.data : "",
                         &s->between[p->from * s->hosts.n + p->to]);
    int status = remote_failed(s->arena, &p->connector, end, both);
    if (status == EXIT_PEER && p->connector.status == 1)
        note_at(NO_LOC,
                "programs on %s and %s must reach each other by TCP, on any port: is there "
                "a firewall, or does %s have another address there?",
                from, to, to);
    return status;
}

static int measure_round(Session *s, Pair *pairs, int n)
{
    int status = EXIT_DONE;
    for (int i = 0; i < n && !status; i++)
        status = start_listener(s, &pairs[i]);
    for (int i = 0; i < n && !status; i++)
        status = start_connector(s, &pairs[i]);
    for (int i = 0; i < n && !status; i++)
        status = finish(s, &pairs[i]);
    for (int i = 0; i < n; i++) {
        remote_stop(&pairs[i].listener);
        remote_stop(&pairs[i].connector);
    }
    for (int i = 0; i < n; i++) {
        remote_end(&pairs[i].listener);
        remote_end(&pairs[i].connector);
    }
    return status;
}

// Round r of a tournament of n players, n even, the last of whom stays in place while the others go
// around it (the circle method).
static int opponent(int n, int round, int player)
{
    if (player == n - 1)
        return round;
    if (player == round)
        return n - 1;
    return (2 * round - player + 2 * (n - 1)) % (n - 1);
}

int devices_links_between(Session *s)
{
    int n = s->hosts.n, players = n + n % 2, status = EXIT_DONE; // with an odd one, one rests
    s->between = arena_array(s->arena, LinkFigures, (size_t)n * (size_t)n);
    for (int round = 0; round < players - 1 && n > 1 && !status; round++) {
        Pair *pairs = arena_array(s->arena, Pair, n);
        int k = 0;
        for (int i = 0; i < n; i++) {
            int j = opponent(players, round, i);
            if (j <= i || j >= n)
                continue;
            bool local = host_is_local(s->hosts.items[j].name); // others need not find us
            pairs[k++] = (Pair){.from = local ? j : i,
                                .to = local ? i : j,
                                .listener = {.out_fd = -1, .err_fd = -1},
                                .connector = {.out_fd = -1, .err_fd = -1}};
        }
        devices_progress(s, "measuring TCP between hosts, round %d of %d", round + 1,
                         players - 1);
        status = measure_round(s, pairs, k);
    }
    return status;
}
