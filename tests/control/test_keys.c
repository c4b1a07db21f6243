// Key files and allow lists: what is written is read, what is wrong is named, and no secret is shown or left.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "control/allow.h"
#include "control/keys.h"
#include "tests/capture.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// The pairs of zmq_curve(7).
#define PUBLIC_1 "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
#define SECRET_1 "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"
#define PUBLIC_2 "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define SECRET_2 "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"
#define HEAD "stagecc key 1\n"
#define LINES "name h1\npublic " PUBLIC_1 "\nsecret " SECRET_1 "\n"

static char dir[64], path[100];

// Key files
// ------------------------------------------------------------------------------------------------

static void reads_a_key(void **state)
{
    (void)state;
    Key k;
    assert_int_equal(key_parse(&k, "f", HEAD LINES), EXIT_DONE);
    assert_string_equal(k.name, "h1");
    assert_string_equal(k.public_key, PUBLIC_1);
    assert_string_equal(k.secret, SECRET_1);
    assert_string_equal(k.master, "");
    const char *other = "stagecc key 1 \r\n\r\nmaster  " PUBLIC_2 "\r\nsecret " SECRET_1
                        "\r\npublic " PUBLIC_1 "  \r\nname h-1.a_b";
    assert_int_equal(key_parse(&k, "f", other), EXIT_DONE);
    assert_string_equal(k.name, "h-1.a_b");
    assert_string_equal(k.master, PUBLIC_2);
    key_wipe(&k);
}

// All that is said of this text; no secret is in it, and none in the key.
static void says(const char *text, const char *complaint)
{
    static const Key nothing;
    Key k;
    Capture said;
    memset(&k, 1, sizeof k);
    capture_begin(&said, text); // a source with carets, were it used
    int status = key_parse(&k, "f", text);
    char *out = capture_end(&said);
    assert_int_equal(status, EXIT_INPUT);
    assert_string_equal(out, complaint);
    assert_memory_equal(&k, &nothing, sizeof k);
    free(out);
}

static void wrong_key_files(void **state)
{
    (void)state;
    const char *none = "f:1: error: is no key file: its first line is not `stagecc key 1`; "
                       "`stagecc keygen` makes one\n";
    const char *bad_secret =
        "f:4: error: what stands behind `secret` is no key: 40 characters of Z85\n";
    says("", none);
    says("stagecc key 1", none);
    says("stagecc key 12\n" LINES, none);
    says("stagecc journal\n" LINES, none);
    says(HEAD "name h1\npublic " PUBLIC_1 "\nsecret " SECRET_1 "x\n", bad_secret);
    says(HEAD "name h1\npublic " PUBLIC_1 "\nsecret D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%c\n",
         bad_secret);
    says(HEAD "name h1\npublic " PUBLIC_1 "\nsecret $$$$$IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs\n",
         bad_secret); // more than 32 bits
    says(HEAD "name h1\npublic " PUBLIC_1 "\nsecret\n", bad_secret);
    says(HEAD "name -h1\npublic " PUBLIC_1 "\nsecret " SECRET_1 "\n",
         "f:2: error: what stands behind `name` is no name: letters, digits and ._-\n");
    says(HEAD LINES "secret " SECRET_2 "\n", "f:5: error: there is a second line `secret`\n");
    says(HEAD "name h1\npublic " PUBLIC_1 "\nsecret\t" SECRET_1 "\n",
         "f:4: error: this line begins with none of name, public, secret and master\n");
    says(HEAD "name h1\npublic " PUBLIC_1 "\n" SECRET_1 "\n",
         "f:4: error: this line begins with none of name, public, secret and master\n");
    says(HEAD "name h1\nsecret " SECRET_1 "\n", "f: error: has no line `public`\n");
    says(HEAD "public " PUBLIC_1 "\nsecret " SECRET_1 "\n", "f: error: has no line `name`\n");
}

static void names(void **state)
{
    (void)state;
    char longest[KEY_NAME + 2];
    memset(longest, 'x', sizeof longest);
    longest[KEY_NAME + 1] = 0;
    assert_false(key_name_good(longest));
    longest[KEY_NAME] = 0;
    assert_true(key_name_good(longest));
    assert_true(key_name_good("h1") && key_name_good("Rack-7.example.org"));
    assert_false(key_name_good("") || key_name_good(".") || key_name_good("..") ||
                 key_name_good("a/b") || key_name_good("-h") || key_name_good("h 1") ||
                 key_name_good("h\n1") || key_name_good("hü"));
}

// Allow lists
// ------------------------------------------------------------------------------------------------

static void reads_a_list(void **state)
{
    (void)state;
    Arena a = {0};
    const char *text = "#the rack\r\n\r\n" PUBLIC_1 " h1\r\n  " PUBLIC_2 "\th2 #older\n# end";
    const AllowList *list = allow_parse(&a, "f", text);
    assert_non_null(list);
    assert_int_equal(list->n, 2);
    assert_string_equal(allow_key(list, PUBLIC_2)->name, "h2");
    assert_string_equal(allow_name(list, "h1")->public_key, PUBLIC_1);
    assert_int_equal(list->items[1].loc.line, 4);
    assert_int_equal(list->items[1].loc.col, 3);
    assert_memory_equal(text + list->items[1].offset, PUBLIC_2, 40);
    assert_null(allow_key(list, SECRET_1));
    assert_null(allow_name(list, "h"));
    arena_release(&a);
}

static void list_says(const char *text, const char *complaint)
{
    Arena a = {0};
    Capture said;
    capture_begin(&said, text);
    const AllowList *list = allow_parse(&a, "f", text);
    char *out = capture_end(&said);
    if (list || !strstr(out, complaint))
        fail_msg("expected `%s` in `%s`", complaint, out);
    free(out);
    arena_release(&a);
}

