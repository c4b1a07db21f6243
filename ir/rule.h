// What the shape rules share. A rule reads the inputs' types through `rule_in` and writes
// output types; whatever does not fit it reports with `rule_wrong`. Private to ir/.
#ifndef STAGECC_IR_RULE_H
#define STAGECC_IR_RULE_H

#include "base/text.h"
#include "ir/shapes.h"

typedef struct Rule {
    const Node *n;
    Type *out;
    Text *why; // NULL: report at the user's place; else append the message here
} Rule;

// false: something was wrong and has been reported. Arity, attributes and the dtypes of inputs
// have been checked against the tables before a rule runs (rule_prepared).
typedef bool ShapeRule(const Rule *r);
bool rule_prepared(const Rule *r);
bool rule_is_bf16(const Rule *r); // one of the inputs is

// shape_<RULE> for every name in the shape column of ops.def.
#define OP(ID, name, in_min, in_max, out, shape, ...) ShapeRule shape_##shape;
#include "ir/ops.def"

enum { NO_INPUT = -1 };

// Reports "KIND: message" and says where input `at` was made. Always false.
bool rule_wrong(const Rule *r, int at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

typedef struct TypeText {
    char s[160];
} TypeText;
TypeText type_text(Type t); // "f32[4,64]": as in printf("%s", type_text(t).s)
TypeText rule_show(const Rule *r, int i);

Type rule_in(const Rule *r, int i);
bool dtype_is_float(DType t);
Type type_make(DType t, int rank, const int64_t *dim);
Type type_vector(DType t, int64_t n);
Type type_scalar(DType t);

// Input i has this rank, or is wrong. `role`: what the user calls it, "input", "weight".
bool rule_want_rank(const Rule *r, int i, const char *role, int rank);
// Input i has exactly this shape.
bool rule_want_shape(const Rule *r, int i, const char *role, Shape shape);
// Input i is the state of an LSTM before its first step: [n,2h], or the number 0.
bool rule_want_state(const Rule *r, int i, int64_t n, int64_t h);
// Of attention: input i is the queries, and the keys and values behind it are like them, in A_HEADS heads.
bool rule_want_heads(const Rule *r, int i);
// A_RATE leaves something.
bool rule_want_rate(const Rule *r);
// A_AXIS is a dimension of input i.
bool rule_want_axis(const Rule *r, int i);

// The shape of a convolution of x and w, or of a pooling of x, with the node's attributes.
bool rule_conv(const Rule *r, Shape x, Shape w, Shape *y);
bool rule_pool(const Rule *r, Shape x, Shape *y);

#endif
