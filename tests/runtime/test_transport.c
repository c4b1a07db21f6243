// Edges over shared memory with both ends as threads of one process, and as processes that die.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/transport.h"

#include "runtime/random.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STAGES = 3, MESSAGES = 3000, SLOTS = 3, WORDS = 40 };

// Edge 0: from stage 0 to both others. Edge 1: back from stage 2 to stage 0, one message a step.
static const int to_both[] = {1, 2}, to_first[] = {0};
static const rt_edge edges[] = {
    {"conv3", 0, to_both, 2, WORDS * 8, SLOTS, 4, 0},
    {"grad", 2, to_first, 1, 8, 1, 1, 0},
};

static rt_program program(int stage, int n_stages)
{
    return (rt_program){.abi = RT_ABI,
                        .plan_hash = "1",
                        .stage = stage,
                        .n_stages = n_stages,
                        .edges = edges,
                        .n_edges = 2,
                        .in_flight = 1};
}

typedef struct Part {
    rt_program program;
    rt_stage stage;
    int fd, error;
    unsigned naps; // sleeps now and then, so that both sides wait
    pthread_t thread;
} Part;

static void part_init(Part *p, int stage, int fd)
{
    p->program = program(stage, STAGES);
    p->fd = fd;
    rt__stage_init(&p->stage, &p->program);
    p->stage.timeout_ns = 5000000000;
    assert_int_equal(rt__transport_open(&p->stage, fd), 0);
}

static void nap(const Part *p, uint64_t seq)
{
    if (p->naps && rt_mix(seq * 3 + (unsigned)p->program.stage) % p->naps == 0)
        usleep(200);
}

static void *produce(void *user)
{
    Part *p = user;
    for (uint64_t seq = 0; seq < MESSAGES && !p->error; seq++) {
        int mb = (int)(seq % 4);
        p->stage.run_step = seq / 4;
        p->error = rt__acquire(&p->stage, 0, mb);
        uint64_t *slot = rt_slot(&p->stage, 0, mb);
        for (uint64_t i = 0; i < WORDS; i++)
            slot[i] = rt_mix(seq) + i;
        nap(p, seq);
        if (!p->error)
            p->error = rt__send(&p->stage, 0, mb);
    }
    return NULL;
}

static void *consume(void *user)
{
    Part *p = user;
    for (uint64_t seq = 0; seq < MESSAGES && !p->error; seq++) {
        int mb = (int)(seq % 4);
        p->stage.run_step = seq / 4;
        p->error = rt__recv(&p->stage, 0, mb);
        const uint64_t *slot = rt_slot(&p->stage, 0, mb);
        for (uint64_t i = 0; i < WORDS && !p->error; i++)
            if (slot[i] != rt_mix(seq) + i)
                p->error = -1;
        nap(p, seq);
        if (!p->error)
            p->error = rt__release(&p->stage, 0, mb);
    }
    return NULL;
}

// Every message arrives whole and in order at both consumers, whoever is slow and whether they spin.
static void test_messages(void **state)
{
    (void)state;
    static const unsigned naps[][STAGES] = {{0, 0, 0}, {50, 0, 0}, {0, 50, 0}, {60, 40, 50}};
    for (size_t round = 0; round < 2 * sizeof naps / sizeof *naps; round++) {
        Part part[STAGES] = {0};
        rt_program p = program(0, STAGES);
        int fd = rt__segment_new(&p);
        for (int i = 0; i < STAGES; i++) {
            part_init(&part[i], i, fd);
            part[i].naps = naps[round / 2][i];
            part[i].stage.spin = round % 2;
        }
        for (int i = 0; i < STAGES; i++)
            pthread_create(&part[i].thread, NULL, i ? consume : produce, &part[i]);
        for (int i = 0; i < STAGES; i++)
            pthread_join(part[i].thread, NULL);
        for (int i = 0; i < STAGES; i++) {
            assert_int_equal(part[i].error, 0);
            rt__transport_close(&part[i].stage);
        }
        close(fd);
    }
}

typedef struct Pair {
    Part part[STAGES];
    int fd;
} Pair;

