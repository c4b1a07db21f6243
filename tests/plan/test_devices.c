// devices.json there and back, defaults, links in both directions, and what files that lie get.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "plan/devices.h"
#include "tests/capture.h"

#include <stdlib.h>
#include <string.h>

#define H1 "{\"name\": \"a\", \"host\": \"h1\"}"
#define H2 "{\"name\": \"b\", \"host\": \"h2\"}"

static const char full[] =
    "{\"reference\": \"h1 alone, \\\"quiet\\\"\",\n"
    " \"devices\": [\n"
    "  {\"name\": \"a100-0\", \"host\": \"h1\", \"backend\": \"cuda\", \"memory_bytes\": 42949672960,"
    " \"speed\": 1, \"threads\": 4, \"profile\": \"graph-a100.txt\"},\n"
    "  {\"name\": \"h2-0\", \"host\": \"h2\", \"backend\": \"c\", \"memory_bytes\": 0,"
    " \"speed\": 0.3, \"threads\": 0}\n"
    " ],\n"
    " \"links\": [\n"
    "  {\"from\": \"h1\", \"to\": \"h1\", \"bytes_per_s\": 7e+09, \"latency_s\": 2.5e-06,"
    " \"shared\": \"device\"},\n"
    "  {\"from\": \"h2\", \"to\": \"h1\", \"bytes_per_s\": 117000000.5, \"latency_s\": 0,"
    " \"shared\": \"host\"}\n"
    " ]}\n";

static void reads_all_fields(void **state)
{
    (void)state;
    Arena a = {0};
    Devices *d = devices_from_json(&a, "devices.json", full);
    assert_non_null(d);
    assert_int_equal(d->n, 2);
    assert_string_equal(d->reference, "h1 alone, \"quiet\"");
    const Device *gpu = &d->devices[0], *cpu = &d->devices[1];
    assert_string_equal(gpu->name, "a100-0");
    assert_string_equal(gpu->host, "h1");
    assert_string_equal(gpu->backend, "cuda");
    assert_int_equal(gpu->memory_bytes, 40LL << 30);
    assert_int_equal(gpu->threads, 4);
    assert_string_equal(gpu->profile, "graph-a100.txt");
    assert_int_equal(gpu->loc.line, 3);
    assert_int_equal(gpu->loc.col, 3);
    assert_true(cpu->speed == 0.3);
    assert_null(cpu->profile);
    assert_int_equal(cpu->loc.line, 4);
    assert_int_equal(d->links[1].loc.line, 8);
    arena_release(&a);
}

static void links_count_for_both_ways(void **state)
{
    (void)state;
    Arena a = {0};
    Devices *d = devices_from_json(&a, "devices.json", full);
    const DeviceLink *inside = devices_link(d, "h1", "h1"), *net = devices_link(d, "h1", "h2");
    assert_true(inside == &d->links[0] && inside->per_device && inside->latency_s == 2.5e-6);
    assert_true(net == &d->links[1] && !net->per_device && net->bytes_per_s == 117000000.5);
    assert_ptr_equal(devices_link(d, "h2", "h1"), net);
    assert_null(devices_link(d, "h2", "h2"));
    assert_null(devices_link(d, "h1", "h3"));
    arena_release(&a);
}

static void writes_what_it_reads(void **state)
{
    (void)state;
    Arena a = {0};
    char *once = devices_to_json(devices_from_json(&a, "devices.json", full));
    assert_string_equal(once, full);
    free(once);
    arena_release(&a);
}

static void missing_fields_have_defaults(void **state)
{
    (void)state;
    Arena a = {0};
    Devices *d = devices_from_json(&a, "f",
                                   "{\"devices\": [" H1 "," H2 "], \"links\": ["
                                   "{\"from\": \"h1\", \"to\": \"h1\", \"bytes_per_s\": 1e9},"
                                   "{\"from\": \"h1\", \"to\": \"h2\", \"bytes_per_s\": 1}]}");
    assert_non_null(d);
    assert_string_equal(d->devices[0].backend, "c");
    assert_true(d->devices[0].speed == 1);
    assert_int_equal(d->devices[0].memory_bytes, 0);
    assert_true(d->links[0].per_device);  // within a host
    assert_false(d->links[1].per_device); // one network card
    assert_true(d->links[1].latency_s == 0);
    assert_null(d->reference);
    d = devices_from_json(&a, "f", "{\"devices\": [" H1 "]}");
    assert_int_equal(d->n_links, 0);
    arena_release(&a);
}

// Everything that was said about a text.
static char *complaint_about(const char *text, bool accepted)
{
    Arena a = {0};
    Capture said;
    capture_begin(&said, text);
    Devices *d = devices_from_json(&a, "f", text);
    bool agreed = (diag_errors() == 0) == (d != NULL);
    char *out = capture_end(&said);
    if (!agreed || (d != NULL) != accepted)
        fail_msg("%s: %s", d ? "accepted" : "refused", out);
    arena_release(&a);
    return out;
}

static void says(bool accepted, const char *text, const char *complaint)
{
    char *out = complaint_about(text, accepted);
    if (!strstr(out, complaint))
        fail_msg("expected `%s` in `%s`", complaint, out);
    free(out);
}

static void device(const char *fields, const char *complaint)
{
    char text[512];
    snprintf(text, sizeof text, "{\"devices\": [" H1 ",\n {\"name\": \"b\", %s}]}", fields);
    says(false, text, complaint);
}