static void wrong_lists(void **state)
{
    (void)state;
    list_says(" " PUBLIC_1 "x h1", "f:1:2: error: this is no key: 40 characters of Z85");
    list_says("h1 " PUBLIC_1, "f:1:1: error: this is no key");
    list_says(PUBLIC_1 " # h1", "f:1:42: error: the key has no name behind it: KEY NAME");
    list_says(PUBLIC_1 "  h/1", "f:1:43: error: `h/1` is no name: up to 64 letters");
    list_says(PUBLIC_1 " h1 h2", "f:1:45: error: nothing follows the name but a comment");
    list_says(PUBLIC_1 " h1\n" PUBLIC_1 " h2",
              "f:2:1: error: this key is listed twice: each worker has its own");
    list_says(PUBLIC_1 " h1\n" PUBLIC_2 " h1", "f:2:42: error: h1 is listed twice");
    list_says(PUBLIC_1 " h1\n" PUBLIC_2 " h1", "f:1:1: note: the first time");
}

// Files
// ------------------------------------------------------------------------------------------------

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/stagecc-test-keys-XXXXXX");
    snprintf(path, sizeof path, "%s/h1.key", mkdtemp(dir));
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir); // and fails if anything was left behind
}

static void write_file(const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    fputs(text, f);
    fclose(f);
    chmod(path, mode);
}

// `complaint` is what stands behind the path.
static void refuses(const char *complaint)
{
    static const Key nothing;
    Key k;
    Capture said;
    char expected[400];
    capture_begin(&said, "");
    int status = key_read(&k, path);
    char *out = capture_end(&said);
    snprintf(expected, sizeof expected, "%s: error: %s\n", path, complaint);
    assert_int_equal(status, EXIT_INPUT);
    assert_string_equal(out, expected);
    assert_memory_equal(&k, &nothing, sizeof k);
    free(out);
}

static void files_that_are_refused(void **state)
{
    (void)state;
    char complaint[300], longer[5000];
    refuses("cannot be read: No such file or directory");
    static const mode_t modes[] = {0644, 0640, 0604, 0620, 0602, 0610, 04601};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        write_file(HEAD LINES, modes[i]);
        snprintf(complaint, sizeof complaint,
                 "others than its owner may read or write it (mode %04o): chmod 600 %s",
                 modes[i], path);
        refuses(complaint);
    }
    memset(longer, ' ', sizeof longer);
    longer[sizeof longer - 1] = 0;
    write_file(longer, 0600);
    refuses("is no key file");
    unlink(path);
    mkfifo(path, 0600);
    refuses("is no key file"); // at once
}

#ifdef STAGECC_ZMQ
static void pairs(void **state)
{
    (void)state;
    Key k, again;
    CurveKey made;
    assert_int_equal(curve_public(made, SECRET_1), EXIT_DONE);
    assert_string_equal(made, PUBLIC_1);
    assert_int_equal(curve_public(made, SECRET_2), EXIT_DONE);
    assert_string_equal(made, PUBLIC_2);
    for (int i = 0; i < 100; i++) { // what ZeroMQ makes is what is taken for a key
        assert_int_equal(key_make(&k, "h1", NULL), EXIT_DONE);
        assert_true(curve_key_good(k.public_key, strlen(k.public_key)));
        assert_true(curve_key_good(k.secret, strlen(k.secret)));
    }
    assert_int_equal(key_make(&again, "h1", NULL), EXIT_DONE);
    assert_string_not_equal(k.secret, again.secret);
}

static void writes_and_reads(void **state)
{
    (void)state;
    Key k, other, read;
    struct stat st;
    Capture said;
    assert_int_equal(key_make(&k, "h1", PUBLIC_2), EXIT_DONE);
    assert_int_equal(key_make(&other, "h1", NULL), EXIT_DONE);
    mode_t mask = umask(0477); // no obstacle
    assert_int_equal(key_write(&k, path, false), EXIT_DONE);
    umask(mask);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(key_read(&read, path), EXIT_DONE);
    assert_memory_equal(&read, &k, sizeof k);
    capture_begin(&said, "");
    int status = key_write(&other, path, false);
    char *out = capture_end(&said);
    assert_int_equal(status, EXIT_INPUT);
    assert_non_null(strstr(out, "h1.key: error: is there already, and was left alone"));
    free(out);
    assert_int_equal(key_read(&read, path), EXIT_DONE);
    assert_memory_equal(&read, &k, sizeof k); // it was left alone
    assert_int_equal(key_write(&other, path, true), EXIT_DONE);
    assert_int_equal(key_read(&read, path), EXIT_DONE);
    assert_memory_equal(&read, &other, sizeof k);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
}

static void no_pair(void **state)
{
    (void)state;
    write_file(HEAD "name h1\npublic " PUBLIC_1 "\nsecret " SECRET_2 "\n", 0600);
    refuses("public and secret do not belong together, so it was altered: restore it, or have "
            "`stagecc keygen` make a new one");
}
#else
static void pairs(void **state)
{
    (void)state;
    Key k;
    Capture said;
    capture_begin(&said, "");
    assert_int_equal(key_make(&k, "h1", NULL), EXIT_ENVIRONMENT);
    char *out = capture_end(&said);
    assert_non_null(strstr(out, "apt-get install libzmq3-dev"));
    free(out);
}
#endif

#define WITH_DIR(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_a_key),    cmocka_unit_test(wrong_key_files),
        cmocka_unit_test(names),          cmocka_unit_test(reads_a_list),
        cmocka_unit_test(wrong_lists),    cmocka_unit_test(pairs),
        WITH_DIR(files_that_are_refused),
#ifdef STAGECC_ZMQ
        WITH_DIR(writes_and_reads),       WITH_DIR(no_pair),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
