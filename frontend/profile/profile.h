// graph.txt, the profiled layer graph (PipeDream's format; docs/formats.md). Numbers and descriptions
// are kept as they were written, so that a file that is read and printed again is the same bytes.
#ifndef STAGECC_FRONTEND_PROFILE_PROFILE_H
#define STAGECC_FRONTEND_PROFILE_PROFILE_H

#include "base/arena.h"
#include "base/diag.h"
#include "base/text.h"
#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct ProfileNode {
    const char *id, *description;             // "node4", "Conv2d(3, 64, ...)"
    double forward_ms, backward_ms;           // for the profiled batch
    double activation_bytes, parameter_bytes; // a list of activations is added up
    const char *fields; // from forward_compute_time to the parameter size, as written
    int stage;          // -1: none
    Loc loc;
} ProfileNode;

typedef struct ProfileEdge {
    int from, to; // indices of nodes
    Loc loc;
    const char *indent; // a tab, or the spaces of some files
} ProfileEdge;

typedef struct Profile {
    VEC(ProfileNode) nodes;
    VEC(ProfileEdge) edges;
    bool crlf, final_newline;
} Profile;

bool profile_looks_like(const char *text); // "NAME -- " in its first line
// NULL: errors were reported, with line and column and what would be right.
Profile *profile_read(Arena *a, const char *file, const char *text);
Profile *profile_load(Arena *a, const char *file); // likewise, what file holds
bool profile_file(const char *file);               // does its content look like a graph?
void profile_print(Text *out, const Profile *p);
// The format's own spelling of a node's numbers (ms and bytes, three decimals).
const char *profile_fields(Arena *a, double forward_ms, double backward_ms,
                           double activation_bytes, double parameter_bytes);
// Indices of all nodes so that every edge goes forward; file order where the edges leave a choice.
// NULL: a cycle was reported, naming its nodes.
int *profile_order(Arena *a, const Profile *p);

#endif
