// The journal: what is read is what was written, whatever a crash, a full disk or a flipped bit has made of
// the file, and nothing that was synced is lost without a word.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "plan/crc32c.h"
#include "tests/capture.h"
#include "tests/control/memory_disk.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static FILE *sink; // what is said where no test looks goes nowhere

// What was said since capture_begin; to be freed.
static char *heard(Capture *said)
{
    char *text = capture_end(said);
    diag_output(sink, false);
    return text;
}

enum { CAPACITY = 1 << 12, HEAD = 16, HEADER = sizeof(JournalHeader), DATA = 70 };

// Record n of every test, and how long it is.
static size_t make_data(uint64_t n, uint8_t data[DATA])
{
    size_t bytes = n * 29 % DATA;
    for (size_t i = 0; i < bytes; i++)
        data[i] = (uint8_t)(n * 31 + i * 7);
    return bytes;
}

static uint16_t kind_of(uint64_t n)
{
    return (uint16_t)(100 + n);
}

static void append(Journal *j, uint64_t n)
{
    uint8_t data[DATA];
    size_t bytes = make_data(n, data);
    assert_int_equal(journal_append(j, kind_of(n), data, bytes), n);
}

typedef struct Seen {
    uint64_t n, refuse;
    int64_t end[32]; // of each record; [0]: of the head
} Seen;

static bool see(void *user, const JournalRecord *r)
{
    Seen *seen = user;
    uint8_t data[DATA];
    size_t bytes = make_data(++seen->n, data);
    assert_int_equal(r->seq, seen->n);
    assert_int_equal(r->kind, kind_of(seen->n));
    assert_int_equal(r->bytes, bytes);
    assert_memory_equal(r->data, data, bytes);
    assert_in_range(seen->n, 1, 31);
    seen->end[seen->n] = r->offset + HEADER + (int64_t)r->bytes;
    return seen->n != seen->refuse;
}

static int open_memory(Journal *j, MemoryDisk *d, Seen *seen)
{
    *seen = (Seen){.end = {HEAD}};
    return journal_open(j, &d->calls, "j", see, seen);
}

// Opens it, adds a record and reads all again; how many there were.
static uint64_t reopen(MemoryDisk *d)
{
    Journal j;
    Seen seen, again;
    assert_int_equal(open_memory(&j, d, &seen), EXIT_DONE);
    append(&j, seen.n + 1);
    assert_int_equal(journal_sync(&j), EXIT_DONE);
    journal_close(&j);
    memory_power_fails(d);
    assert_int_equal(open_memory(&j, d, &again), EXIT_DONE);
    journal_close(&j);
    assert_int_equal(again.n, seen.n + 1);
    return seen.n;
}

// Batches of 1, 2, 3, 1, 2, … records, or always one, until they are so many or a call fails; how many are
// promised, and how many were appended.
typedef struct Work {
    bool opened;
    uint64_t promised, appended;
} Work;

static Work work(MemoryDisk *d, uint64_t records, bool batches)
{
    Journal j;
    Seen seen;
    Work w = {0};
    int status = open_memory(&j, d, &seen);
    if (status)
        return w;
    w = (Work){true, seen.n, seen.n};
    for (int batch = 0; !status && w.appended < records; batch++) {
        for (int i = 0; i <= (batches ? batch % 3 : 0); i++)
            append(&j, ++w.appended);
        status = journal_sync(&j);
        w.promised = status ? w.promised : w.appended;
    }
    journal_close(&j);
    return w;
}

static MemoryDisk written(uint64_t records, bool batches)
{
    MemoryDisk d;
    memory_init(&d, CAPACITY);
    assert_int_equal(work(&d, records, batches).promised, records);
    d.calls.user = NULL; // of the copy that is returned
    return d;
}

static void reads_what_was_written(void **state)
{
    (void)state;
    MemoryDisk d;
    memory_init(&d, CAPACITY);
    Work w = work(&d, 9, true);
    assert_int_equal(w.promised, 9);
    w = work(&d, 12, true); // opened once more, and on
    assert_int_equal(w.promised, 12);
    memory_power_fails(&d);
    assert_int_equal(reopen(&d), 12);
    memory_release(&d);
}

