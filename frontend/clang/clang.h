// Models in C.
#ifndef STAGECC_FRONTEND_CLANG_CLANG_H
#define STAGECC_FRONTEND_CLANG_CLANG_H

#include "frontend/frontend.h"

extern const Frontend clang_frontend;

#endif
