// SHA-256 against the examples of FIPS 180-4 and other published digests, in pieces of all sizes.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "base/sha256.h"

#include <stdlib.h>
#include <string.h>

static void check(const char *text, size_t piece, const char *expected)
{
    Sha256 s;
    uint8_t digest[SHA256_BYTES], parsed[SHA256_BYTES];
    char got[SHA256_HEX + 1];
    size_t n = strlen(text);
    sha256_init(&s);
    for (size_t at = 0; at < n; at += piece)
        sha256_add(&s, text + at, n - at < piece ? n - at : piece);
    sha256_end(&s, digest);
    sha256_text(digest, got);
    assert_string_equal(got, expected);
    assert_true(sha256_parse(got, parsed));
    assert_memory_equal(digest, parsed, sizeof digest);
}

static void test_published(void **state)
{
    (void)state;
    char *million = malloc(1000001);
    memset(million, 'a', 1000000);
    million[1000000] = 0;
    for (size_t piece = 1; piece < 200; piece += 7) {
        check("", piece, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        check("abc", piece, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", piece,
              "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    }
    check(million, 997, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

static void test_no_digest(void **state)
{
    (void)state;
    uint8_t digest[SHA256_BYTES];
    assert_false(sha256_parse("", digest));
    assert_false(sha256_parse(
        "E3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", digest));
    assert_false(sha256_parse(
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8550", digest));
    assert_false(sha256_file("/nonexistent", digest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_published),
                                       cmocka_unit_test(test_no_digest)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
