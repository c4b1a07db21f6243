// What the master makes of the timelines of its workers' ranks: which step it shows, whose word counts, and how clocks of
// several machines come together.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#ifdef STAGECC_ZMQ
#include "control/master/server.h"
#include "plan/segment.h"
#include "plan/stream.h"

#include <math.h>
#include <string.h>

enum { RANKS = 2 };
#define MS INT64_C(1000000)

static Server server;

static int begin(void **state)
{
    (void)state;
    server = (Server){.clock = 1};
    server.core.committed = 12; // not every state is copied
    server.core.saved = 20;
    server.core.epoch = (Epoch){.number = 3, .step = 10, .n_ranks = RANKS};
    for (int r = 0; r < RANKS; r++)
        server.core.epoch.ranks[r].worker = (uint16_t)(r + 4);
    return 0;
}

static int end(void **state)
{
    (void)state;
    timeline_end(&server);
    return 0;
}

static Message told(uint32_t rank, uint64_t step, uint64_t clock, int64_t begin_ns)
{
    static StepSpan spans[2];
    spans[0] = (StepSpan){begin_ns + 1 * MS, begin_ns + 3 * MS, 2, RT_FORWARD, 0, 0};
    spans[1] =
        (StepSpan){begin_ns + 3 * MS, begin_ns + 9 * MS, 2, RT_RECV, SEGMENT_WAITS_FOR_RANK, 0};
    Timeline t = {.epoch = 3,
                  .step = step,
                  .clock = clock,
                  .begin_ns = begin_ns,
                  .end_ns = begin_ns + 10 * MS,
                  .sent_ns = begin_ns + 10 * MS,
                  .rank = rank};
    return (Message){.id = MESSAGE_TIMELINE,
                     .timeline = t,
                     .rest = (const char *)spans,
                     .rest_bytes = sizeof spans};
}

// By its own worker, some ms after it was sent by the clock of the master.
static void hear(uint32_t rank, uint64_t step, uint64_t clock, int64_t begin_ns, int64_t now_ns)
{
    Message m = told(rank, step, clock, begin_ns);
    timeline_heard(&server, rank + 4, &m, now_ns);
}

static json_int_t shown_step(void)
{
    json_t *t = timeline_json(&server);
    json_int_t step = json_integer_value(json_object_get(t, "step"));
    json_decref(t);
    return step;
}

// Milliseconds at which the step of a rank begins.
static double begins(int rank, int clocks)
{
    json_t *t = timeline_json(&server);
    json_t *row = json_array_get(json_object_get(t, "ranks"), (size_t)rank);
    assert_int_equal(json_integer_value(json_object_get(t, "clocks")), clocks);
    assert_int_equal(json_integer_value(json_object_get(row, "rank")), rank);
    double ms = json_real_value(json_object_get(row, "begin_ms"));
    assert_true(fabs(json_real_value(json_object_get(row, "end_ms")) - ms - 10) < 1e-6);
    json_decref(t);
    return ms;
}

static void newest_step_of_all(void **state)
{
    (void)state;
    assert_int_equal(shown_step(), 0);
    hear(0, 16, 1, 1000 * MS, 1020 * MS);
    hear(0, 18, 1, 1100 * MS, 1120 * MS);
    assert_int_equal(shown_step(), 0);
    hear(1, 16, 1, 1000 * MS, 1020 * MS);
    assert_int_equal(shown_step(), 16);
    hear(1, 18, 1, 1100 * MS, 1120 * MS);
    assert_int_equal(shown_step(), 18);
    hear(1, 19, 1, 1200 * MS, 1220 * MS);
    hear(1, 20, 1, 1200 * MS, 1220 * MS);
    assert_int_equal(shown_step(), 18);
    hear(0, 20, 1, 1200 * MS, 1220 * MS);
    assert_int_equal(shown_step(), 20);
    server.core.epoch.number = 4; // all that is of another pipeline
    assert_int_equal(shown_step(), 0);
}

