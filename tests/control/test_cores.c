// What the simulation of control's cores (tests/control/sim) does not come to: who is refused, journals that are none,
// workers whose master never comes back or is another one.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "control/master_epoch.h"
#include "control/worker_core.h"

#include <string.h>

#define SECOND INT64_C(1000000000)

static PlanAnswer no_plan(void *user, const PlanMember *members, uint32_t n, const Epoch *now,
                          Epoch *e)
{
    (void)user, (void)members, (void)n, (void)now, (void)e;
    return PLAN_NONE;
}

static const MasterConfig config = {.job = 7,
                                    .parts = 3,
                                    .last_step = 10,
                                    .min_workers = 1,
                                    .beat_ns = SECOND / 5,
                                    .silence_ns = SECOND,
                                    .grace_ns = SECOND / 4,
                                    .start_ns = 4 * SECOND,
                                    .planner = no_plan};

static Master master;
static MasterActions done;

static void hear(uint8_t key, const Message *m, int64_t now_ns)
{
    master_take(&master, &(MasterEvent){MASTER_HEARD, {{key}}, m, 0}, now_ns, &done);
}

static void hear_hello(uint8_t key, uint64_t incarnation, int64_t now_ns)
{
    Message m = {.id = MESSAGE_HELLO, .hello = {incarnation, 1, 1, 1000, "any"}};
    hear(key, &m, now_ns);
}

static void confirm(int64_t now_ns)
{
    MasterEvent e = {.kind = MASTER_JOURNALED, .record = master.appended};
    master_take(&master, &e, now_ns, &done);
}

// The message of this kind among what was to be done, or NULL.
static const MasterAction *sent(MessageId id)
{
    for (int i = 0; i < done.n; i++)
        if (done.list[i].kind == MASTER_SEND && done.list[i].id == id)
            return &done.list[i];
    return NULL;
}

static void refuses_too_many(void **state)
{
    (void)state;
    master_init(&master, &config);
    master_begin(&master, 0);
    for (int k = 1; k <= MOST_WORKERS; k++) {
        hear_hello((uint8_t)k, 1, 0);
        assert_null(sent(MESSAGE_REFUSED));
        assert_null(sent(MESSAGE_WELCOME)); // nothing is on the disk yet
        confirm(0);
        assert_int_equal(sent(MESSAGE_WELCOME)->welcome.worker, k - 1);
    }
    hear_hello(MOST_WORKERS + 1, 5, 0);
    assert_int_equal(sent(MESSAGE_REFUSED)->refused.why, REFUSED_FULL);
    assert_int_equal(sent(MESSAGE_REFUSED)->key.bytes[0], MOST_WORKERS + 1);
    assert_int_equal(master.n_members, MOST_WORKERS);
}

// All programs of a job are for one kind of device; who offers another one is no member.
static void refuses_other_devices(void **state)
{
    (void)state;
    Message m = {.id = MESSAGE_HELLO, .hello = {5, 1, 1, 1000, "any", DEVICE_CUDA, 0}};
    MasterConfig cuda = config;
    cuda.device = DEVICE_CUDA;
    master_init(&master, &config);
    master_begin(&master, 0);
    hear(1, &m, 0);
    assert_int_equal(sent(MESSAGE_REFUSED)->refused.why, REFUSED_DEVICE);
    assert_int_equal(master.n_members, 0);
    master_init(&master, &cuda);
    master_begin(&master, 0);
    hear(1, &m, 0);
    confirm(0);
    assert_non_null(sent(MESSAGE_WELCOME));
    m.hello = (Hello){6, 1, 1, 1000, "any", DEVICE_CPU, 0}; // comes again as another
    hear(1, &m, 0);
    assert_int_equal(sent(MESSAGE_REFUSED)->refused.why, REFUSED_DEVICE);
    assert_false(master.members[0].here);
}

// A worker of the same job that has seen more than the journal: a copy of an old one, say.
static void refuses_newer_epochs(void **state)
{
    (void)state;
    Message beat = {.id = MESSAGE_BEAT, .beat = {.incarnation = 9, .epoch = 4}};
    master_init(&master, &config);
    master_begin(&master, 0);
    hear_hello(1, 9, 0);
    confirm(0);
    hear(1, &beat, 0);
    assert_int_equal(sent(MESSAGE_REFUSED)->refused.why, REFUSED_NEWER);
    assert_int_equal(sent(MESSAGE_REFUSED)->refused.incarnation, 9);
    beat.beat.epoch = 0; // it is no member until it says hello again
    hear(1, &beat, 0);
    assert_false(master.members[0].beats);
}