// What is cut short
// ------------------------------------------------------------------------------------------------

static void every_length(void **state)
{
    (void)state;
    MemoryDisk whole = written(6, true), d;
    Seen all, seen;
    Journal j;
    memory_init(&d, CAPACITY);
    memory_set(&d, whole.now, whole.size);
    assert_int_equal(open_memory(&j, &d, &all), EXIT_DONE);
    journal_close(&j);
    for (int64_t n = 0; n <= whole.size; n++) {
        uint64_t left = 0;
        while (left < all.n && all.end[left + 1] <= n)
            left++;
        memory_set(&d, whole.now, n);
        assert_int_equal(open_memory(&j, &d, &seen), EXIT_DONE);
        journal_close(&j);
        assert_int_equal(seen.n, left);
        assert_int_equal(d.size, all.end[left]); // the rest is gone
        memory_set(&d, whole.now, n);
        assert_int_equal(reopen(&d), left);
    }
    memory_release(&d);
    memory_release(&whole);
}

static void says_what_was_cut(void **state)
{
    (void)state;
    MemoryDisk d;
    Journal j;
    Seen seen;
    Capture said;
    memory_init(&d, CAPACITY);
    work(&d, 3, false);
    d.size -= 5;
    capture_begin(&said, "");
    assert_int_equal(open_memory(&j, &d, &seen), EXIT_DONE);
    char *text = heard(&said);
    assert_string_equal(text,
                        "j: warning: its last 36 bytes, from offset 151 on, are no whole "
                        "record: a crash came between; they were cut off behind record 2\n");
    free(text);
    journal_close(&j);
    memory_release(&d);
}

// What is altered
// ------------------------------------------------------------------------------------------------

// Flips every bit. Records up to `safe` are known as synced by one behind them: there it is damage; behind
// them the end is cut off in front of the bit.
static void flip_all(bool batches, uint64_t records, uint64_t safe)
{
    MemoryDisk whole = written(records, batches), d;
    Seen all, seen;
    Journal j;
    memory_init(&d, CAPACITY);
    memory_set(&d, whole.now, whole.size);
    assert_int_equal(open_memory(&j, &d, &all), EXIT_DONE);
    journal_close(&j);
    for (int64_t bit = 0; bit < whole.size * 8; bit++) {
        uint64_t before = 0;
        while (all.end[before + 1] * 8 <= bit)
            before++;
        memory_set(&d, whole.now, whole.size);
        d.now[bit / 8] ^= (uint8_t)(1 << bit % 8);
        memcpy(d.synced, d.now, (size_t)d.size);
        int status = open_memory(&j, &d, &seen);
        if (bit < HEAD * 8 || before < safe) {
            assert_int_equal(status, EXIT_INPUT);
            assert_int_equal(d.size, whole.size); // nothing was changed
            assert_memory_equal(d.now, d.synced, (size_t)d.size);
            continue;
        }
        assert_int_equal(status, EXIT_DONE);
        assert_int_equal(seen.n, before);
        assert_int_equal(d.size, all.end[before]);
        journal_close(&j);
    }
    memory_release(&d);
    memory_release(&whole);
}

static void every_bit(void **state)
{
    (void)state;
    flip_all(false, 6, 5);
}

// 1 + 2 + 3 records: nothing behind the last three knows them as synced.
static void every_bit_of_batches(void **state)
{
    (void)state;
    flip_all(true, 6, 3);
}

typedef struct Complaint {
    const char *says;
    int status;
} Complaint;

