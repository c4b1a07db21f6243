// A layer's description, as PyTorch prints a module: `Conv2d(3, 64, kernel_size=(3, 3), bias=False)`.
#ifndef STAGECC_FRONTEND_PROFILE_DESCRIPTION_H
#define STAGECC_FRONTEND_PROFILE_DESCRIPTION_H

#include "base/arena.h"
#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct DescriptionField {
    const char *key, *value; // "kernel_size", "(3, 3)"; key NULL: it stands in its place
} DescriptionField;

typedef struct Description {
    const char *kind; // "Conv2d"
    VEC(DescriptionField) fields;
} Description;

Description description_of(Arena *a, const char *text);
// A field by its key; key NULL: the i-th of those that stand in their place. NULL: it is not there.
const char *description_field(const Description *d, const char *key, int i);

// Values: false: text is none of this kind (NULL is none).
bool field_int(const char *text, int64_t *out);
bool field_pair(const char *text, int64_t out[2]); // "3", "(3, 5)"
bool field_real(const char *text, double *out);
bool field_bool(const char *text, bool *out); // "True", "False"

#endif
