// Whole programs, as processes: rt_main from its arguments to what it reports, writes and returns.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "tests/runtime/tiny.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <sys/wait.h>

enum { MAX_ARGS = 16 };

typedef struct Process {
    pid_t pid;
    int report; // read end of its reports
    int status; // as a shell's
} Process;

static char dir[64];

static char *in_dir(const char *name)
{
    static char path[4][128];
    static int next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", dir, name);
    return p;
}

// Starts rt_main on `t` in a child; stderr and stdout go to files in dir.
static Process start(const Tiny *t, int job_fd, int stage, const char *const *options)
{
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    Process p = {.pid = fork(), .report = fd[0]};
    if (p.pid) {
        close(fd[1]);
        return p;
    }
    char *argv[MAX_ARGS + 2] = {"stage"}, text[16], log[32];
    int argc = 1;
    for (; options[argc - 1]; argc++)
        argv[argc] = (char *)(uintptr_t)options[argc - 1];
    snprintf(text, sizeof text, "%d", fd[1]);
    setenv("STAGECC_REPORT_FD", text, 1);
    snprintf(text, sizeof text, "%d", job_fd);
    if (job_fd >= 0)
        setenv("STAGECC_JOB_FD", text, 1);
    snprintf(log, sizeof log, "stderr%d", stage);
    int to = open(in_dir(log), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    dup2(to, STDOUT_FILENO);
    dup2(to, STDERR_FILENO);
    int status = rt_main(argc, argv, &t->program);
    fflush(NULL);
    _exit(status);
}

static void end(Process *p)
{
    int status;
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    p->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// All reports until the pipe closes.
static json_t *reports(Process *p)
{
    FILE *f = fdopen(p->report, "r");
    char line[4096];
    json_t *all = json_array();
    while (fgets(line, sizeof line, f)) {
        json_error_t error;
        json_t *one = json_loads(line, 0, &error);
        if (!one)
            print_error("%s: %s\n", line, error.text);
        assert_non_null(one);
        json_array_append_new(all, one);
    }
    fclose(f);
    return all;
}

static const char *event_name(const json_t *e)
{
    return json_string_value(json_object_get(e, "event"));
}

static const json_t *find_event(const json_t *all, const char *name)
{
    for (size_t i = 0; i < json_array_size(all); i++)
        if (!strcmp(event_name(json_array_get(all, i)), name))
            return json_array_get(all, i);
    return NULL;
}

static int count_events(const json_t *all, const char *name)
{
    int n = 0;
    for (size_t i = 0; i < json_array_size(all); i++)
        n += !strcmp(event_name(json_array_get(all, i)), name);
    return n;
}

static Tiny *one_stage(void)
{
    Tiny *t = calloc(1, sizeof *t);
    tiny_init(t, 0, 1, false, 0);
    return t;
}

static json_t *run_one(const Tiny *t, const char *const *options, int status)
{
    Process p = start(t, -1, 0, options);
    json_t *all = reports(&p);
    end(&p);
    if (p.status != status)
        print_error("%s\n", json_dumps(all, JSON_INDENT(1)));
    assert_int_equal(p.status, status);
    return all;
}

// Reports
// ----------------------------------------------------------------------------------------

static void test_reports(void **state)
{
    (void)state;
    Tiny *t = one_stage();
    const char *const options[] = {"--data",      "synthetic:64", "--steps=10",
                                   "--test-data", "synthetic:20", NULL};
    json_t *all = run_one(t, options, 0);
    assert_string_equal(event_name(json_array_get(all, 0)), "data");
    assert_string_equal(event_name(json_array_get(all, 1)), "start");
    assert_int_equal(json_integer_value(json_object_get(find_event(all, "start"), "last_step")),
                     10);
    assert_int_equal(count_events(all, "step"), 10);
    assert_int_equal(count_events(all, "eval"),
                     2); // after an epoch of eight steps and at the end
    const json_t *step = find_event(all, "step"), *done = find_event(all, "done");
    float loss = (float)json_real_value(json_object_get(step, "loss"));
    uint32_t bits =
        (uint32_t)strtoul(json_string_value(json_object_get(step, "loss_bits")), NULL, 16);
    assert_memory_equal(&loss, &bits, sizeof loss);
    assert_true(json_number_value(json_object_get(step, "samples_per_s")) > 0);
    assert_int_equal(json_integer_value(json_object_get(done, "steps")), 10);
    assert_true(json_number_value(json_object_get(done, "test_loss")) > 0);
    json_decref(all);
    free(t);
}

static void test_complaints(void **state)
{
    (void)state;
    static const struct {
        const char *options[5], *message;
    } cases[] = {
        {{"--steps", "5"}, "training data are missing: --data KIND:PATH (--help lists all)"},
        {{"--foo"}, "unknown option '--foo'; --help lists all"},
        {{"data"}, "unknown option 'data'; --help lists all"},
        {{"--steps"}, "--steps takes a value: N"},
        {{"--steps", "5x"}, "--steps takes a whole number from 0, not '5x'"},
        {{"--eval-every=0"}, "--eval-every takes a whole number from 1, not '0'"},
        {{"--lr", "nan"}, "--lr takes a number from 0, not 'nan'"},
        {{"--eval-only=1"}, "--eval-only takes no value"},
        {{"--eval-only"}, "--eval-only needs --test-data KIND:PATH"},
        {{"--checkpoint-every", "3"}, "--checkpoint-every needs --checkpoint DIR"},
        {{"--init", "a", "--resume", "b"},
         "give --init for a new run or --resume to go on, not both"},
        {{"--data", "synthetic", "--profile", "/nonexistent/x", NULL},
         "cannot write the profile /nonexistent/x: No such file or directory"},
    };
    Tiny *t = one_stage();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool late = i == sizeof cases / sizeof *cases - 1;
        json_t *all = run_one(t, cases[i].options, late ? 2 : 1);
        const json_t *error = find_event(all, "error");
        assert_string_equal(json_string_value(json_object_get(error, "message")),
                            cases[i].message);
        json_decref(all);
    }
    free(t);
}

static void test_machine(void **state)
{
    (void)state;
    const char *const options[] = {"--data", "synthetic", "--steps", "1", NULL};
    Tiny *t = one_stage();
    t->program.abi = RT_ABI + 1;
    json_decref(run_one(t, options, 2));
    t->program.abi = RT_ABI;
    t->program.scratch_bytes = INT64_C(1) << 50;
    json_t *all = run_one(t, options, 3);
    const char *message =
        json_string_value(json_object_get(find_event(all, "error"), "message"));
    assert_memory_equal(message, "stage 0 needs 1073741824.0 MiB, this machine has ", 49);
    json_decref(all);
    free(t);
    t = calloc(1, sizeof *t);
    tiny_init(t, 1, 3, false, 0);
    all = run_one(t, options, 1);
    assert_string_equal(
        json_string_value(json_object_get(find_event(all, "error"), "message")),
        "this is stage 1: start all programs of its job with `stagecc run DIR`");
    json_decref(all);
    free(t);
}

// Files
// -----------------------------------------------------------------------------------------

static void test_trace(void **state)
{
    (void)state;
    Tiny *t = one_stage();
    const char *file = in_dir("trace.json");
    const char *const options[] = {"--data",  "synthetic", "--steps", "2",
                                   "--trace", file,        NULL};
    json_decref(run_one(t, options, 0));
    json_error_t error;
    json_t *root = json_load_file(file, 0, &error), *events;
    assert_non_null(root);
    events = json_object_get(root, "traceEvents");
    assert_int_equal(json_array_size(events), 1 + 2 * (3 * TINY_M + 1));
    double end_of_last = 0;
    for (size_t i = 1; i < json_array_size(events); i++) { // in order, without overlap
        const json_t *e = json_array_get(events, i);
        double ts = json_number_value(json_object_get(e, "ts"));
        assert_string_equal(json_string_value(json_object_get(e, "ph")), "X");
        assert_true(ts >= end_of_last - 0.002);
        end_of_last = ts + json_number_value(json_object_get(e, "dur"));
        json_int_t step = json_integer_value(
            json_object_get(json_object_get(e, "args"), "step")); // its update is part of it
        assert_int_equal(step, 1 + (i - 1) / (3 * TINY_M + 1));
    }
    json_decref(root);
    free(t);
}

static void work_in_l1(rt_stage *s, int mb)
{
    (void)mb;
    rt_at(s, 1);
    usleep(3000);
}

static void test_profile(void **state)
{
    (void)state;
    Tiny *t = one_stage();
    t->disturb = work_in_l1;
    const char *file = in_dir("profile.json");
    const char *const options[] = {"--data",    "synthetic", "--steps", "3",
                                   "--profile", file,        NULL};
    json_decref(run_one(t, options, 0));
    json_error_t error;
    json_t *root = json_load_file(file, 0, &error), *layers;
    assert_non_null(root);
    layers = json_object_get(root, "layers");
    assert_int_equal(json_array_size(layers), 4);
    for (size_t i = 0; i < 4; i++) {
        const json_t *l = json_array_get(layers, i);
        double forward = json_number_value(json_object_get(l, "forward_s"));
        assert_true(i == 1 ? forward > 0.003 && forward < 0.1 : forward < 0.001);
        assert_true(json_number_value(json_object_get(l, "backward_s")) < 0.001);
        assert_true(json_number_value(json_object_get(l, "update_s")) < 0.001);
    }
    double load_s = json_number_value(json_object_get(root, "load_s"));
    assert_true(load_s > 0 && load_s < 0.01);
    // A process without code and libraries is none; this one keeps little beside its arena.
    assert_in_range(json_integer_value(json_object_get(root, "process_bytes")), 1 << 19,
                    1 << 30);
    assert_in_range(json_integer_value(json_object_get(root, "library_bytes")), 1, 64 << 20);
    assert_string_equal(json_string_value(json_object_get(json_array_get(layers, 3), "name")),
                        "loss");
    json_decref(root);
    free(t);
}

// Every forward is slow, each in another layer.
static void work_somewhere(rt_stage *s, int mb)
{
    rt_at(s, mb);
    usleep(3000);
}

// What is slow in one sample in four is in no layer's median, but in that of the whole.
static void test_profile_adds_up(void **state)
{
    (void)state;
    Tiny *t = one_stage();
    t->disturb = work_somewhere;
    const char *file = in_dir("profile.json");
    const char *const options[] = {"--data",    "synthetic", "--steps", "4",
                                   "--profile", file,        NULL};
    json_decref(run_one(t, options, 0));
    json_error_t error;
    json_t *root = json_load_file(file, 0, &error), *layers;
    assert_non_null(root);
    layers = json_object_get(root, "layers");
    double forward_s = 0, backward_s = 0;
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *l = json_array_get(layers, i);
        forward_s += json_number_value(json_object_get(l, "forward_s"));
        backward_s += json_number_value(json_object_get(l, "backward_s"));
    }
    assert_true(forward_s > 0.003 && forward_s < 0.1);
    assert_true(backward_s > 0 && backward_s < 0.001);
    json_decref(root);
    free(t);
}

