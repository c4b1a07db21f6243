// The master's journal: records that are only ever added at the end, each on the disk before what it says
// takes effect (docs/formats.md).
//
//   stagecc journal\n | JournalHeader, data | JournalHeader, data | …
//
// After a crash, any bytes may be missing of the records that were being written: such an end is cut off when
// the journal is opened. Everything else that is wrong is damage, and refused. A record tells both apart
// because it says how much in front of it was not yet synced when it was written: a broken record with a
// valid one behind it that knows it as synced was damaged later.
#ifndef STAGECC_CONTROL_JOURNAL_H
#define STAGECC_CONTROL_JOURNAL_H

#include "base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef struct JournalHeader { // little-endian; the data follows, at any alignment
    uint32_t bytes;            // of the data
    uint16_t kind, version;    // what it is, for whoever wrote it; of this header
    uint64_t seq;              // 1, 2, 3, …
    uint32_t unsynced;         // bytes in front of it that were not on the disk for certain
    uint32_t crc32c;           // of all that stands above, and of the data
} JournalHeader;
_Static_assert(sizeof(JournalHeader) == 24 && offsetof(JournalHeader, kind) == 4 &&
                   offsetof(JournalHeader, version) == 6 && offsetof(JournalHeader, seq) == 8 &&
                   offsetof(JournalHeader, unsynced) == 16 &&
                   offsetof(JournalHeader, crc32c) == 20,
               "as it lies on the disk");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "as it lies on the disk");

enum { JOURNAL_VERSION = 1, JOURNAL_MOST = 1 << 20 }; // bytes of a record's data

// The calls that a journal makes: as in POSIX, -1 with errno set where they fail. A simulated disk has its own.
typedef struct JournalDisk {
    void *user;
    // For reading and writing; made if absent, for its owner alone. EWOULDBLOCK: somebody else has it open.
    int (*open)(void *user, const char *path);
    int64_t (*size)(void *user, int file);
    ssize_t (*pread)(void *user, int file, void *data, size_t n, int64_t at);
    ssize_t (*pwrite)(void *user, int file, const void *data, size_t n, int64_t at);
    int (*fdatasync)(void *user, int file);
    int (*ftruncate)(void *user, int file, int64_t size);
    int (*sync_entry)(void *user, const char *path); // its directory knows it, come what may
    void (*close)(void *user, int file);
    long (*holder)(void *user, const char *path); // the process that has it open; 0: not known
} JournalDisk;
extern const JournalDisk journal_disk; // of this machine

typedef struct JournalRecord {
    uint64_t seq;
    int64_t offset; // in the file
    uint16_t kind;
    uint32_t bytes;
    const void *data; // for the time of the call
} JournalRecord;
// false: it makes no sense, which was reported.
typedef bool JournalTake(void *user, const JournalRecord *record);

typedef struct Journal {
    const JournalDisk *disk;
    const char *path; // the caller's, as long as the journal is open
    int file;         // -1: closed
    uint64_t seq;     // of the newest record
    uint64_t synced;  // of the newest one that is on the disk
    int64_t end;      // of what is on the disk
    Text pending;     // records behind it
    bool failed;      // it takes no more
} Journal;

// Opens a journal, or makes an empty one, and hands over its records in order: what they say holds once this
// has returned EXIT_DONE. Else an error was reported, and the file is as it was: EXIT_INPUT where it is
// damaged or none, EXIT_ENVIRONMENT where it cannot be used now. An end that a crash has left is cut off, with
// a warning.
int journal_open(Journal *j, const JournalDisk *disk, const char *path, JournalTake *take,
                 void *user);
// Adds a record, of JOURNAL_MOST bytes at most. Returns its seq; journal_sync puts it on the disk.
uint64_t journal_append(Journal *j, uint16_t kind, const void *data, size_t bytes);
// EXIT_DONE: all that was appended is on the disk. EXIT_ENVIRONMENT: nothing of what was appended since the
// last time counts, which was reported; the journal takes no more, and can be opened again.
int journal_sync(Journal *j);
void journal_close(Journal *j); // forgets what was not synced

#endif
