// Workers with real programs under a master that says what the test wants: steps are held, copied and committed; a
// program that dies takes nothing along; states move when ranks change places. The losses have the bits of `stagecc run`.
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
#include "tests/control/little_master.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEPS = 20, PATIENCE_S = 60 };
#define PARTS "{\"parts\": {\"hidden1\": 0, \"hidden2\": 1, \"logits\": 2, \"hidden\": 3}}"

static const char data[] = "idx:" SOURCE_DIR "/examples/digits/train";
static char root[64];
static char expected[STEPS + 1][16]; // bits of the losses
static LittleMaster master;
static pid_t workers[LITTLE_WORKERS];

static const char *const options[] = {"--data", data, "--steps", "20", NULL};

static void shell(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *format, ...)
{
    char command[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(command, sizeof command, format, ap);
    va_end(ap);
    if (system(command)) // NOLINT(cert-env33-c)
        fail_msg("%s", command);
}

// Programs of one and two stages, and the losses that they have.
static int build(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/stagecc-test-XXXXXX");
    assert_non_null(mkdtemp(root));
    for (int n = 1; n <= 2; n++) {
        shell("%s/stagecc build %s/examples/mlp/mlp.c --backend ref --stages %d -o %s/out%d "
              "--no-svg > %s/log 2>&1",
              BINARY_DIR, SOURCE_DIR, n, root, n, root);
        shell("echo '%s' > %s/out%d/parts.json", PARTS, root, n);
    }
    shell("cp %s/out1/stage0 %s/out1/stage1", root, root); // nobody's
    shell("%s/stagecc run %s/out2 --data %s --steps %d --log-json %s/losses > %s/log 2>&1",
          BINARY_DIR, root, data, STEPS, root, root);
    char path[128], line[256];
    snprintf(path, sizeof path, "%s/losses", root);
    FILE *f = fopen(path, "r");
    for (int i = 1; i <= STEPS && fgets(line, sizeof line, f); i++)
        sscanf(strstr(line, "loss_bits"), "loss_bits\": \"%15[^\"]", expected[i]);
    fclose(f);
    return strlen(expected[STEPS]) ? 0 : -1;
}

static int clean(void **state)
{
    (void)state;
    shell("rm -rf %s", root);
    return 0;
}

// Workers
// ------------------------------------------------------------------------------------------------

static void start_worker(int w)
{
    char dir[128], log[128], key[128];
    const Key *k = &master.workers[w].key;
    snprintf(dir, sizeof dir, "%s/w%d", root, w);
    snprintf(log, sizeof log, "%s/w%d.log", root, w);
    snprintf(key, sizeof key, "%s/w%d.key", root, w);
    assert_int_equal(key_write(k, key, true), 0);
    fflush(NULL);
    workers[w] = fork();
    if (workers[w])
        return;
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(fd, STDERR_FILENO);
    execl(BINARY_DIR "/stagecc", "stagecc", "worker", "--master", net_endpoint(master.listen),
          "--key", key, "--slots", "2", "--dir", dir, NULL);
    _exit(127);
}

static bool all_here(const LittleMaster *m)
{
    int n = 0;
    for (int w = 0; w < m->n_workers; w++)
        n += m->workers[w].here && m->workers[w].beat.incarnation;
    return n == m->n_workers;
}

static void begin(const char *programs, int n)
{
    static char dir[128];
    shell("rm -rf %s/w?", root);
    snprintf(dir, sizeof dir, "%s/%s", root, programs);
    little_open(&master, dir, n);
    assert_non_null(master.listen);
    for (int w = 0; w < n; w++)
        start_worker(w);
    assert_true(little_until(&master, all_here, PATIENCE_S));
}

static bool all_left(const LittleMaster *m)
{
    int n = 0;
    for (int w = 0; w < m->n_workers; w++)
        n += m->workers[w].left;
    return n == m->n_workers;
}

static void end(void)
{
    for (int w = 0; w < master.n_workers; w++)
        little_send(&master, w, &(Message){.id = MESSAGE_LEAVE});
    little_until(&master, all_left, PATIENCE_S);
    for (int w = 0; w < master.n_workers; w++) {
        int status = -1;
        waitpid(workers[w], &status, 0);
        assert_int_equal(status, 0);
    }
    net_close(master.net, 0);
    little_forget(&master);
}

// Epochs
// ------------------------------------------------------------------------------------------------

static void epoch(uint64_t number, uint64_t step, uint64_t made)
{
    master.epoch =
        (Epoch){.number = number, .step = step, .made = made, .parts = 7, .copy_every = 1};
    for (int p = 0; p < MOST_PARTS; p++)
        master.epoch.source[p] = NOBODY;
    master.order.saved = step;
    for (int w = 0; w < master.n_workers; w++)
        master.epoch.incarnations[w] = master.workers[w].has.incarnation;
}

static void rank(uint64_t runs, uint16_t worker, uint16_t copier)
{
    master.epoch.ranks[master.epoch.n_ranks++] =
        (EpochRank){.runs = runs, .owns = runs, .worker = worker, .copier = copier};
}

static void sources(void)
{
    const Epoch *e = &master.epoch;
    for (int p = 0; p < 3; p++)
        for (int w = master.n_workers; w-- > 0;)
            if (little_holds(&master, w, e->step, e->made, UINT64_C(1) << p))
                master.epoch.source[p] = (uint16_t)w;
}

static bool in_phase(const LittleMaster *m, WorkerPhase phase)
{
    int n = 0;
    for (int w = 0; w < m->n_workers; w++)
        n += m->workers[w].beat.epoch == m->epoch.number && m->workers[w].beat.phase == phase;
    return n == m->n_workers;
}

static bool all_ready(const LittleMaster *m)
{
    return in_phase(m, WORKER_READY) || m->workers[0].cannot || m->workers[1].cannot;
}

static bool all_stopped(const LittleMaster *m)
{
    return in_phase(m, WORKER_STOPPED);
}

static void make_ready(void)
{
    little_start(&master, options);
    assert_true(little_until(&master, all_ready, PATIENCE_S));
    for (int w = 0; w < master.n_workers; w++)
        assert_string_equal(master.workers[w].why, "");
}

static bool all_committed(const LittleMaster *m)
{
    return m->order.committed == (m->most < STEPS ? m->most : STEPS);
}

static void go_to(uint64_t most)
{
    master.most = most;
    master.order.last = STEPS;
    little_order(&master, ORDER_GO);
    assert_true(little_until(&master, all_committed, PATIENCE_S));
}

static bool any_ended(const LittleMaster *m)
{
    return m->workers[0].ended || m->workers[1].ended;
}

// The program of a worker, by what started it.
static pid_t program_of(int w)
{
    char path[64];
    int pid = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)workers[w], (int)workers[w]);
    FILE *f = fopen(path, "r");
    assert_int_equal(fscanf(f, "%d", &pid), 1);
    fclose(f);
    return pid;
}

