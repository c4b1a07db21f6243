// The map of the IR: one typed dataflow graph with static shapes.
//
// A Graph is a list of nodes in execution order: forward nodes, then backward, update and eval nodes
// once the passes have written them. A node has inputs (other nodes), attributes, a dtype and a
// static shape. Nodes that the user's one call made share a Layer, which carries the name and the
// place in the source. Everything lives in the graph's arena.
#ifndef STAGECC_IR_GRAPH_H
#define STAGECC_IR_GRAPH_H

#include "base/arena.h"
#include "base/diag.h"
#include "base/vec.h"

#include <stdbool.h>
#include <stdint.h>

enum { MAX_RANK = 6, MAX_OUTPUTS = 3 };

typedef enum DType { DTYPE_ERROR, F32, F64, BF16, I32, U8, N_DTYPES } DType;

typedef struct Shape {
    int rank; // 0: a scalar
    int64_t dim[MAX_RANK];
} Shape;

typedef enum Op {
#define OP(ID, ...) OP_##ID,
#include "ir/ops.def"
    N_OPS
} Op;

typedef enum AttrKey {
#define ATTR(KEY, ...) A_##KEY,
#include "ir/attrs.def"
    N_ATTRS
} AttrKey;

typedef enum AttrKind { ATTR_INT, ATTR_REAL, ATTR_INTS, ATTR_STRING } AttrKind;

typedef struct Attr {
    AttrKey key;
    AttrKind kind;
    int n; // ATTR_INTS: how many
    union {
        int64_t i;
        double r;
        int64_t ints[MAX_RANK];
        const char *s;
    };
} Attr;

// When a node runs. Eval nodes are the forward nodes again as inference needs them; gradients of
// weights run apart where the schedule splits backward (passes/split.c).
typedef enum Phase {
    PHASE_FORWARD,
    PHASE_BACKWARD,
    PHASE_BACKWARD_WEIGHT,
    PHASE_UPDATE,
    PHASE_EVAL,
    N_PHASES
} Phase;

static inline bool phase_is_backward(Phase phase)
{
    return phase == PHASE_BACKWARD || phase == PHASE_BACKWARD_WEIGHT;
}

// How the elements lie in memory; decided before the cut, so that a cut never changes bits.
typedef enum Layout {
    LAYOUT_PLAIN,         // row-major
    LAYOUT_BLOCKED,       // [N, C/b, H, W, b] with b = Graph.block
    LAYOUT_CHANNELS_LAST, // [N, H, W, C]
    LAYOUT_KERNEL,        // whatever the library kernel of the layer wants: weights, workspaces
    LAYOUT_PITCHED, // row-major, but rows begin at multiples of ROW_ALIGN bytes (node_row)
    N_LAYOUTS
} Layout;
enum { ROW_ALIGN = 16 };

// How a backend wants images [N,C,H,W] to lie. Weights [K,C/groups,R,S] that convolutions alone read are LAYOUT_KERNEL
// then. Beside channels last that is [K,R,S,C/groups], and so are all others where a convolution reads them.
typedef enum Images { IMAGES_PLAIN, IMAGES_BLOCKED, IMAGES_CHANNELS_LAST } Images;

// One call in the user's source, innermost first.
typedef struct Call {
    const char *function;
    Loc loc; // where it was called
    const struct Call *caller;
} Call;

// One layer call of the model.
typedef struct Layer {
    int id;           // index in Graph.layers
    const char *name; // unique; parameters are called NAME.weight
    const char *kind; // what the user wrote: "conv2d"
    Loc loc;
    const Call *caller; // through which functions; NULL at top level
    int stage;          // where the source puts it; -1: it does not say
} Layer;

typedef struct Node Node;
struct Node {
    int id; // index in Graph.nodes after graph_renumber; unique always
    Op op;
    Phase phase;
    DType dtype; // of output 0; DTYPE_ERROR: an error was reported, stay silent about users
    Shape shape;
    Node **inputs;
    int n_inputs;
    Attr *attrs;
    int n_attrs;
    const char *name; // unique in the graph; an identifier with dots: "stem.weight"
    Layer *layer;     // NULL only for nodes that no layer made (the loss's seed)
    Loc loc;
    Node *forward; // backward and eval nodes: the forward node they derive from
    int group;     // nodes of one group run as one loop or kernel; -1: alone
    int unit;      // the cut unit it belongs to; -1 until the units pass
    Layout layout; // of output 0
    int64_t bytes; // of output 0 in its layout; 0 until the layout pass
};

typedef VEC(Node *) NodeList;

// `TRAIN(.lr = 0.1)`: the model's own defaults, spelled as the command line spells them.
typedef struct TrainSetting {
    const char *name, *value; // "lr", "0.1"
    Loc loc;
} TrainSetting;

