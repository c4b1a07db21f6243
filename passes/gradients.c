// One rule per name in the gradient column of ir/ops.def; ops.def says what each gradient op
// computes. Weights come before inputs: their gradients are accumulated and gone before the next
// image is made.
#include "passes/gradients.h"

enum { MAX_ATTRS = 8 };

// Attributes of the forward node that its gradient op bears too, and the shape of the result.
static int attrs_like(const Gradient *d, Op op, Shape shape, Attr *out)
{
    const Node *n = d->node;
    int count = 0;
    out[count++] = attr_shape(shape);
    for (int i = 0; i < n->n_attrs && count < MAX_ATTRS; i++)
        if (n->attrs[i].key != A_SHAPE && op_info[op].attrs >> n->attrs[i].key & 1)
            out[count++] = n->attrs[i];
    return count;
}

// One backward node as a contribution.
static void give_with(Gradient *d, const GradientNode *what)
{
    if (gradient_wanted(d, what->of))
        gradient_give(d, what->of, gradient_node(d, what));
}

static void give(Gradient *d, int i, Op op, Node *a, Node *b)
{
    give_with(d, &(GradientNode){op, i, {a, b}, NULL, 0});
}

// With the shape of input i and the forward node's attributes.
static void give_shaped(Gradient *d, int i, Op op, Node *a, Node *b)
{
    Attr attrs[MAX_ATTRS];
    int n = attrs_like(d, op, d->node->inputs[i]->shape, attrs);
    give_with(d, &(GradientNode){op, i, {a, b}, attrs, n});
}

static void give_bias(Gradient *d, int axis)
{
    Attr attr = attr_int(A_AXIS, axis);
    if (d->node->n_inputs > 2)
        give_with(d, &(GradientNode){OP_BIAS_GRAD, 2, {d->dy}, &attr, 1});
}

void gradient_NONE(Gradient *d)
{
    error_at(d->node->loc, "%s has no gradient, but the loss depends on parameters through it",
             op_info[d->node->op].name);
}

void gradient_CONV2D(Gradient *d)
{
    give_bias(d, 1);
    give_shaped(d, 1, OP_CONV2D_GRAD_WEIGHT, d->node->inputs[0], d->dy);
    give_shaped(d, 0, OP_CONV2D_GRAD_INPUT, d->dy, d->node->inputs[1]);
}

void gradient_LINEAR(Gradient *d)
{
    give_bias(d, d->node->shape.rank - 1);
    give(d, 1, OP_LINEAR_GRAD_WEIGHT, d->node->inputs[0], d->dy);
    give(d, 0, OP_LINEAR_GRAD_INPUT, d->dy, d->node->inputs[1]);
}

typedef struct Factor {
    Node *node;
    bool transpose;
} Factor;

static void give_product(Gradient *d, int i, Factor a, Factor b)
{
    Attr attrs[] = {attr_int(A_TRANSPOSE_A, a.transpose), attr_int(A_TRANSPOSE_B, b.transpose)};
    give_with(d, &(GradientNode){OP_MATMUL, i, {a.node, b.node}, attrs, 2});
}

// y = a' b', where a' is a or its transpose: da' = dy b'^T and db' = a'^T dy.
void gradient_MATMUL(Gradient *d)
{
    Node *a = d->node->inputs[0], *b = d->node->inputs[1];
    bool ta = node_int(d->node, A_TRANSPOSE_A), tb = node_int(d->node, A_TRANSPOSE_B);
    if (tb)
        give_product(d, 1, (Factor){d->dy, true}, (Factor){a, ta});
    else
        give_product(d, 1, (Factor){a, !ta}, (Factor){d->dy, false});
    if (ta)
        give_product(d, 0, (Factor){b, tb}, (Factor){d->dy, true});
    else
        give_product(d, 0, (Factor){d->dy, false}, (Factor){b, !tb});
}

void gradient_EMBEDDING(Gradient *d)
{
    give_shaped(d, 1, OP_EMBEDDING_GRAD, d->node->inputs[0], d->dy);
}

// Output i of a backward node as the contribution to one of the inputs, or as part of it.
static Node *result_of(Gradient *d, int of, Node *grad, int i)
{
    Attr index = attr_int(A_INDEX, i);
    return gradient_node(d, &(GradientNode){OP_RESULT, of, {grad}, &index, 1});
}

