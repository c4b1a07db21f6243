// Images of programs on a device that is apart (apart_device.c, in the host's place here): whenever somebody looks, a
// generation that has a step holds the state behind it, and there is one that all ranks have.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "plan/image.h"
#include "runtime/image.h"
#include "tests/runtime/files.h"
#include "tests/runtime/tiny.h"

#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>

enum {
    STEPS = 40,
    MOST_STAGES = 2,
    STATISTIC = TINY_LAYERS * 2 * TINY_H,
    PERSISTENT = STATISTIC + TINY_H
};

// Behind a step, of all stages.
typedef struct State {
    float w[TINY_LAYERS][TINY_W], statistic[MOST_STAGES][TINY_W];
} State;

static State want[STEPS + 1];

typedef struct Rank {
    rt_tensor tensors[2 * TINY_LAYERS + 1];
    ImageHeader *image;
    _Atomic bool there;
    size_t bytes;
    int64_t last; // step that it goes to
} Rank;

static TinyJob *job;
static Rank ranks[MOST_STAGES];
static bool with_images;
// What was seen, by whichever thread: other bytes than those of the step; steps of which a rank lacked the state; looks
// at a step whose copies were on their way.
static _Atomic int wrong, lost, late;
static _Atomic bool ended;
static int64_t breaks_at; // the step whose numbers are not finite; -1: none

static ImageHeader *image_of(int rank, size_t *bytes)
{
    struct stat st;
    int fd = open(files_path(rank ? "1" : "0"), O_RDWR);
    void *at = fd < 0 || fstat(fd, &st) || st.st_size == 0
                   ? MAP_FAILED
                   : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    *bytes = at == MAP_FAILED ? 0 : (size_t)st.st_size;
    return at == MAP_FAILED ? NULL : at;
}

static bool same_bits(const void *a, const void *b, size_t n)
{
    return memcmp(a, b, n) == 0;
}

static bool holds(int rank, int generation, int64_t step)
{
    const Tiny *t = &job->stage[rank];
    const uint8_t *at = image_generation(ranks[rank].image, generation);
    if (step > STEPS)
        return false;
    bool good = same_bits(at + rt__image_shadow(&t->program), want[step].statistic[rank],
                          sizeof want[step].statistic[rank]);
    for (int l = t->first; l <= t->last; l++)
        good &= same_bits(at + t->tensors[2L * (l - t->first)].offset, want[step].w[l],
                          sizeof want[step].w[l]);
    return good;
}

static int64_t newest(int rank)
{
    const ImageHeader *h = ranks[rank].image;
    return image_step(h, image_newest(h));
}

// By the rank itself, between whatever it does: as if it were killed there.
static void look(int rank, int64_t done)
{
    for (int g = 0; g < GENERATIONS; g++) {
        int64_t step = image_step(ranks[rank].image, g);
        wrong += step >= 0 && !holds(rank, g, step);
    }
    lost += done > 1 && newest(rank) < done - 1; // in front of the first one there was no state
    late += done > 1 && newest(rank) == done - 1;
}

static void read_steps(int64_t steps[MOST_STAGES][GENERATIONS])
{
    for (int r = 0; r < MOST_STAGES; r++)
        for (int g = 0; g < GENERATIONS; g++)
            steps[r][g] = atomic_load(&ranks[r].there) ? image_step(ranks[r].image, g) : -1;
}

// As if all of them were killed: is there a step of which all have the state?
static void look_at_all(void)
{
    int64_t steps[MOST_STAGES][GENERATIONS], again[MOST_STAGES][GENERATIONS];
    int64_t all = INT64_MAX;
    read_steps(steps);
    read_steps(again);
    for (int r = 0; r < job->n_stages; r++) {
        if (!same_bits(steps[r], again[r], sizeof *steps))
            return;
        int64_t last = steps[r][steps[r][1] > steps[r][0]];
        all = last < all ? last : all;
    }
    for (int r = 0; r < job->n_stages && all >= 0; r++)
        lost += steps[r][0] != all && steps[r][1] != all;
}

static void *watch(void *unused)
{
    while (!atomic_load(&ended))
        look_at_all();
    return unused;
}

