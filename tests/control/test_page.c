// The master's page: what it answers, to whom, within which bounds. What the page itself shows: tests/e2e/page.sh.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#ifdef STAGECC_PAGE
#include "base/text.h"
#include "control/page/inside.h"
#include "control/page/page.h"
#include "tests/capture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char sample[] =
    "{\"model\": \"resnet152\", \"now\": 1764412345.123, \"phase\": \"running\", \"step\": 120,"
    " \"workers\": [{\"worker\": 0, \"name\": \"</script>\\n\\\"\", \"here\": true}]}";

static int calls; // of `status`

static json_t *give_sample(void *user)
{
    (void)user;
    calls++;
    return json_loads(sample, 0, NULL);
}

static json_t *give_nothing(void *user)
{
    (void)user;
    return NULL;
}

// A client
// ------------------------------------------------------------------------------------------------

static Page *page;

static int open_page(void **state)
{
    (void)state;
    calls = 0;
    page = page_open("127.0.0.1:0", give_sample, NULL);
    return page ? 0 : -1;
}

static int close_page(void **state)
{
    (void)state;
    page_close(page);
    return 0;
}

static int connected(const Page *p)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)atoi(strrchr(page_address(p), ':') + 1));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(connect(fd, (struct sockaddr *)&to, sizeof to), errno);
    return fd;
}

static void put(int fd, const char *text)
{
    for (size_t left = strlen(text); left;) {
        ssize_t n = send(fd, text, left, MSG_NOSIGNAL);
        if (n < 0)
            return; // the page has cut it off: seen by who reads
        text += n;
        left -= (size_t)n;
    }
}

// Serves until nothing comes any more: the page has said all and waits.
static void settle(Page *p)
{
    struct pollfd wait = {.fd = page_wait_fd(p), .events = POLLIN};
    do
        page_serve(p);
    while (poll(&wait, 1, 50) > 0);
}

// All that comes until the page closes the connection; malloc'd.
static char *rest(Page *p, int fd)
{
    Text out = {0};
    char piece[4096];
    int quiet = 0; // times that nothing was to be done
    for (ssize_t n = -1; n;) {
        struct pollfd wait[2] = {{.fd = page_wait_fd(p), .events = POLLIN},
                                 {.fd = fd, .events = POLLIN}};
        quiet = poll(wait, 2, 20) ? 0 : quiet + 1;
        assert_true(quiet < 250);
        page_serve(p);
        n = recv(fd, piece, sizeof piece, MSG_DONTWAIT);
        if (n > 0)
            text_append(&out, piece, (size_t)n);
        if (n < 0 && errno != EAGAIN)
            n = 0;
    }
    close(fd);
    text_puts(&out, "");
    return out.data;
}

static char *ask_of(Page *p, const char *line, const char *headers)
{
    Text request = {0};
    text_printf(&request, "%s HTTP/1.1\r\nConnection: close\r\n%s\r\n", line, headers);
    int fd = connected(p);
    put(fd, request.data);
    text_release(&request);
    return rest(p, fd);
}

static char *ask(const char *line)
{
    return ask_of(page, line, "Host: 127.0.0.1:7071\r\n");
}

static int code_of(const char *answer)
{
    int code = 0;
    assert_int_equal(sscanf(answer, "HTTP/1.1 %d ", &code), 1);
    return code;
}