// One walk back through the steps gives the gradients of all gates; the weight's is then a product like
// that of a linear layer, of the gates and the h that they saw.
void gradient_LSTM(Gradient *d)
{
    Node *n = d->node, *gates = gradient_output(d, 1), *w = n->inputs[1], *s0 = n->inputs[2];
    GradientNode back = {OP_LSTM_GRAD, 0, {d->dy, gates, n, w, s0}, n->attrs, n->n_attrs};
    if (n->n_inputs > 3)
        back.inputs[5] = n->inputs[3];
    Node *dg = gradient_node(d, &back);
    if (gradient_wanted(d, 1))
        give(d, 1, OP_LINEAR_GRAD_WEIGHT, result_of(d, 1, dg, 2), dg);
    if (gradient_wanted(d, 2))
        gradient_give(d, 2, result_of(d, 2, dg, 1));
    if (gradient_wanted(d, 0))
        gradient_give(d, 0, dg);
}

// Queries, keys and a third input get what `dq`, a backward node, makes for them.
static void give_queries(Gradient *d, Node *dq)
{
    for (int i = 2; i > 0; i--)
        if (gradient_wanted(d, i))
            gradient_give(d, i, result_of(d, i, dq, i));
    if (gradient_wanted(d, 0))
        gradient_give(d, 0, dq);
}

// Backward computes tanh again: it would be larger than all else.
void gradient_ADDITIVE_SCORE(Gradient *d)
{
    Node *const *in = d->node->inputs;
    give_queries(d,
                 gradient_node(
                     d, &(GradientNode){
                            OP_ADDITIVE_SCORE_GRAD, 0, {d->dy, in[0], in[1], in[2]}, NULL, 0}));
}

// Likewise the scores, whose exponentials it gets right by lse.
void gradient_ATTENTION(Gradient *d)
{
    Node *n = d->node, *const *in = n->inputs, *lse = gradient_output(d, 1);
    give_queries(d, gradient_node(d, &(GradientNode){OP_ATTENTION_GRAD,
                                                     0,
                                                     {d->dy, in[0], in[1], in[2], n, lse},
                                                     n->attrs,
                                                     n->n_attrs}));
}

void gradient_L2_NORMALIZE(Gradient *d)
{
    Node *n = d->node;
    give_with(
        d,
        &(GradientNode){
            OP_L2_NORMALIZE_GRAD, 0, {d->dy, n, gradient_output(d, 1)}, n->attrs, n->n_attrs});
}

// x, gamma, beta and the two statistics of the forward node give all three gradients at once.
static void give_norm(Gradient *d, Op op)
{
    const Node *n = d->node;
    Node *mean = gradient_output(d, 1), *spread = gradient_output(d, 2);
    Node *dx = gradient_node(
        d, &(GradientNode){
               op, 0, {n->inputs[0], d->dy, n->inputs[1], mean, spread}, n->attrs, n->n_attrs});
    for (int i = 1; i <= 2; i++) {
        if (gradient_wanted(d, i))
            gradient_give(d, i, result_of(d, i, dx, i));
    }
    if (gradient_wanted(d, 0))
        gradient_give(d, 0, dx);
}

void gradient_BATCH_NORM(Gradient *d)
{
    give_norm(d, OP_BATCH_NORM_GRAD);
}

void gradient_LAYER_NORM(Gradient *d)
{
    give_norm(d, OP_LAYER_NORM_GRAD);
}

void gradient_MAX_POOL2D(Gradient *d)
{
    give_shaped(d, 0, OP_MAX_POOL2D_GRAD, d->dy, gradient_output(d, 1));
}

void gradient_AVG_POOL2D(Gradient *d)
{
    give_shaped(d, 0, OP_AVG_POOL2D_GRAD, d->dy, NULL);
}

void gradient_GLOBAL_POOL(Gradient *d)
{
    give_shaped(d, 0, OP_GLOBAL_AVG_POOL_GRAD, d->dy, NULL);
}

// Functions whose derivative is easily told from the result, and those that need the argument.
void gradient_RELU(Gradient *d)
{
    give(d, 0, OP_RELU_GRAD, d->dy, d->node);
}

void gradient_RELU6(Gradient *d)
{
    give(d, 0, OP_RELU6_GRAD, d->dy, d->node);
}

void gradient_SIGMOID(Gradient *d)
{
    give(d, 0, OP_SIGMOID_GRAD, d->dy, d->node);
}

void gradient_TANH(Gradient *d)
{
    give(d, 0, OP_TANH_GRAD, d->dy, d->node);
}

void gradient_SOFTMAX(Gradient *d)
{
    give(d, 0, OP_SOFTMAX_GRAD, d->dy, d->node);
}