typedef struct Graph {
    Arena *arena;
    const char *name; // the model's, an identifier
    const char *file; // the source; NULL for none
    int64_t micro_batch;
    int block;      // channels of a block in LAYOUT_BLOCKED
    NodeList nodes; // execution order
    VEC(Layer *) layers;
    VEC(TrainSetting) train;
    Node *loss;   // scalar; NULL: no loss
    Node *output; // what predictions are read from (logits); NULL: none
    int next_id;
    void *names; // unique-name table, private to graph.c
} Graph;

Graph *graph_new(Arena *a, const char *name, int64_t micro_batch);
// A new layer. name NULL: kind plus a number. A name that is taken gets a suffix "_2".
Layer *graph_layer(Graph *g, const char *name, const char *kind, Loc loc, const Call *caller);

// What a node computes with. All of it is copied.
typedef struct NodeArgs {
    Node *const *inputs;
    int n_inputs;
    const Attr *attrs;
    int n_attrs;
} NodeArgs;

// Append a node and infer its type. A wrong shape or dtype is reported at loc and the node gets
// DTYPE_ERROR; inputs with DTYPE_ERROR make it silent. Never NULL. The phase is forward.
// name NULL: made from layer and op.
Node *graph_add(Graph *g, Op op, Layer *layer, Loc loc, const char *name, NodeArgs args);
// The same in another phase, derived from a forward node, whose layer and place it takes.
Node *graph_derive(Graph *g, Op op, Phase phase, Node *forward, const char *name,
                   NodeArgs args);
// Output i of n (a RESULT node; made once and found again). i = 0 is n itself.
Node *graph_result(Graph *g, Node *n, int i);
const char *graph_unique(Graph *g, const char *wish); // a node name nobody has
// Make ids equal positions, after nodes were moved or dropped.
void graph_renumber(Graph *g);

// Gives n this attribute, in place of what it had by that key.
void graph_set_attr(Graph *g, Node *n, Attr attr);
void node_drop_attr(Node *n, AttrKey key);

Attr attr_int(AttrKey key, int64_t v);
Attr attr_real(AttrKey key, double v);
Attr attr_string(AttrKey key, const char *s);
Attr attr_ints(AttrKey key, int n, const int64_t *v);
Attr attr_shape(Shape s);

const Attr *node_attr(const Node *n, AttrKey key); // NULL: absent
int64_t node_int(const Node *n, AttrKey key);      // absent: the table's fallback
double node_real(const Node *n, AttrKey key);
const int64_t *node_ints(const Node *n, AttrKey key);
const char *node_string(const Node *n, AttrKey key);
bool node_is(const Node *n, char flag); // one of the flags of ops.def: E L X V H

int64_t shape_count(Shape s);                       // elements; -1 when it does not fit 62 bits
int64_t shape_product(Shape s, int begin, int end); // of dimensions begin .. end-1
bool shape_equal(Shape a, Shape b);
const char *shape_text(Arena *a, Shape s); // "[4,64,8,8]"
// Of an image, or of what repeats over one, aligned at its end ([C,1,1]): the dimensions as they lie channels last,
// [N,H,W,C], with ones for those that are missing; and where dimension d of [N,C,H,W] is among them.
Shape shape_channels_last(Shape s);
int dim_channels_last(int d);
// Do channels last lie as they lie plain? There is one channel, or one pixel.
bool shape_lies_alike(Shape s);
int64_t dtype_bytes(DType t);
const char *dtype_name(DType t);
DType dtype_parse(const char *name); // DTYPE_ERROR: unknown
int64_t node_logical_bytes(const Node *n);
// Elements from where a row of the last dimension begins to where the next one does: as many as there are columns, or, in
// LAYOUT_PITCHED, some more, which mean nothing.
int64_t node_row(const Node *n);

// The op table, as data.
typedef struct OpInfo {
    const char *id, *name, *meaning;
    int min_inputs, max_inputs, outputs; // max_inputs -1: MANY
    const char *shape, *gradient, *cost, *flags, *bf16;
    uint64_t attrs; // bit 1 << AttrKey
} OpInfo;
extern const OpInfo op_info[N_OPS];
Op op_find(const char *name); // N_OPS: unknown
// The column bf16: what an op wants and makes where one of its inputs is bf16.
typedef enum BF16Form {
    FORM_ANY, // integers, or all alike
    FORM_BF16,
    FORM_F32,
    FORM_READABLE // bf16, or f32 where that is there in any case
} BF16Form;
BF16Form op_bf16_input(Op op, int i);
BF16Form op_bf16_output(Op op, int i);

typedef struct AttrInfo {
    const char *name, *meaning;
    AttrKind kind;
    bool required;
    double fallback;
} AttrInfo;
extern const AttrInfo attr_info[N_ATTRS];

extern const char *const phase_name[N_PHASES];
extern const char *const layout_name[N_LAYOUTS];

#endif
