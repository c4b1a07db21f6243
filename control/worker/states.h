// What a worker holds: images that its programs work in, or worked in, and copies of what other workers' programs own.
// A worker's core says which states count (worker_holds); what it does not name is dropped or written over, what it
// names is not.
#ifndef STAGECC_CONTROL_WORKER_STATES_H
#define STAGECC_CONTROL_WORKER_STATES_H

#include "control/worker/tensors.h"
#include "control/worker_core.h"
#include "plan/image.h"

typedef struct Beginning { // what belongs to a state beside its tensors
    int64_t seed;
    uint64_t epoch, index; // of the data
} Beginning;

typedef struct Image { // plan/image.h
    struct Image *older;
    int fd; // a memory file, closed on exec
    ImageHeader *header;
    size_t bytes;
    Tensors tensors;
    uint64_t parts;         // that its rank runs
    bool busy;              // it is filled, or a program may be alive in it
    int pins;               // parcels that have tensors in it: it is not freed
    _Atomic uint32_t lives; // programs that began in it: a state of an earlier one has ended
    // It began with the state (step, made); what lies behind that step was made in `epoch`.
    uint64_t step, made, epoch;
} Image;

typedef struct Copy {
    struct Copy *next;
    Held state;    // parts 0: a block to be used again
    bool coming;   // not all of it is here
    bool snapshot; // of a program of this worker, which writes over it in its image
    int pins;      // parcels that have tensors in it: it is not written over
    Beginning beginning;
    Tensors tensors;
    uint8_t *data;
    uint64_t room, touched; // bytes
    bool taken;             // of copies_ready
} Copy;

typedef struct States {
    Image *images; // newest first
    Copy *copies;
} States;

typedef struct Found {
    const StateTensor *tensor;
    const uint8_t *data;
    Beginning beginning;
    Image *image; // one of these
    Copy *copy;
    uint64_t step;
    uint32_t lives; // of the image
} Found;

// A tensor of the state (step, made); false: it is not here.
bool states_find(const States *s, uint64_t step, uint64_t made, const char *name, Found *found);
// Was it there all the time since it was found? A program may have begun to write over it. For any thread.
bool found_stays(const Found *found);
// What programs begin with besides tensors; it is the same in all places that have the state. false: none here does.
bool states_beginning(const States *s, uint64_t step, uint64_t made, Beginning *beginning);
// All tensors here of these parts of a state, into a malloc'd array. false: none here is, where parts that have no tensors
// at all are here if some place that has them is; or no memory.
bool states_gather(const States *s, const Held *state, Found **found, int *n,
                   Beginning *beginning);

// A new image, empty: nothing of it is valid. Takes over the tensors. NULL with errno set. It is busy.
Image *image_new(States *s, uint64_t plan, uint32_t rank, Tensors *tensors);
// One that is not busy, of the same plan and rank, and has the state. NULL: there is none.
Image *image_with(const States *s, uint64_t plan, uint32_t rank, uint64_t step, uint64_t made);
// What the core holds of a state behind another step in it, and no snapshot is of: when a program begins with `step` there,
// that is lost. parts 0: nothing.
Held image_rest(const States *s, const Image *image, const Worker *core, uint64_t step);
// For a program of `epoch`, which begins with the state: of an image that has it, only that stays valid. It is busy.
void image_reuse(Image *image, uint64_t step, uint64_t made, uint64_t epoch);
// Generation 0 is filled: it is the state (step, made) now.
void image_settle(Image *image, uint64_t step, uint64_t made, uint64_t epoch,
                  const Beginning *beginning);
// The generation that has the state; -1: none.
int image_has(const Image *image, uint64_t step, uint64_t made);

// The generations' memory is this process's, too, once a program has made it.
void image_touch(const Image *image);

// A block for a state that comes, of so many bytes. NULL: no memory.
Copy *copy_new(States *s, const Held *state, uint64_t bytes);
void copy_settle(Copy *c, Tensors *tensors,
                 const Beginning *beginning); // it is all there; takes over the tensors
void copy_free(Copy *c);                      // once it is not among the states
// Makes blocks for so many copies that will come, as far as those that are there, used or not, do not do, and touches their
// memory, some of it at a time. true: nothing is left to do.
bool copies_ready(States *s, const uint64_t *bytes, int n);

// Is there a snapshot of these parts of a state?
bool states_snapshot(const States *s, const Held *state);

// Drops what `core` does not hold and nobody is busy with, and of several places that have a state all but one. Blocks
// of copies are kept for later ones, unless `all`.
void states_sweep(States *s, const Worker *core, bool all);
void states_release(States *s);

#endif
