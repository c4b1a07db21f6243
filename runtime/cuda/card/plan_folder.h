// Plans that all programs of a user share: a folder with a file for each (plans.h), named after a hash of its key, the
// library and the card. The file says all three itself, so a hash that two have in common costs the time to make one.
#ifndef STAGECC_CUDA_PLAN_FOLDER_H
#define STAGECC_CUDA_PLAN_FOLDER_H

#include "runtime/cuda/card/plans.h"
#include "runtime/disk.h"
#include "runtime/rt.h"

typedef struct rt__plan_folder {
    char path[RT__PATH];
    const char *whose; // as plans.h has it
    bool full;         // it could not be written to, which was said
} rt__plan_folder;

// Where plans lie that are a program's own: beside it, out/stage0.plans. false: nobody knows where it is.
bool rt__plans_beside(char path[RT__PATH]);
// Where the folder is: $XDG_CACHE_HOME/stagecc/plans, or that in ~/.cache. false: nobody says where.
bool rt__plan_folder_find(char path[RT__PATH]);
// The plan with this key becomes one of `plans`, if it is there. What is damaged is a warning.
void rt__plan_folder_read(rt_stage *s, const rt__plan_folder *f, const char *key,
                          rt__plans *plans);
// Keeps one. A disk that is full, or may not be written to, is a warning, and nothing more is kept.
void rt__plan_folder_write(rt_stage *s, rt__plan_folder *f, const rt__kept_plan *plan);

#endif
