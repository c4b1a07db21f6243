// A Net (control/zmq/net.h) among those who are admitted: frames in order, and connections that come and go.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#ifndef STAGECC_ZMQ
int main(void)
{
    return 77;
}
#else
#include "tests/capture.h"
#include "tests/control/net_sides.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define ANYWHERE "tcp://127.0.0.1:*"

// Frames
// ------------------------------------------------------------------------------------------------

static void frames_in_order(void **state)
{
    (void)state;
    static const size_t sizes[] = {4,       5, 32 << 10, (32 << 10) + 1, 100000, NET_MOST - 1,
                                   NET_MOST};
    enum { SIZES = sizeof sizes / sizeof *sizes, EACH = 5 * SIZES };
    Side *server = server_at(ANYWHERE), *clients[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = client_of(i + 1, net_endpoint(server->socket));
        assert_false(say(server, i + 1, 0, 4)); // never heard
        assert_false(say(clients[i], 0, 0, 4)); // not there yet
    }
    UNTIL(clients[0]->ups && clients[1]->ups && clients[2]->ups);
    for (uint32_t k = 0; k < EACH; k++)
        for (int i = 0; i < CLIENTS; i++)
            assert_true(say(clients[i], 0, k, sizes[k % SIZES]));
    UNTIL(server->frames == CLIENTS * EACH);
    size_t bytes = server->bytes / CLIENTS;
    assert_int_equal(bytes,
                     5 * (4 + 5 + (32 << 10) + (32 << 10) + 1 + 100000 + 2 * NET_MOST - 1));
    for (uint32_t k = 0; k < EACH; k++)
        for (int i = 0; i < CLIENTS; i++)
            assert_true(say(server, i + 1, k, sizes[k % SIZES]));
    for (int i = 0; i < CLIENTS; i++) {
        UNTIL(clients[i]->frames == EACH);
        assert_false(clients[i]->disorder);
        assert_int_equal(clients[i]->bytes, bytes);
        assert_int_equal(server->connection[i + 1], 1);
    }
    assert_false(server->disorder);
    assert_int_equal(server->downs, 0);
    assert_false(say(server, CLIENTS + 1, 0, 4));
}

static void empty_frames(void **state)
{
    (void)state;
    Side *server = server_at(ANYWHERE), *client = client_of(1, net_endpoint(server->socket));
    NetEvent e;
    UNTIL(client->ups);
    n_sides = 0; // what comes now is taken here
    assert_true(net_send(client->socket, NULL, "", 0));
    while (!net_take(server->net, &e))
        net_wait(server->net, NULL, 0, 1000);
    assert_true(e.kind == NET_FRAME && e.bytes == 0 && e.connection == 1);
    n_sides = 2;
}

// A frame stays as it is while the next one is waited for.
static void frames_stay(void **state)
{
    (void)state;
    Side *server = server_at(ANYWHERE), *client = client_of(1, net_endpoint(server->socket));
    NetEvent e;
    UNTIL(client->ups);
    for (uint32_t k = 0; k < 6; k++)
        assert_true(say(client, 0, k, k % 3 ? 100000 : 1000));
    for (uint32_t k = 0; k < 6; k++) {
        while (!net_take(server->net, &e))
            net_wait(server->net, NULL, 0, 1000);
        net_wait(server->net, NULL, 0, k < 5 ? 10000 : 0);
        note(server, &e);
    }
    assert_false(server->disorder);
    assert_int_equal(server->frames, 6);
}

static void too_much_waits(void **state)
{
    (void)state;
    enum { MIB = 1 << 20, BETWEEN = 200 }; // MiB that kernels and the other side take in
    Side *server = server_at(ANYWHERE), *client = client_of(1, net_endpoint(server->socket));
    UNTIL(client->ups);
    uint32_t n = 0, rounds = 0;
    for (; rounds < 100; rounds++, usleep(2000)) // nobody takes
        while (n < BETWEEN && say(client, 0, n, MIB))
            n++;
    assert_true(n >= 64 && n < BETWEEN);
    assert_false(say(client, 0, n, 4));
    UNTIL(server->frames == (int)n);
    UNTIL(say(client, 0, n, MIB));
    UNTIL(server->frames == (int)n + 1);
    assert_false(server->disorder);
}

