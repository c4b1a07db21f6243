// Hostfiles: every field, every complaint with its place.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "control/hostfile.h"
#include "tests/capture.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void reads_hosts(void **state)
{
    (void)state;
    Arena a = {0};
    Hosts *h =
        hostfile_parse(&a, "f",
                       "# the rack\r\n"
                       "h1\r\n"
                       "\r\n"
                       "  me@h2.example.org\tslots=4 mem=24G device=cuda weight=0.5 # old\n"
                       "10.0.0.3 slots=2#no space needed\n"
                       "fe80::1%eth0 mem=1.5kB\n"
                       "localhost mem=123456 weight=1e3");
    assert_non_null(h);
    assert_int_equal(h->n, 5);
    const Host *plain = &h->items[0], *full = &h->items[1];
    assert_string_equal(plain->name, "h1");
    assert_int_equal(plain->slots, 1);
    assert_false(plain->cuda);
    assert_int_equal(plain->memory_bytes, 0);
    assert_true(plain->weight == 0);
    assert_string_equal(full->name, "me@h2.example.org");
    assert_int_equal(full->slots, 4);
    assert_true(full->cuda);
    assert_int_equal(full->memory_bytes, 24LL << 30);
    assert_true(full->weight == 0.5);
    assert_int_equal(full->loc.line, 4);
    assert_int_equal(full->loc.col, 3);
    assert_int_equal(h->items[2].slots, 2);
    assert_int_equal(h->items[3].memory_bytes, 1536);
    assert_int_equal(h->items[4].memory_bytes, 123456);
    assert_true(h->items[4].weight == 1000);
    arena_release(&a);
}

static void says(const char *text, const char *complaint)
{
    Arena a = {0};
    Capture said;
    capture_begin(&said, text);
    Hosts *h = hostfile_parse(&a, "f", text);
    char *out = capture_end(&said);
    if (h || !strstr(out, complaint))
        fail_msg("expected `%s` in `%s`", complaint, out);
    free(out);
    arena_release(&a);
}

static void wrong_names(void **state)
{
    (void)state;
    says("h1\n -oProxyCommand=x slots=2\n", "f:2:2: error: `-oProxyCommand=x` begins with `-`");
    says("slots=2 h1", "f:1:1: error: `slots=2` stands where a host is named");
    says("h1;reboot", "f:1:1: error: `h1;reboot` is no name of a host");
    says("h\xc3\xa4", "is no name of a host");
    says("h1\nh2\nh1 slots=2", "f:3:1: error: h1 is listed twice; give it more slots");
    says("h1\nh2\nh1 slots=2", "f:1:1: note: the first time");
    says("", "f: error: no host is listed; a line is: HOST slots=2");
    says("# h1\n\n", "no host is listed");
}

static void wrong_fields(void **state)
{
    (void)state;
    says("h1 slots=0", "f:1:10: error: slots is `0`, not a whole number from 1 to 4096");
    says("h1 slots=-1", "slots is `-1`");
    says("h1 slots=2x", "slots is `2x`");
    says("h1 slots=", "slots is ``");
    says("h1 slots=99999999999999999999", "slots is `99999999999999999999`");
    says("h1 slots=2 slots=3", "f:1:12: error: slots is given twice");
    says("h1 slot=2", "f:1:4: error: there is no field `slot`; did you mean `slots`?");
    says("h1 colour=red", "there is no field `colour`, only slots=N device=cpu|cuda");
    says("h1 h2", "f:1:4: error: `h2` is not a field like slots=2: a line has one host");
    says("h1 device=gpu", "f:1:11: error: device is `gpu`, neither cpu nor cuda");
    says("h1 mem=24X", "f:1:8: error: mem is `24X`, not a size like 24G");
    says("h1 mem=24GG", "mem is `24GG`");
    says("h1 mem=-1", "mem is `-1`");
    says("h1 mem=0", "mem is `0`");
    says("h1 mem=0x10", "mem is `0x10`");
    says("h1 mem=nan", "mem is `nan`");
    says("h1 mem=9e99T", "mem is `9e99T`");
    says("h1 weight=0", "f:1:11: error: weight is `0`, not a number from 1e-6 to 1e6");
    says("h1 weight=inf", "weight is `inf`");
    says("h1 weight=1,5", "weight is `1,5`");
}

static void all_lines_are_told(void **state)
{
    (void)state;
    says("-a\nh1 slots=x\nh2 mem=y", "f:1:1:");
    says("-a\nh1 slots=x\nh2 mem=y", "f:2:10:");
    says("-a\nh1 slots=x\nh2 mem=y", "f:3:8:");
}

static void files(void **state)
{
    (void)state;
    Arena a = {0};
    char path[] = "/tmp/hosts-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "h1 slots=3\n", 11), 11);
    close(fd);
    Hosts *h = hostfile_read(&a, path);
    unlink(path);
    assert_non_null(h);
    assert_int_equal(h->items[0].slots, 3);
    FILE *sink = fopen("/dev/null", "w");
    diag_output(sink, false);
    assert_null(hostfile_read(&a, path));
    assert_int_equal(diag_errors(), 1);
    fclose(sink);
    diag_output(stderr, false);
    diag_reset();
    arena_release(&a);
}

static void knows_this_machine(void **state)
{
    (void)state;
    char own[256] = "";
    gethostname(own, sizeof own - 1);
    assert_true(host_is_local("localhost") && host_is_local("127.0.0.1") &&
                host_is_local("::1"));
    assert_true(host_is_local(own));
    assert_false(host_is_local("h1") || host_is_local("localhost.example.org"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_hosts),  cmocka_unit_test(wrong_names),
        cmocka_unit_test(wrong_fields), cmocka_unit_test(all_lines_are_told),
        cmocka_unit_test(files),        cmocka_unit_test(knows_this_machine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
