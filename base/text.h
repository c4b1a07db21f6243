// Growing text, whole files, and small string helpers.
#ifndef STAGECC_BASE_TEXT_H
#define STAGECC_BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Text {
    char *data; // always terminated once something was written; free with text_release
    size_t length, capacity;
} Text;

void text_append(Text *t, const char *bytes, size_t n);
void text_puts(Text *t, const char *s);
void text_printf(Text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_vprintf(Text *t, const char *format, va_list ap)
    __attribute__((format(printf, 2, 0)));
// As a POSIX shell reads it back: quoted where it has to be.
void text_put_word(Text *t, const char *word);
void text_release(Text *t);

// The whole file, terminated, malloc'd; NULL with errno set when it cannot be read as a regular
// file. size may be NULL.
char *file_read(const char *path, size_t *size);
// Write through a temporary file in the same directory and rename; links are followed, and what is no regular file is
// written in place. 0, or -1 with errno set.
int file_write(const char *path, const char *bytes, size_t n);
// What was made or renamed to this path is found there after a crash: fsync of its directory. 0, or -1 with
// errno set.
int file_sync_entry(const char *path);
// mkdir -p. 0, or -1 with errno set.
int dir_make(const char *path);

bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);
// Levenshtein's distance of two short names; far apart where one of them is long.
int str_distance(const char *a, const char *b);
// The one of names[n] that was probably meant; NULL: none is close.
const char *str_nearest(const char *name, const char *const *names, int n);
uint64_t str_hash(const char *bytes, size_t n); // FNV-1a
// "1.5 KiB", "40.6 MiB": into out (at least 32 bytes), which is returned.
char *human_bytes(char *out, int64_t bytes);

#endif
