// What is copied to other hosts: files and every library they load beyond libc, as one archive that is named by its
// content. It is unpacked in ~/.cache/stagecc/NAME there (XDG_CACHE_HOME is heeded) beside its place, compared with its
// manifest, tried, and then renamed; a host that has it already is left alone.
#ifndef STAGECC_DRIVER_BUNDLE_H
#define STAGECC_DRIVER_BUNDLE_H

#include "base/arena.h"
#include "base/vec.h"
#include "control/hostfile.h"

typedef struct Bundle {
    Arena *arena;
    const char *what;           // for messages: "the programs of out"
    const char *tmp;            // what is packed, as links
    VEC(const char *) files;    // names in the bundle
    const char *name, *archive; // on the hosts; here; once it is closed
} Bundle;

// Begins an empty one; SIGINT and SIGTERM are told by bundle_copy from then on.
void bundle_begin(Bundle *b, Arena *a, const char *what);
// false: reported.
bool bundle_file(Bundle *b, const char *name, const char *path);
bool bundle_program(Bundle *b, const char *name, const char *path); // with its libraries
// One that programs load when they need it, so that the loader does not list it. False, and nothing is
// reported: it is not here.
bool bundle_loaded(Bundle *b, const char *soname);
// Writes the manifest there and packs all of it. false: reported.
bool bundle_close(Bundle *b, const char *manifest);
// To all hosts that are not this machine, at once. `trial`: a script that runs in the bundle's folder there. `told`: of
// each host, and whether it had to be copied. Exit status; what went wrong was reported.
int bundle_copy(Bundle *b, const Hosts *hosts, const char *trial,
                void (*told)(void *user, const char *host, bool copied), void *user);
// Where it lies on a host, for a script: "${XDG_CACHE_HOME:-$HOME/.cache}/stagecc/0123456789abcdef".
const char *bundle_place(const Bundle *b);
void bundle_end(Bundle *b);

#endif