// Checkpoints and signals
// ------------------------------------------------------------------------

static json_t *loss_bits(const json_t *all)
{
    json_t *bits = json_object();
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *e = json_array_get(all, i);
        char step[32];
        if (strcmp(event_name(e), "step"))
            continue;
        snprintf(step, sizeof step, "%lld",
                 (long long)json_integer_value(json_object_get(e, "step")));
        json_object_set(bits, step, json_object_get(e, "loss_bits"));
    }
    return bits;
}

// A run, and the same run stopped half way and resumed from its checkpoint.
static void test_resume(void **state)
{
    (void)state;
    Tiny *t = one_stage();
    const char *ckpt = in_dir("resume");
    const char *const whole[] = {"--data", "synthetic:64", "--steps", "20", NULL};
    const char *const half[] = {"--data",       "synthetic:64", "--steps", "11",
                                "--checkpoint", ckpt,           NULL};
    const char *const rest[] = {"--data",   "synthetic:64", "--steps", "20",
                                "--resume", ckpt,           NULL};
    json_t *a = run_one(t, whole, 0), *b = run_one(t, half, 0), *c = run_one(t, rest, 0);
    assert_int_equal(count_events(b, "checkpoint"), 1);
    assert_int_equal(count_events(c, "step"), 9);
    json_t *want = loss_bits(a), *have = loss_bits(b), *more = loss_bits(c);
    json_object_update(have, more);
    assert_true(json_equal(want, have));
    json_decref(a), json_decref(b), json_decref(c);
    json_decref(want), json_decref(have), json_decref(more);
    free(t);
}