static void whose_word_counts(void **state)
{
    (void)state;
    hear(0, 16, 1, 1000 * MS, 1020 * MS);
    Message m = told(1, 16, 1, 1000 * MS);
    timeline_heard(&server, 4, &m, 1020 * MS); // rank 1 is another worker's
    assert_int_equal(shown_step(), 0);
    m.timeline.epoch = 2;
    timeline_heard(&server, 5, &m, 1020 * MS);
    hear(0, 10, 1, 1000 * MS, 1020 * MS); // the epoch begins behind it
    hear(1, 10, 1, 1000 * MS, 1020 * MS);
    hear(0, 23, 1, 1000 * MS, 1020 * MS); // nobody can be there
    hear(1, 23, 1, 1000 * MS, 1020 * MS);
    assert_int_equal(shown_step(), 0);
    hear(1, 16, 1, 1000 * MS, 1020 * MS);
    hear(1, 16, 1, 5000 * MS, 5020 * MS); // said twice
    assert_int_equal(shown_step(), 16);
    assert_true(begins(1, 1) == 0);
}

static void as_json(void **state)
{
    (void)state;
    hear(0, 16, 1, 1000 * MS, 1020 * MS);
    hear(1, 16, 1, 1002 * MS, 1020 * MS);
    json_t *got = timeline_json(&server);
    json_t *want = json_loads("{\"step\": 16, \"clocks\": 1, \"ranks\": ["
                              "{\"rank\": 0, \"begin_ms\": 0.0, \"end_ms\": 10.0, \"spans\": "
                              "[[\"forward\", 2, 1.0, 3.0], [\"wait_recv\", 2, 3.0, 9.0]]}, "
                              "{\"rank\": 1, \"begin_ms\": 2.0, \"end_ms\": 12.0, \"spans\": "
                              "[[\"forward\", 2, 3.0, 5.0], [\"wait_recv\", 2, 5.0, 11.0]]}]}",
                              0, NULL);
    assert_true(json_equal(got, want));
    json_decref(got);
    json_decref(want);
}

// The clock of rank 1 is 5000 s ahead of the master's, which rank 0 reads too. Its words need 3 ms or more.
static void other_clocks(void **state)
{
    (void)state;
    int64_t ahead = 5000000 * MS;
    hear(0, 16, 1, 1000 * MS, 1500 * MS); // how long it takes does not matter
    hear(1, 16, 2, 1004 * MS + ahead, 1014 * MS + 40 * MS);
    assert_true(begins(0, 2) == 0 && begins(1, 2) == 4 + 40);
    hear(1, 17, 2, 1104 * MS + ahead, 1114 * MS + 3 * MS);
    assert_true(begins(1, 2) == 4 + 3);
    hear(1, 18, 2, 1204 * MS + ahead, 1214 * MS + 30 * MS);
    assert_true(begins(1, 2) == 4 + 3);
}

// Clocks drift: what was said long ago is forgotten.
static void clocks_drift(void **state)
{
    (void)state;
    int64_t minute = 60000 * MS;
    hear(0, 16, 2, 1000 * MS, 1010 * MS);
    hear(1, 16, 3, 1000 * MS, 1011 * MS);
    for (int64_t k = 1; k <= 3; k++) {
        hear(0, 16, 2, 1000 * MS + k * 2 * minute, 1010 * MS + k * 2 * minute);
        hear(1, 16, 3, 1000 * MS + k * 2 * minute, 1016 * MS + k * 2 * minute);
    }
    assert_true(begins(0, 2) == 0 && begins(1, 2) == 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(newest_step_of_all, begin, end),
        cmocka_unit_test_setup_teardown(whose_word_counts, begin, end),
        cmocka_unit_test_setup_teardown(as_json, begin, end),
        cmocka_unit_test_setup_teardown(other_clocks, begin, end),
        cmocka_unit_test_setup_teardown(clocks_drift, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
int main(void)
{
    return 77;
}
#endif