static void wrong_devices(void **state)
{
    (void)state;
    device("\"host\": \"h\", \"speed\": -1",
           "f:2:38: error: devices[1].speed is -1: a speed is");
    device("\"host\": \"h\", \"speed\": 0", "devices[1].speed is 0: a speed is");
    device("\"host\": \"h\", \"speed\": 1e999", "number overflow");
    device("\"host\": \"h\", \"speed\": \"1\"", "devices[1].speed is not a number: a speed is");
    device("\"host\": \"h\", \"speed\": true", "devices[1].speed is not a number");
    device("\"host\": \"h\", \"memory_bytes\": 1e19",
           "memory_bytes is 1e+19: whole bytes from 0");
    device("\"host\": \"h\", \"memory_bytes\": -4", "memory_bytes is -4: whole bytes");
    device("\"host\": \"h\", \"memory_bytes\": 0.5", "memory_bytes is 0.5: whole bytes");
    device("\"host\": \"h\", \"threads\": 70000",
           "devices[1].threads is 70000: a whole number");
    device("\"host\": \"h\", \"backend\": \"cude\"", "is `cude`; did you mean `cuda`?");
    device("\"host\": \"h\", \"backend\": 1", "devices[1].backend is not a string");
    device("\"host\": \"h\", \"profile\": \"\"", "devices[1].profile is empty");
    device("\"host\": \"-oProxyCommand=x\"", "does not begin with `-`");
    device("\"host\": \"a\\u0007\"", "devices[1].host is empty, longer than 255 bytes, or has");
    device("\"speed\": 1", "f:2:2: error: devices[1].host is missing");
}

static void link_of(const char *fields, const char *complaint)
{
    char text[512];
    snprintf(text, sizeof text, "{\"devices\": [" H1 "," H2 "],\n \"links\": [{%s}]}", fields);
    says(false, text, complaint);
}

static void wrong_links(void **state)
{
    (void)state;
    link_of("\"from\": \"h1\", \"to\": \"h22\", \"bytes_per_s\": 1",
            "f:2:12: error: links[0].to is `h22`, and no device is on that host; did you mean");
    link_of("\"from\": \"h1\", \"to\": \"h2\"",
            "f:2:12: error: links[0].bytes_per_s is missing: bytes a second");
    link_of("\"from\": \"h1\", \"to\": \"h2\", \"bytes_per_s\": 0",
            "links[0].bytes_per_s is 0");
    link_of("\"from\": \"h1\", \"to\": \"h2\", \"bytes_per_s\": 1, \"latency_s\": -1",
            "links[0].latency_s is -1: seconds");
    link_of("\"from\": \"h1\", \"to\": \"h2\", \"bytes_per_s\": 1, \"shared\": \"hots\"",
            "links[0].shared is `hots`; did you mean `host`?");
    link_of("\"from\": \"h1\", \"to\": \"h2\", \"bytes_per_s\": 1},\n"
            "{\"from\": \"h2\", \"to\": \"h1\", \"bytes_per_s\": 1",
            "f:3:1: error: links[1] is the second between h2 and h1");
}

static void wrong_files(void **state)
{
    (void)state;
    says(false, "{\"devices\": [\n oops", "f:2:5: error: this is not the JSON of devices");
    says(false, "[]", "f:1:1: error: the file is not an object with a list `devices`");
    says(false, "{}", "error: devices is missing");
    says(false, "{\"devices\": {}}", "f:1:13: error: devices is not a list");
    says(false, "{\"devices\": []}", "devices has 0 entries, not from 1 to");
    says(false, "{\"devices\": [1]}", "f:1:14: error: devices[0] is not an object");
    says(false, "{\"devices\": [" H1 "], \"links\": 3}", "links is not a list");
    says(false, "{\"devices\": [" H1 ",\n " H2 ",\n " H1 "]}",
         "f:3:2: error: devices[2].name `a` is taken");
    says(false, "{\"devices\": [" H1 ",\n " H2 ",\n " H1 "]}",
         "f:1:14: note: the device that has it");
    says(false, "{\"devices\": [" H1 "], \"devices\": [" H1 "]}", "duplicate object key");
}

static void unknown_fields_are_told(void **state)
{
    (void)state;
    says(true, "{\"devices\": [{\"name\": \"a\", \"host\": \"h\",\n \"sped\": 2}]}",
         "f:2:10: warning: devices[0].sped is not known and ignored; did you mean `speed`?");
    says(true, "{\"devices\": [" H1 "], \"Links\": []}",
         "warning: Links is not known and ignored; did you mean `links`?");
}

static void all_errors_are_told(void **state)
{
    (void)state;
    says(false, "{\"devices\": [{\"name\": \"a\"}, {\"host\": \"h\"}], \"links\": [1]}",
         "devices[0].host is missing");
    says(false, "{\"devices\": [{\"name\": \"a\"}, {\"host\": \"h\"}], \"links\": [1]}",
         "devices[1].name is missing");
    says(false, "{\"devices\": [{\"name\": \"a\"}, {\"host\": \"h\"}], \"links\": [1]}",
         "links[0] is not an object");
    char many[1024] = "{\"devices\": [0";
    for (int i = 0; i < 30; i++)
        strcat(many, ",0");
    strcat(many, "]}");
    char *out = complaint_about(many, false); // but not endlessly
    assert_non_null(strstr(out, "devices[19] is not an object"));
    assert_null(strstr(out, "devices[20]"));
    assert_non_null(strstr(out, "and 11 more errors"));
    free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_all_fields),     cmocka_unit_test(links_count_for_both_ways),
        cmocka_unit_test(writes_what_it_reads), cmocka_unit_test(missing_fields_have_defaults),
        cmocka_unit_test(wrong_devices),        cmocka_unit_test(wrong_links),
        cmocka_unit_test(wrong_files),          cmocka_unit_test(unknown_fields_are_told),
        cmocka_unit_test(all_errors_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
