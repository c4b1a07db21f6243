#include "control/journal.h"

#include "base/arena.h"
#include "base/diag.h"
#include "plan/crc32c.h"

#include <errno.h>
#include <string.h>

static const char head[] = "stagecc journal\n";
enum {
    HEAD = sizeof head - 1,
    HEADER = sizeof(JournalHeader),
    COVERED = offsetof(JournalHeader, crc32c), // of the header, by the checksum
    WINDOW = 2 * JOURNAL_MOST
};
_Static_assert(WINDOW >= HEADER + JOURNAL_MOST, "a record fits");

static Loc place(const Journal *j)
{
    return (Loc){j->path, 0, 0};
}

static int cannot(const Journal *j, const char *what, int error)
{
    error_at(place(j), "cannot be %s: %s", what, strerror(error));
    return EXIT_ENVIRONMENT;
}

static uint32_t checksum(const void *record, size_t bytes)
{
    return crc32c(crc32c(0, record, COVERED), (const uint8_t *)record + HEADER, bytes);
}

// Reading
// ------------------------------------------------------------------------------------------------

typedef struct Reader {
    const JournalDisk *disk;
    int file;
    int64_t size;
    uint8_t *window; // [WINDOW, or the size]: n bytes of the file from `at` on
    int64_t at, n;
    int error; // errno of what could not be read
} Reader;

static bool fill(Reader *r, int64_t at)
{
    int64_t wanted = r->size - at < WINDOW ? r->size - at : WINDOW;
    r->at = at;
    r->n = 0;
    while (r->n < wanted) {
        ssize_t got = r->disk->pread(r->disk->user, r->file, r->window + r->n,
                                     (size_t)(wanted - r->n), at + r->n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            r->error = got ? errno : EIO;
            return false;
        }
        r->n += got;
    }
    return true;
}

// n bytes from a place on; NULL: the file ends before, or cannot be read.
static const uint8_t *peek(Reader *r, int64_t at, size_t n)
{
    int64_t end = at + (int64_t)n;
    if (r->error || end > r->size)
        return NULL;
    bool inside = at >= r->at && end <= r->at + r->n;
    return inside || fill(r, at) ? r->window + (at - r->at) : NULL;
}

// The data of the record at a place; NULL: there is no whole one with the right checksum.
static const uint8_t *record_at(Reader *r, int64_t at, JournalHeader *h)
{
    const uint8_t *bytes = peek(r, at, HEADER);
    if (!bytes)
        return NULL;
    memcpy(h, bytes, HEADER);
    bytes = h->bytes <= JOURNAL_MOST ? peek(r, at, HEADER + h->bytes) : NULL;
    if (!bytes)
        return NULL;
    return checksum(bytes, h->bytes) == h->crc32c ? bytes + HEADER : NULL;
}

// Does a valid record behind this place know it as synced? Its own length may be wrong, so every byte is tried.
static bool was_synced(Reader *r, int64_t at, uint64_t seq)
{
    JournalHeader h;
    for (int64_t behind = at + 1; behind + HEADER <= r->size && !r->error; behind++)
        if (record_at(r, behind, &h) && h.seq > seq && behind - h.unsynced > at)
            return true;
    return false;
}

static int refuse(const Journal *j)
{
    error_at(place(j),
             "offset %lld: record %llu was altered after it had been written, and valid ones "
             "stand behind it; nothing was changed",
             (long long)j->end, (unsigned long long)j->seq + 1);
    note_at(place(j),
            "restore it from a copy; `truncate -s %lld %s` gives up all from there on",
            (long long)j->end, j->path);
    return EXIT_INPUT;
}

static int refuse_record(const Journal *j, const JournalHeader *h)
{
    if (h->version != JOURNAL_VERSION)
        error_at(place(j),
                 "offset %lld: a record of version %d, and this stagecc reads %d: open it with "
                 "the one that has written it",
                 (long long)j->end, h->version, JOURNAL_VERSION);
    else
        error_at(place(j),
                 "offset %lld: record %llu where %llu is due, so part of the file is missing; "
                 "nothing was changed: restore it from a copy",
                 (long long)j->end, (unsigned long long)h->seq, (unsigned long long)j->seq + 1);
    return EXIT_INPUT;
}

static int read_records(Journal *j, Reader *r, JournalTake *take, void *user)
{
    JournalHeader h;
    const uint8_t *data;
    while ((data = record_at(r, j->end, &h)) != NULL) {
        JournalRecord record = {h.seq, j->end, h.kind, h.bytes, data};
        if (h.version != JOURNAL_VERSION || h.seq != j->seq + 1)
            return refuse_record(j, &h);
        if (!take(user, &record))
            return EXIT_INPUT;
        j->seq = j->synced = h.seq;
        j->end += HEADER + h.bytes;
    }
    bool damaged = !r->error && was_synced(r, j->end, j->seq + 1);
    if (r->error)
        return cannot(j, "read", r->error);
    return damaged ? refuse(j) : EXIT_DONE;
}

// Opening
// ------------------------------------------------------------------------------------------------

