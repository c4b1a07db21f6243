// manifest.json of a checkpoint: where the run stands, under which numeric contract it got there,
// and which files belong to it (docs/formats.md). Its last member is a CRC32C of the rest.
#ifndef STAGECC_RUNTIME_MANIFEST_H
#define STAGECC_RUNTIME_MANIFEST_H

#include "runtime/checkpoint.h"

// What decides the bits of a run, independent of how the model is cut.
typedef struct rt__contract {
    const char *backend, *isa, *compiler, *real, *replicas, *transfer, *staleness;
    int64_t threads, micro_batch, micro_batches;
} rt__contract;

typedef struct rt__manifest_file {
    const char *name; // no directory in it
    uint64_t bytes;
    uint32_t crc;
} rt__manifest_file;

typedef struct rt__manifest {
    void *json; // owner of the texts; NULL while writing
    const char *model, *plan_hash;
    rt__progress progress;
    rt__contract contract;
    rt__manifest_file *files;
    int n_files;
} rt__manifest;

rt__contract rt__contract_of(const rt_program *program);
// Do both give the same bits? false: the text says what differs.
bool rt__contract_equal(const rt__contract *program, const rt__contract *checkpoint,
                        rt__why *why);

char *rt__manifest_text(const rt__manifest *m); // malloc'd; NULL without memory
// `path` is for messages. 0, RT__INPUT (path and offset or member) or RT__ENVIRONMENT. Release
// with rt__manifest_release, after an error too.
int rt__manifest_parse(rt__manifest *m, const char *path, const void *bytes, size_t n,
                       rt__why *why);
void rt__manifest_release(rt__manifest *m);

#endif
