// What calls of a model make: layers, answers about shapes, the loss; and what layers are called.
#ifndef STAGECC_FRONTEND_CLANG_LAYERS_H
#define STAGECC_FRONTEND_CLANG_LAYERS_H

#include "frontend/clang/builtin.h"

// layers.c
bool tensor_of(const BuiltinCall *c, Value v, Tensor *t); // false: it is none, reported
// An error that begins with the call's kind, and where t was made (t may be NULL).
Value call_wrong(const BuiltinCall *c, const Tensor *t, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

const char *call_type(const BuiltinCall *c, const Tensor *t); // "f32[4,64]"

// naming.c
const char *layers_scope(Machine *m, const char *stem, bool plain); // of a call that begins
const char *layers_name(Machine *m, const char *stem, const char *hint);
bool layers_claim(Machine *m, Ast *at, const char *name); // a name that the model chose
const Call *layers_call(Machine *m, Frame *f);

// train.c
bool layers_is_train(const Variable *v);
void layers_train(Machine *m, Variable *v);

// questions.c
const Builtin *question_find(const char *name);

#endif
