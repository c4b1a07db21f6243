// Commands on hosts: this machine by sh, others through a script in ssh's place.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "control/progress.h"
#include "control/remote.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/remote-XXXXXX";
static Arena arena;

static const char *file(const char *name, const char *text)
{
    const char *path = arena_printf(&arena, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    chmod(path, 0755);
    return path;
}

static Remote start(const char *host, const char *script, const char *input)
{
    Remote r;
    assert_true(remote_start(&arena, &r, host, script, input));
    return r;
}

static void output_and_status(void **state)
{
    (void)state;
    Remote r = start("localhost", "cat; echo oops >&2; exit 7", file("in", "from a file\n"));
    assert_int_equal(remote_wait(&r, 10, false), REMOTE_ENDED);
    assert_int_equal(r.status, 7);
    assert_string_equal(r.out.data, "from a file\n");
    assert_string_equal(r.err.data, "oops\n");
    remote_end(&r);
    r = start("127.0.0.1", "kill -9 $$", NULL);
    assert_int_equal(remote_wait(&r, 10, false), REMOTE_ENDED);
    assert_int_equal(r.status, 128 + SIGKILL);
    remote_end(&r);
}

// More than a pipe holds, on both outputs at once.
static void much_output(void **state)
{
    (void)state;
    Remote r = start("localhost",
                     "head -c 1000000 /dev/zero | tr \"\\0\" x >&2; "
                     "head -c 2000000 /dev/zero | tr \"\\0\" y",
                     NULL);
    assert_int_equal(remote_wait(&r, 20, false), REMOTE_ENDED);
    assert_int_equal(r.err.length, 1000000);
    assert_int_equal(r.out.length, 2000000);
    remote_end(&r);
}

static void several_at_once(void **state)
{
    (void)state;
    Remote r[8];
    int64_t begin = progress_now_ns();
    for (int i = 0; i < 8; i++)
        r[i] = start("localhost", "sleep 0.3; echo done", NULL);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(remote_wait(&r[i], 10, false), REMOTE_ENDED);
        assert_string_equal(r[i].out.data, "done\n");
        remote_end(&r[i]);
    }
    assert_true(progress_now_ns() - begin < INT64_C(2000000000));
}

static void a_line_while_it_goes_on(void **state)
{
    (void)state;
    Remote r = start("localhost", "echo ready; read x; sleep 30", NULL);
    assert_int_equal(remote_wait(&r, 10, true), REMOTE_LINE);
    assert_string_equal(r.out.data, "ready\n");
    assert_true(r.pid > 0);
    remote_end(&r);
    assert_int_equal(r.pid, 0);
    r = start("localhost", "exit 3", NULL); // it ends before it says anything
    assert_int_equal(remote_wait(&r, 10, true), REMOTE_ENDED);
    assert_int_equal(r.status, 3);
    remote_end(&r);
}

static bool runs(pid_t pid) // also not as a zombie that nobody has waited for
{
    char state = 'Z';
    FILE *f = fopen(arena_printf(&arena, "/proc/%d/stat", (int)pid), "r");
    if (f && fscanf(f, "%*d %*s %c", &state) != 1)
        state = 'Z';
    if (f)
        fclose(f);
    return state != 'Z';
}

// Time is up: the script hears SIGTERM, and one that does not listen is killed with all it started.
static void time_limits(void **state)
{
    (void)state;
    const char *mark = file("mark", "");
    Remote r = start(
        "localhost",
        arena_printf(&arena, "trap \"echo bye > %s; exit\" TERM; sleep 30 & wait", mark), NULL);
    assert_int_equal(remote_wait(&r, 0.3, false), REMOTE_TIMEOUT);
    remote_end(&r);
    struct stat st;
    assert_int_equal(stat(mark, &st), 0);
    assert_int_equal(st.st_size, 4);
    r = start("localhost", "trap \"\" TERM; sleep 30 & echo $!; sleep 30", NULL);
    assert_int_equal(remote_wait(&r, 5, true), REMOTE_LINE);
    pid_t grandchild = atoi(r.out.data);
    assert_true(runs(grandchild));
    remote_end(&r);
    usleep(100 * 1000);
    assert_false(runs(grandchild));
}

static void other_hosts_by_ssh(void **state)
{
    (void)state;
    setenv("STAGECC_SSH",
           file("ssh", "#!/bin/sh\n"
                       "[ \"$1\" = -G ] && { echo user x; echo hostname 10.1.2.3; exit; }\n"
                       "for word; do echo \"[$word]\" >&2; done\n"
                       "while [ \"$1\" != -- ]; do shift; done; shift 2; exec sh -c \"$*\"\n"),
           1);
    Remote r = start("me@h2", "x=1; for i in a b; do echo \"$i $x\"; done; exit 5", NULL);
    assert_int_equal(remote_wait(&r, 10, false), REMOTE_ENDED);
    assert_int_equal(r.status, 5);
    assert_string_equal(r.out.data, "a 1\nb 1\n"); // nothing was expanded on the way
    assert_non_null(strstr(r.err.data, "[BatchMode=yes]\n"));
    assert_non_null(strstr(r.err.data, "[--]\n[me@h2]\n"));
    remote_end(&r);
    assert_string_equal(remote_address(&arena, "me@h2"), "10.1.2.3");
    assert_string_equal(remote_address(&arena, "localhost"), "localhost");
    setenv("STAGECC_SSH", "/no/such/program", 1);
    assert_string_equal(remote_address(&arena, "me@h2"), "h2");
    r = start("h2", "true", NULL);
    assert_int_equal(remote_wait(&r, 10, false), REMOTE_ENDED);
    assert_int_equal(r.status, 127);
    assert_non_null(strstr(r.err.data, "cannot start /no/such/program"));
    remote_end(&r);
    unsetenv("STAGECC_SSH");
}

static void signals_are_told(void **state)
{
    (void)state;
    remote_catch_signals();
    Remote r = start("localhost", "sleep 30", NULL);
    raise(SIGTERM);
    assert_int_equal(remote_wait(&r, 10, false), REMOTE_INTERRUPTED);
    remote_end(&r);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_and_status), cmocka_unit_test(much_output),
        cmocka_unit_test(several_at_once),   cmocka_unit_test(a_line_while_it_goes_on),
        cmocka_unit_test(time_limits),       cmocka_unit_test(other_hosts_by_ssh),
        cmocka_unit_test(signals_are_told),
    };
    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    failed += system(command) != 0;
    arena_release(&arena);
    return failed;
}