// What opening these bytes says; they stay as they are.
static void complains(MemoryDisk *d, Complaint c)
{
    Capture said;
    Journal j;
    Seen seen;
    int64_t size = d->size;
    memcpy(d->synced, d->now, (size_t)d->capacity);
    capture_begin(&said, "");
    int status = open_memory(&j, d, &seen);
    char *text = heard(&said);
    if (!strstr(text, c.says))
        fail_msg("expected `%s` in `%s`", c.says, text);
    free(text);
    assert_int_equal(status, c.status);
    assert_int_equal(d->size, size);
    assert_memory_equal(d->now, d->synced, (size_t)d->size);
}

static void names_place_and_remedy(void **state)
{
    (void)state;
    MemoryDisk d;
    memory_init(&d, CAPACITY);
    work(&d, 3, false);
    d.now[HEAD + HEADER + 29 + 4] ^= 1; // the second record's kind
    complains(&d,
              (Complaint){"j: error: offset 69: record 2 was altered after it had been "
                          "written, and valid ones stand behind it; nothing was changed\n"
                          "j: note: restore it from a copy; `truncate -s 69 j` gives up all "
                          "from there on\n",
                          EXIT_INPUT});
    memory_release(&d);
}

static bool count(void *user, const JournalRecord *r)
{
    ++*(uint64_t *)user;
    return r->seq > 0;
}

// A record that was cut short holds a valid one: that one is older, and says nothing of it.
static void a_record_within_a_record(void **state)
{
    (void)state;
    MemoryDisk d;
    Journal j;
    uint64_t n = 0;
    memory_init(&d, CAPACITY);
    work(&d, 2, false);
    assert_int_equal(journal_open(&j, &d.calls, "j", count, &n), EXIT_DONE);
    journal_append(&j, 1, d.now + HEAD, HEADER + 29 + 1);
    assert_int_equal(journal_sync(&j), EXIT_DONE);
    journal_close(&j);
    d.size--;
    n = 0;
    assert_int_equal(journal_open(&j, &d.calls, "j", count, &n), EXIT_DONE);
    assert_int_equal(n, 2);
    journal_close(&j);
    memory_release(&d);
}

// The second of three records is missing as a whole: each checksum is right.
static void a_record_is_missing(void **state)
{
    (void)state;
    MemoryDisk d;
    Journal j;
    Seen all;
    memory_init(&d, CAPACITY);
    work(&d, 3, false);
    assert_int_equal(open_memory(&j, &d, &all), EXIT_DONE);
    journal_close(&j);
    memmove(d.now + all.end[1], d.now + all.end[2], (size_t)(all.end[3] - all.end[2]));
    d.size = all.end[1] + all.end[3] - all.end[2];
    complains(&d,
              (Complaint){"j: error: offset 69: record 3 where 2 is due, so part of the file "
                          "is missing; nothing was changed: restore it from a copy\n",
                          EXIT_INPUT});
    memory_release(&d);
}

static void of_another_version(void **state)
{
    (void)state;
    MemoryDisk d;
    JournalHeader h;
    memory_init(&d, CAPACITY);
    work(&d, 1, false);
    memcpy(&h, d.now + HEAD, sizeof h);
    h.version = 2;
    h.crc32c =
        crc32c(crc32c(0, &h, offsetof(JournalHeader, crc32c)), d.now + HEAD + HEADER, h.bytes);
    memcpy(d.now + HEAD, &h, sizeof h);
    complains(&d, (Complaint){"j: error: offset 16: a record of version 2, and this stagecc "
                              "reads 1: open it with the one that has written it\n",
                              EXIT_INPUT});
    memory_release(&d);
}

static void no_journals(void **state)
{
    (void)state;
    static const char *const texts[] = {"x", "#include <stagecc/model.h>\n", "stagecc key 1\n",
                                        "stagecc journal 2\n"};
    MemoryDisk d;
    memory_init(&d, CAPACITY);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        memory_set(&d, texts[i], (int64_t)strlen(texts[i]));
        complains(&d, (Complaint){"j: error: is no journal: it does not begin with `stagecc "
                                  "journal`; name another file\n",
                                  EXIT_INPUT});
    }
    memory_release(&d);
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    MemoryDisk d;
    Journal j;
    memory_init(&d, CAPACITY);
    work(&d, 4, false);
    Seen seen = {.refuse = 3};
    assert_int_equal(journal_open(&j, &d.calls, "j", see, &seen), EXIT_INPUT);
    assert_int_equal(seen.n, 3);
    assert_false(d.open);
    assert_int_equal(reopen(&d), 4);
    memory_release(&d);
}

