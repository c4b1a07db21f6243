// Functions that stagecc knows itself: layers, questions about shapes, the C library's mathematics.
#ifndef STAGECC_FRONTEND_CLANG_BUILTIN_H
#define STAGECC_FRONTEND_CLANG_BUILTIN_H

#include "frontend/clang/machine.h"

typedef struct BuiltinCall {
    Machine *m;
    Ast *at;
    const Value *args; // none is poisoned
    int n;
    const struct Builtin *builtin;
    const char *hint; // the variable that gets the result; NULL
} BuiltinCall;

typedef struct Builtin {
    const char *name; // as C sees it: "stagecc_conv2d", "sqrt"
    Value (*run)(const BuiltinCall *c);
    const char *kind, *stem; // layers: what users write; what names begin with
    union {
        double (*one)(double);
        double (*two)(double, double);
        float (*one_f)(float);
        float (*two_f)(float, float);
        long long (*whole)(double);
    } math;
} Builtin;

const Builtin *builtin_find(const char *name); // NULL: not known
const Builtin *library_find(const char *name); // library.c
const Builtin *layer_find(const char *name);   // layers.c

#endif