static void refuses_journals(void **state)
{
    (void)state;
    Record member = {.kind = RECORD_MEMBER}, epoch = {.kind = RECORD_EPOCH};
    Record commit = {.kind = RECORD_COMMIT};
    epoch.epoch = (Epoch){.number = 1,
                          .parts = 3,
                          .n_ranks = 1,
                          .copy_every = 1,
                          .incarnations = {5},
                          .ranks = {{3, 3, 0, NOBODY, 0}}};
    commit.commit.epoch = commit.commit.step = commit.commit.made = 1;
    master_init(&master, &config);
    assert_false(master_replay(&master, &commit)); // of no epoch
    assert_true(master_replay(&master, &member));
    member.member.worker = 2; // where is 1?
    assert_false(master_replay(&master, &member));
    epoch.epoch.number = 2;
    assert_false(master_replay(&master, &epoch));
    epoch.epoch.number = 1;
    assert_true(master_replay(&master, &epoch));
    assert_false(master_replay(&master, &epoch));
    epoch.epoch.number = 2;
    epoch.epoch.parts = 7; // one has no owner
    assert_false(master_replay(&master, &epoch));
    assert_true(master_replay(&master, &commit));
    assert_false(master_replay(&master, &commit)); // twice
    commit.commit.step = 3;
    assert_false(master_replay(&master, &commit));
    assert_false(master_replay(&master, &(Record){.kind = 77}));
    assert_int_equal(master.committed, 1);
}

static const char *called(void *user, uint32_t worker)
{
    (void)user;
    return worker ? "h2" : "h1";
}

static void says_for_whom_it_waits(void **state)
{
    (void)state;
    char why[160];
    master_init(&master, &config);
    master_begin(&master, 0);
    master_waits(&master, 0, why, sizeof why);
    assert_string_equal(why, "waiting for workers: 0 of at least 1 are here");
    hear_hello(1, 9, 0);
    confirm(0);
    master_waits(&master, 0, why, sizeof why);
    assert_string_equal(why, "waiting for the end of an epoch: worker 0 has not said what it "
                             "holds in epoch 0");
    master_waits(&master, 2 * SECOND, why, sizeof why); // silent for too long
    assert_string_equal(why, "waiting for workers: 0 of at least 1 are here");
    hear(1, &(Message){.id = MESSAGE_BEAT, .beat = {.incarnation = 9}}, 2 * SECOND);
    master_waits(&master, 2 * SECOND, why, sizeof why);
    assert_string_equal(why, "waiting for a plan for 1 workers");
    master.config.name = called;
    master.phase = MASTER_RUNNING;
    master.epoch = (Epoch){
        .number = 1, .parts = 1, .n_ranks = 1, .copy_every = 1, .ranks = {{1, 1, 0, 1, 0}}};
    master_waits(&master, 2 * SECOND, why, sizeof why);
    assert_string_equal(why, "waiting for step 1 of rank 0: h1, copied to h2");
    master.epoch.ranks[0].copier = NOBODY;
    master_waits(&master, 2 * SECOND, why, sizeof why);
    assert_string_equal(why, "waiting for step 1 of rank 0: h1");
}

static void say_phase(uint8_t key, uint64_t epoch, WorkerPhase phase, int64_t now_ns)
{
    Message m = {.id = MESSAGE_BEAT,
                 .beat = {.incarnation = key, .epoch = epoch, .phase = phase}};
    hear(key, &m, now_ns);
}

// A journal with workers 0 and 1 (keys and incarnations 1 and 2) and their epoch.
static void replay_epoch(void)
{
    Record r = {.kind = RECORD_EPOCH};
    r.epoch = (Epoch){.number = 1,
                      .parts = 3,
                      .n_ranks = 2,
                      .copy_every = 5,
                      .incarnations = {1, 2},
                      .ranks = {{1, 1, 0, 1, 0}, {2, 2, 1, 0, 0}}};
    master_init(&master, &config);
    for (uint8_t k = 1; k <= 2; k++) {
        Record member = {.kind = RECORD_MEMBER};
        member.member.key.bytes[0] = k;
        member.member.worker = k - 1;
        assert_true(master_replay(&master, &member));
    }
    assert_true(master_replay(&master, &r));
    master_begin(&master, 0);
}