// Crashes
// ------------------------------------------------------------------------------------------------

enum { RECORDS = 7, SEEDS = 60 };

// Opening and writing RECORDS records makes so many calls.
static int count_calls(void)
{
    MemoryDisk d;
    memory_init(&d, CAPACITY);
    work(&d, RECORDS, true);
    memory_release(&d);
    return d.n_calls;
}

// A new disk that has crashed at a call; what it must hold.
static Work crashed(MemoryDisk *d, int crash_at, int seed)
{
    memory_init(d, CAPACITY);
    d->random = (uint64_t)seed * 1000 + (uint64_t)crash_at;
    d->crash_at = crash_at;
    Work w = work(d, RECORDS, true);
    memory_power_fails(d);
    return w;
}

static void crash_at_every_call(void **state)
{
    (void)state;
    int calls = count_calls();
    assert_in_range(calls, 11, 20); // open, write, sync, sync entry; two a batch
    for (int at = 1; at <= calls; at++)
        for (int seed = 0; seed < SEEDS; seed++) {
            MemoryDisk d;
            Work w = crashed(&d, at, seed);
            assert_in_range(reopen(&d), w.promised, w.appended);
            memory_release(&d);
        }
}

// The crash comes while the next process reads, cuts and writes; the third one reads.
static void crash_again_at_every_call(void **state)
{
    (void)state;
    enum { MORE_CALLS = 10 };
    int calls = count_calls();
    for (int at = 1; at <= calls; at++)
        for (int again = 1; again <= MORE_CALLS; again++)
            for (int seed = 0; seed < SEEDS / 4; seed++) {
                MemoryDisk d;
                Work first = crashed(&d, at, seed);
                d.n_calls = 0;
                d.crash_at = again;
                Work w = work(&d, RECORDS + 2, true);
                memory_power_fails(&d);
                if (!w.opened)
                    w = first;
                assert_true(w.promised >= first.promised);
                assert_in_range(reopen(&d), w.promised, w.appended);
                memory_release(&d);
            }
}

// The process dies between write and sync, so the next one reads a record that is on no disk. What it
// was told holds, even if the power fails then.
static void what_was_read_holds(void **state)
{
    (void)state;
    for (int seed = 0; seed < SEEDS; seed++) {
        MemoryDisk d;
        Journal j;
        Seen seen;
        memory_init(&d, CAPACITY);
        d.random = (uint64_t)seed;
        work(&d, 3, false);
        d.crash_at = d.n_calls + 4; // open, sync, sync entry, write
        work(&d, 4, false);
        memory_process_dies(&d);
        assert_int_equal(open_memory(&j, &d, &seen), EXIT_DONE);
        journal_close(&j);
        memory_power_fails(&d);
        assert_int_equal(seen.n, 4);
        assert_int_equal(reopen(&d), 4);
        memory_release(&d);
    }
}

// Disks that fail
// ------------------------------------------------------------------------------------------------

static void full_disk(void **state)
{
    (void)state;
    MemoryDisk d;
    Journal j;
    Seen seen;
    Capture said;
    memory_init(&d, CAPACITY);
    work(&d, 3, false);
    for (int64_t more = 0; more < 40; more++) { // of 98 bytes that are to be written
        int64_t size = d.size;
        assert_int_equal(open_memory(&j, &d, &seen), EXIT_DONE);
        d.room = size + more;
        append(&j, 4);
        append(&j, 5);
        capture_begin(&said, "");
        assert_int_equal(journal_sync(&j), EXIT_ENVIRONMENT);
        append(&j, 6); // room or not, it is over
        d.room = CAPACITY;
        assert_int_equal(journal_sync(&j), EXIT_ENVIRONMENT);
        char *text = heard(&said);
        assert_string_equal(text,
                            "j: error: cannot be written: No space left on device; it holds "
                            "all up to record 3: mend that, then start again\n");
        free(text);
        journal_close(&j);
        assert_int_equal(d.size, size);
        memory_power_fails(&d);
    }
    assert_int_equal(reopen(&d), 3);
    memory_release(&d);
}

