// Programs under an agent: how far they may go, for how long they wait, what counts as work.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/wait.h"
#include "tests/runtime/tiny.h"

#include <sys/mman.h>

enum { STAGES = 2, NAP_US = 250 * 1000 }; // longer than two looks of a wait at the job

typedef struct Supervised {
    TinyJob *job;
    SegmentHeader *memory;
    SegmentStatus *statuses;
    size_t bytes;
    pthread_t id[STAGES];
    TinyThread thread[STAGES];
} Supervised;

// A time limit of nothing would end every wait that looks at it.
static void begin(Supervised *v, bool supervised, uint64_t may_begin, uint64_t may_update)
{
    TinyJob *j = tiny_job(STAGES, false, 0);
    j->timeout_ns = 1;
    j->fd = rt__segment_new(&j->stage[0].program);
    *v = (Supervised){.job = j, .bytes = rt__segment_bytes(&j->stage[0].program)};
    v->memory = mmap(NULL, v->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, j->fd, 0);
    assert_true(v->memory != MAP_FAILED);
    v->statuses = segment_statuses(v->memory);
    v->memory->supervised = supervised;
    atomic_store(&v->memory->may_begin.value, may_begin);
    atomic_store(&v->memory->may_update.value, may_update);
}

static void start(Supervised *v)
{
    for (int i = 0; i < STAGES; i++) {
        v->thread[i] = (TinyThread){v->job, i};
        pthread_create(&v->id[i], NULL, tiny_thread, &v->thread[i]);
    }
}

static void join(Supervised *v)
{
    for (int i = 0; i < STAGES; i++)
        pthread_join(v->id[i], NULL);
}

static void end(Supervised *v)
{
    munmap(v->memory, v->bytes);
    close(v->job->fd);
    free(v->job);
}

// Every stage waits for the master with so many steps done, in this instruction.
static void until_all_wait(const Supervised *v, int64_t steps, int opcode)
{
    int left = 20000;
    for (int i = 0; i < STAGES && left; i++) {
        const SegmentStatus *s = &v->statuses[i];
        while (--left && (atomic_load(&s->waiting) != SEGMENT_WAITS_FOR_MASTER ||
                          atomic_load(&s->step) != steps || atomic_load(&s->opcode) != opcode))
            usleep(1000);
    }
    assert_true(left); // else they went past it
}

static void assert_all_end_with(const Supervised *v, int error, int64_t steps)
{
    for (int i = 0; i < STAGES; i++) {
        assert_int_equal(v->job->stage[i].error, error);
        assert_int_equal(v->job->stage[i].steps, steps);
    }
}

static void test_limits(void **state)
{
    (void)state;
    Supervised v;
    begin(&v, true, 3, 2);
    start(&v);
    until_all_wait(&v, 2, RT_UPDATE);
    usleep(NAP_US);
    segment_counter_raise(&v.memory->may_update, 5);
    until_all_wait(&v, 3, -1); // not begun
    segment_counter_raise(&v.memory->may_begin, 6);
    until_all_wait(&v, 5, RT_UPDATE);
    segment_counter_raise(&v.memory->may_update, 4); // late
    assert_int_equal(atomic_load(&v.memory->may_update.value), 5);
    segment_counter_raise(&v.memory->may_begin, UINT64_MAX);
    segment_counter_raise(&v.memory->may_update, UINT64_MAX);
    join(&v);
    assert_all_end_with(&v, 0, 8);
    TinyJob *alone = tiny_job(STAGES, false, 0);
    float w[2][TINY_LAYERS][TINY_W];
    double losses[2][TINY_MAX_STEPS];
    tiny_run_job(alone);
    tiny_result(alone, w[0], losses[0]);
    tiny_result(v.job, w[1], losses[1]);
    assert_memory_equal(w[0], w[1], sizeof w[0]);
    assert_memory_equal(losses[0], losses[1], sizeof losses[0]);
    free(alone);
    end(&v);
}

static void test_abort_ends_the_wait(void **state)
{
    (void)state;
    Supervised v;
    begin(&v, true, 2, UINT64_MAX);
    start(&v);
    until_all_wait(&v, 2, -1);
    atomic_store(&v.memory->abort_rank, STAGES + 1);
    atomic_store(&v.memory->abort, 4);
    join(&v);
    assert_all_end_with(&v, RT_E_PEER, 2);
    end(&v);
}

static void nap(rt_stage *s, int mb)
{
    if (s->step == 1 && mb == 0)
        usleep(NAP_US);
}

// Nobody moves for longer than the time limit: an agent sees to that itself.
static void test_no_time_limit(void **state)
{
    (void)state;
    for (int supervised = 0; supervised < 2; supervised++) {
        Supervised v;
        begin(&v, supervised, UINT64_MAX, UINT64_MAX);
        v.job->stage[0].disturb = nap;
        start(&v);
        join(&v);
        assert_int_equal(v.job->stage[1].error, supervised ? 0 : RT_E_TIMEOUT);
        end(&v);
    }
}

// Work is what an instruction takes, not what it waits: for a neighbour, or within an update for the master.
static void test_busy(void **state)
{
    (void)state;
    Supervised v;
    begin(&v, true, UINT64_MAX, 7);
    v.job->stage[0].disturb = nap;
    start(&v);
    until_all_wait(&v, 7, RT_UPDATE);
    usleep(2 * NAP_US);
    segment_counter_raise(&v.memory->may_update, UINT64_MAX);
    join(&v);
    int64_t busy[STAGES], nap_ns = NAP_US * INT64_C(1000);
    for (int i = 0; i < STAGES; i++)
        busy[i] = atomic_load(&v.statuses[i].busy_ns);
    assert_in_range(busy[0], nap_ns, 2 * nap_ns);
    assert_in_range(busy[1], 1, nap_ns);
    end(&v);
}

static void *sleep_on(void *user)
{
    SegmentCounter *c = user;
    rt__wait w = {.counter = c, .target = 7};
    while (atomic_load(&c->value) < 7)
        rt__shm.sleep(NULL, &w, INT64_C(3600) * 1000000000);
    return NULL;
}

static void test_raising_wakes(void **state)
{
    (void)state;
    static SegmentCounter limit;
    pthread_t id;
    pthread_create(&id, NULL, sleep_on, &limit);
    while (!atomic_load(&limit.sleepers))
        usleep(1000);
    usleep(10000); // it sleeps, most likely
    segment_counter_raise(&limit, 7);
    pthread_join(id, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),        cmocka_unit_test(test_abort_ends_the_wait),
        cmocka_unit_test(test_no_time_limit), cmocka_unit_test(test_busy),
        cmocka_unit_test(test_raising_wakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