// What was masked gets no gradient.
void gradient_MASK(Gradient *d)
{
    const Node *n = d->node;
    give_with(d, &(GradientNode){OP_MASK, 0, {d->dy, n->inputs[1]}, n->attrs, n->n_attrs});
}

void gradient_GELU(Gradient *d)
{
    give(d, 0, OP_GELU_GRAD, d->dy, d->node->inputs[0]);
}

void gradient_GELU_TANH(Gradient *d)
{
    give(d, 0, OP_GELU_TANH_GRAD, d->dy, d->node->inputs[0]);
}

// What was broadcast gets the sum over its copies.
static void give_summed(Gradient *d, int i, Node *full)
{
    Shape shape = d->node->inputs[i]->shape;
    Attr attr = attr_shape(shape);
    bool same = shape_equal(shape, full->shape);
    GradientNode sum = {OP_SUM_TO, i, {full}, &attr, 1};
    gradient_give(d, i, same ? full : gradient_node(d, &sum));
}

void gradient_ADD(Gradient *d)
{
    for (int i = 0; i < 2; i++)
        if (gradient_wanted(d, i))
            give_summed(d, i, d->dy);
}

void gradient_MUL(Gradient *d)
{
    for (int i = 0; i < 2; i++) {
        GradientNode product = {OP_MUL, i, {d->dy, d->node->inputs[1 - i]}, NULL, 0};
        if (gradient_wanted(d, i))
            give_summed(d, i, gradient_node(d, &product));
    }
}

// The forward op itself with the same attributes: scaling, and dropout with the same random numbers.
static void give_itself(Gradient *d)
{
    const Node *n = d->node;
    give_with(d, &(GradientNode){n->op, 0, {d->dy}, n->attrs, n->n_attrs});
}

void gradient_SCALE(Gradient *d)
{
    give_itself(d);
}

void gradient_DROPOUT(Gradient *d)
{
    give_itself(d);
}

void gradient_CONCAT(Gradient *d)
{
    int64_t axis = node_int(d->node, A_AXIS), begin = 0;
    for (int i = 0; i < d->node->n_inputs; i++) {
        int64_t length = d->node->inputs[i]->shape.dim[axis];
        Attr attrs[] = {attr_int(A_AXIS, axis), attr_int(A_BEGIN, begin),
                        attr_int(A_LENGTH, length)};
        give_with(d, &(GradientNode){OP_SLICE, i, {d->dy}, attrs, 3});
        begin += length;
    }
}

// Slice and pad are each other's gradient.
static void give_window(Gradient *d, Op op)
{
    int64_t axis = node_int(d->node, A_AXIS);
    Attr attrs[] = {attr_int(A_AXIS, axis), attr_int(A_BEGIN, node_int(d->node, A_BEGIN)),
                    attr_int(A_LENGTH, d->node->inputs[0]->shape.dim[axis])};
    give_with(d, &(GradientNode){op, 0, {d->dy}, attrs, 3});
}

void gradient_SLICE(Gradient *d)
{
    give_window(d, OP_PAD);
}

void gradient_PAD(Gradient *d)
{
    give_window(d, OP_SLICE);
}

void gradient_RESHAPE(Gradient *d)
{
    give_shaped(d, 0, OP_RESHAPE, d->dy, NULL);
}

void gradient_TRANSPOSE(Gradient *d)
{
    const int64_t *perm = node_ints(d->node, A_PERM);
    int64_t inverse[MAX_RANK];
    for (int i = 0; i < d->node->shape.rank; i++)
        inverse[perm[i]] = i;
    Attr attr = attr_ints(A_PERM, d->node->shape.rank, inverse);
    give_with(d, &(GradientNode){OP_TRANSPOSE, 0, {d->dy}, &attr, 1});
}

void gradient_CROSS_ENTROPY(Gradient *d)
{
    Node *logits = d->node->inputs[0], *labels = d->node->inputs[1];
    Node *lse = gradient_output(d, 1);
    give_with(d, &(GradientNode){OP_CROSS_ENTROPY_GRAD,
                                 0,
                                 {logits, labels, lse, d->dy},
                                 d->node->attrs,
                                 d->node->n_attrs});
}

// The mean square error is symmetric.
void gradient_MSE(Gradient *d)
{
    for (int i = 0; i < 2; i++) {
        Node *x = d->node->inputs[i], *t = d->node->inputs[1 - i];
        give_with(d, &(GradientNode){OP_MSE_GRAD, i, {x, t, d->dy}, NULL, 0});
    }
}