static void every_call_fails(void **state)
{
    (void)state;
    int calls = count_calls();
    for (int at = 1; at <= calls; at++)
        for (int seed = 0; seed < SEEDS; seed++) {
            MemoryDisk d;
            memory_init(&d, CAPACITY);
            d.random = (uint64_t)seed;
            d.fail_at = at;
            Work w = work(&d, RECORDS, true);
            assert_true(w.promised < RECORDS); // it was told
            memory_power_fails(&d);
            assert_in_range(reopen(&d), w.promised, w.appended);
            memory_release(&d);
        }
}

// What cannot be read is no end that a crash has left.
static void unreadable_places(void **state)
{
    (void)state;
    MemoryDisk d;
    memory_init(&d, CAPACITY);
    work(&d, 3, false);
    for (d.bad_from = 1; d.bad_from < d.size; d.bad_from++)
        complains(&d, (Complaint){"j: error: cannot be read: Input/output error\n",
                                  EXIT_ENVIRONMENT});
    memory_release(&d);
}

// Records that are longer than what is read at once.
static bool see_long(void *user, const JournalRecord *r)
{
    int *n = user;
    const uint8_t *data = r->data;
    assert_int_equal(r->bytes, JOURNAL_MOST - (uint32_t)*n);
    for (uint32_t i = 0; i < r->bytes; i += 1013)
        assert_int_equal(data[i], (uint8_t)(i / 1013 + (uint32_t)*n));
    ++*n;
    return true;
}

static void long_records(void **state)
{
    (void)state;
    enum { N = 6 };
    MemoryDisk d;
    Journal j;
    int n = 0;
    memory_init(&d, (N + 1) * JOURNAL_MOST);
    uint8_t *data = calloc(1, JOURNAL_MOST);
    assert_int_equal(journal_open(&j, &d.calls, "j", see_long, &n), EXIT_DONE);
    for (int k = 0; k < N; k++) {
        for (int i = 0; i < JOURNAL_MOST; i += 1013)
            data[i] = (uint8_t)(i / 1013 + k);
        journal_append(&j, 1, data, JOURNAL_MOST - (size_t)k);
    }
    assert_int_equal(journal_sync(&j), EXIT_DONE);
    journal_close(&j);
    assert_int_equal(journal_open(&j, &d.calls, "j", see_long, &n), EXIT_DONE);
    assert_int_equal(n, N);
    journal_close(&j);
    for (int k = 1; k < N; k++) { // what cannot be read is no end here either
        int64_t size = d.size;
        d.bad_from = k * (int64_t)JOURNAL_MOST;
        n = 0;
        assert_int_equal(journal_open(&j, &d.calls, "j", see_long, &n), EXIT_ENVIRONMENT);
        assert_int_equal(d.size, size);
    }
    free(data);
    memory_release(&d);
}

// The disk of this machine
// ------------------------------------------------------------------------------------------------

static char path[64];

static void on_a_real_disk(void **state)
{
    (void)state;
    Journal j;
    Seen seen = {0};
    struct stat st;
    assert_int_equal(journal_open(&j, &journal_disk, path, see, &seen), EXIT_DONE);
    append(&j, 1);
    append(&j, 2);
    assert_int_equal(journal_sync(&j), EXIT_DONE);
    append(&j, 3);
    journal_close(&j); // and nobody promised the third
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(truncate(path, st.st_size + 7), 0);
    assert_int_equal(journal_open(&j, &journal_disk, path, see, &seen), EXIT_DONE);
    assert_int_equal(seen.n, 2);
    journal_close(&j);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, HEAD + 2 * HEADER + 29 + 58);
}