// Connections
// ------------------------------------------------------------------------------------------------

// A process that connects with key 1 and says frames until it is killed. It starts before there are other threads.
typedef struct Child {
    pid_t pid;
    int tell; // where it is to connect to
} Child;

static Child child_new(void)
{
    int ends[2];
    char endpoint[NET_ENDPOINT] = "";
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    Child c = {.pid = fork(), .tell = ends[1]};
    assert_true(c.pid >= 0);
    if (c.pid) {
        close(ends[0]);
        return c;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL); // where the test fails, too
    close(ends[1]);
    if (read(ends[0], endpoint, sizeof endpoint) != (ssize_t)sizeof endpoint)
        _exit(1);
    Side *s = client_of(1, endpoint);
    for (uint32_t k = 0;; turn())
        k += s->ups && say(s, 0, k, 1000);
}

static void child_connect(const Child *c, const char *endpoint)
{
    char text[NET_ENDPOINT] = "";
    snprintf(text, sizeof text, "%s", endpoint);
    assert_true(write(c->tell, text, sizeof text) == (ssize_t)sizeof text);
    close(c->tell);
}

static void killed_clients(void **state)
{
    (void)state;
    Child children[2] = {child_new(), child_new()};
    Side *server = server_at(ANYWHERE);
    for (int i = 0; i < 2; i++) {
        int heard = server->frames;
        server->next[1] = 0;
        child_connect(&children[i], net_endpoint(server->socket));
        UNTIL(server->frames > heard + 20);
        assert_int_equal(server->connection[1], i + 1);
        assert_int_equal(server->downs, i);
        kill(children[i].pid, SIGKILL);
        waitpid(children[i].pid, NULL, 0);
        UNTIL(server->downs == i + 1);
        assert_false(say(server, 1, 0, 4));
    }
    assert_false(server->disorder);
}

// The second one's connection gets the descriptor of the first one's, whose end was not heard of yet.
static void same_descriptor(void **state)
{
    (void)state;
    Child children[2] = {child_new(), child_new()};
    Side *server = server_at(ANYWHERE);
    child_connect(&children[0], net_endpoint(server->socket));
    UNTIL(server->frames > 20);
    kill(children[0].pid, SIGKILL);
    waitpid(children[0].pid, NULL, 0);
    usleep(100000);
    child_connect(&children[1], net_endpoint(server->socket));
    usleep(200000);
    server->next[1] = 0;
    UNTIL(server->downs && server->connection[1] == 2);
    kill(children[1].pid, SIGKILL);
    waitpid(children[1].pid, NULL, 0);
    UNTIL(server->downs == 2);
}

static void newest_connection_counts(void **state)
{
    (void)state;
    Side *server = server_at(ANYWHERE);
    Side *older = client_of(1, net_endpoint(server->socket));
    UNTIL(older->ups);
    assert_true(say(older, 0, 0, 4));
    UNTIL(server->frames == 1);
    Side *newer = client_of(1, net_endpoint(server->socket));
    UNTIL(newer->ups);
    assert_true(say(older, 0, 1, 4)); // the newer one said nothing yet
    UNTIL(server->frames == 2);
    assert_int_equal(server->connection[1], 1);
    assert_true(say(newer, 0, 2, 4));
    UNTIL(server->frames == 3);
    assert_int_equal(server->connection[1], 2);
    assert_true(say(server, 1, 0, 4));
    UNTIL(newer->frames == 1);
    for (int i = 0; i < 5; i++)
        assert_true(say(older, 0, 77, 4));
    uint32_t number = 3;
    UNTIL(say(newer, 0, number++, 4) && server->frames > 50);
    shut(older, 1000);
    UNTIL(say(newer, 0, number++, 4) && server->frames > 100);
    assert_false(server->disorder); // nothing of the older one, not even its end
    assert_int_equal(server->downs + older->downs + older->frames, 0);
    shut(newer, 0);
    UNTIL(server->downs);
    assert_int_equal(server->over[1], 2);
}

