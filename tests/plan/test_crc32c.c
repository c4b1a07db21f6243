// CRC32C, with the instruction and without it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "plan/crc32c.h"

// RFC 3720, appendix B.4, and the check value of the catalogue of CRCs.
static void test_crc32c(void **state)
{
    (void)state;
    uint8_t bytes[48] = {0};
    static const uint8_t read_command[48] = {
        0x01, 0xc0, 0, 0, 0, 0, 0,    0, 0,    0, 0, 0,    0, 0, 0, 0,
        0x14, 0,    0, 0, 0, 0, 0x04, 0, 0,    0, 0, 0x14, 0, 0, 0, 0x18,
        0x28, 0,    0, 0, 0, 0, 0,    0, 0x02, 0, 0, 0,    0, 0, 0, 0};
    uint32_t (*const ways[])(uint32_t, const void *, size_t) = {crc32c, crc32c_table};
    for (int w = 0; w < 2; w++) {
        assert_int_equal(ways[w](0, "123456789", 9), 0xe3069283);
        assert_int_equal(ways[w](0, "", 0), 0);
        memset(bytes, 0, 32);
        assert_int_equal(ways[w](0, bytes, 32), 0x8a9136aa);
        memset(bytes, 0xff, 32);
        assert_int_equal(ways[w](0, bytes, 32), 0x62a8ab43);
        for (int i = 0; i < 32; i++)
            bytes[i] = (uint8_t)i;
        assert_int_equal(ways[w](0, bytes, 32), 0x46dd794e);
        for (int i = 0; i < 32; i++)
            bytes[i] = (uint8_t)(31 - i);
        assert_int_equal(ways[w](0, bytes, 32), 0x113fdb5c);
        assert_int_equal(ways[w](0, read_command, 48), 0xd9963a56);
    }
}

static void test_crc32c_in_pieces(void **state)
{
    (void)state;
    uint8_t bytes[300];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i + 3 * i);
    uint32_t whole = crc32c_table(0, bytes, sizeof bytes);
    for (size_t cut = 0; cut <= sizeof bytes; cut++) {
        uint32_t crc = crc32c(0, bytes, cut);
        assert_int_equal(crc32c(crc, bytes + cut, sizeof bytes - cut), whole);
    }
}

// Long ones go in three lanes.
static void test_crc32c_of_much(void **state)
{
    (void)state;
    static uint8_t bytes[150000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 2654435761u >> 11);
    for (size_t n = 24570; n < sizeof bytes; n += 1 + n / 7) {
        assert_int_equal(crc32c(0, bytes, n), crc32c_table(0, bytes, n));
        assert_int_equal(crc32c(crc32c(0, bytes, 7), bytes + 7, n - 7),
                         crc32c_table(0, bytes, n));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c),
        cmocka_unit_test(test_crc32c_in_pieces),
        cmocka_unit_test(test_crc32c_of_much),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
