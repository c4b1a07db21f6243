// A disk in memory for journals. What was synced survives a crash; of all else any bytes do, and of a file that
// its directory does not know, perhaps nothing. Calls fail, and the crash comes, where a test says.
#ifndef STAGECC_TESTS_MEMORY_DISK_H
#define STAGECC_TESTS_MEMORY_DISK_H

#include "control/journal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct MemoryDisk {
    JournalDisk calls;
    uint8_t *now, *synced; // [capacity]; zeros behind their ends
    int64_t size, synced_size, capacity;
    int64_t room;      // a write beyond finds the disk full
    int64_t bad_from;  // reading from there on fails; 0: nowhere
    bool entry_synced; // the directory knows it
    bool open, crashed;
    int n_calls;  // that change something, so far
    int fail_at;  // this one fails with EIO and does nothing; 0: none
    int crash_at; // at this one the machine stops; what it does counts as not synced; 0: none
    uint64_t random;
} MemoryDisk;

static inline uint64_t memory_random(MemoryDisk *d)
{
    d->random += 0x9e3779b97f4a7c15u; // splitmix64
    uint64_t z = d->random;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

// What becomes of a call: it works, it does not, or it is the last one.
typedef enum MemoryCall { CALL_WORKS, CALL_FAILS, CALL_IS_LAST } MemoryCall;

static inline MemoryCall memory_call(MemoryDisk *d)
{
    errno = EIO;
    if (d->crashed || ++d->n_calls == d->fail_at)
        return CALL_FAILS;
    d->crashed = d->n_calls == d->crash_at;
    return d->crashed ? CALL_IS_LAST : CALL_WORKS;
}

static inline int memory_open(void *user, const char *path)
{
    MemoryDisk *d = user;
    (void)path;
    if (d->open)
        errno = EWOULDBLOCK;
    if (d->open || memory_call(d) != CALL_WORKS)
        return -1;
    d->open = true;
    return 0;
}

static inline int64_t memory_size(void *user, int file)
{
    (void)file;
    return ((MemoryDisk *)user)->size;
}

static inline ssize_t memory_pread(void *user, int file, void *data, size_t n, int64_t at)
{
    MemoryDisk *d = user;
    int64_t end = d->bad_from && d->bad_from < d->size ? d->bad_from : d->size;
    (void)file;
    if (at >= end && end < d->size) {
        errno = EIO;
        return -1;
    }
    if ((int64_t)n > end - at)
        n = at < end ? (size_t)(end - at) : 0;
    memcpy(data, d->now + at, n);
    return (ssize_t)n;
}

static inline ssize_t memory_pwrite(void *user, int file, const void *data, size_t n,
                                    int64_t at)
{
    MemoryDisk *d = user;
    MemoryCall call = memory_call(d);
    (void)file;
    if (call == CALL_FAILS)
        return -1;
    if (at >= d->room) {
        errno = ENOSPC;
        return -1;
    }
    n = (int64_t)n > d->room - at ? (size_t)(d->room - at) : n;
    memcpy(d->now + at, data, n);
    d->size = at + (int64_t)n > d->size ? at + (int64_t)n : d->size;
    return call == CALL_WORKS ? (ssize_t)n : -1;
}

static inline int memory_fdatasync(void *user, int file)
{
    MemoryDisk *d = user;
    (void)file;
    if (memory_call(d) != CALL_WORKS)
        return -1;
    memcpy(d->synced, d->now, (size_t)d->size);
    d->synced_size = d->size;
    return 0;
}

static inline int memory_ftruncate(void *user, int file, int64_t size)
{
    MemoryDisk *d = user;
    MemoryCall call = memory_call(d);
    (void)file;
    if (call == CALL_FAILS)
        return -1;
    if (size < d->size)
        memset(d->now + size, 0, (size_t)(d->size - size));
    d->size = size;
    return call == CALL_WORKS ? 0 : -1;
}

static inline int memory_sync_entry(void *user, const char *path)
{
    MemoryDisk *d = user;
    (void)path;
    if (memory_call(d) != CALL_WORKS)
        return -1;
    d->entry_synced = true;
    return 0;
}

static inline void memory_close(void *user, int file)
{
    (void)file;
    ((MemoryDisk *)user)->open = false;
}

static inline long memory_holder(void *user, const char *path)
{
    (void)user;
    (void)path;
    return 4711;
}

static inline void memory_init(MemoryDisk *d, int64_t capacity)
{
    *d = (MemoryDisk){.calls = {.user = d,
                                .open = memory_open,
                                .size = memory_size,
                                .pread = memory_pread,
                                .pwrite = memory_pwrite,
                                .fdatasync = memory_fdatasync,
                                .ftruncate = memory_ftruncate,
                                .sync_entry = memory_sync_entry,
                                .close = memory_close,
                                .holder = memory_holder},
                      .now = calloc(1, (size_t)capacity),
                      .synced = calloc(1, (size_t)capacity),
                      .capacity = capacity,
                      .room = capacity};
}

static inline void memory_release(MemoryDisk *d)
{
    free(d->now);
    free(d->synced);
}

// The file holds these bytes, for certain.
static inline void memory_set(MemoryDisk *d, const void *bytes, int64_t n)
{
    memset(d->now, 0, (size_t)d->capacity);
    memcpy(d->now, bytes, (size_t)n);
    memcpy(d->synced, d->now, (size_t)d->capacity);
    d->size = d->synced_size = n;
    d->entry_synced = true;
}

// The process is gone; the machine goes on.
static inline void memory_process_dies(MemoryDisk *d)
{
    d->open = d->crashed = false;
    d->crash_at = d->fail_at = 0;
}

// Bytes of now and synced in turns of random length.
static inline void memory_mix(MemoryDisk *d, int64_t size)
{
    bool newer = false;
    int64_t turn = 0;
    for (int64_t i = 0; i < size; i++) {
        if (turn-- <= 0) {
            newer = memory_random(d) & 1;
            turn = (int64_t)(memory_random(d) % 24);
        }
        if (!newer)
            d->now[i] = i < d->synced_size ? d->synced[i] : 0;
    }
}

// The power fails. Now and then all of what was not synced survives, or nothing.
static inline void memory_power_fails(MemoryDisk *d)
{
    enum { NOTHING, ALL, WAYS = 6 };
    uint64_t way = memory_random(d) % WAYS;
    int64_t least = d->size < d->synced_size ? d->size : d->synced_size,
            most = d->size > d->synced_size ? d->size : d->synced_size, size = d->size;
    if (way == NOTHING) {
        memcpy(d->now, d->synced, (size_t)d->synced_size);
        size = d->synced_size;
    } else if (way != ALL) {
        size = least + (int64_t)(memory_random(d) % (uint64_t)(most - least + 1));
        memory_mix(d, size);
    }
    if (!d->entry_synced && memory_random(d) & 1)
        size = 0; // nobody finds it
    memset(d->now + size, 0, (size_t)(d->capacity - size));
    memcpy(d->synced, d->now, (size_t)d->capacity);
    d->size = d->synced_size = size;
    memory_process_dies(d);
}

#endif