static Pair *open_all(void)
{
    Pair *all = calloc(1, sizeof *all);
    rt_program p = program(0, STAGES);
    all->fd = rt__segment_new(&p);
    for (int i = 0; i < STAGES; i++)
        part_init(&all->part[i], i, all->fd);
    return all;
}

static void close_all(Pair *all)
{
    for (int i = 0; i < STAGES; i++)
        rt__transport_close(&all->part[i].stage);
    close(all->fd);
    free(all);
}

static void test_ring_is_full(void **state)
{
    (void)state;
    Pair *all = open_all();
    rt_stage *s0 = &all->part[0].stage, *s1 = &all->part[1].stage, *s2 = &all->part[2].stage;
    s0->timeout_ns = 1;
    for (int mb = 0; mb < SLOTS; mb++) {
        assert_int_equal(rt__acquire(s0, 0, mb), 0);
        assert_int_equal(rt__send(s0, 0, mb), 0);
    }
    assert_int_equal(rt__recv(s1, 0, 0), 0);
    assert_int_equal(rt__release(s1, 0, 0), 0);
    assert_int_equal(rt__acquire(s0, 0, 3), RT_E_TIMEOUT); // stage 2 still holds it
    s0->error = RT_E_NONE;
    assert_int_equal(rt__recv(s2, 0, 0), 0);
    assert_int_equal(rt__release(s2, 0, 0), 0);
    assert_int_equal(rt__acquire(s0, 0, 3), 0);
    assert_ptr_equal(rt_slot(s0, 0, 3), rt_slot(s0, 0, 0)); // three slots
    close_all(all);
}

static void test_out_of_order(void **state)
{
    (void)state;
    Pair *all = open_all();
    rt_stage *s0 = &all->part[0].stage;
    assert_int_equal(rt__send(s0, 0, 1), RT_E_BUG);
    assert_string_equal(s0->message,
                        "send of message 1 of edge conv3, but message 0 comes first");
    close_all(all);
}

// Who waits for what from whom since when, and what that one is doing.
static void test_timeout(void **state)
{
    (void)state;
    Pair *all = open_all();
    rt_stage *s1 = &all->part[1].stage;
    SegmentStatus *status = all->part[0].stage.status;
    atomic_store(&status->opcode, RT_BACKWARD);
    atomic_store(&status->mb, 2);
    atomic_store(&status->step, 6);
    s1->step = 6;
    s1->timeout_ns = 1000000;
    assert_int_equal(rt__recv(s1, 0, 0), RT_E_TIMEOUT);
    const char *end =
        " s for a message of conv3 from stage 0 (step 7), and no stage has moved for "
        "0.0 s; stage 0 is in backward of micro-batch 2, step 7";
    assert_memory_equal(s1->message, "stage 1 has waited ", 19);
    assert_string_equal(strstr(s1->message, " s for"), end);
    close_all(all);
}

static void *keep_moving(void *user)
{
    SegmentStatus *status = user;
    for (int i = 0; i < 10; i++) {
        usleep(50000);
        atomic_fetch_add(&status->progress, 1);
    }
    return NULL;
}

// A wait does not end while another stage works.
static void test_slow_is_not_dead(void **state)
{
    (void)state;
    Pair *all = open_all();
    rt_stage *s1 = &all->part[1].stage;
    pthread_t id;
    pthread_create(&id, NULL, keep_moving, all->part[2].stage.status);
    s1->timeout_ns = 150000000;
    int64_t begin = rt__now_ns();
    assert_int_equal(rt__recv(s1, 0, 0), RT_E_TIMEOUT);
    assert_true(rt__now_ns() - begin > 500000000);
    pthread_join(id, NULL);
    close_all(all);
}

static void *fail_later(void *user)
{
    rt_stage *s = user;
    usleep(50000);
    rt_fail(s, RT_E_LOSS, "nan");
    rt__abort(s);
    return NULL;
}

