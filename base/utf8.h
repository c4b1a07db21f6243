// Text that came from outside: is it UTF-8, and may a terminal see it?
#ifndef STAGECC_BASE_UTF8_H
#define STAGECC_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>

// No character is cut off, longer than need be, a surrogate, beyond the last one, or a NUL.
bool utf8_good(const char *s, size_t n);
// In place: what could command a terminal, and each byte that is of no whole character, becomes `?`; what was cut off at
// the end goes. Returns s.
char *utf8_printable(char *s);

#endif