static bool put_all(const Journal *j, const char *bytes, size_t n, int64_t at)
{
    for (size_t done = 0; done < n;) {
        ssize_t got =
            j->disk->pwrite(j->disk->user, j->file, bytes + done, n - done, at + (int64_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            errno = got ? errno : EIO;
            return false;
        }
        done += (size_t)got;
    }
    return true;
}

// A new file gets its head, and so does one of which a crash has left less: right bytes and zeros, with
// nothing behind them.
static int read_head(Journal *j, Reader *r)
{
    size_t n = r->size < HEAD ? (size_t)r->size : HEAD;
    const uint8_t *bytes = peek(r, 0, n);
    bool whole = n == HEAD, begun = r->size <= HEAD;
    if (!bytes)
        return cannot(j, "read", r->error);
    for (size_t i = 0; i < n; i++) {
        whole &= bytes[i] == (uint8_t)head[i];
        begun &= bytes[i] == (uint8_t)head[i] || !bytes[i];
    }
    j->end = HEAD;
    if (whole)
        return EXIT_DONE;
    if (!begun) {
        error_at(place(j), "is no journal: it does not begin with `%.*s`; name another file",
                 HEAD - 1, head);
        return EXIT_INPUT;
    }
    if (!put_all(j, head, HEAD, 0))
        return cannot(j, "written", errno);
    r->size = HEAD;
    return fill(r, 0) ? EXIT_DONE : cannot(j, "read", r->error);
}

static int cut_end(const Journal *j, int64_t size)
{
    if (size == j->end)
        return EXIT_DONE;
    if (j->disk->ftruncate(j->disk->user, j->file, j->end))
        return cannot(j, "cut", errno);
    warning_at(place(j),
               "its last %lld bytes, from offset %lld on, are no whole record: a crash came "
               "between; they were cut off behind record %llu",
               (long long)(size - j->end), (long long)j->end, (unsigned long long)j->seq);
    return EXIT_DONE;
}

// What was read is on the disk from here on, whoever wrote it and did not live to sync it.
static int settle(const Journal *j)
{
    if (j->disk->fdatasync(j->disk->user, j->file) ||
        j->disk->sync_entry(j->disk->user, j->path))
        return cannot(j, "synced", errno);
    return EXIT_DONE;
}

static void in_use(const Journal *j)
{
    long pid = j->disk->holder(j->disk->user, j->path);
    char who[40] = "another process";
    if (pid)
        snprintf(who, sizeof who, "process %ld", pid);
    error_at(place(j),
             "%s has it open, and one at a time may: end that one, or name another file", who);
}

static int cannot_open(const Journal *j)
{
    int error = errno;
    if (error == ESPIPE)
        error_at(place(j), "is a device or pipe: name a file");
    else if (error != EWOULDBLOCK)
        cannot(j, "opened", error);
    else
        in_use(j);
    return EXIT_ENVIRONMENT;
}

static int read_all(Journal *j, JournalTake *take, void *user)
{
    Arena arena = {0};
    Reader r = {
        .disk = j->disk, .file = j->file, .size = j->disk->size(j->disk->user, j->file)};
    if (r.size < 0)
        return cannot(j, "read", errno);
    int64_t room = r.size < HEAD ? HEAD : r.size < WINDOW ? r.size : WINDOW;
    r.window = arena_alloc(&arena, (size_t)room);
    int status = read_head(j, &r);
    if (!status)
        status = read_records(j, &r, take, user);
    if (!status)
        status = cut_end(j, r.size);
    arena_release(&arena);
    return status;
}

int journal_open(Journal *j, const JournalDisk *disk, const char *path, JournalTake *take,
                 void *user)
{
    *j = (Journal){.disk = disk, .path = path, .file = disk->open(disk->user, path)};
    if (j->file < 0)
        return cannot_open(j);
    int status = read_all(j, take, user);
    if (!status)
        status = settle(j);
    if (status)
        journal_close(j);
    return status;
}

// Writing
// ------------------------------------------------------------------------------------------------

uint64_t journal_append(Journal *j, uint16_t kind, const void *data, size_t bytes)
{
    size_t at = j->pending.length;
    CHECK(bytes <= JOURNAL_MOST && at < INT32_MAX, "journal",
          "a record of %zu bytes behind %zu", bytes, at);
    JournalHeader h = {.bytes = (uint32_t)bytes,
                       .kind = kind,
                       .version = JOURNAL_VERSION,
                       .seq = ++j->seq,
                       .unsynced = (uint32_t)at};
    text_append(&j->pending, (const char *)&h, HEADER);
    if (bytes)
        text_append(&j->pending, data, bytes);
    char *record = j->pending.data + at;
    h.crc32c = checksum(record, bytes);
    memcpy(record + COVERED, &h.crc32c, sizeof h.crc32c);
    return h.seq;
}

// After a write or sync that failed nobody knows what the disk has, so nothing is built upon it. It is cut
// back to what was promised; where even this fails, whoever opens it next does it.
static int give_up(Journal *j)
{
    int error = errno;
    j->failed = true;
    error_at(
        place(j),
        "cannot be written: %s; it holds all up to record %llu: mend that, then start again",
        strerror(error), (unsigned long long)j->synced);
    if (!j->disk->ftruncate(j->disk->user, j->file, j->end))
        j->disk->fdatasync(j->disk->user, j->file);
    return EXIT_ENVIRONMENT;
}

int journal_sync(Journal *j)
{
    if (j->failed)
        return EXIT_ENVIRONMENT;
    if (!j->pending.length)
        return EXIT_DONE;
    if (!put_all(j, j->pending.data, j->pending.length, j->end) ||
        j->disk->fdatasync(j->disk->user, j->file))
        return give_up(j);
    j->end += (int64_t)j->pending.length;
    j->synced = j->seq;
    j->pending.length = 0;
    return EXIT_DONE;
}

void journal_close(Journal *j)
{
    if (j->file >= 0)
        j->disk->close(j->disk->user, j->file);
    text_release(&j->pending);
    j->file = -1;
}
