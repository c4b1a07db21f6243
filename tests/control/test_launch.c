// The launcher with shell scripts as stage programs: they report, fail, hang and get killed on demand.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "base/diag.h"
#include "control/job.h"
#include "control/launch.h"
#include "control/progress.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];
static const int to_1[] = {1}, to_0[] = {0};
static PlanEdge edges[] = {{.name = "conv3", .producer = 0, .bytes = 1000, .slots = 3},
                           {.name = "grad", .producer = 1, .bytes = 80, .slots = 1}};
static PlanUnit units[] = {{.name = "conv3"}, {.name = "fc"}};
static PlanStage stages[2] = {{.replicas = 1},
                              {.id = 1, .first_unit = 1, .last_unit = 1, .replicas = 1}};
static PlanRank ranks[2] = {{.stage = 0}, {.stage = 1}};

// What a script says to its launcher.
#define SAY "say() { printf '%s\\n' \"$1\" > /proc/self/fd/$STAGECC_REPORT_FD; }\n"
#define STEPS                                                                                  \
    "say '{\"event\":\"start\",\"step\":0,\"last_step\":2,\"batch\":8,\"tokens\":1}'\n"        \
    "say '{\"event\":\"step\",\"step\":1,\"loss\":0.5}'\n"                                     \
    "say '{\"event\":\"step\",\"step\":2,\"loss\":0.25}'\n"

static Plan two_stages(void)
{
    edges[0].consumers = (int *)(uintptr_t)to_1;
    edges[1].consumers = (int *)(uintptr_t)to_0;
    edges[0].n_consumers = edges[1].n_consumers = 1;
    Plan p = {.model = "m",
              .units = units,
              .n_units = 2,
              .stages = stages,
              .n_stages = 2,
              .ranks = ranks,
              .n_ranks = 2,
              .edges = edges,
              .n_edges = 2};
    p.options = options_default();
    return p;
}

static void write_program(int stage, const char *body)
{
    char path[128];
    snprintf(path, sizeof path, "%s/stage%d", dir, stage);
    FILE *f = fopen(path, "w");
    fprintf(f, "#!/bin/sh\n%s%s\n", SAY, body);
    fclose(f);
    chmod(path, 0755);
}

typedef struct Seen {
    char events[1024]; // "0:start 0:step …"
    char message[512];
    int status;
    char error_text[1024]; // stderr
    double seconds;
} Seen;

static void on_event(void *user, int stage, const json_t *event)
{
    Seen *seen = user;
    size_t n = strlen(seen->events);
    const char *message = json_string_value(json_object_get(event, "message"));
    snprintf(seen->events + n, sizeof seen->events - n, "%s%d:%s", n ? " " : "", stage,
             json_string_value(json_object_get(event, "event")));
    if (message)
        snprintf(seen->message, sizeof seen->message, "%s", message);
}

// Runs two programs with these bodies; what would go to the terminal is kept.
static Seen run(const char *body0, const char *body1, const char *trace)
{
    static const char *const options[] = {"--steps", "2"};
    Plan plan = two_stages();
    Seen seen = {.status = -1};
    char path[128];
    write_program(0, body0);
    write_program(1, body1);
    Launch l = {.plan = &plan,
                .dir = dir,
                .options = options,
                .n_options = 2,
                .trace = trace,
                .event = on_event,
                .user = &seen};
    snprintf(path, sizeof path, "%s/stderr", dir);
    fflush(stderr);
    int keep = dup(STDERR_FILENO), to = open(path, O_RDWR | O_CREAT | O_TRUNC, 0666);
    dup2(to, STDERR_FILENO);
    int64_t begin = progress_now_ns();
    seen.status = launch_run(&l);
    seen.seconds = (double)(progress_now_ns() - begin) * 1e-9;
    fflush(stderr);
    dup2(keep, STDERR_FILENO);
    lseek(to, 0, SEEK_SET);
    ssize_t n = read(to, seen.error_text, sizeof seen.error_text - 1);
    seen.error_text[n > 0 ? n : 0] = 0;
    close(to);
    close(keep);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); // no process is left
    return seen;
}

static int count(const char *text, const char *word)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, word)); at++)
        n++;
    return n;
}

