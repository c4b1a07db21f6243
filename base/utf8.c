#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

enum { CUT_OFF = 3 }; // bytes at most of a character that lacks its end

// Bytes of the character at s, of n > 0; 0: it is none, or ends too late, or is a NUL.
static size_t character(const unsigned char *s, size_t n)
{
    static const struct {
        unsigned char mask, lead;
        uint32_t least; // a smaller one has a shorter form
    } forms[] = {
        {0x80, 0x00, 1}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    for (size_t bytes = 1; bytes <= 4 && bytes <= n; bytes++) {
        if ((s[0] & forms[bytes - 1].mask) != forms[bytes - 1].lead)
            continue;
        uint32_t c = s[0] & (unsigned char)~forms[bytes - 1].mask;
        for (size_t i = 1; i < bytes; i++) {
            if ((s[i] & 0xc0) != 0x80)
                return 0;
            c = c << 6 | (s[i] & 0x3f);
        }
        bool surrogate = c >= 0xd800 && c < 0xe000;
        return c < forms[bytes - 1].least || surrogate || c > 0x10ffff ? 0 : bytes;
    }
    return 0;
}

bool utf8_good(const char *s, size_t n)
{
    for (size_t at = 0, bytes; at < n; at += bytes) {
        bytes = character((const unsigned char *)s + at, n - at);
        if (!bytes)
            return false;
    }
    return true;
}

// Below the space, DEL, and those that stand as two bytes.
static bool is_control(const unsigned char *s)
{
    return s[0] < 0x20 || s[0] == 0x7f || (s[0] == 0xc2 && s[1] < 0xa0);
}

// The beginning of a character, which ends too early.
static bool is_cut(const unsigned char *s, size_t left)
{
    size_t whole = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 1;
    for (size_t i = 1; i < left; i++)
        if ((s[i] & 0xc0) != 0x80)
            return false;
    return left <= CUT_OFF && left < whole;
}

char *utf8_printable(char *text)
{
    unsigned char *s = (unsigned char *)text, *to = s;
    for (size_t left = strlen(text), bytes; left; s += bytes, left -= bytes) {
        size_t whole = character(s, left);
        bytes = whole ? whole : 1;
        if (!whole && is_cut(s, left))
            break;
        if (!whole || is_control(s))
            *to++ = '?';
        else
            to = (unsigned char *)memmove(to, s, bytes) + bytes;
    }
    *to = 0;
    return text;
}