// Many lives of a client lie there, with all that they said, before the first event is taken: none reaches into another
// (net_sides.h looks).
static void lives_do_not_mix(void **state)
{
    (void)state;
    Side *server = server_at(ANYWHERE);
    uint32_t number = 0;
    for (int life = 0; life < 30; life++) {
        Side *client = client_of(1, net_endpoint(server->socket));
        while (!client->ups) {
            net_wait(server->net, NULL, 0, 1); // answers, and takes nothing
            turn_of(client);
        }
        for (int k = 0; k < 10; k++)
            assert_true(say(client, 0, number++, 4));
        shut(client, 1000);
    }
    Side *last = client_of(1, net_endpoint(server->socket));
    UNTIL(last->ups);
    UNTIL(say(last, 0, 1000, 4) && server->next[1] == 1001);
    assert_true(server->connection[1] >= 1 && server->connection[1] <= 31);
    assert_int_equal(server->downs, (int)server->connection[1] - 1);
}

static void server_restarts(void **state)
{
    (void)state;
    char endpoint[NET_ENDPOINT];
    Side *server = server_at(ANYWHERE);
    snprintf(endpoint, sizeof endpoint, "%s", net_endpoint(server->socket));
    Side *client = client_of(1, endpoint);
    for (int life = 1; life <= 4; life++) {
        UNTIL(client->ups == life);
        assert_true(say(client, 0, 0, 4) && say(client, 0, 1, NET_MOST));
        UNTIL(server->frames == 2);
        assert_int_equal(server->connection[1], 1);
        assert_true(say(server, 1, (uint32_t)life - 1, 4));
        UNTIL(client->frames == life);
        assert_false(server->disorder || client->disorder);
        shut(server, 0);
        UNTIL(client->downs == life);
        assert_false(say(client, 0, 0, 4));
        server = server_at(endpoint);
    }
    UNTIL(client->ups == 5);
    assert_int_equal(client->downs, 4);
}

// What a server said and nobody took is not mixed with what the next one says.
static void servers_do_not_mix(void **state)
{
    (void)state;
    char endpoint[NET_ENDPOINT];
    Side *server = server_at(ANYWHERE);
    snprintf(endpoint, sizeof endpoint, "%s", net_endpoint(server->socket));
    Side *client = client_of(1, endpoint);
    UNTIL(client->ups);
    assert_true(say(client, 0, 0, 4));
    UNTIL(server->frames);
    for (uint32_t k = 100; k < 110; k++)
        assert_true(say(server, 1, k, 4));
    shut(server, 1000);
    server = server_at(endpoint);
    for (int i = 0; i < 1500; i++) // ZeroMQ connects again
        turn_of(server);
    UNTIL(client->ups == 2);
    assert_true(say(client, 0, 0, 4));
    UNTIL(server->frames);
    assert_true(say(server, 1, 0, 4));
    UNTIL(client->frames);
    assert_false(client->disorder);
}

// A client says something when its connection is over, before it hears of that: ZeroMQ has another one by then. What it
// says in the next one, as it is told of it, does not stand behind that.
static void clients_do_not_mix(void **state)
{
    (void)state;
    char endpoint[NET_ENDPOINT];
    Side *server = server_at(ANYWHERE);
    snprintf(endpoint, sizeof endpoint, "%s", net_endpoint(server->socket));
    Side *client = client_of(1, endpoint);
    UNTIL(client->ups);
    shut(server, 0);
    server = server_at(endpoint);
    for (int i = 0; i < 1500; i++) // ZeroMQ connects again
        turn_of(server);
    assert_true(say(client, 0, 77, 4));
    for (int i = 0; i < 5000 && !server->frames; i++)
        turn_of(server);
    assert_int_equal(server->frames, 1);
    uint64_t before = server->connection[1];
    server->next[1] = 0;
    server->disorder = false;
    UNTIL(client->ups == 2);
    UNTIL(say(client, 0, 0, 4));
    UNTIL(server->next[1] == 1);
    assert_false(server->disorder);
    assert_int_equal(server->connection[1], before + 1);
}