static void test_done(void **state)
{
    (void)state;
    Seen s = run("exit 0", STEPS "say '{\"event\":\"done\",\"steps\":2}'", NULL);
    assert_int_equal(s.status, 0);
    assert_string_equal(s.events, "1:start 1:step 1:step 1:done");
    assert_non_null(strstr(s.error_text, "step 2/2  loss 0.2500"));
}

// What every program gets: options, job memory of the right size, environment.
static void test_what_programs_get(void **state)
{
    (void)state;
    Plan plan = two_stages();
    char body[512];
    uint64_t want = job_memory_bytes(&plan);
    assert_int_equal(want, segment_edges_begin(2) + segment_edge_bytes(1, 3, 1000) +
                               segment_edge_bytes(1, 1, 80));
    snprintf(body, sizeof body,
             "[ \"$*\" = '--steps 2' ] || exit 11\n"
             "[ $(stat -L -c %%s /proc/self/fd/$STAGECC_JOB_FD) = %llu ] || exit 12\n"
             "[ $OMP_NUM_THREADS = 1 ] || exit 13\n"
             "[ -n \"$STAGECC_SPIN\" ] || exit 14\n",
             (unsigned long long)want);
    Seen s = run(body, body, NULL);
    assert_int_equal(s.status, 0);
}

static void test_first_error_is_shown_once(void **state)
{
    (void)state;
    Seen s = run("say '{\"event\":\"error\",\"status\":5,\"stage\":0,\"kind\":\"loss\","
                 "\"message\":\"the loss is nan\"}'; exit 5",
                 "sleep 0.2; say '{\"event\":\"error\",\"status\":4,\"stage\":1,"
                 "\"kind\":\"peer\",\"message\":\"stage 0 has failed\"}'; exit 4",
                 NULL);
    assert_int_equal(s.status, 5);
    assert_string_equal(s.message, "the loss is nan");
    assert_string_equal(s.error_text, "stagecc: error: the loss is nan\n");
}

// The echo comes first, and counts for nothing.
static void test_echo_first(void **state)
{
    (void)state;
    Seen s =
        run("say '{\"event\":\"error\",\"status\":4,\"kind\":\"peer\",\"message\":\"e\"}'\n"
            "exit 4",
            "sleep 0.2; say '{\"event\":\"error\",\"status\":2,\"kind\":\"environment\","
            "\"message\":\"disk full\"}'; exit 2",
            NULL);
    assert_int_equal(s.status, 2);
    assert_string_equal(s.message, "disk full");
}

// The other one would never end by itself.
static void test_killed(void **state)
{
    (void)state;
    Seen s = run("kill -9 $$", "exec sleep 100", NULL);
    assert_int_equal(s.status, 4);
    assert_true(s.seconds < 1.0);
    assert_non_null(strstr(s.message, "stage 0 (process "));
    assert_non_null(
        strstr(s.message, ") was ended by signal 9 (Killed) before it had started"));
    assert_int_equal(count(s.error_text, "error"), 1);
}

static void test_silent_failures(void **state)
{
    (void)state;
    Seen s = run("exit 0", "exit 7", NULL);
    assert_int_equal(s.status, 7);
    assert_string_equal(s.message, "stage 1 ended with status 7 and gave no reason");
    s = run("exit 127", "exec sleep 100", NULL);
    assert_int_equal(s.status, 2);
    assert_true(s.seconds < 1.0);
    assert_string_equal(s.message,
                        "stage 0 could not start: the loader's own message stands above");
}

static void test_rubbish(void **state)
{
    (void)state;
    Seen s = run("say 'no json'; say '{}'; say '[1]'; say '{\"event\":1}'; "
                 "head -c 40000 /dev/zero > /proc/self/fd/$STAGECC_REPORT_FD",
                 "exit 0", NULL);
    assert_int_equal(s.status, 0);
    assert_string_equal(s.events, "");
}

static void test_traces(void **state)
{
    (void)state;
    char file[128], part[160];
    snprintf(file, sizeof file, "%s/trace.json", dir);
    Seen s = run("[ \"$3\" = --trace ] || exit 9\n"
                 "echo '{\"traceEvents\": [{\"pid\": 0}, {\"pid\": 0}]}' > $4",
                 "echo '{\"traceEvents\": [{\"pid\": 1}]}' > $4", file);
    assert_int_equal(s.status, 0);
    json_t *root = json_load_file(file, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(root, "traceEvents")), 3);
    json_decref(root);
    snprintf(part, sizeof part, "%s.stage0", file);
    assert_int_equal(access(part, F_OK), -1);
}