// In front of every forward, which is where a statistic changes.
static void before_forward(rt_stage *s, int mb)
{
    float *statistic = rt_persistent(s, STATISTIC);
    Rank *rank = &ranks[s->rank];
    const Tiny *t = (const Tiny *)s->program;
    if (!with_images && mb == 0) {
        for (int l = t->first; l <= t->last; l++)
            memcpy(want[s->step].w[l], tiny_w(s, l), sizeof want[s->step].w[l]);
        memcpy(want[s->step].statistic[s->rank], statistic, sizeof(float[TINY_W]));
    }
    for (int i = 0; i < TINY_W; i++)
        statistic[i] = statistic[i] / 2 + (float)(s->step + mb + i);
    if (!with_images)
        return;
    if (!rank->image)
        rank->image = image_of(s->rank, &rank->bytes);
    atomic_store(&rank->there, rank->image != NULL);
    look(s->rank, s->step);
    if (s->step == breaks_at)
        tiny_h(s, mb, 0)[0] = (float)NAN;
}

// So that others are ahead.
static void slow_update(rt_stage *s)
{
    if (s->rank == 0)
        usleep(300);
    tiny_update(s);
}

static void *run_rank(void *user)
{
    Tiny *t = user;
    rt_stage *s = &t->stage;
    rt__stage_init(s, &t->program, 0);
    s->options = job->options;
    s->options.state = with_images ? files_path(t->program.stage ? "1" : "0") : NULL;
    s->options.steps = ranks[t->program.stage].last;
    s->quiet = true;
    if (!rt__stage_open(s, job->fd))
        rt__run(s);
    if (s->error)
        rt__abort(s);
    t->error = (int)s->error;
    memcpy(t->message, s->message, sizeof t->message);
    rt__stage_close(s);
    return NULL;
}

static void add_statistic(Tiny *t, Rank *rank)
{
    rt_program *p = &t->program;
    memcpy(rank->tensors, t->tensors, sizeof t->tensors);
    rank->tensors[p->n_tensors++] = (rt_tensor){.name = p->stage ? "b.mean" : "a.mean",
                                                .role = RT_BUFFER,
                                                .dtype = RT_F32,
                                                .rank = 1,
                                                .dim = {TINY_W},
                                                .offset = STATISTIC,
                                                .bytes = sizeof(float[TINY_W]),
                                                .kernel = -1,
                                                .norm_index = -1};
    p->tensors = rank->tensors;
    p->persistent_bytes = PERSISTENT;
    p->update = slow_update;
    t->disturb = before_forward;
}

static void begin(int n_stages, bool images)
{
    job = tiny_job(n_stages, false, 0);
    with_images = images;
    breaks_at = -1;
    wrong = lost = late = 0;
    ended = false;
    for (int i = 0; i < MOST_STAGES; i++)
        ranks[i] = (Rank){.last = STEPS};
    for (int i = 0; i < n_stages; i++)
        add_statistic(&job->stage[i], &ranks[i]);
    job->fd = rt__segment_new(&job->stage[0].program);
}

static void run_all(void)
{
    pthread_t id[MOST_STAGES], watcher;
    for (int i = 0; i < job->n_stages; i++)
        pthread_create(&id[i], NULL, run_rank, &job->stage[i]);
    pthread_create(&watcher, NULL, watch, NULL);
    for (int i = 0; i < job->n_stages; i++)
        pthread_join(id[i], NULL);
    atomic_store(&ended, true);
    pthread_join(watcher, NULL);
}

static void assert_all_good(void)
{
    for (int i = 0; i < job->n_stages; i++) {
        if (job->stage[i].error)
            print_error("stage %d: %s\n", i, job->stage[i].message);
        assert_int_equal(job->stage[i].error, 0);
    }
}

static void end(void)
{
    for (int i = 0; i < job->n_stages; i++)
        if (ranks[i].image)
            munmap(ranks[i].image, ranks[i].bytes);
    close(job->fd);
    free(job);
}

// What lies behind every step.
static void learn(int n_stages)
{
    begin(n_stages, false);
    for (int i = 0; i < n_stages; i++)
        ranks[i].last = STEPS + 1; // in front of whose forward the last one is seen
    run_all();
    assert_all_good();
    end();
}

