// Rows of logits in bf16 begin at multiples of 16 bytes, where the backend asks for that: of 50257 classes, say, every
// other row would begin at 2 bytes, and libraries have slow kernels only for such products. What a linear layer
// makes for cross_entropy alone gets a pitch, and so does the gradient. All that reads them knows: cross_entropy and its
// gradient, linear_grad_input, linear_grad_weight, bias_grad, and the runtime, which scores predictions.
#include "passes/pitch.h"

#include "passes/values.h"

static bool is_odd(const Node *n)
{
    int64_t columns = n->shape.rank > 1 ? n->shape.dim[n->shape.rank - 1] : 1;
    return n->dtype == BF16 && columns > 1 && columns * dtype_bytes(BF16) % ROW_ALIGN != 0;
}

static bool reads_gradient(const Node *n, const Node *gradient)
{
    switch ((int)n->op) {
    case OP_LINEAR_GRAD_INPUT: return n->inputs[0] == gradient;
    case OP_LINEAR_GRAD_WEIGHT: return n->inputs[1] == gradient && n->inputs[0] != gradient;
    case OP_BIAS_GRAD: return node_int(n, A_AXIS) == gradient->shape.rank - 1;
    }
    return false;
}

static bool takes_gradient(const Values *v, const Node *gradient)
{
    Node **readers;
    for (int i = value_readers(v, gradient, &readers); i-- > 0;)
        if (!reads_gradient(readers[i], gradient))
            return false;
    return true;
}

static bool takes_logits(const Values *v, const Node *logits)
{
    Node **readers;
    int n = value_readers(v, logits, &readers);
    for (int i = 0; i < n; i++) {
        bool gradient = readers[i]->op == OP_CROSS_ENTROPY_GRAD;
        if ((readers[i]->op != OP_CROSS_ENTROPY && !gradient) ||
            readers[i]->inputs[0] != logits || (gradient && !takes_gradient(v, readers[i])))
            return false;
    }
    return n > 0;
}

static void set_pitch(Node *n)
{
    n->layout = LAYOUT_PITCHED;
    n->bytes =
        shape_product(n->shape, 0, n->shape.rank - 1) * node_row(n) * dtype_bytes(n->dtype);
}

void pitch_logits(const Graph *g, Arena *scratch)
{
    Values v = values_of(scratch, g);
    for (int i = 0; i < g->nodes.n; i++) {
        Node *n = g->nodes.items[i], **readers;
        if (n->op != OP_LINEAR || !is_odd(n) || !takes_logits(&v, n))
            continue;
        set_pitch(n);
        for (int k = value_readers(&v, n, &readers); k-- > 0;)
            if (readers[k]->op == OP_CROSS_ENTROPY_GRAD)
                set_pitch(readers[k]);
    }
}