static const char *body_of(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

static void says(const char *line, int code, const char *wanted)
{
    char *answer = ask(line);
    if (code_of(answer) != code || !strstr(answer, wanted))
        fail_msg("%s: expected %d with `%s` in `%s`", line, code, wanted, answer);
    free(answer);
}

// What is answered
// ------------------------------------------------------------------------------------------------

static void file_is(const char *url, const char *name, const char *type)
{
    char path[500], line[80];
    size_t bytes;
    snprintf(path, sizeof path, SOURCE_DIR "/control/page/%s", name);
    snprintf(line, sizeof line, "GET %s", url);
    char *file = file_read(path, &bytes), *answer = ask(line);
    assert_non_null(file);
    snprintf(line, sizeof line, "\r\nContent-Type: text/%s; charset=utf-8\r\n", type);
    assert_non_null(strstr(answer, line));
    assert_string_equal(body_of(answer), file);
    free(answer);
    free(file);
}

static void routes(void **state)
{
    (void)state;
    file_is("/", "page.html", "html");
    file_is("/page.css", "page.css", "css");
    file_is("/draw.js", "draw.js", "javascript");
    file_is("/curves.js", "curves.js", "javascript");
    file_is("/timeline.js", "timeline.js", "javascript");
    file_is("/page.js", "page.js", "javascript");
    assert_int_equal(calls, 0); // the page is the same whatever the status

    char *answer = ask("GET /status.json?now");
    assert_int_equal(code_of(answer), 200);
    assert_non_null(strstr(answer, "\r\nContent-Type: application/json\r\n"));
    json_t *got = json_loads(body_of(answer), 0, NULL), *sent = give_sample(NULL);
    assert_true(json_equal(got, sent));
    assert_non_null(strstr(answer, "\"now\":1764412345.123,"));
    json_decref(got);
    json_decref(sent);
    free(answer);
    says("GET /metrics", 200, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    says("GET /metrics", 200, "\nstagecc_step 120\n");
}

// A caller that polls for nothing else still answers.
static void wakes_up(void **state)
{
    (void)state;
    struct pollfd wait = {.fd = page_wait_fd(page), .events = POLLIN};
    settle(page);
    int fd = connected(page);
    for (int i = 0; i < 3; i++) {
        put(fd, "HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        char answer[2000] = "";
        while (recv(fd, answer, sizeof answer - 1, MSG_DONTWAIT) < 0) {
            assert_int_equal(poll(&wait, 1, 5000), 1);
            page_serve(page);
        }
        assert_int_equal(code_of(answer), 200);
    }
    close(fd);
}

static void what_is_not_there(void **state)
{
    (void)state;
    says("GET /status", 404, "there is /, /status.json and /metrics");
    says("GET /../../etc/passwd", 404, "");
    says("GET //", 404, "");
    says("GET /<script>alert(1)</script>", 404,
         "\r\n\r\nthere is /,"); // nothing of it comes back
    static const char *const methods[] = {"POST",  "PUT",   "DELETE", "OPTIONS",
                                          "TRACE", "PATCH", "get"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        char line[40];
        snprintf(line, sizeof line, "%s /status.json", methods[i]);
        says(line, 405, "\r\nAllow: GET, HEAD\r\n");
    }
    assert_int_equal(calls, 0);
    Page *silent = page_open("127.0.0.1:0", give_nothing, NULL);
    char *answer = ask_of(silent, "GET /status.json", "Host: 127.0.0.1\r\n");
    assert_int_equal(code_of(answer), 503);
    free(answer);
    answer = ask_of(silent, "GET /metrics", "Host: 127.0.0.1\r\n");
    assert_int_equal(code_of(answer), 503);
    free(answer);
    page_close(silent);
}

static void head_has_no_body(void **state)
{
    (void)state;
    char *whole = ask("GET /status.json"), *head = ask("HEAD /status.json");
    char length[60];
    snprintf(length, sizeof length, "\r\nContent-Length: %zu\r\n", strlen(body_of(whole)));
    assert_int_equal(code_of(head), 200);
    assert_non_null(strstr(head, length));
    assert_string_equal(body_of(head), "");
    free(whole);
    free(head);
}

static void bodies_are_ignored(void **state)
{
    (void)state;
    char *answer = ask_of(page, "GET /metrics",
                          "Host: localhost\r\nContent-Length: 5\r\n\r\nhello"); // and its end
    assert_int_equal(code_of(answer), 200);
    free(answer);
    answer = ask_of(page, "POST /", "Host: localhost\r\nContent-Length: 1000000000\r\n");
    assert_int_equal(code_of(answer), 405);
    free(answer);
}

// What every answer forbids the browser, right or wrong.
static void guards(void **state)
{
    (void)state;
    static const char *const lines[] = {"GET /", "GET /status.json", "GET /metrics", "GET /x",
                                        "PUT /"};
    static const char *const wanted[] = {
        "\r\nContent-Security-Policy: default-src 'none'; style-src 'self'; script-src 'self'; "
        "connect-src 'self'; img-src data:;",
        "frame-ancestors 'none'", "\r\nX-Content-Type-Options: nosniff\r\n",
        "\r\nCache-Control: no-store\r\n"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char *answer = ask(lines[i]);
        for (size_t k = 0; k < sizeof wanted / sizeof *wanted; k++)
            if (!strstr(answer, wanted[k]))
                fail_msg("%s: no `%s` in `%s`", lines[i], wanted[k], answer);
        assert_null(strstr(answer, "Access-Control-Allow"));
        free(answer);
    }
}

// Who is answered
// ------------------------------------------------------------------------------------------------

static int code_for_host(Page *p, const char *host)
{
    char header[300];
    snprintf(header, sizeof header, host ? "Host: %s\r\n" : "", host);
    char *answer = ask_of(p, "GET /status.json", header);
    int code = code_of(answer);
    free(answer);
    return code;
}

static void other_names_are_refused(void **state)
{
    (void)state;
    char own[256];
    gethostname(own, sizeof own);
    const char *const good[] = {"127.0.0.1", "127.0.0.1:80",   "localhost", "LocalHost:8080",
                                "[::1]:1",   "192.0.2.7:7071", own};
    const char *const bad[] = {"evil.example",
                               "localhost.evil.example",
                               "127.0.0.1.evil.example:7071",
                               "127.0.0.1@evil.example",
                               "[::1",
                               "[::1]x",
                               "[localhost]",
                               "[127.0.0.1]",
                               "",
                               ":7071",
                               "localhost:x"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        if (code_for_host(page, good[i]) != 200)
            fail_msg("`%s` was refused", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (code_for_host(page, bad[i]) != 421)
            fail_msg("`%s` was not refused", bad[i]);
    assert_int_equal(code_for_host(page, NULL), 421);
    Page *everywhere = page_open("*:0", give_sample, NULL);
    assert_int_equal(strncmp(page_address(everywhere), "http://0.0.0.0:", 15), 0);
    assert_int_equal(code_for_host(everywhere, "master.example.org:7071"), 200);
    page_close(everywhere);
}

static void cannot_open(const char *listen, const char *complaint)
{
    Capture said;
    capture_begin(&said, "");
    assert_null(page_open(listen, give_sample, NULL));
    char *out = capture_end(&said);
    if (!strstr(out, complaint))
        fail_msg("%s: expected `%s` in `%s`", listen, complaint, out);
    free(out);
}

static void places(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",       "localhost", ":1",   "h:",       "127.0.0.1:65536", "::1",
        "[::1:1", "[::1]:x",   "h:1x", "[::1]1:1", "::1:7071",        "127.0.0.1:-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cannot_open(wrong[i], "HOST:PORT is wanted, as 127.0.0.1:7071");
    char taken[40];
    snprintf(taken, sizeof taken, "%.*s", (int)strcspn(page_address(page) + 7, "/"),
             page_address(page) + 7);
    cannot_open(taken, "Address already in use");
    cannot_open("no.such.host.invalid:1", "the page cannot be at no.such.host.invalid:1: ");
    Page *p = page_open("0", give_sample, NULL); // a port alone is this machine's
    assert_int_equal(strncmp(page_address(p), "http://127.0.0.1:", 17), 0);
    page_close(p);
    p = page_open("localhost:0", give_sample, NULL);
    assert_non_null(p);
    page_close(p);
}

// Bounds
// ------------------------------------------------------------------------------------------------

static void long_requests(void **state)
{
    (void)state;
    static const char *const shapes[] = {
        "GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nCookie: %s\r\n\r\n", "%s"};
    char *much = malloc(100001);
    memset(much, 'a', 100000);
    much[100000] = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        char *request = NULL;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        assert_true(asprintf(&request, shapes[i], much) > 0);
#pragma GCC diagnostic pop
        int fd = connected(page);
        put(fd, request);
        char *answer = rest(page, fd);
        if (*answer && code_of(answer) < 400)
            fail_msg("%.40s was answered", request);
        free(answer);
        free(request);
    }
    free(much);
    says("GET /", 200, "");
}

static void many_clients(void **state)
{
    (void)state;
    enum { MOST = 32, MORE = 40 };
    static const char request[] = "GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n";
    int fds[MORE], answered = 0;
    for (int i = 0; i < MORE; i++) {
        fds[i] = connected(page);
        put(fds[i], request);
        page_serve(page); // who waits to be let in does so in the backlog
    }
    settle(page);
    char c;
    for (int i = 0; i < MORE; i++)
        answered += recv(fds[i], &c, 1, MSG_DONTWAIT) == 1;
    assert_in_range(answered, 1, MOST);
    for (int i = 0; i < MORE; i++)
        close(fds[i]);
    says("GET /", 200, "");
}

static double now;

static double our_clock(void)
{
    return now;
}

static bool is_cut_off(int fd)
{
    char c;
    ssize_t n = recv(fd, &c, 1, MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

// A byte now and then keeps a connection from being idle, not from being cut off.
static void slow_clients(void **state)
{
    (void)state;
    page_seconds = our_clock;
    int slow = connected(page), quick = connected(page), silent = connected(page);
    put(slow, "GET / HTTP/1.1\r\nHo");
    settle(page);
    for (int second = 1; second < 10; second++) { // a request each, as the page makes them
        now = second;
        put(quick, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        put(slow, "s");
        settle(page);
    }
    char all[1 << 16];
    assert_int_equal(recv(slow, all, 1, MSG_DONTWAIT), -1); // neither answered nor closed
    assert_true(recv(quick, all, sizeof all, MSG_DONTWAIT) > 9);
    now = 11;
    settle(page);
    assert_true(is_cut_off(slow));
    assert_true(is_cut_off(silent));
    put(quick, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    settle(page);
    assert_true(recv(quick, all, sizeof all, MSG_DONTWAIT) > 9);
    close(slow), close(quick), close(silent);
    settle(page);
}

static void one_status_for_all(void **state)
{
    (void)state;
    int fds[8];
    for (int i = 0; i < 8; i++) {
        fds[i] = connected(page);
        put(fds[i], "GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    page_serve(page);
    assert_true(calls <= 1);
    settle(page);
    for (int i = 0; i < 8; i++) {
        char c = 0;
        assert_int_equal(recv(fds[i], &c, 1, 0), 1);
        close(fds[i]);
    }
    settle(page);
}

#define WITH_PAGE(test) cmocka_unit_test_setup_teardown(test, open_page, close_page)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_PAGE(routes),
        WITH_PAGE(wakes_up),
        WITH_PAGE(what_is_not_there),
        WITH_PAGE(head_has_no_body),
        WITH_PAGE(bodies_are_ignored),
        WITH_PAGE(guards),
        WITH_PAGE(other_names_are_refused),
        WITH_PAGE(places),
        WITH_PAGE(long_requests),
        WITH_PAGE(many_clients),
        WITH_PAGE(one_status_for_all),
        WITH_PAGE(slow_clients), // last: it stops the clock
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void)
{
    return 77; // built without libmicrohttpd
}
#endif