static void check_ends(void)
{
    for (int r = 0; r < job->n_stages; r++) {
        assert_int_equal(newest(r), STEPS);
        for (int64_t step = STEPS - 1; step <= STEPS; step++) {
            int g = image_find(ranks[r].image, step);
            assert_true(g >= 0 && holds(r, g, step));
        }
    }
    assert_int_equal(wrong, 0);
    assert_int_equal(lost, 0);
    assert_true(late > STEPS / 4); // else nothing was beside anything
}

static void test_beside_the_next_step(void **state)
{
    (void)state;
    for (int n_stages = 1; n_stages <= MOST_STAGES; n_stages++) {
        learn(n_stages);
        begin(n_stages, true);
        run_all();
        assert_all_good();
        check_ends();
        end();
        files_delete(files_path("0"));
        files_delete(files_path("1"));
    }
}

// Its losses are known a step late, and none of what comes behind it is a state.
static void test_numbers_that_are_not_finite(void **state)
{
    (void)state;
    learn(1);
    for (int64_t step = 2; step < STEPS; step += 3) { // copies take as long as they like
        begin(1, true);
        breaks_at = step;
        run_all();
        assert_int_equal(job->stage[0].error, RT_E_LOSS);
        assert_int_equal(newest(0), step);
        assert_int_equal(wrong, 0);
        end();
        files_delete(files_path("0"));
    }
}

// The agent of a job of one stage: it may look at a state until it allows the step but one behind it.
typedef struct Agent {
    int from; // reports
    SegmentHeader *memory;
    int64_t saved, told; // the newest that was told; the newest loss
    int bad;             // states that were not there
} Agent;

static void on_saved(Agent *a, int64_t step)
{
    if (!ranks[0].image)
        ranks[0].image = image_of(0, &ranks[0].bytes);
    usleep(200); // the program goes as far as it may
    int g = image_find(ranks[0].image, step);
    a->bad += g < 0 || !holds(0, g, step) || step != a->saved + 1 || step > a->told;
    a->saved = step;
    segment_counter_raise(&a->memory->may_update, (uint64_t)step + 1);
    segment_counter_raise(&a->memory->may_begin, (uint64_t)step + 2);
}

static void *agent(void *user)
{
    Agent *a = user;
    FILE *reports = fdopen(a->from, "r");
    char line[256];
    while (fgets(line, sizeof line, reports)) {
        const char *event = strstr(line, "\"event\":\""), *at = strstr(line, "\"step\":");
        if (event && at && !strncmp(event + 9, "saved", 5))
            on_saved(a, strtoll(at + 7, NULL, 10));
        if (event && at && !strncmp(event + 9, "step", 4))
            a->told = strtoll(at + 7, NULL, 10);
    }
    fclose(reports);
    return NULL;
}

static void test_an_agent_reads_what_was_saved(void **state)
{
    (void)state;
    int pipes[2] = {-1, -1};
    pthread_t id;
    learn(1);
    begin(1, true);
    size_t bytes = rt__segment_bytes(&job->stage[0].program);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, job->fd, 0);
    assert_true(memory != MAP_FAILED && !pipe(pipes));
    Agent a = {.from = pipes[0], .memory = memory};
    a.memory->supervised = true;
    atomic_store(&a.memory->may_begin.value, 2);
    atomic_store(&a.memory->may_update.value, 1);
    Tiny *t = &job->stage[0];
    rt_stage *s = &t->stage;
    pthread_create(&id, NULL, agent, &a);
    rt__stage_init(s, &t->program, 0);
    s->options = job->options;
    s->options.state = files_path("0");
    s->options.steps = STEPS;
    s->report_fd = pipes[1];
    if (!rt__stage_open(s, job->fd))
        rt__run(s);
    close(pipes[1]);
    pthread_join(id, NULL);
    assert_int_equal(s->error, 0);
    rt__stage_close(s);
    assert_int_equal(a.saved, STEPS);
    assert_int_equal(a.bad, 0);
    check_ends();
    munmap(memory, bytes);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_beside_the_next_step, files_begin, files_end),
        cmocka_unit_test_setup_teardown(test_numbers_that_are_not_finite, files_begin,
                                        files_end),
        cmocka_unit_test_setup_teardown(test_an_agent_reads_what_was_saved, files_begin,
                                        files_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
