// The input languages, in the order in which they are asked.
#include "frontend/clang/clang.h"
#include "frontend/profile/import.h"

const Frontend *const frontends[] = {&clang_frontend, &profile_frontend, NULL};
