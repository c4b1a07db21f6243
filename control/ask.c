#include "control/ask.h"

#include "base/diag.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>

enum { DEFAULT_PORT = 7070 };

const char *master_endpoint(Arena *a, const char *address)
{
    const char *host = str_starts(address, "tcp://") ? address + strlen("tcp://") : address;
    const char *bracket = strrchr(host, ']'), *colon = strrchr(bracket ? bracket : host, ':');
    char *end = NULL;
    long port = colon ? strtol(colon + 1, &end, 10) : DEFAULT_PORT;
    bool number = !colon || (end != colon + 1 && !*end && port >= 0 && port < 65536);
    if (*host && host != colon && number && !strpbrk(host, " /"))
        return colon ? arena_printf(a, "tcp://%s", host)
                     : arena_printf(a, "tcp://%s:%ld", host, port);
    error_at(NO_LOC, "`%s` is no address: HOST or HOST:PORT, like 10.0.0.7:%d", address,
             DEFAULT_PORT);
    return NULL;
}

#ifdef STAGECC_ZMQ
#include "control/message.h"
#include "control/progress.h"
#include "control/zmq/net.h"

enum { ANSWER_S = 5 };
#define MS_NS INT64_C(1000000)
#define SECOND_NS (1000 * MS_NS)

typedef struct Ask {
    const char *endpoint;
    Message command;
    json_t *answer;
    int status;
} Ask;

static void send_command(const Ask *q, NetSocket *to)
{
    static uint8_t frame[1 << 17];
    size_t bytes = message_put(frame, sizeof frame, &q->command);
    if (bytes)
        net_send(to, NULL, frame, bytes);
}

static bool take_answer(Ask *q, const NetEvent *e)
{
    Message m;
    char why[MESSAGE_WHY];
    if (!message_check(e->frame, e->bytes, FROM_MASTER, &m, why) || m.id != MESSAGE_ANSWER ||
        m.answer.request != q->command.command.request)
        return false;
    q->answer = json_loadb(m.rest, m.rest_bytes, 0, NULL);
    q->status = (int)m.answer.status;
    return true;
}

// The newest connection of a key is the one that counts: whoever asks at the same time takes it away, so it is asked again.
static bool converse(Ask *q, Net *net, NetSocket *to)
{
    int64_t end = progress_now_ns() + ANSWER_S * SECOND_NS;
    for (int64_t now; (now = progress_now_ns()) < end;) {
        NetEvent e;
        net_wait(net, NULL, 0, (int)((end - now) / MS_NS) + 1);
        while (net_take(net, &e)) {
            if (e.kind == NET_UP)
                send_command(q, to);
            if (e.kind == NET_FRAME && take_answer(q, &e))
                return true;
        }
    }
    error_at(
        NO_LOC,
        "no answer from a master at %s within %d s: does it run there, and is the key its own?",
        q->endpoint, ANSWER_S);
    return false;
}

int master_ask(const char *endpoint, const Key *key, const json_t *command, json_t **answer)
{
    char *text = json_dumps(command, JSON_COMPACT);
    Ask q = {.endpoint = endpoint, .status = EXIT_PEER};
    q.command = (Message){.id = MESSAGE_COMMAND,
                          .command = {.request = (uint64_t)progress_now_ns()},
                          .rest = text,
                          .rest_bytes = strlen(text)};
    Net *net = net_open(key);
    NetSocket *to = net ? net_connect(net, endpoint, key->public_key) : NULL;
    if (!to)
        q.status = EXIT_ENVIRONMENT;
    else
        converse(&q, net, to);
    net_close(net, 0);
    free(text);
    *answer = q.answer;
    return q.status;
}
#else
int master_ask(const char *endpoint, const Key *key, const json_t *command, json_t **answer)
{
    (void)endpoint, (void)key, (void)command;
    *answer = NULL;
    error_at(NO_LOC, "this stagecc was built without ZeroMQ: apt-get install libzmq3-dev, and "
                     "build it again");
    return EXIT_ENVIRONMENT;
}
#endif
