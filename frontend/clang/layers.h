// Layers: from a call's arguments to nodes of the graph. Shape rules are the IR's; here stands what
// the model language adds: parameters, defaults, names, what counts as the batch.
#ifndef STAGECC_FRONTEND_CLANG_LAYERS_H
#define STAGECC_FRONTEND_CLANG_LAYERS_H

#include "frontend/clang/builtin.h"

// One layer being made.
typedef struct Build {
    Machine *m;
    Graph *g;
    Ast *at;
    const BuiltinCall *call;
    const Value *options; // the struct of options, the last argument; NULL: none
    Layer *layer;
    const char *suffix; // of the next node's name; NULL: none
} Build;

// An initial value; a gain that was not given is NAN.
typedef struct Init {
    const char *rule;
    double gain;
    bool fan_out;
} Init;

// build.c: functions that return false, NULL or POISON have reported why.
bool build_begin(Build *b, const BuiltinCall *call); // finds the options, makes the layer
bool build_begin_named(Build *b, const BuiltinCall *call, const char *name);
bool build_tensor(Build *b, int i, TensorRecord *t); // argument i
bool tensor_of(const BuiltinCall *c, Value v, TensorRecord *t);
// A node of the layer, called like it; like NAME.suffix where `suffix` was set for it.
Node *build_node(Build *b, Op op, Node *const *inputs, int n, const Attr *attrs, int n_attrs);
Value build_result(Build *b, Node *n, bool sample);      // n NULL: POISON
const char *build_type(Build *b, const TensorRecord *t); // "f32[4,64]"
// An error that begins with the layer's kind, and where t was made (t may be NULL).
Value build_wrong(Build *b, const TensorRecord *t, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
Node *build_parameter(Build *b, const char *suffix, Shape shape, Init init);
Node *build_buffer(Build *b, const char *suffix, int64_t n, double value);

// options.c
bool option_given(const Build *b, const char *name);
int64_t option_int(const Build *b, const char *name, int64_t fallback);
double option_real(const Build *b, const char *name, double fallback);
const char *option_string(const Build *b, const char *name); // NULL: not given
bool option_tensor(const Build *b, const char *name, TensorRecord *t);
Init option_init(const Build *b, const char *name, Init fallback);
Value record_field(const Build *b, const Value *record, const char *name); // POISON: absent
// The leading fields `stem0` .. that were given.
int option_values(const Build *b, const char *stem, Value *out, int most);
int option_dims(const Build *b, int64_t *out); // dim0 ..
// `.kernel`, `.kernel_h`, `.kernel_w`: [h, w]; fallback NULL: must be given.
bool option_pair(Build *b, const char *name, const int64_t *fallback, int64_t lowest,
                 int64_t out[2]);

// naming.c
const char *layers_scope(Machine *m, const char *stem, bool plain); // of a call that begins
const char *layers_name(Machine *m, const char *stem, const char *hint);
bool layers_claim(Machine *m, Ast *at, const char *name); // a name that the model chose
const Call *layers_call(Machine *m, Frame *f);

// train.c
bool layers_is_train(const Variable *v);
void layers_train(Machine *m, Variable *v);

// Functions of the table in layers.c, by what they make.
Value layer_input(const BuiltinCall *c);
Value layer_target(const BuiltinCall *c);
Value layer_parameter(const BuiltinCall *c);
Value layer_conv2d(const BuiltinCall *c);
Value layer_linear(const BuiltinCall *c);
Value layer_embedding(const BuiltinCall *c);
Value layer_batch_norm(const BuiltinCall *c);
Value layer_layer_norm(const BuiltinCall *c);
Value layer_max_pool2d(const BuiltinCall *c);
Value layer_avg_pool2d(const BuiltinCall *c);
Value layer_concat(const BuiltinCall *c);
Value layer_concat_list(const BuiltinCall *c);
Value layer_slice(const BuiltinCall *c);
Value layer_flatten(const BuiltinCall *c);
Value layer_reshape(const BuiltinCall *c);
Value layer_transpose(const BuiltinCall *c);
Value layer_loss(const BuiltinCall *c);
Value layer_output(const BuiltinCall *c);
Value query_dim(const BuiltinCall *c);
Value query_rank(const BuiltinCall *c);
Value query_channels(const BuiltinCall *c);
Value query_height(const BuiltinCall *c);
Value query_width(const BuiltinCall *c);
Value query_features(const BuiltinCall *c);

#endif
