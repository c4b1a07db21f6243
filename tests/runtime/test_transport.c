// What every transport has to do: all tests run once for each way in which stages reach each other.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/runtime/job.h"

#include "runtime/random.h"

#include <signal.h>
#include <sys/wait.h>

enum { MESSAGES = 3000, SLOTS = 3, WORDS = 40 };

// Edge 0: from stage 0 to both others. Edge 1: back from stage 2 to stage 0, one message a step.
static const int to_both[] = {1, 2}, to_first[] = {0};
static const rt_edge edges[] = {
    {"conv3", 0, to_both, 2, WORDS * 8, SLOTS, 1, 4, 0, 0},
    {"grad", 2, to_first, 1, 8, 1, 1, 1, 0, 0},
};

static rt_program program(int n_stages)
{
    return (rt_program){.abi = RT_ABI,
                        .plan_hash = "1",
                        .n_stages = n_stages,
                        .edges = edges,
                        .n_edges = 2,
                        .in_flight = 1};
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
    if (!p->error)
        p->error = rt__barrier(&p->stage, "the end");
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
    if (!p->error)
        p->error = rt__barrier(&p->stage, "the end");
    return NULL;
}

static void run_all(TestJob *j, void *(*first)(void *), void *(*others)(void *))
{
    for (int i = 0; i < STAGES; i++)
        pthread_create(&j->part[i].thread, NULL, i ? others : first, &j->part[i]);
    for (int i = 0; i < STAGES; i++)
        pthread_join(j->part[i].thread, NULL);
    for (int i = 0; i < STAGES; i++) {
        if (j->part[i].error)
            print_error("stage %d: %s\n", i, j->part[i].stage.message);
        assert_int_equal(j->part[i].error, 0);
    }
}

static TestJob *open_all(void **state)
{
    rt_program p = program(STAGES);
    return job_open(*state, &p);
}

// Every message arrives whole and in order at both consumers, whoever is slow and whether they spin.
static void test_messages(void **state)
{
    static const unsigned naps[][STAGES] = {{0, 0, 0}, {50, 0, 0}, {0, 50, 0}, {60, 40, 50}};
    for (size_t round = 0; round < 2 * sizeof naps / sizeof *naps; round++) {
        TestJob *j = open_all(state);
        for (int i = 0; i < STAGES; i++) {
            j->part[i].naps = naps[round / 2][i];
            j->part[i].stage.spin = round % 2;
        }
        run_all(j, produce, consume);
        job_close(j);
    }
}

static void *send_last(void *user)
{
    Part *p = user;
    p->stage.run_step = MESSAGES / 4;
    p->error = rt__acquire(&p->stage, 0, 0);
    if (!p->error)
        p->error = rt__send(&p->stage, 0, 0);
    if (!p->error)
        p->error = rt__barrier(&p->stage, "the end");
    return NULL;
}

// The later one reads what the earlier one has written into its slot.
static void *look_into_slot(void *user)
{
    Part *p = user;
    p->stage.run_step = MESSAGES / 4;
    p->error = rt__recv(&p->stage, 0, 0);
    _Atomic uint64_t *word = rt_slot(&p->stage, 0, 0);
    if (p->program.stage == 1)
        atomic_store(word, 4711);
    for (int i = 0; i < 1000 && p->user && atomic_load(word) != 4711; i++)
        usleep(1000);
    if (!p->error)
        p->error = rt__barrier(&p->stage, "the end");
    if (p->program.stage == 2)
        p->naps = atomic_load(word) == 4711;
    return NULL;
}

// What consumers of one host are sent lies there once, and those of different hosts have their own.
static void test_slots_of_a_host(void **state)
{
    const Placement *place = *state;
    bool shared = place->host[1] == place->host[2];
    TestJob *j = open_all(state);
    j->part[2].user = shared ? j : NULL;
    run_all(j, produce, consume);
    run_all(j, send_last, look_into_slot);
    assert_int_equal(j->part[2].naps, shared);
    job_close(j);
}

// The producer waits for the slower of its consumers, and for no one else.
static void *fill_ring(void *user)
{
    Part *p = user;
    rt_stage *s = &p->stage;
    for (int mb = 0; mb < SLOTS && !p->error; mb++) {
        p->error = rt__acquire(s, 0, mb);
        if (!p->error)
            p->error = rt__send(s, 0, mb);
    }
    if (p->error || (p->error = rt__barrier(s, "one release")))
        return NULL;
    int64_t timeout_ns = s->timeout_ns;
    s->timeout_ns = 1;
    p->error = rt__acquire(s, 0, SLOTS) != RT_E_TIMEOUT; // stage 2 still holds it
    s->timeout_ns = timeout_ns;
    s->error = RT_E_NONE;
    if (!p->error)
        p->error = rt__barrier(s, "the time-out");
    if (!p->error)
        p->error = rt__acquire(s, 0, SLOTS);
    if (!p->error && rt_slot(s, 0, SLOTS) != rt_slot(s, 0, 0))
        p->error = -1;
    if (!p->error)
        p->error = rt__barrier(s, "the end");
    return NULL;
}

