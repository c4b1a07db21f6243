// What must survive a crash: files and directories that are on the disk when a function returns.
// All return 0, or RT__ENVIRONMENT with path and cause in `why`.
#ifndef STAGECC_RUNTIME_DISK_H
#define STAGECC_RUNTIME_DISK_H

#include "runtime/plain.h"

// The longest path that the system takes, and room to see that one is longer.
enum { RT__PATH = 4096 + 300 };

// "DIR/NAME"; cut off where it is too long for the system anyway.
void rt__path_join(char path[RT__PATH], const char *dir, const char *name);

int rt__dir_make(const char *path, rt__why *why); // with its parents; it may exist
int rt__dir_sync(const char *path, rt__why *why);
// Delete the plain files of a directory whose names `keep` (NULL: none) does not want.
void rt__dir_empty(const char *path, bool (*keep)(const char *name, void *user), void *user);
void rt__dir_remove(const char *path); // with its plain files; it need not exist
// Give `from` the name `to`; a directory that has this name is deleted afterwards.
int rt__dir_replace(const char *from, const char *to, rt__why *why);

bool rt__write_all(int fd, const void *bytes, uint64_t n);           // false: errno says why
int rt__file_save(const char *path, const char *text, rt__why *why); // fsynced

#endif