static void hurt_and_stop(int w, int sig, int status)
{
    kill(program_of(w), sig);
    assert_true(little_until(&master, any_ended, PATIENCE_S));
    assert_int_equal(master.workers[w].ended_status, status);
    little_order(&master, ORDER_STOP);
    assert_true(little_until(&master, all_stopped, PATIENCE_S));
    for (int i = 0; i < master.n_workers; i++) {
        master.workers[i].ended = 0;
        *master.workers[i].why = 0;
    }
}

static void same_losses(void)
{
    for (int i = 1; i <= STEPS; i++)
        assert_string_equal(master.bits[i], expected[i]);
    assert_int_equal(master.doubles, 0); // a step that was done twice had the same bits
}

static void go_to_the_end(void)
{
    go_to(UINT64_MAX);
    same_losses();
    end();
}

// ------------------------------------------------------------------------------------------------

static void one_alone(void **state)
{
    (void)state;
    begin("out1", 1);
    master.rehearse = 1000; // times are told once a second
    epoch(1, 0, 0);
    rank(7, 0, NOBODY);
    make_ready();
    go_to(UINT64_MAX);
    same_losses();
    assert_true(master.times > 0);
    assert_true(master.timelines > 0);
    end();
}

static void program_dies(void **state)
{
    (void)state;
    begin("out1", 1);
    epoch(1, 0, 0);
    rank(7, 0, NOBODY);
    make_ready();
    go_to(8);
    hurt_and_stop(0, SIGKILL, 128 + SIGKILL);
    epoch(2, 8, 1);
    rank(7, 0, NOBODY);
    sources();
    make_ready();
    go_to(13);
    hurt_and_stop(0, SIGSTOP, 128 + SIGKILL); // one that stands still is killed
    epoch(3, 13, 2);
    rank(7, 0, NOBODY);
    sources();
    make_ready();
    go_to_the_end();
}

// Two workers run a stage each and have a copy of the other's; then they change places, then one runs both.
static void states_move(void **state)
{
    (void)state;
    begin("out2", 2);
    epoch(1, 0, 0);
    rank(1, 0, 1);
    rank(6, 1, 0);
    make_ready();
    go_to(7);
    hurt_and_stop(1, SIGKILL, 128 + SIGKILL);
    assert_true(little_holds(&master, 0, 7, 1, 7));
    assert_true(little_holds(&master, 1, 7, 1, 7));
    epoch(2, 7, 1);
    rank(1, 1, 0);
    rank(6, 0, 1);
    sources();
    make_ready();
    go_to(12);
    hurt_and_stop(0, SIGKILL, 128 + SIGKILL);
    epoch(3, 12, 2);
    rank(1, 1, 0);
    rank(6, 1, 0);
    sources();
    make_ready();
    go_to_the_end();
}

