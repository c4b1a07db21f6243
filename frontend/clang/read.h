// Reading a model in this process: parse, evaluate, review. clang.c does it in a child.
#ifndef STAGECC_FRONTEND_CLANG_READ_H
#define STAGECC_FRONTEND_CLANG_READ_H

#include "frontend/clang/machine.h"

// NULL: errors were reported.
Graph *model_read(Arena *a, const char *path, const char *text, const ModelOptions *options);
// review.c: what a whole model must have, and warnings about what it does not use.
void model_review(Machine *m, Loc model);

#endif
