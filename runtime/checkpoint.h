// Checkpoints: DIR/step-000120/ with stage-K.safetensors (parameters and buffers),
// optim-K.safetensors (optimizer state), manifest.json and model.safetensors.index.json. State
// moves by name, so a run may resume under any other plan.
//
// Saving is a conversation of all stages:
//   every stage   rt__checkpoint_write   its two files into DIR/.step-000120.tmp/, fsynced
//   barrier       stage 0 gets everyone's rt__shard (plain bytes, no pointers)
//   stage 0       rt__checkpoint_commit  manifest, index, fsync, rename: the checkpoint exists
// or, where a stage failed, rt__checkpoint_discard, once the job knows of the failure: from then on
// other stages may miss the directory. An older checkpoint is never touched before the new one is
// complete.
#ifndef STAGECC_RUNTIME_CHECKPOINT_H
#define STAGECC_RUNTIME_CHECKPOINT_H

#include "runtime/data.h"
#include "runtime/plain.h"

typedef struct rt__shard {
    uint64_t bytes[2]; // stage-K, optim-K
    uint32_t crc[2];   // CRC32C
} rt__shard;

// Where a run stands, and under which numeric contract it got there.
typedef struct rt__progress {
    int64_t step;      // optimizer steps done
    rt__cursor cursor; // first sample of the next step
    int64_t seed;      // of data order, dropout and initial values
} rt__progress;

// Write this stage's files. Makes DIR and the temporary directory as needed. 0, or RT__ENVIRONMENT
// (disk full, …).
int rt__checkpoint_write(const char *dir, int64_t step, int stage, const rt__memory *m,
                         rt__shard *shard, rt__why *why);
// The same results. shards: one per stage of the program. The committed directory is DIR/step-%06d.
int rt__checkpoint_commit(const char *dir, const rt_program *program,
                          const rt__progress *progress, const rt__shard *shards, rt__why *why);
void rt__checkpoint_discard(const char *dir, int64_t step);
void rt__checkpoint_path(const char *dir, int64_t step, char *path, size_t size);

// A checkpoint that was opened is whole: sizes and CRC32C of all files agree with the manifest
// and every file has been parsed.
typedef struct rt__checkpoint rt__checkpoint;

// path: a checkpoint, or a directory of step-* of which the newest complete one is taken.
// 0, RT__INPUT or RT__ENVIRONMENT.
int rt__checkpoint_open(rt__checkpoint **c, const char *path, rt__why *why);
void rt__checkpoint_close(rt__checkpoint *c); // NULL is fine
const char *rt__checkpoint_name(const rt__checkpoint *c);
rt__progress rt__checkpoint_progress(const rt__checkpoint *c);
// Parameters, buffers and state of this stage, each found by name in any shard. All are checked
// before the first is copied. RT__INPUT: missing, or of another shape or dtype; named.
int rt__checkpoint_load(const rt__checkpoint *c, const rt__memory *m, rt__why *why);
// Is this program's numeric contract (backend, threads, ISA, micro-batches, compiler) the one
// of the checkpoint? false: the text says what differs; the run may go on, but not with the
// same bits.
bool rt__checkpoint_same_contract(const rt__checkpoint *c, const rt_program *program,
                                  rt__why *why);

// --init: parameters and buffers by name from a .safetensors file, or from every shard that a
// …index.json names. Floating point dtypes are converted. A missing tensor or another shape is
// RT__INPUT, all checked before the first is copied. Tensors of the file that nobody asked for
// are listed in `extra` when whole_model is set (only then can they be known); PyTorch's
// num_batches_tracked is no news. extra->text is "" when there are none.
int rt__init_load(const char *path, const rt__memory *m, bool whole_model, rt__why *extra,
                  rt__why *why);

#endif