// One that is not there when somebody connects, and comes later.
static void server_comes_late(void **state)
{
    (void)state;
    char endpoint[NET_ENDPOINT];
    Side *server = server_at(ANYWHERE);
    snprintf(endpoint, sizeof endpoint, "%s", net_endpoint(server->socket));
    shut(server, 0);
    Side *client = client_of(1, endpoint);
    for (int i = 0; i < 300; i++)
        turn();
    assert_int_equal(client->ups + client->downs, 0);
    server = server_at(endpoint);
    UNTIL(client->ups);
    assert_true(say(client, 0, 0, 4));
    UNTIL(server->frames == 1);
}

static void struck_key(void **state)
{
    (void)state;
    Side *server = server_at(ANYWHERE);
    Side *struck = client_of(1, net_endpoint(server->socket));
    Side *other = client_of(2, net_endpoint(server->socket));
    UNTIL(struck->ups && other->ups);
    assert_true(say(struck, 0, 0, 4));
    UNTIL(server->frames == 1);
    admitted[1] = false;
    assert_false(say(server, 1, 0, 4));
    for (int i = 0; i < 5; i++)
        assert_true(say(struck, 0, 99, 4));
    UNTIL(server->downs);
    uint32_t number = 0;
    UNTIL(say(other, 0, number++, 4) && server->next[2] > 50);
    assert_int_equal(server->next[1], 1); // nothing more
    assert_int_equal(server->downs, 1);   // once
    assert_int_equal(struck->frames + struck->downs, 0);
    admitted[1] = true;
    assert_false(say(server, 1, 0, 4)); // not before it is heard
    assert_true(say(struck, 0, 1, 4));
    UNTIL(server->next[1] == 2);
    assert_int_equal(server->connection[1], 2);
    assert_true(say(server, 1, 0, 4));
    UNTIL(struck->frames == 1);
    assert_false(server->disorder || struck->disorder);
}

// A process listens and connects at once; what it disconnects is forgotten, and the rest goes on.
static void several_sockets(void **state)
{
    (void)state;
    Side *server = server_at(ANYWHERE), *worker = side(1, false), *peer;
    worker->socket = net_connect(worker->net, net_endpoint(server->socket), keys[0].public_key);
    NetSocket *listens = net_listen(worker->net, ANYWHERE, admits, NULL);
    NetSocket *nowhere = net_connect(worker->net, "tcp://127.0.0.1:9", keys[3].public_key);
    assert_true(worker->socket && listens && nowhere);
    peer = side(2, false);
    peer->socket = net_connect(peer->net, net_endpoint(listens), keys[1].public_key);
    worker->key = peer->key = 0;
    NetEvent e;
    bool up = false;
    n_sides = 2;
    for (double end = clock_seconds() + PATIENCE_S; !up; assert_true(clock_seconds() < end)) {
        net_wait(worker->net, NULL, 0, 1);
        up = net_take(peer->net, &e) && e.kind == NET_UP;
        net_wait(peer->net, NULL, 0, 1);
    }
    UNTIL(worker->ups);
    assert_true(net_send(peer->socket, NULL, "one", 4) &&
                net_send(peer->socket, NULL, "two", 4));
    for (int i = 0; i < 200 && !net_wait(worker->net, NULL, 0, 1); i++)
        ;
    net_disconnect(nowhere);
    net_disconnect(listens); // with an event that could be taken
    assert_true(say(worker, 0, 0, 4) && say(server, 1, 0, 4) == false);
    UNTIL(server->frames == 1);
    assert_true(say(server, 1, 0, 4));
    UNTIL(worker->frames == 1);
    n_sides = 3;
}

// Waiting, and what is wrong
// ------------------------------------------------------------------------------------------------

static void nothing(int signal)
{
    (void)signal;
}