static void slow_step(rt_stage *s, int mb)
{
    (void)s;
    if (mb == 0)
        usleep(20000);
}

// Three processes; one of them gets the signal.
static void test_signal(void **state)
{
    (void)state;
    static const int numbers[] = {SIGTERM, SIGINT};
    for (int round = 0; round < 2; round++) {
        Tiny *t = calloc(3, sizeof *t);
        Process p[3];
        const char *ckpt = in_dir(round ? "int" : "term");
        const char *const options[] = {"--data",       "synthetic:64", "--steps", "100000",
                                       "--checkpoint", ckpt,           NULL};
        for (int i = 0; i < 3; i++)
            tiny_init(&t[i], i, 3, false, 0);
        t[0].disturb = slow_step;
        int fd = rt__segment_new(&t[0].program);
        for (int i = 0; i < 3; i++)
            p[i] = start(&t[i], fd, i, options);
        usleep(200000);
        kill(p[1 + round].pid, numbers[round]);
        long long steps = -1;
        for (int i = 0; i < 3; i++) {
            json_t *all = reports(&p[i]);
            end(&p[i]);
            assert_int_equal(p[i].status, 130);
            const json_t *saved = find_event(all, "checkpoint");
            if (i == 0)
                steps = json_integer_value(json_object_get(saved, "step"));
            if (i == 2)
                assert_int_equal(count_events(all, "step"), steps);
            json_decref(all);
        }
        assert_true(steps > 0);
        close(fd);
        free(t);
    }
}

// What the program says of itself, on stdout.
static void test_version(void **state)
{
    (void)state;
    Tiny *t = one_stage();
    const char *const options[] = {"--version", NULL};
    json_decref(run_one(t, options, 0));
    char text[512] = "";
    FILE *f = fopen(in_dir("stderr0"), "r");
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    assert_memory_equal(text, "stage 0 of 1 of tiny\n", 21);
    free(t);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/stagecc-test-program-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reports), cmocka_unit_test(test_complaints),
        cmocka_unit_test(test_machine), cmocka_unit_test(test_trace),
        cmocka_unit_test(test_profile), cmocka_unit_test(test_profile_adds_up),
        cmocka_unit_test(test_resume),  cmocka_unit_test(test_signal),
        cmocka_unit_test(test_version),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