// Signals reach the launcher while it runs in a child of this test.
static int signalled_run(const char *body, int n_signals, double *seconds)
{
    int64_t begin = progress_now_ns();
    pid_t pid = fork();
    if (pid == 0) {
        Seen s = run(body, body, NULL);
        _exit(s.status);
    }
    for (int i = 0; i < n_signals; i++) {
        usleep(200000);
        kill(pid, SIGTERM);
    }
    int status;
    waitpid(pid, &status, 0);
    *seconds = (double)(progress_now_ns() - begin) * 1e-9;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// The programs see the stop bit in the job memory: the top byte of `rounds`, at byte 64.
#define WAIT_FOR_STOP                                                                            \
    "while [ \"$(od -An -tu1 -j71 -N1 /proc/self/fd/$STAGECC_JOB_FD | tr -d ' ')\" != 128 ]\n"   \
    "do sleep 0.02; done\n"                                                                      \
    "say '{\"event\":\"error\",\"status\":130,\"kind\":\"interrupted\",\"message\":\"stop\"}'\n" \
    "exit 130\n"

static void test_signal_stops_in_order(void **state)
{
    (void)state;
    double seconds;
    assert_int_equal(signalled_run(WAIT_FOR_STOP, 1, &seconds), 130);
}

static void test_second_signal_kills(void **state)
{
    (void)state;
    double seconds;
    assert_int_equal(signalled_run("exec sleep 100", 2, &seconds), 130);
    assert_true(seconds < 2);
}

// The signal comes before a program can handle it: the other one is not left waiting.
static void test_early_signal(void **state)
{
    (void)state;
    double seconds;
    const char *body = "case $0 in *stage0) sleep 0.3; kill -INT $$;; esac; exec sleep 100";
    assert_int_equal(signalled_run(body, 1, &seconds), 130);
    assert_true(seconds < 3);
}

// A launcher that is killed takes its programs along.
static void test_no_orphans(void **state)
{
    (void)state;
    char path[128], text[32] = "";
    snprintf(path, sizeof path, "%s/pid", dir);
    unlink(path);
    char body[512];
    snprintf(body, sizeof body, "echo $$ > %s.new; mv %s.new %s; exec sleep 100", path, path,
             path);
    pid_t pid = fork();
    if (pid == 0) {
        run("exec sleep 100", body, NULL);
        _exit(0);
    }
    while (access(path, F_OK))
        usleep(1000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    FILE *f = fopen(path, "r");
    assert_non_null(fgets(text, sizeof text, f));
    fclose(f);
    pid_t child = atoi(text);
    for (int i = 0; i < 500 && !kill(child, 0); i++) {
        char stat[64], line[256] = "";
        snprintf(stat, sizeof stat, "/proc/%d/stat", (int)child);
        if ((f = fopen(stat, "r"))) {
            assert_non_null(fgets(line, sizeof line, f));
            fclose(f);
        }
        if (strstr(line, ") Z ")) // dead, and nobody has collected it yet
            return;
        usleep(10000);
    }
    assert_int_equal(kill(child, 0), -1);
}

static void test_too_large(void **state)
{
    (void)state;
    stages[1].persistent_bytes = INT64_C(1) << 50;
    Seen s = run("exit 0", "exit 0", NULL);
    stages[1].persistent_bytes = 0;
    assert_int_equal(s.status, 3);
    assert_memory_equal(s.error_text, "stagecc: error: the 2 stages need 1.0 PiB, this ", 46);
}

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/stagecc-test-launch-XXXXXX");
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
        cmocka_unit_test(test_done),
        cmocka_unit_test(test_what_programs_get),
        cmocka_unit_test(test_first_error_is_shown_once),
        cmocka_unit_test(test_echo_first),
        cmocka_unit_test(test_killed),
        cmocka_unit_test(test_silent_failures),
        cmocka_unit_test(test_rubbish),
        cmocka_unit_test(test_traces),
        cmocka_unit_test(test_signal_stops_in_order),
        cmocka_unit_test(test_second_signal_kills),
        cmocka_unit_test(test_early_signal),
        cmocka_unit_test(test_no_orphans),
        cmocka_unit_test(test_too_large),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