static void test_abort(void **state)
{
    (void)state;
    Pair *all = open_all();
    rt_stage *s1 = &all->part[1].stage;
    pthread_t id;
    pthread_create(&id, NULL, fail_later, &all->part[2].stage);
    int64_t begin = rt__now_ns();
    assert_int_equal(rt__recv(s1, 0, 0), RT_E_PEER);
    assert_true(rt__now_ns() - begin < 1000000000);
    assert_string_equal(s1->message, "stage 2 has failed");
    assert_int_equal(atomic_load(&s1->segment->abort), 5);
    pthread_join(id, NULL);
    rt__abort(s1); // an echo changes nothing
    assert_int_equal(atomic_load(&s1->segment->abort), 5);
    assert_int_equal(atomic_load(&s1->segment->abort_stage), 3);
    close_all(all);
}

// A process that dies without a word is noticed within a second, also before it is waited for.
static void test_dead_peer(void **state)
{
    (void)state;
    rt_program p = program(0, STAGES);
    int fd = rt__segment_new(&p);
    pid_t pid = fork();
    if (pid == 0) {
        rt_stage s;
        p = program(0, STAGES);
        rt__stage_init(&s, &p);
        if (rt__transport_open(&s, fd))
            _exit(1);
        usleep(200000);
        _exit(0);
    }
    Part part;
    memset(&part, 0, sizeof part);
    part_init(&part, 1, fd);
    part.stage.timeout_ns = 20000000000;
    while (!atomic_load(&part.stage.statuses[0].pid))
        usleep(1000);
    int64_t begin = rt__now_ns();
    assert_int_equal(rt__recv(&part.stage, 0, 0), RT_E_PEER);
    assert_true(rt__now_ns() - begin < 1200000000);
    assert_non_null(strstr(part.stage.message, "stage 0 (process "));
    assert_non_null(strstr(part.stage.message, ") died: it is between steps, 0 done"));
    waitpid(pid, NULL, 0);
    rt__transport_close(&part.stage);
    close(fd);
}

static void *cross_barriers(void *user)
{
    Part *p = user;
    for (int i = 0; i < 200 && !p->error; i++) {
        p->stage.status->shard_bytes[0] = (uint64_t)i;
        p->error = rt__barrier(&p->stage, "the test");
        for (int k = 0; k < STAGES && !p->error; k++)
            if (p->stage.statuses[k].shard_bytes[0] != (uint64_t)i)
                p->error = -1;
        if (!p->error)
            p->error = rt__barrier(&p->stage, "the test");
    }
    return NULL;
}

static void test_barrier(void **state)
{
    (void)state;
    Pair *all = open_all();
    for (int i = 0; i < STAGES; i++)
        pthread_create(&all->part[i].thread, NULL, cross_barriers, &all->part[i]);
    for (int i = 0; i < STAGES; i++) {
        pthread_join(all->part[i].thread, NULL);
        assert_int_equal(all->part[i].error, 0);
    }
    close_all(all);
}

static void test_other_plan(void **state)
{
    (void)state;
    rt_program p = program(0, STAGES), q = program(1, STAGES), r = program(1, 2);
    int fd = rt__segment_new(&p);
    rt_stage a, b, c;
    rt__stage_init(&a, &p);
    assert_int_equal(rt__transport_open(&a, fd), 0);
    q.plan_hash = "2";
    rt__stage_init(&b, &q);
    assert_int_equal(rt__transport_open(&b, fd), RT_E_INPUT);
    assert_string_equal(b.message,
                        "stage 1 was built from another plan than the stages beside it: "
                        "build all programs again");
    rt__stage_init(&c, &r);
    assert_int_equal(rt__transport_open(&c, fd), RT_E_INPUT);
    rt__transport_close(&a);
    rt__transport_close(&b);
    rt__transport_close(&c);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),     cmocka_unit_test(test_ring_is_full),
        cmocka_unit_test(test_timeout),      cmocka_unit_test(test_slow_is_not_dead),
        cmocka_unit_test(test_abort),        cmocka_unit_test(test_dead_peer),
        cmocka_unit_test(test_barrier),      cmocka_unit_test(test_other_plan),
        cmocka_unit_test(test_out_of_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
