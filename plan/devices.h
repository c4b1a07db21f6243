// The devices that a plan is made for: devices.json (docs/formats.md), or what `-n` and `-b` say.
#ifndef STAGECC_PLAN_DEVICES_H
#define STAGECC_PLAN_DEVICES_H

#include "base/arena.h"
#include "base/diag.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Device {
    const char *name, *host;
    const char *backend;  // "c", "cuda"
    int64_t memory_bytes; // 0: not known, no limit
    double speed;         // 1: as the profile was measured; 0.5: everything takes twice as long
    int threads;          // 0: not known
    const char
        *profile; // graph.txt with this device's own times; NULL: `speed` scales the given one
    Loc loc;
} Device;

// Between two devices of one host (from equals to), or between two hosts, in both directions.
typedef struct DeviceLink {
    const char *from, *to; // hosts
    double bytes_per_s, latency_s;
    bool per_device; // "shared": "device": every device has such a link; "host": they share one
    Loc loc;
} DeviceLink;

typedef struct Devices {
    Device *devices;
    int n;
    DeviceLink *links;
    int n_links;
    const char *reference; // whose speed is 1, in words; NULL: not said
} Devices;

// NULL: errors were reported with line and column. Unknown hosts, devices that have one name,
// speeds and bandwidths that are not finite and positive are errors.
Devices *devices_from_json(Arena *a, const char *file, const char *text);
char *devices_to_json(const Devices *d); // malloc'd text, reads back to the same
// NULL: no link is given between them.
const DeviceLink *devices_link(const Devices *d, const char *host, const char *other);

#endif
