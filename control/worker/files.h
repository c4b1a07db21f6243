// Programs and sources that come from the master, each known by the SHA-256 of its bytes:
//
//   DIR/objects/<sha256>          whole and verified, or not there; for its owner alone
//   DIR/plans/<of plan.json>/     the files of an epoch under their names: links to objects
//
// One file is under way at a time, and of it one request: what is lost is asked for again.
#ifndef STAGECC_CONTROL_WORKER_FILES_H
#define STAGECC_CONTROL_WORKER_FILES_H

#include "base/sha256.h"
#include "control/message.h"

enum { FILE_NAME = 64, FILES_WHY = 200 };

typedef struct File {
    char name[FILE_NAME];
    uint8_t hash[SHA256_BYTES];
    uint64_t bytes;
    bool needed, here;
} File;

typedef struct Files {
    char *dir, *plan; // folders; plan: of the epoch, NULL: it has none
    int lock;         // on dir: no other worker uses it
    File *items;
    int n;
    // The one that is under way
    uint8_t hash[SHA256_BYTES];
    uint64_t bytes, got;
    int fd; // of a temporary file; -1: none is
    Sha256 sum;
    int64_t asked_ns, moved_ns, begun_ns;
    char why[FILES_WHY]; // a file that is needed cannot be had; empty: all is well
} Files;

// dir is made. false: with errno set; EWOULDBLOCK: another worker uses it.
bool files_init(Files *f, const char *dir);
void files_release(Files *f);
// The files of a new epoch. false: f->why.
bool files_expect(Files *f, const File *files, int n);
// Is it in f->plan under its name? Else it is got.
bool files_have(Files *f, const char *name);
// Asks for what lacks. True: *want is to be sent.
bool files_want(Files *f, int64_t now_ns, Want *want);
// What came; what was not asked for is dropped.
void files_take(Files *f, const Message *piece, int64_t now_ns);

#endif