static void waits_as_poll(void **state)
{
    (void)state;
    Side *server = server_at(ANYWHERE);
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    struct pollfd fds[] = {{.fd = -1, .events = POLLIN},
                           {.fd = ends[0], .events = POLLIN},
                           {.fd = ends[1], .events = POLLOUT}};
    assert_int_equal(net_wait(server->net, fds, 2, 20), 0);
    assert_int_equal(net_wait(server->net, fds, 3, -1), 1);
    assert_true(fds[2].revents == POLLOUT && !fds[1].revents && !fds[0].revents);
    assert_int_equal(write(ends[1], "x", 1), 1);
    assert_int_equal(net_wait(server->net, fds, 2, -1), 1);
    assert_int_equal(fds[1].revents, POLLIN);
    close(ends[1]);
    assert_int_equal(net_wait(server->net, fds, 2, -1), 1);
    assert_int_equal(fds[1].revents, POLLIN | POLLHUP);
    close(ends[0]);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = nothing}, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){.it_value.tv_usec = 20000}, NULL);
    assert_int_equal(net_wait(server->net, NULL, 0, -1), -1); // the signal is this thread's
    assert_int_equal(errno, EINTR);
    signal(SIGALRM, SIG_DFL);
}

static void refuses(Side *s, const char *endpoint, bool listens, const char *complaint)
{
    Capture said;
    capture_begin(&said, "");
    bool made = listens ? net_listen(s->net, endpoint, admits, NULL) != NULL
                        : net_connect(s->net, endpoint, keys[0].public_key) != NULL;
    char *out = capture_end(&said);
    assert_false(made);
    if (!strstr(out, complaint))
        fail_msg("expected `%s` in `%s`", complaint, out);
    free(out);
}

static void wrong_endpoints(void **state)
{
    (void)state;
    Side *server = server_at("tcp://127.0.0.1:0");
    char longer[300] = "tcp://";
    memset(longer + 6, '1', sizeof longer - 7);
    for (int listens = 0; listens < 2; listens++) {
        refuses(server, "ipc:///dev/null", listens, "`ipc:///dev/null` is no endpoint");
        refuses(server, "127.0.0.1:7070", listens,
                "is no endpoint, which is tcp://ADDRESS:PORT");
        refuses(server, longer, listens, "is no endpoint");
        refuses(server, "tcp://127.0.0.1", listens, "is no endpoint");
        refuses(server, "tcp://127.0.0.1:70707", listens, "is no endpoint");
        refuses(server, "tcp://127.0.0.1:70x", listens, "is no endpoint");
        refuses(server, "tcp://:7070", listens, "is no endpoint");
        refuses(server, "tcp://a b:7070", listens, listens ? ": No such device" : ": Invalid");
    }
    refuses(server, "tcp://127.0.0.1:*", false, "is no endpoint");
    refuses(server, "tcp://127.0.0.1:0", false, "is no endpoint");
    refuses(server, "tcp://192.0.2.1:*", true, ": Cannot assign requested address");
    refuses(server, net_endpoint(server->socket), true, ": Address already in use");
    Side *client = client_of(1, net_endpoint(server->socket)); // what failed left nothing
    UNTIL(client->ups);
}

static void version_6(void **state)
{
    (void)state;
    Side *server = side(0, true);
    Capture said;
    capture_begin(&said, "");
    server->socket = net_listen(server->net, "tcp://[::1]:*", admits, NULL);
    free(capture_end(&said));
    if (!server->socket)
        skip();
    Side *client = client_of(1, net_endpoint(server->socket));
    UNTIL(client->ups);
    assert_true(say(client, 0, 0, 4));
    UNTIL(server->frames == 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(killed_clients),     TEST(same_descriptor), TEST(servers_do_not_mix),
        TEST(clients_do_not_mix), TEST(frames_in_order), TEST(empty_frames),
        TEST(frames_stay),        TEST(too_much_waits),  TEST(newest_connection_counts),
        TEST(lives_do_not_mix),   TEST(server_restarts), TEST(server_comes_late),
        TEST(struck_key),         TEST(several_sockets), TEST(waits_as_poll),
        TEST(wrong_endpoints),    TEST(version_6),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
