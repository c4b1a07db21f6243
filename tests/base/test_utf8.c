// Text that came from outside.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

static void good(void **state)
{
    (void)state;
    static const char *const all[] = {"", "plain\n", "\xc2\x80", "\xe2\x82\xac",
                                      "\xf4\x8f\xbf\xbf"};
    static const char *const none[] = {
        "\x80",         "\xc2",     "\xc0\x80",  "\xc1\xbf",         "\xe0\x9f\xbf",
        "\xed\xa0\x80", "\xe2\x82", "\xe2(\xac", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
        "\xff"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        assert_true(utf8_good(all[i], strlen(all[i])));
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_false(utf8_good(none[i], strlen(none[i])));
    assert_false(utf8_good("a\0b", 3));
}

static void printable(void **state)
{
    (void)state;
    static const struct {
        const char *text, *shown;
    } all[] = {{"", ""},
               {"a name", "a name"},
               {"\xc3\xa4 \xe2\x82\xac", "\xc3\xa4 \xe2\x82\xac"},
               {"red \033[31m", "red ?[31m"},
               {"two\nlines\r\t\x7f", "two?lines???"},
               {"\xc2\x9b"
                "31m",
                "?31m"}, // as ESC [
               {"\xc2\xa0", "\xc2\xa0"},
               {"\xff|\x80|\xc0\x80|", "?|?|??|"},
               {"cut \xe2\x82", "cut "},
               {"cut \xf0\x9f\x98", "cut "},
               {"cut \xc3", "cut "},
               {"no end \xe2\x82|", "no end ??|"},
               {"\xed\xa0\x80", "???"}}; // a surrogate
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", all[i].text);
        assert_ptr_equal(utf8_printable(text), text);
        assert_string_equal(text, all[i].shown);
        assert_true(utf8_good(text, strlen(text)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(good), cmocka_unit_test(printable)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