// START says where the others are: a master that has just begun knows it of nobody.
static void tells_of_an_epoch_when_all_are_here(void **state)
{
    (void)state;
    replay_epoch();
    hear_hello(1, 1, 0);
    say_phase(1, 0, WORKER_STOPPED, 0);
    assert_null(sent(MESSAGE_START));
    hear_hello(2, 2, 0);
    assert_int_equal(sent(MESSAGE_START)->key.bytes[0], 1);
    say_phase(2, 0, WORKER_STOPPED, 0);
    assert_int_equal(sent(MESSAGE_START)->key.bytes[0], 2);
}

static void run_epoch_until(int64_t end_ns)
{
    replay_epoch();
    for (int64_t t = 0; t <= end_ns; t += SECOND / 10)
        for (uint8_t k = 1; k <= 2; k++) {
            if (!t)
                hear_hello(k, k, t);
            say_phase(k, 1, WORKER_RUNNING, t + k);
        }
    assert_int_equal(master.phase, MASTER_RUNNING);
}

static void tick(int64_t begin_ns, int64_t end_ns)
{
    for (int64_t t = begin_ns; t <= end_ns; t += SECOND / 10)
        master_take(&master, &(MasterEvent){.kind = MASTER_CLOCK}, t, &done);
}

// Who hears nobody is cut off itself, and its epoch goes on; who hears one misses the other.
static void ends_no_epoch_when_it_is_cut_off(void **state)
{
    (void)state;
    run_epoch_until(SECOND);
    tick(SECOND, 5 * SECOND);
    assert_int_equal(master.phase, MASTER_RUNNING);
    say_phase(2, 1, WORKER_RUNNING, 5 * SECOND);
    assert_int_equal(master.phase, MASTER_RUNNING); // the other may come back, too
    say_phase(2, 1, WORKER_RUNNING, 5 * SECOND + SECOND / 2);
    assert_int_equal(master.phase, MASTER_RUNNING);
    say_phase(2, 1, WORKER_RUNNING, 6 * SECOND);
    assert_int_equal(master.phase, MASTER_WAITING); // but has not
}

static void say_held(uint8_t key, uint64_t epoch, WorkerPhase phase, const Held *held,
                     uint32_t n)
{
    Message m = {.id = MESSAGE_BEAT,
                 .beat = {.incarnation = key, .epoch = epoch, .phase = phase, .n_held = n}};
    memcpy(m.beat.held, held, n * sizeof *held);
    hear(key, &m, SECOND + key);
}

// Of steps that are not copied: one more may be begun and updated when all have it, and not only who is first.
static void tells_what_all_hold(void **state)
{
    (void)state;
    run_epoch_until(SECOND);
    say_held(1, 1, WORKER_RUNNING, (Held[]){{1, 1, 1}, {2, 1, 1}}, 2);
    assert_int_equal(master.saved, 0);
    say_held(2, 1, WORKER_RUNNING, (Held[]){{0, 0, 2}, {1, 1, 2}}, 2);
    assert_int_equal(master.saved, 1);
    assert_int_equal(sent(MESSAGE_ORDER)->order.saved, 1);
    assert_int_equal(sent(MESSAGE_ORDER)->order.committed, 0);
    assert_int_equal(master_first_free(&master), 4);
    assert_int_equal(master.pending.kind, RECORD_NONE); // nothing is committed
    master.phase = MASTER_STARTING;                     // who knows how far they are?
    assert_int_equal(master_first_free(&master), 13);
}

static PlanAnswer new_plan(void *user, const PlanMember *members, uint32_t n, const Epoch *now,
                           Epoch *e)
{
    (void)user, (void)members, (void)n, (void)now, (void)e;
    return PLAN_NEW;
}

// An epoch may begin beyond the committed step, with a state that all hold: its programs are two steps further soon.
static void ends_behind_nothing_begun(void **state)
{
    (void)state;
    run_epoch_until(SECOND);
    master.epoch.step = 5;
    assert_int_equal(master_first_free(&master), 8);
    master.config.planner = new_plan;
    master.replan = true;
    say_held(1, 1, WORKER_RUNNING, (Held[]){{5, 0, 3}}, 1);
    assert_int_equal(master.hold, 7);
    assert_int_equal(sent(MESSAGE_ORDER)->order.last, 7);
}

// What an epoch that is over made beyond the beginning of the next one comes of no committed state.
static void begins_with_no_stray(void **state)
{
    (void)state;
    Held found;
    run_epoch_until(SECOND);
    say_held(1, 1, WORKER_STOPPED, (Held[]){{2, 1, 3}, {3, 1, 3}}, 2);
    assert_true(master_find_state(&master, SECOND, &found));
    assert_int_equal(found.step, 3);
    master.epoch.number = 2;
    master.epoch.step = 2;
    master.epoch.made = 1;
    assert_true(master_find_state(&master, SECOND, &found));
    assert_int_equal(found.step, 2);
    say_held(1, 1, WORKER_STOPPED, (Held[]){{2, 1, 1}, {3, 1, 3}}, 2); // a part is nowhere
    assert_true(master_find_state(&master, SECOND, &found));
    assert_int_equal(found.step, 0);
}

