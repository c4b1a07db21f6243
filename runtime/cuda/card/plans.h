// Execution plans in a file. To make one may take cuDNN two seconds, since it compiles kernels; from its JSON it is there
// again in milliseconds. A plan is of one version of cuDNN and one card; so is the file, and one that is of others counts
// as empty.
//
//     stagecc plans 1\n
//     cuDNN 91900, NVIDIA H200, ...\n       whose they are
//     for each plan: three uint32, which are the bytes of key, implementation and JSON, and these, without zeros
//     uint32: CRC32C of all before it
//
// Numbers are little-endian.
#ifndef STAGECC_CUDA_PLANS_H
#define STAGECC_CUDA_PLANS_H

#include "runtime/plain.h"

typedef struct rt__kept_plan {
    char *key;            // of the kernel, and which of its graphs
    char *implementation; // engine and knobs
    char *json;
    size_t json_bytes;
} rt__kept_plan;

typedef struct rt__plans {
    rt__kept_plan *items;
    int n, room;
    bool changed; // since they were read
} rt__plans;

// Owns what it holds, until rt__plans_release. A file that is not there, or is of another version, card or format, gives
// none; RT__INPUT: it cannot be read, or it is damaged.
int rt__plans_read(rt__plans *p, const char *path, const char *whose, rt__why *why);
// The whole file is there, or none of it. RT__ENVIRONMENT.
int rt__plans_write(const rt__plans *p, const char *path, const char *whose, rt__why *why);
void rt__plans_release(rt__plans *p);

const rt__kept_plan *rt__plans_find(const rt__plans *p, const char *key); // NULL: there is none
// In place of the one that has this key; takes over `json`, which malloc made. false: no memory.
bool rt__plans_add(rt__plans *p, const char *key, const char *implementation, char *json,
                   size_t json_bytes);

#endif
