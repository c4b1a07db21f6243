// The layers of the model language, for every frontend: a call with its arguments becomes nodes of the
// graph. Shape rules are the IR's; here stands what the language adds: parameters, defaults, initial
// values, what counts as the batch. A frontend reads its language into LayerCalls.
#ifndef STAGECC_FRONTEND_LAYERS_H
#define STAGECC_FRONTEND_LAYERS_H

#include "frontend/frontend.h"

enum { MAX_LAYERS = 100 * 1000 }; // of a model

typedef struct Tensor {
    Node *node;  // NULL: it is wrong, and that was reported
    bool sample; // dimension 0 is the batch
} Tensor;
#define NO_TENSOR ((Tensor){0})

// An initial value, by a rule of ir/attrs.def.
typedef struct Init {
    const char *rule;
    double gain;
    bool fan_out;
} Init;

typedef enum ArgKind {
    ARG_INT,
    ARG_BOOL, // in i, as the next one
    ARG_TYPE, // of elements: LAYER_F32, LAYER_I32
    ARG_REAL,
    ARG_STRING,
    ARG_TENSOR,
    ARG_INIT
} ArgKind;

typedef struct Arg {
    const char *name; // of an option; NULL: it stands in its place
    ArgKind kind;
    union {
        int64_t i;
        double real;
        const char *s;
        Tensor tensor;
        Init init;
    };
} Arg;

// A graph that is being made.
typedef struct Draft {
    Graph *graph;
    const ModelOptions *options;
    int dropouts; // random streams given out
} Draft;

typedef struct LayerKind LayerKind;

// conv2d(x, 64, .kernel = 3): two args, one option. What is no option stands in the order in which a
// model writes it; the name of an input, a target or a parameter is its first argument.
typedef struct LayerCall {
    Draft *draft;
    const LayerKind *kind;
    const char *name; // of the layer; NULL: the kind with a number
    Loc loc;
    const Call *caller;
    const Arg *args, *options; // of an option that is given twice, the first counts
    int n, n_options;
    void (*said)(void *user); // called behind an error, to say more of the place; NULL: nothing
    void *user;
} LayerCall;

struct LayerKind {
    const char *kind, *stem; // what users write; what names begin with
    Tensor (*run)(const LayerCall *c);
};
const LayerKind *layer_kind(const char *kind); // NULL: there is no such layer
// Its nodes. NO_TENSOR: errors were reported at the call's place.
Tensor layer_make(const LayerCall *c);

enum { LAYER_F32 = 1, LAYER_I32 }; // the element types of inputs and targets, as arguments

// ---- for the files of this folder

// One layer being made.
typedef struct Build {
    const LayerCall *call;
    Graph *g;
    Layer *layer;
    const char *suffix; // of the next node's name; NULL: none
} Build;

// build.c: functions that return false, NULL or NO_TENSOR have reported why.
bool build_begin(Build *b, const LayerCall *call); // makes the layer
bool build_tensor(Build *b, int i, Tensor *t);     // argument i
// A node of the layer, called like it; like NAME.suffix where `suffix` was set for it.
Node *build_node(Build *b, Op op, Node *const *inputs, int n, const Attr *attrs, int n_attrs);
Tensor build_result(Node *n, bool sample);
const char *build_type(const Build *b, const Tensor *t); // "f32[4,64]"
// An error that begins with the layer's kind, and where t was made (t may be NULL).
Tensor build_wrong(const Build *b, const Tensor *t, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
Node *build_parameter(Build *b, const char *suffix, Shape shape, Init init);
Node *build_buffer(Build *b, const char *suffix, int64_t n, double value);

// options.c
bool option_given(const Build *b, const char *name);
int64_t option_int(const Build *b, const char *name, int64_t fallback);
double option_real(const Build *b, const char *name, double fallback);
bool option_tensor(const Build *b, const char *name, Tensor *t); // false: not given
Init option_init(const Build *b, const char *name, Init fallback);
// The arguments from place `first` on, as dimensions. -1: there are too many, reported.
int argument_dims(const Build *b, int first, int64_t out[MAX_RANK]);
// `.kernel`, `.kernel_h`, `.kernel_w`: [h, w]; fallback NULL: must be given.
bool option_pair(const Build *b, const char *name, const int64_t *fallback, int64_t lowest,
                 int64_t out[2]);

#define LAYER(kind, stem, run) Tensor layer_##run(const LayerCall *c);
#include "frontend/layers/layers.def"

#endif