// Two of three run it; the one that has had nothing gets all from them.
static void state_from_afar(void **state)
{
    (void)state;
    begin("out2", 3);
    epoch(1, 0, 0);
    rank(1, 0, 1);
    rank(6, 1, 0);
    make_ready();
    go_to(9);
    hurt_and_stop(0, SIGKILL, 128 + SIGKILL);
    epoch(2, 9, 1);
    rank(1, 2, 0);
    rank(6, 2, 1);
    sources();
    make_ready();
    assert_true(little_holds(&master, 2, 9, 1, 7));
    go_to_the_end();
}

// The job goes on with other programs, cut in another way: states come out of images of the old ones.
static void plan_changes(void **state)
{
    (void)state;
    char dir[128];
    begin("out2", 2);
    epoch(1, 0, 0);
    rank(1, 0, 1);
    rank(6, 1, 0);
    make_ready();
    go_to(7);
    hurt_and_stop(1, SIGKILL, 128 + SIGKILL);
    snprintf(dir, sizeof dir, "%s/out1", root);
    master.dir = dir;
    epoch(2, 7, 1);
    rank(7, 1, 0);
    sources();
    make_ready();
    go_to(12);
    hurt_and_stop(1, SIGKILL, 128 + SIGKILL);
    snprintf(dir, sizeof dir, "%s/out2", root);
    epoch(3, 12, 2);
    rank(1, 1, 0);
    rank(6, 0, 1);
    sources();
    make_ready();
    go_to_the_end();
}

static bool all_are_ahead(const LittleMaster *m)
{
    return little_all_hold(m, 8, false);
}

// Programs begin again with what is not committed yet, in their images: the committed state, which was there, too, stays.
static void committed_stays(void **state)
{
    (void)state;
    begin("out2", 2);
    for (uint64_t number = 1; number <= 3; number++) {
        static const uint64_t from[] = {0, 0, 8, 7};
        epoch(number, from[number], number > 1);
        master.order.saved = master.order.committed;
        rank(1, 0, 1);
        rank(6, 1, 0);
        sources();
        make_ready();
        go_to(number < 3 ? 7 : UINT64_MAX);
        if (number == 3)
            break;
        assert_true(little_until(&master, all_are_ahead, PATIENCE_S));
        hurt_and_stop(1, SIGKILL, 128 + SIGKILL);
    }
    same_losses();
    end();
}

static bool all_wait(const LittleMaster *m)
{
    return m->order.saved == 16;
}

// Each fifth state is copied: programs go on meanwhile, as far as there are snapshots, and each of these is a state to
// begin with.
static void copied_seldom(void **state)
{
    (void)state;
    begin("out2", 2);
    for (uint64_t number = 1; number <= 2;
         number++) { // the second goes back to what is committed
        epoch(number, number == 1 ? 0 : 5, number - 1);
        master.epoch.copy_every = 5;
        rank(1, 0, 1);
        rank(6, 1, 0);
        sources();
        make_ready();
        master.most = 5;
        master.order.last = STEPS;
        little_order(&master, ORDER_GO);
        assert_true(little_until(&master, all_wait, PATIENCE_S));
        assert_int_equal(master.order.committed, 5);
        for (int w = 0; w < 2; w++) {
            const Beat *b = &master.workers[w].beat;
            uint64_t own = w ? 6 : 1;
            assert_true(little_holds(&master, w, 5, 1, 7));
            assert_true(little_holds(&master, w, 10, number, own));
            assert_true(little_holds(&master, w, 15, number, own));
            assert_false(held_parts(b->held, b->n_held, 14, number));
        }
        hurt_and_stop(1, SIGKILL, 128 + SIGKILL);
    }
    epoch(3, 16, 2);
    master.epoch.copy_every = 5;
    rank(1, 1, 0);
    rank(6, 0, 1);
    sources();
    make_ready();
    go_to_the_end();
}

// What cannot be is said, with why, and the worker goes on.
static void cannot(void **state)
{
    (void)state;
    begin("out1", 1);
    epoch(1, 5, 0);
    master.epoch.number = 2;
    master.epoch.made = 1; // nobody has that
    rank(7, 0, NOBODY);
    little_start(&master, options);
    assert_true(little_until(&master, all_ready, PATIENCE_S));
    assert_string_equal(master.workers[0].why,
                        "nobody has hidden1.bias of the state behind step 5");
    assert_true(little_until(&master, all_stopped, PATIENCE_S));
    master.workers[0].cannot = 0;
    epoch(3, 0, 0);
    rank(7, 0, NOBODY);
    little_start(&master, (const char *const[]){"--data", "idx:/nowhere", NULL});
    assert_true(little_until(&master, any_ended, PATIENCE_S));
    assert_int_equal(master.workers[0].ended_status, 1);
    assert_non_null(strstr(master.workers[0].why, "/nowhere"));
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_changes),    cmocka_unit_test(cannot),
        cmocka_unit_test(one_alone),       cmocka_unit_test(program_dies),
        cmocka_unit_test(committed_stays), cmocka_unit_test(copied_seldom),
        cmocka_unit_test(states_move),     cmocka_unit_test(state_from_afar),
    };
    return cmocka_run_group_tests(tests, build, clean);
}
#endif
