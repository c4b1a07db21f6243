// FUZZ: base/*.c control/journal.c
// A journal: any bytes are opened or refused with a word, and what is refused stays as it is. What is opened
// is a beginning of the bytes, takes one more record, and then reads the same again without a word. All is
// tried with the checksums that it needs as well.
#include "plan/crc32c.h"
#include "tests/control/memory_disk.h"
#include "tests/fuzz/silent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 16, HEADER = sizeof(JournalHeader), MORE = 5 };

typedef struct Sum {
    uint64_t records;
    uint32_t crc; // of all data
} Sum;

static bool add(void *user, const JournalRecord *r)
{
    Sum *sum = user;
    sum->crc = crc32c(sum->crc, r->data, r->bytes); // touches every byte
    return ++sum->records == r->seq;
}

static void again(MemoryDisk *d, Journal *j, Sum sum)
{
    journal_append(j, 1, "more", MORE);
    if (journal_sync(j))
        abort();
    journal_close(j);
    diag_reset();
    Sum now = {0};
    sum = (Sum){sum.records + 1, crc32c(sum.crc, "more", MORE)};
    if (journal_open(j, &d->calls, "fuzz", add, &now) || diag_warnings() ||
        now.records != sum.records || now.crc != sum.crc)
        abort();
    journal_close(j);
}

static void read_and_write(const uint8_t *data, size_t size)
{
    MemoryDisk d;
    Journal j;
    Sum sum = {0};
    silent();
    memory_init(&d, (int64_t)size + HEAD + HEADER + MORE);
    memory_set(&d, data, (int64_t)size);
    bool opened = !journal_open(&j, &d.calls, "fuzz", add, &sum);
    if (opened ? d.size > (int64_t)size && d.size != HEAD
               : d.size != (int64_t)size || diag_errors() == 0)
        abort();
    if ((!opened || size >= HEAD) && memcmp(d.now, data, (size_t)d.size) != 0 && d.size != HEAD)
        abort();
    if (opened)
        again(&d, &j, sum);
    memory_release(&d);
}

static void with_checksums(uint8_t *data, size_t size)
{
    JournalHeader h;
    for (size_t at = HEAD; at + HEADER <= size; at += HEADER + h.bytes) {
        memcpy(&h, data + at, sizeof h);
        if (h.bytes > size - at - HEADER)
            break;
        h.crc32c =
            crc32c(crc32c(0, &h, offsetof(JournalHeader, crc32c)), data + at + HEADER, h.bytes);
        memcpy(data + at, &h, sizeof h);
    }
    read_and_write(data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *exact = calloc(1, size + !size);
    if (size)
        memcpy(exact, data, size);
    read_and_write(exact, size);
    with_checksums(exact, size);
    free(exact);
    return 0;
}
