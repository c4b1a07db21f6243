// safetensors files (https://github.com/huggingface/safetensors, "Format"): 8 bytes
// little-endian header length N, N bytes of JSON {"name": {"dtype", "shape", "data_offsets"},
// …}, then the data. The reader maps the file and trusts nothing in it; the writer streams.
#ifndef STAGECC_RUNTIME_SAFETENSORS_H
#define STAGECC_RUNTIME_SAFETENSORS_H

#include "runtime/data_file.h"
#include "runtime/plain.h"

// A tensor of a file. Files of other programs hold dtypes that this runtime has no use for:
// these have dtype 0 but are checked all the same.
typedef struct rt__st_tensor {
    const char *name;
    const char *type; // "F32", "BF16", "I64"
    rt_dtype dtype;   // 0: not one of ours
    int rank;         // of dim: at most RT_MAX_RANK; larger tensors are refused
    int64_t dim[RT_MAX_RANK];
    const uint8_t *data; // in the mapped file; any alignment
    uint64_t bytes;
    bool has_crc; // the file says what the CRC32C of its bytes is: our own files do
    uint32_t crc;
} rt__st_tensor;

typedef struct rt__st_file {
    rt__file file;
    void *header;           // parsed JSON, owner of the names
    rt__st_tensor *tensors; // sorted by name
    int n_tensors;
} rt__st_file;

// 0, RT__INPUT (the text names file and byte offset or tensor) or RT__ENVIRONMENT.
int rt__st_open(rt__st_file *file, const char *path, rt__why *why);
// The same for a file that is mapped already: takes it over, on failure too.
int rt__st_parse(rt__st_file *file, rt__file mapped, rt__why *why);
void rt__st_close(rt__st_file *file);
const rt__st_tensor *rt__st_find(const rt__st_file *file, const char *name); // NULL: not there

// Are the bytes of all tensors what their CRC32C says? 0, or RT__INPUT naming offset and tensor.
// Tensors without one are taken as they are.
int rt__st_verify(const rt__st_file *file, rt__why *why);
uint64_t rt__st_data_start(const rt__st_file *file); // where the header ends

// Writing: open with the whole table (in file order), give the tensors' plain bytes in that
// order, finish. After an error the file is gone and the writer needs no further call.
typedef struct rt__st_writer {
    char *path;
    int fd;
    uint64_t written, expected; // bytes of the whole file
    uint32_t crc;               // CRC32C of what was written
} rt__st_writer;

// Only name, dtype, rank and dim of the entries are read. crc: of each entry's bytes, for the
// header's metadata; NULL: left out.
int rt__st_create(rt__st_writer *w, const char *path, const rt_tensor *const *entries,
                  const uint32_t *crc, int n, rt__why *why);
int rt__st_write(rt__st_writer *w, const void *bytes, uint64_t n, rt__why *why);
int rt__st_finish(rt__st_writer *w, rt__why *why); // fsync, close; written and crc stay valid
void rt__st_abort(rt__st_writer *w);               // give up: closes and deletes

#endif