static void *empty_ring(void *user)
{
    Part *p = user;
    rt_stage *s = &p->stage;
    p->error = rt__recv(s, 0, 0);
    if (!p->error && p->program.stage == 1)
        p->error = rt__release(s, 0, 0);
    if (!p->error)
        p->error = rt__barrier(s, "one release");
    if (!p->error)
        p->error = rt__barrier(s, "the time-out");
    if (!p->error && p->program.stage == 2)
        p->error = rt__release(s, 0, 0);
    if (!p->error)
        p->error = rt__barrier(s, "the end");
    return NULL;
}

static void test_ring_is_full(void **state)
{
    TestJob *all = open_all(state);
    run_all(all, fill_ring, empty_ring);
    job_close(all);
}

static void test_out_of_order(void **state)
{
    TestJob *all = open_all(state);
    rt_stage *s0 = &all->part[0].stage;
    assert_int_equal(rt__send(s0, 0, 1), RT_E_BUG);
    assert_string_equal(s0->message,
                        "send of message 1 of edge conv3, but message 0 comes first");
    job_close(all);
}

// Who waits for what from whom since when, and what that one is doing.
static void test_timeout(void **state)
{
    TestJob *all = open_all(state);
    rt_stage *s1 = &all->part[1].stage;
    SegmentStatus *status = all->part[0].stage.status, *seen = &s1->statuses[0];
    atomic_store(&status->opcode, RT_BACKWARD);
    atomic_store(&status->mb, 2);
    atomic_store(&status->step, 6);
    while (atomic_load(&seen->step) != 6)
        usleep(1000);
    s1->step = 6;
    s1->timeout_ns = 1000000;
    assert_int_equal(rt__recv(s1, 0, 0), RT_E_TIMEOUT);
    const char *end =
        " s for a message of conv3 from stage 0 (step 7), and no stage has moved for "
        "0.0 s; stage 0 is in backward of micro-batch 2, step 7";
    assert_memory_equal(s1->message, "stage 1 has waited ", 19);
    assert_string_equal(strstr(s1->message, " s for"), end);
    job_close(all);
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
    TestJob *all = open_all(state);
    rt_stage *s1 = &all->part[1].stage;
    pthread_t id;
    pthread_create(&id, NULL, keep_moving, all->part[2].stage.status);
    s1->timeout_ns = 150000000;
    int64_t begin = rt__now_ns();
    assert_int_equal(rt__recv(s1, 0, 0), RT_E_TIMEOUT);
    assert_true(rt__now_ns() - begin > 500000000);
    pthread_join(id, NULL);
    job_close(all);
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
    TestJob *all = open_all(state);
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
    assert_int_equal(atomic_load(&s1->segment->abort_rank), 3);
    job_close(all);
}

// Sends one message and is gone.
static _Noreturn void die_early(TestJob *j)
{
    rt_stage *s = &j->part[0].stage;
    if (rt__transport_open(s, j->part[0].fd))
        _exit(1);
    while (!job_knows_all(j, 0))
        usleep(1000);
    memset(rt_slot(s, 0, 0), 0, WORDS * 8);
    if (rt__send(s, 0, 0))
        _exit(1);
    for (int i = 0; i < 20; i++) {
        rt__progress(s);
        usleep(10000);
    }
    kill(getpid(), SIGKILL);
    _exit(1);
}

// A process that dies without a word is noticed within a second, also before it is waited for.
static void test_dead_peer(void **state)
{
    rt_program p = program(STAGES);
    TestJob *j = job_new(*state, &p);
    pid_t pid = fork();
    if (pid == 0)
        die_early(j);
    for (int i = 1; i < STAGES; i++)
        assert_int_equal(rt__transport_open(&j->part[i].stage, j->part[i].fd), 0);
    job_launcher(j);
    rt_stage *s = &j->part[1].stage;
    assert_int_equal(rt__recv(s, 0, 0), 0);
    int64_t begin = rt__now_ns();
    assert_int_equal(rt__recv(s, 0, 1), RT_E_PEER);
    assert_true(rt__now_ns() - begin < 1200000000);
    assert_memory_equal(s->message, "stage 0 (process ", 17);
    assert_non_null(strstr(s->message, ": it is between steps, 0 done"));
    waitpid(pid, NULL, 0);
    job_close(j);
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
    TestJob *all = open_all(state);
    run_all(all, cross_barriers, cross_barriers);
    job_close(all);
}

// Any edges, any order of messages, consumers that hold as many as they may
// ------------------------------------------

enum { RANDOM_EDGES = 5, RANDOM_STEPS = 6, MOST_A_STEP = 4, SEEDS = 12 };

typedef struct Random {
    uint64_t seed;
    rt_edge edges[RANDOM_EDGES];
    int consumers[RANDOM_EDGES][STAGES];
    int order[RANDOM_EDGES * MOST_A_STEP]; // edges of a step's messages
    int n_order;
} Random;

static uint64_t pick(Random *r, uint64_t below)
{
    r->seed = rt_mix(r->seed + 1);
    return r->seed % below;
}