// The system writes no file longer than so many bytes.
static void no_room_on_a_real_disk(void **state)
{
    (void)state;
    Journal j;
    Seen seen = {0}, again = {0};
    struct rlimit old, limit;
    struct stat st;
    assert_int_equal(journal_open(&j, &journal_disk, path, see, &seen), EXIT_DONE);
    append(&j, 1);
    assert_int_equal(journal_sync(&j), EXIT_DONE);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    limit = (struct rlimit){.rlim_cur = 100, .rlim_max = old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    append(&j, 2);
    int status = journal_sync(&j);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_DFL);
    journal_close(&j);
    assert_int_equal(status, EXIT_ENVIRONMENT);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, HEAD + HEADER + 29);
    assert_int_equal(journal_open(&j, &journal_disk, path, see, &again), EXIT_DONE);
    assert_int_equal(again.n, 1);
    journal_close(&j);
}

static void one_writer_at_a_time(void **state)
{
    (void)state;
    Journal first, second;
    Seen seen = {0};
    Capture said;
    char *text, expected[200];
    assert_int_equal(journal_open(&first, &journal_disk, path, see, &seen), EXIT_DONE);
    capture_begin(&said, "");
    int status = journal_open(&second, &journal_disk, path, see, &seen);
    text = heard(&said);
    assert_int_equal(status, EXIT_ENVIRONMENT);
    long pid = journal_disk.holder(NULL, path); // 0 where /proc does not tell
    if (pid)
        assert_int_equal(pid, getpid());
    snprintf(expected, sizeof expected,
             pid ? "%s: error: process %ld has it open, and one at a time may"
                 : "%s: error: another process has it open, and one at a time may",
             path, pid);
    assert_memory_equal(text, expected, strlen(expected));
    free(text);
    append(&first, 1);
    assert_int_equal(journal_sync(&first), EXIT_DONE);
    journal_close(&first);
    assert_int_equal(journal_open(&second, &journal_disk, path, see, &seen), EXIT_DONE);
    assert_int_equal(seen.n, 1);
    journal_close(&second);
}

static void no_files(void **state)
{
    (void)state;
    static const char *const texts[][2] = {
        {"/tmp", "/tmp: error: cannot be opened: Is a directory\n"},
        {"/dev/null", "/dev/null: error: is a device or pipe: name a file\n"},
        {"/none/j", "/none/j: error: cannot be opened: No such file or directory\n"}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        Journal j;
        Seen seen = {0};
        Capture said;
        capture_begin(&said, "");
        assert_int_equal(journal_open(&j, &journal_disk, texts[i][0], see, &seen),
                         EXIT_ENVIRONMENT);
        char *text = heard(&said);
        assert_string_equal(text, texts[i][1]);
        free(text);
    }
}

static int begin(void **state)
{
    (void)state;
    sink = sink ? sink : fopen("/dev/null", "w");
    diag_output(sink, false);
    snprintf(path, sizeof path, "/tmp/stagecc-journal-%d", (int)getpid());
    unlink(path);
    return 0;
}

static int end(void **state)
{
    (void)state;
    unlink(path);
    diag_output(stderr, false);
    diag_reset();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reads_what_was_written),
        TEST(every_length),
        TEST(says_what_was_cut),
        TEST(every_bit),
        TEST(every_bit_of_batches),
        TEST(names_place_and_remedy),
        TEST(a_record_is_missing),
        TEST(of_another_version),
        TEST(no_journals),
        TEST(what_makes_no_sense_is_refused),
        TEST(a_record_within_a_record),
        TEST(crash_at_every_call),
        TEST(crash_again_at_every_call),
        TEST(what_was_read_holds),
        TEST(full_disk),
        TEST(every_call_fails),
        TEST(unreadable_places),
        TEST(long_records),
        TEST(on_a_real_disk),
        TEST(no_room_on_a_real_disk),
        TEST(one_writer_at_a_time),
        TEST(no_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
