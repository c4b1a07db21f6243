// Files from a master: whole and as they are called, or not there; what was not asked for, is spoilt or of another size
// gets nowhere.
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
#include "base/text.h"
#include "control/worker/files.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1000, N = 3 };
#define SECOND INT64_C(1000000000)

static const char *const names[N] = {"plan.json", "parts.json", "stage0"};
static char dir[64];
static char *contents[N];
static File files[N];

static int make(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/stagecc-test-XXXXXX");
    for (int i = 0; i < N; i++) {
        size_t bytes = (size_t)1500 * (size_t)i; // plan.json is empty
        Sha256 s;
        contents[i] = malloc(bytes + 1);
        memset(contents[i], 'a' + i, bytes);
        files[i] = (File){.bytes = bytes};
        memcpy(files[i].name, names[i], strlen(names[i]));
        sha256_init(&s);
        sha256_add(&s, contents[i], bytes);
        sha256_end(&s, files[i].hash);
    }
    return !mkdtemp(dir);
}

static int clean(void **state)
{
    (void)state;
    char command[128];
    for (int i = 0; i < N; i++)
        free(contents[i]);
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command); // NOLINT(cert-env33-c)
}

// What the master says to this.
static Message answer(const Want *want)
{
    Message m = {.id = MESSAGE_PIECE};
    for (int i = 0; i < N; i++) {
        if (memcmp(files[i].hash, want->hash, sizeof want->hash) != 0)
            continue;
        uint64_t left = files[i].bytes - want->from;
        m.piece = (Piece){.from = want->from, .whole = files[i].bytes};
        memcpy(m.piece.hash, want->hash, sizeof want->hash);
        m.rest = contents[i] + want->from;
        m.rest_bytes = left < PIECE ? left : PIECE;
    }
    return m;
}

static void need_all(Files *f)
{
    for (int i = 0; i < N; i++)
        files_have(f, names[i]);
}

static Files opened(void)
{
    Files f;
    assert_true(files_init(&f, dir));
    assert_true(files_expect(&f, files, N));
    return f;
}

static void one_worker_at_a_time(void **state)
{
    (void)state;
    Files f = opened(), second;
    assert_false(files_init(&second, dir));
    assert_int_equal(errno, EWOULDBLOCK);
    files_release(&second);
    files_release(&f);
    f = opened();
    files_release(&f);
}

static int get_all(Files *f)
{
    int asked = 0;
    Want want;
    need_all(f);
    for (; files_want(f, SECOND, &want) && asked < 100; asked++) {
        Message m = answer(&want);
        files_take(f, &m, SECOND);
    }
    return asked;
}

static char *path_of(const Files *f, int i)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", f->plan, names[i]);
    return path;
}

static void check_all(Files *f)
{
    struct stat st;
    assert_string_equal(f->why, "");
    for (int i = 0; i < N; i++) {
        size_t bytes = 0;
        assert_true(files_have(f, names[i]));
        char *text = file_read(path_of(f, i), &bytes);
        assert_int_equal(bytes, files[i].bytes);
        assert_memory_equal(text, contents[i], bytes);
        free(text);
        assert_int_equal(stat(path_of(f, i), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0700); // nobody else's business
    }
}

static void all_come_once(void **state)
{
    (void)state;
    Files f = opened();
    assert_int_equal(get_all(&f), 1 + 2 + 3);
    check_all(&f);
    files_release(&f);
    // A later life of the worker has them.
    f = opened();
    assert_int_equal(get_all(&f), 0);
    check_all(&f);
    // All but one that a crash has spoilt.
    FILE *spoilt = fopen(path_of(&f, 2), "r+");
    fputc('x', spoilt);
    fclose(spoilt);
    files_release(&f);
    f = opened();
    assert_int_equal(get_all(&f), 3);
    check_all(&f);
    files_release(&f);
}

static void forget_stored(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s/objects", dir);
    assert_int_equal(system(command), 0); // NOLINT(cert-env33-c)
}

static void lost_is_asked_for_again(void **state)
{
    (void)state;
    Want want, again;
    forget_stored();
    Files f = opened();
    files_have(&f, "stage0");
    assert_true(files_want(&f, SECOND, &want));
    assert_false(files_want(&f, 2 * SECOND, &again)); // it is on its way
    assert_true(files_want(&f, 4 * SECOND, &again));
    assert_memory_equal(&want, &again, sizeof want);
    Message m = answer(&again);
    files_take(&f, &m, 4 * SECOND);
    files_take(&f, &m, 4 * SECOND); // both answers come
    assert_true(files_want(&f, 4 * SECOND, &want));
    assert_int_equal(want.from, PIECE);
    // Another file than that which was asked for, and another place in it.
    memcpy(again.hash, files[1].hash, sizeof again.hash);
    again.from = PIECE;
    m = answer(&again);
    files_take(&f, &m, 5 * SECOND);
    again = want;
    again.from = want.from + PIECE;
    m = answer(&again);
    files_take(&f, &m, 5 * SECOND);
    assert_int_equal(f.got, PIECE);
    // A new epoch with the same file does not begin again.
    assert_true(files_expect(&f, files, N));
    files_have(&f, "stage0");
    m = answer(&want);
    files_take(&f, &m, 5 * SECOND);
    assert_true(files_want(&f, 5 * SECOND, &want));
    assert_int_equal(want.from, 2 * PIECE);
    // One without it does.
    assert_true(files_expect(&f, files, 2));
    assert_false(files_want(&f, 5 * SECOND, &want));
    files_have(&f, "stage0");
    assert_string_equal(f.why, "the epoch has no stage0");
    files_release(&f);
}

static void patience_ends(void **state)
{
    (void)state;
    Want want;
    forget_stored();
    Files f = opened();
    files_have(&f, "stage0");
    assert_true(files_want(&f, SECOND, &want));
    assert_true(files_want(&f, 30 * SECOND, &want));
    assert_false(files_want(&f, 32 * SECOND, &want));
    assert_string_equal(
        f.why, "the master has sent nothing of a file for 30 s, 0 of its 3000 bytes are here");
    assert_false(files_have(&f, "stage0"));
    files_release(&f);
}

static void wrong_is_refused(void **state)
{
    (void)state;
    Want want;
    forget_stored();
    Files f = opened();
    files_have(&f, "parts.json");
    assert_true(files_want(&f, SECOND, &want));
    Message m = answer(&want);
    m.piece.whole++;
    files_take(&f, &m, SECOND);
    assert_string_equal(f.why, "a file that the master sent has another size");
    assert_true(files_expect(&f, files, N));
    files_have(&f, "parts.json");
    contents[1][7]++;
    while (files_want(&f, SECOND, &want)) {
        m = answer(&want);
        files_take(&f, &m, SECOND);
    }
    contents[1][7]--;
    assert_string_equal(f.why, "a file that the master sent is not what it said");
    assert_false(files_have(&f, "parts.json"));
    assert_true(files_expect(&f, files, N));
    get_all(&f);
    check_all(&f);
    files_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_come_once),    cmocka_unit_test(lost_is_asked_for_again),
        cmocka_unit_test(patience_ends),    cmocka_unit_test(one_worker_at_a_time),
        cmocka_unit_test(wrong_is_refused),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
#endif
