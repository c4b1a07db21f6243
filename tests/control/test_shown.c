// Ids of edges on their way from the job's memory of one host to that of another.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "control/shown.h"

#include <string.h>

enum { RANKS = 3, EDGES = 3, MOST = 8 };

// Rank 0 is on one host, 1 and 2 are on another.
static int of_first[] = {1}, of_second[] = {1, 2}, of_third[] = {0};
static PlanEdge edges[EDGES] = {
    {.name = "a",
     .producer = 2,
     .consumers = of_first,
     .n_consumers = 1,
     .bytes = 5000,
     .slots = 3},
    {.name = "b",
     .producer = 0,
     .consumers = of_second,
     .n_consumers = 2,
     .bytes = 8,
     .slots = 1},
    {.name = "c",
     .producer = 1,
     .consumers = of_third,
     .n_consumers = 1,
     .bytes = 64,
     .slots = 2},
};
static PlanUnit units[RANKS] = {{.name = "a"}, {.name = "b"}, {.name = "c"}};
static PlanStage stages[RANKS] = {{.replicas = 1}, {.replicas = 1}, {.replicas = 1}};
static PlanRank ranks[RANKS] = {{.stage = 0}, {.stage = 1}, {.stage = 2}};
static Plan plan;
static JobMemory here, there;
static const bool is_here[RANKS] = {true, false, false}, is_there[RANKS] = {false, true, true};

static int set_up(void **state)
{
    (void)state;
    plan = (Plan){.model = "m",
                  .units = units,
                  .n_units = RANKS,
                  .stages = stages,
                  .n_stages = RANKS,
                  .ranks = ranks,
                  .n_ranks = RANKS,
                  .edges = edges,
                  .n_edges = EDGES};
    plan.options = options_default();
    return job_memory_init(&here, &plan) || job_memory_init(&there, &plan);
}

static int tear_down(void **state)
{
    (void)state;
    job_memory_release(&here);
    job_memory_release(&there);
    return 0;
}

// As programs find it (runtime/transport.c).
static SegmentId *id_of(JobMemory *m, int edge, int consumer)
{
    char *at = (char *)m->header + segment_edges_begin(RANKS);
    for (int i = 0; i < edge; i++)
        at += segment_edge_bytes(edges[i].n_consumers, edges[i].slots, edges[i].bytes);
    return &segment_edge_ids((SegmentCounter *)(void *)at, edges[edge].n_consumers)[consumer];
}

static void write_id(JobMemory *m, int edge, int consumer, int byte)
{
    SegmentId *id = id_of(m, edge, consumer);
    memset(id->data, byte, sizeof id->data);
    atomic_store(&id->there, 1);
}

typedef struct Told {
    int n, rank[MOST];
    ShownId id[MOST];
} Told;

static void tell(void *user, int rank, const ShownId *id)
{
    Told *t = user;
    assert_true(t->n < MOST);
    t->rank[t->n] = rank;
    t->id[t->n++] = *id;
}

static void test_each_is_told_once(void **state)
{
    (void)state;
    bool told[MOST] = {false};
    Told t = {0};
    assert_int_equal(shown_ids(&plan), 4);
    shown_new_ids(&here, &plan, is_here, told, tell, &t);
    assert_int_equal(t.n, 0);
    write_id(&here, 1, 1, 7);
    shown_new_ids(&here, &plan, is_here, told, tell, &t);
    write_id(&here, 1, 0, 6);
    shown_new_ids(&here, &plan, is_here, told, tell, &t);
    shown_new_ids(&here, &plan, is_here, told, tell, &t);
    assert_int_equal(t.n, 2);
    for (int i = 0; i < t.n; i++) {
        assert_int_equal(t.rank[i], 0);
        assert_int_equal(t.id[i].edge, 1);
        assert_int_equal(t.id[i].consumer, 1 - i);
        shown_id(&there, &plan, t.rank[i], &t.id[i]);
        const SegmentId *got = id_of(&there, 1, 1 - i);
        assert_true(atomic_load(&got->there));
        assert_memory_equal(got->data, id_of(&here, 1, 1 - i)->data, sizeof got->data);
    }
}

// One within a host is nobody else's, and what came from another host does not go back.
static void test_others_are_not_told(void **state)
{
    (void)state;
    bool told[MOST] = {false};
    Told t = {0};
    write_id(&there, 0, 0, 1);
    write_id(&there, 1, 0, 2);
    shown_new_ids(&there, &plan, is_there, told, tell, &t);
    assert_int_equal(t.n, 0);
}

static void refuses(int rank, uint32_t edge, uint32_t consumer)
{
    ShownId id = {.edge = edge, .consumer = consumer};
    uint8_t *before = test_malloc(there.bytes);
    memset(id.data, 9, sizeof id.data);
    memcpy(before, there.header, there.bytes);
    shown_id(&there, &plan, rank, &id);
    assert_memory_equal(before, there.header, there.bytes);
    test_free(before);
}

static void test_nonsense_changes_nothing(void **state)
{
    (void)state;
    refuses(2, 1, 0); // not its edge
    refuses(0, EDGES, 0);
    refuses(0, UINT32_MAX, 0);
    refuses(0, 1, 2);
    refuses(2, 0, 1);
}

static void test_it_is_written_once(void **state)
{
    (void)state;
    ShownId id = {.edge = 2, .consumer = 0};
    write_id(&here, 2, 0, 3);
    shown_id(&here, &plan, 1, &id);
    assert_int_equal(id_of(&here, 2, 0)->data[0], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_each_is_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_others_are_not_told, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_nonsense_changes_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_it_is_written_once, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