static void random_edge(Random *r, int i)
{
    static const int64_t sizes[] = {8, 64, 1000, 9000, 70000, 3 << 20};
    static const char *const names[] = {"e0", "e1", "e2", "e3", "e4"};
    rt_edge *e = &r->edges[i];
    *e = (rt_edge){.name = names[i],
                   .producer = (int)pick(r, STAGES),
                   .consumers = r->consumers[i],
                   .bytes = sizes[pick(r, sizeof sizes / sizeof *sizes)],
                   .slots = 1 + (int)pick(r, 4),
                   .stride = 1,
                   .per_step = 1 + (int)pick(r, MOST_A_STEP)};
    for (int s = 0; s < STAGES; s++)
        if (s != e->producer && pick(r, 3))
            r->consumers[i][e->n_consumers++] = s;
    if (!e->n_consumers)
        r->consumers[i][e->n_consumers++] = (e->producer + 1) % STAGES;
    for (int mb = 0; mb < e->per_step; mb++)
        r->order[r->n_order++] = i;
}

static void random_job(Random *r, uint64_t seed)
{
    *r = (Random){.seed = seed};
    for (int i = 0; i < RANDOM_EDGES; i++)
        random_edge(r, i);
    for (int i = r->n_order - 1; i > 0; i--) {
        int k = (int)pick(r, (uint64_t)i + 1), edge = r->order[i];
        r->order[i] = r->order[k];
        r->order[k] = edge;
    }
}

static int produce_one(Part *p, int edge, int mb, uint64_t seq)
{
    int error = rt__acquire(&p->stage, edge, mb);
    uint64_t *slot = rt_slot(&p->stage, edge, mb);
    for (uint64_t i = 0; i < (uint64_t)p->program.edges[edge].bytes / 8 && !error; i++)
        slot[i] = seq * 1000003 + (uint64_t)edge + i;
    return error ? error : rt__send(&p->stage, edge, mb);
}

static int consume_one(Part *p, int edge, int mb, uint64_t seq)
{
    const rt_edge *e = &p->program.edges[edge];
    int error = rt__recv(&p->stage, edge, mb);
    const uint64_t *slot = rt_slot(&p->stage, edge, mb);
    for (uint64_t i = 0; i < (uint64_t)e->bytes / 8 && !error; i++)
        if (slot[i] != seq * 1000003 + (uint64_t)edge + i)
            error = -1;
    uint64_t held = (uint64_t)e->slots - 1, step = p->stage.run_step;
    if (error || seq < held)
        return error;
    p->stage.run_step = (seq - held) / (uint64_t)e->per_step;
    error = rt__release(&p->stage, edge, (int)((seq - held) % (uint64_t)e->per_step));
    p->stage.run_step = step;
    return error;
}

static void *run_random(void *user)
{
    Part *p = user;
    const Random *r = p->user;
    for (uint64_t step = 0; step < RANDOM_STEPS && !p->error; step++) {
        int next[RANDOM_EDGES] = {0};
        p->stage.run_step = step;
        for (int i = 0; i < r->n_order && !p->error; i++) {
            int edge = r->order[i], mb = next[edge]++;
            uint64_t seq = step * (uint64_t)p->program.edges[edge].per_step + (uint64_t)mb;
            nap(p, seq);
            if (p->program.edges[edge].producer == p->program.stage)
                p->error = produce_one(p, edge, mb, seq);
            else if (p->stage.edges[edge].mine)
                p->error = consume_one(p, edge, mb, seq);
        }
    }
    if (!p->error)
        p->error = rt__barrier(&p->stage, "the end");
    return NULL;
}

static void test_random_streams(void **state)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        Random r;
        random_job(&r, seed);
        rt_program p = program(STAGES);
        p.edges = r.edges;
        p.n_edges = RANDOM_EDGES;
        TestJob *j = job_open(*state, &p);
        for (int i = 0; i < STAGES; i++) {
            j->part[i].user = &r;
            j->part[i].naps = seed % 3 ? 20 : 0;
            j->part[i].stage.spin = seed % 2;
        }
        run_all(j, run_random, run_random);
        job_close(j);
    }
}

int main(void)
{
    int failed = 0;
    Placement *p;
    for (int i = 0; (p = job_placement(i)); i++) {
        const struct CMUnitTest tests[] = {
            cmocka_unit_test_prestate(test_messages, p),
            cmocka_unit_test_prestate(test_slots_of_a_host, p),
            cmocka_unit_test_prestate(test_ring_is_full, p),
            cmocka_unit_test_prestate(test_random_streams, p),
            cmocka_unit_test_prestate(test_timeout, p),
            cmocka_unit_test_prestate(test_slow_is_not_dead, p),
            cmocka_unit_test_prestate(test_abort, p),
            cmocka_unit_test_prestate(test_dead_peer, p),
            cmocka_unit_test_prestate(test_barrier, p),
            cmocka_unit_test_prestate(test_out_of_order, p),
        };
        failed += cmocka_run_group_tests_name(p->name, tests, NULL, NULL);
    }
    return failed;
}