// Workers
// --------------------------------------------------------------------------------------

static Worker worker;
static WorkerActions acts;

static void worker_hears(const Message *m, int64_t now_ns)
{
    worker_take(&worker, &(WorkerEvent){.kind = WORKER_HEARD, .message = m}, now_ns, &acts);
}

static bool does(WorkerActionKind kind)
{
    for (int i = 0; i < acts.n; i++)
        if (acts.list[i].kind == kind)
            return true;
    return false;
}

// Connected, welcomed, and ready in epoch 1, whose only rank it is.
static void make_ready(void)
{
    WorkerConfig c = {
        .has = {9, 1, 1, 1000, "any"}, .retry_ns = SECOND, .orphan_ns = 60 * SECOND};
    Message welcome = {.id = MESSAGE_WELCOME, .welcome = {7, 0, 200}};
    Message start = {.id = MESSAGE_START};
    start.start = (Epoch){.number = 1,
                          .parts = 3,
                          .n_ranks = 1,
                          .copy_every = 1,
                          .incarnations = {9},
                          .ranks = {{3, 3, 0, NOBODY, 0}}};
    worker_init(&worker, &c, 0);
    worker_take(&worker, &(WorkerEvent){.kind = WORKER_CONNECTED}, 0, &acts);
    worker_hears(&start, 0); // from nobody who has welcomed it
    assert_int_equal(worker.epoch.number, 0);
    worker_hears(&welcome, 0);
    worker_hears(&start, 0);
    assert_true(does(WORKER_PREPARE));
    worker_take(&worker, &(WorkerEvent){.kind = WORKER_PREPARED, .epoch = 1}, 0, &acts);
    assert_int_equal(worker.phase, WORKER_READY);
    assert_true(worker_holds(&worker, 0, 0, 1));
}

static void gives_up_without_master(void **state)
{
    (void)state;
    make_ready();
    worker_take(&worker, &(WorkerEvent){.kind = WORKER_CUT}, SECOND, &acts);
    worker_take(&worker, &(WorkerEvent){.kind = WORKER_CLOCK}, 59 * SECOND, &acts);
    assert_int_equal(acts.n, 0);
    worker_take(&worker, &(WorkerEvent){.kind = WORKER_CLOCK}, 60 * SECOND, &acts);
    assert_true(does(WORKER_END) && does(WORKER_LEAVE));
    worker_take(&worker, &(WorkerEvent){.kind = WORKER_CONNECTED}, 61 * SECOND, &acts);
    assert_int_equal(acts.n, 0);
}

static void leaves_when_refused(void **state)
{
    (void)state;
    make_ready();
    worker_hears(&(Message){.id = MESSAGE_REFUSED, .refused = {9, REFUSED_NEWER, 0}}, SECOND);
    assert_true(does(WORKER_END) && does(WORKER_LEAVE));
}

static void forgets_another_job(void **state)
{
    (void)state;
    Message welcome = {.id = MESSAGE_WELCOME, .welcome = {7, 0, 200}};
    make_ready();
    worker_hears(&welcome, SECOND); // the same again
    assert_int_equal(worker.phase, WORKER_READY);
    welcome.welcome.job = 8;
    worker_hears(&welcome, SECOND);
    assert_true(does(WORKER_END));
    assert_int_equal(worker.n_held, 0);
    assert_int_equal(worker.epoch.number, 0);
    assert_int_equal(worker.phase, WORKER_STOPPED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_too_many),
        cmocka_unit_test(refuses_other_devices),
        cmocka_unit_test(refuses_newer_epochs),
        cmocka_unit_test(refuses_journals),
        cmocka_unit_test(says_for_whom_it_waits),
        cmocka_unit_test(tells_of_an_epoch_when_all_are_here),
        cmocka_unit_test(ends_no_epoch_when_it_is_cut_off),
        cmocka_unit_test(tells_what_all_hold),
        cmocka_unit_test(ends_behind_nothing_begun),
        cmocka_unit_test(begins_with_no_stray),
        cmocka_unit_test(gives_up_without_master),
        cmocka_unit_test(leaves_when_refused),
        cmocka_unit_test(forgets_another_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
