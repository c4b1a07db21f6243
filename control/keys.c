// Secrets lie in the caller's Key and in buffers of these functions alone, which are wiped. Diagnostics draw
// the line that they are about, so of key files they are told that it is empty.
#include "control/keys.h"

#include "base/diag.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FILE = 4096 };

void key_wipe(Key *k)
{
    explicit_bzero(k, sizeof *k);
}

static bool name_good(const char *name, size_t n)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        "._-"; // the last three not in front
    if (n < 1 || n > KEY_NAME || strchr("._-", name[0]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!memchr(allowed, name[i], sizeof allowed - 1))
            return false;
    return true;
}

bool key_name_good(const char *name)
{
    return name_good(name, strlen(name));
}

int key_make(Key *k, const char *name, const char *master)
{
    *k = (Key){.name = ""};
    snprintf(k->name, sizeof k->name, "%s", name);
    snprintf(k->master, sizeof k->master, "%s", master ? master : "");
    int status = curve_pair(k->public_key, k->secret);
    if (status)
        key_wipe(k);
    return status;
}

// Reading
// ------------------------------------------------------------------------------------------------

static const char first_line[] = "stagecc key 1";

static const struct Field {
    const char *name;
    size_t offset;
    bool is_name, optional;
} fields[] = {{"name", offsetof(Key, name), true, false},
              {"public", offsetof(Key, public_key), false, false},
              {"secret", offsetof(Key, secret), false, false},
              {"master", offsetof(Key, master), false, true}};
enum { N_FIELDS = sizeof fields / sizeof *fields };

static bool read_field(Key *k, const struct Field *f, const char *value, size_t n, Loc loc)
{
    char *to = (char *)k + f->offset;
    bool good = f->is_name ? name_good(value, n) : curve_key_good(value, n);
    if (*to)
        error_at(loc, "there is a second line `%s`", f->name);
    else if (!good)
        error_at(loc, "what stands behind `%s` is no %s", f->name,
                 f->is_name ? "name: letters, digits and ._-" : "key: 40 characters of Z85");
    if (*to || !good)
        return false;
    memcpy(to, value, n);
    to[n] = 0;
    return true;
}

// "secret ABCD": the word and what stands behind it.
static bool read_line(Key *k, const char *line, size_t n, Loc loc)
{
    size_t word = 0, value, end = n;
    while (end > 0 && strchr(" \t\r", line[end - 1]))
        end--;
    while (word < end && line[word] != ' ')
        word++;
    for (value = word; value < end && line[value] == ' ';)
        value++;
    for (int i = 0; i < N_FIELDS; i++)
        if (word == strlen(fields[i].name) && !memcmp(line, fields[i].name, word))
            return read_field(k, &fields[i], line + value, end - value, loc);
    if (end > 0)
        error_at(loc, "this line begins with none of name, public, secret and master");
    return end == 0;
}

static bool read_lines(Key *k, const char *path, const char *text)
{
    bool good = true;
    int number = 2;
    for (const char *at = text; *at; number++) {
        size_t n = strcspn(at, "\n");
        good &= read_line(k, at, n, (Loc){path, number, 0});
        at += n + (at[n] != 0);
    }
    for (int i = 0; good && i < N_FIELDS; i++)
        if (!fields[i].optional && !((const char *)k)[fields[i].offset]) {
            error_at((Loc){path, 0, 0}, "has no line `%s`", fields[i].name);
            good = false;
        }
    return good;
}

int key_parse(Key *k, const char *path, const char *text)
{
    *k = (Key){.name = ""};
    diag_source(path, "");
    size_t n = strlen(first_line);
    bool is_key = !strncmp(text, first_line, n) && text[n + strspn(text + n, " \t\r")] == '\n';
    if (!is_key)
        error_at((Loc){path, 1, 0},
                 "is no key file: its first line is not `%s`; `stagecc keygen` makes one",
                 first_line);
    if (is_key && read_lines(k, path, text + strcspn(text, "\n") + 1))
        return EXIT_DONE;
    key_wipe(k);
    return EXIT_INPUT;
}

static int no_pair(const Key *k, const char *path)
{
    CurveKey of_secret;
    int status = curve_public(of_secret, k->secret);
    if (status || !strcmp(of_secret, k->public_key))
        return status;
    error_at((Loc){path, 0, 0}, "public and secret do not belong together, so it was altered: "
                                "restore it, or have `stagecc keygen` make a new one");
    return EXIT_INPUT;
}

static int check_file(int fd, const char *path)
{
    struct stat st;
    Loc loc = {path, 0, 0};
    if (fd < 0 || fstat(fd, &st)) {
        error_at(loc, "cannot be read: %s", strerror(errno));
        return EXIT_INPUT;
    }
    if (!S_ISREG(st.st_mode) || st.st_size >= MAX_FILE) {
        error_at(loc, "is no key file");
        return EXIT_INPUT;
    }
    if (st.st_mode & 077) {
        error_at(loc, "others than its owner may read or write it (mode %04o): chmod 600 %s",
                 st.st_mode & 07777, path);
        return EXIT_INPUT;
    }
    return EXIT_DONE;
}

int key_read(Key *k, const char *path)
{
    char text[MAX_FILE];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe is refused, not waited for
    int status = check_file(fd, path);
    ssize_t n = status ? 0 : read(fd, text, sizeof text - 1);
    if (n < 0) {
        error_at((Loc){path, 0, 0}, "cannot be read: %s", strerror(errno));
        status = EXIT_ENVIRONMENT;
    }
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
    if (!status)
        status = key_parse(k, path, text);
    if (!status)
        status = no_pair(k, path);
    explicit_bzero(text, sizeof text);
    if (status)
        key_wipe(k);
    return status;
}

// Writing
// ------------------------------------------------------------------------------------------------

static bool write_new(const Key *k, const char *path)
{
    char text[MAX_FILE];
    int n = snprintf(text, sizeof text, "%s\nname %s\npublic %s\nsecret %s\n%s%s%s", first_line,
                     k->name, k->public_key, k->secret, *k->master ? "master " : "", k->master,
                     *k->master ? "\n" : "");
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t put = fd < 0 ? -1 : write(fd, text, (size_t)n);
    explicit_bzero(text, sizeof text);
    if (put >= 0 && put < n)
        errno = ENOSPC;
    bool good = put == n && !fchmod(fd, 0600) && !fsync(fd); // whatever the umask
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return good;
}

// A link fails where the name is taken, a rename does not.
int key_write(const Key *k, const char *path, bool replace)
{
    Text temporary = {0};
    text_printf(&temporary, "%s.%d.tmp", path, (int)getpid());
    const char *from = temporary.data;
    unlink(from); // of one with our number that was killed
    bool good = write_new(k, from) && !(replace ? rename(from, path) : link(from, path)) &&
                !file_sync_entry(path);
    int error = errno;
    unlink(from);
    text_release(&temporary);
    if (good)
        return EXIT_DONE;
    if (error == EEXIST)
        error_at((Loc){path, 0, 0}, "is there already, and was left alone");
    else
        error_at((Loc){path, 0, 0}, "cannot be written: %s", strerror(error));
    return error == EEXIST ? EXIT_INPUT : EXIT_ENVIRONMENT;
}
