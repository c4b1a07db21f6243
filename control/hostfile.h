// Hostfiles: which hosts take part, one a line.
//
//   # the two in the rack
//   h1       slots=2
//   me@h2    slots=4 mem=24G device=cpu weight=0.5   # older
//
//   slots    how many stage programs run there at once (1)
//   device   cpu or cuda: what each of them computes on (cpu)
//   mem      memory of each slot: bytes, or with K, M, G, T (of 1024)
//   weight   speed of each slot, 1 as the profile was measured
// What is not said is found out (`stagecc devices`).
#ifndef STAGECC_CONTROL_HOSTFILE_H
#define STAGECC_CONTROL_HOSTFILE_H

#include "base/arena.h"
#include "base/diag.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Host {
    const char *name; // as ssh takes it: host, user@host, or an alias
    int slots;
    bool cuda;
    int64_t memory_bytes; // of a slot; 0: not said
    double weight;        // 0: not said
    Loc loc;
} Host;

typedef struct Hosts {
    Host *items;
    int n;
} Hosts;

// NULL: errors were reported with line and column: a name that begins with `-` or that a shell would
// not take literally, a host named twice, unknown or repeated fields, numbers out of range, no host.
Hosts *hostfile_parse(Arena *a, const char *file, const char *text);
// The same of a file; a file that cannot be read was reported, too.
Hosts *hostfile_read(Arena *a, const char *file);
// This machine, which needs no ssh: `localhost`, a loopback address, or its own name.
bool host_is_local(const char *name);

#endif
