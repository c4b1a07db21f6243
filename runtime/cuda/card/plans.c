#include "runtime/cuda/card/plans.h"

#include "plan/crc32c.h"
#include "runtime/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Another number where a row's graph changes, or the numbers of its tensors: plans that users have kept are of the old one.
static const char format[] = "stagecc plans 1\n";
enum { NUMBER = 4 }; // bytes of one

// The table
// ----------------------------------------------------------------------------------------------

static void release(rt__kept_plan *k)
{
    free(k->key);
    free(k->implementation);
    free(k->json);
}

void rt__plans_release(rt__plans *p)
{
    for (int i = 0; i < p->n; i++)
        release(&p->items[i]);
    free(p->items);
    *p = (rt__plans){0};
}

const rt__kept_plan *rt__plans_find(const rt__plans *p, const char *key)
{
    for (int i = 0; i < p->n; i++)
        if (!strcmp(p->items[i].key, key))
            return &p->items[i];
    return NULL;
}

static bool make_room(rt__plans *p)
{
    if (p->n < p->room)
        return true;
    int room = p->room ? 2 * p->room : 32;
    rt__kept_plan *items = realloc(p->items, (size_t)room * sizeof *items);
    if (!items)
        return false;
    p->items = items;
    p->room = room;
    return true;
}

// Takes over what `new` points to, whatever comes of it.
static bool put(rt__plans *p, rt__kept_plan new)
{
    bool whole = new.key &&new.implementation &&new.json;
    int at = 0;
    while (whole && at < p->n && strcmp(p->items[at].key, new.key) != 0)
        at++;
    if (!whole || (at == p->n && !make_room(p))) {
        release(&new);
        return false;
    }
    if (at == p->n)
        p->n++;
    else
        release(&p->items[at]);
    p->items[at] = new;
    return true;
}

bool rt__plans_add(rt__plans *p, const char *key, const char *implementation, char *json,
                   size_t json_bytes)
{
    p->changed = true;
    return put(p, (rt__kept_plan){strdup(key), strdup(implementation), json, json_bytes});
}

// Reading
// --------------------------------------------------------------------------------------------

typedef struct Bytes {
    const uint8_t *at, *end;
} Bytes;

static uint32_t number_at(const uint8_t *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

// As a string, with a zero behind it; NULL: there are not so many bytes, or no memory.
static char *take_text(Bytes *b, size_t n)
{
    char *text = (size_t)(b->end - b->at) < n ? NULL : malloc(n + 1);
    if (!text)
        return NULL;
    memcpy(text, b->at, n);
    text[n] = '\0';
    b->at += n;
    return text;
}

// Is this what comes next?
static bool starts(Bytes *b, const char *text)
{
    size_t n = strlen(text);
    bool same = (size_t)(b->end - b->at) >= n && !memcmp(b->at, text, n);
    b->at += same ? n : 0;
    return same;
}

static bool take_number(Bytes *b, size_t *n)
{
    if (b->end - b->at < NUMBER)
        return false;
    *n = number_at(b->at);
    b->at += NUMBER;
    return true;
}

static bool take_plan(rt__plans *p, Bytes *b)
{
    size_t key, implementation, json;
    if (!take_number(b, &key) || !take_number(b, &implementation) || !take_number(b, &json))
        return false;
    rt__kept_plan k = {.key = take_text(b, key), .json_bytes = json};
    if (k.key)
        k.implementation = take_text(b, implementation);
    if (k.implementation)
        k.json = take_text(b, json);
    return put(p, k);
}

static int parse(rt__plans *p, Bytes b, const char *path, const char *whose, rt__why *why)
{
    const uint8_t *begin = b.at;
    if (!starts(&b, format) || !starts(&b, whose) || !starts(&b, "\n"))
        return 0;
    if (b.end - b.at < NUMBER)
        return rt__because(why, RT__INPUT, "%s is cut off", path);
    b.end -= NUMBER;
    if (number_at(b.end) != crc32c(0, begin, (size_t)(b.end - begin)))
        return rt__because(why, RT__INPUT, "%s is damaged: its checksum is another one", path);
    while (b.at < b.end)
        if (!take_plan(p, &b))
            return rt__because(why, RT__INPUT, "%s holds no plan where one should begin", path);
    return 0;
}

// All of a file; NULL: errno says why.
static uint8_t *read_all(int fd, size_t *bytes)
{
    struct stat st;
    if (fstat(fd, &st))
        return NULL;
    size_t n = (size_t)st.st_size, got = 0;
    uint8_t *all = malloc(n + 1);
    while (all && got < n) {
        ssize_t more = read(fd, all + got, n - got);
        if (!more)
            break;
        if (more < 0 && errno != EINTR) {
            free(all);
            return NULL;
        }
        got += more > 0 ? (size_t)more : 0;
    }
    *bytes = got;
    return all;
}

int rt__plans_read(rt__plans *p, const char *path, const char *whose, rt__why *why)
{
    size_t n = 0;
    *p = (rt__plans){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    uint8_t *all = fd < 0 ? NULL : read_all(fd, &n);
    int error =
        all ? parse(p, (Bytes){all, all + n}, path, whose, why)
            : rt__because(why, RT__INPUT, "%s cannot be read: %s", path, strerror(errno));
    free(all);
    if (fd >= 0)
        close(fd);
    if (error)
        rt__plans_release(p);
    return error;
}

// Writing
// --------------------------------------------------------------------------------------------

typedef struct Out {
    int fd;
    uint32_t sum;
    bool good;
} Out;

static void write_bytes(Out *o, const void *bytes, size_t n)
{
    o->sum = crc32c(o->sum, bytes, n);
    o->good = o->good && rt__write_all(o->fd, bytes, n);
}

static void write_number(Out *o, uint64_t n)
{
    uint8_t bytes[NUMBER] = {(uint8_t)n, (uint8_t)(n >> 8), (uint8_t)(n >> 16),
                             (uint8_t)(n >> 24)};
    write_bytes(o, bytes, sizeof bytes);
}

static bool write_plans(const rt__plans *p, int fd, const char *whose)
{
    Out o = {.fd = fd, .good = true};
    write_bytes(&o, format, sizeof format - 1);
    write_bytes(&o, whose, strlen(whose));
    write_bytes(&o, "\n", 1);
    for (int i = 0; i < p->n; i++) {
        const rt__kept_plan *k = &p->items[i];
        write_number(&o, strlen(k->key));
        write_number(&o, strlen(k->implementation));
        write_number(&o, k->json_bytes);
        write_bytes(&o, k->key, strlen(k->key));
        write_bytes(&o, k->implementation, strlen(k->implementation));
        write_bytes(&o, k->json, k->json_bytes);
    }
    write_number(&o, o.sum);
    return o.good;
}

// Under another name first: programs of a job that start together write the same file.
int rt__plans_write(const rt__plans *p, const char *path, const char *whose, rt__why *why)
{
    char now[RT__PATH];
    snprintf(now, sizeof now, "%s.%ld", path, (long)getpid());
    int fd = open(now, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    bool good = fd >= 0 && write_plans(p, fd, whose);
    if (fd >= 0 && close(fd))
        good = false;
    if (good && !rename(now, path))
        return 0;
    int error =
        rt__because(why, RT__ENVIRONMENT, "%s cannot be written: %s", path, strerror(errno));
    unlink(now);
    return error;
}
