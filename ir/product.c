#include "ir/product.h"

bool is_product(Op op)
{
    return op == OP_LINEAR || op == OP_LINEAR_GRAD_INPUT || op == OP_LINEAR_GRAD_WEIGHT ||
           op == OP_MATMUL;
}

static int64_t last(Shape s)
{
    return s.dim[s.rank - 1];
}

Product product_of(const Node *n)
{
    Shape a = n->inputs[0]->shape, b = n->inputs[1]->shape;
    Product p = {.batch = 1};
    switch ((int)n->op) {
    case OP_LINEAR: // x[rows,I] w[O,I]^T
        p.m = shape_count(a) / last(a);
        p.n = b.dim[0];
        p.k = last(a);
        p.b_turned = true;
        p.bias = n->n_inputs > 2;
        return p;
    case OP_LINEAR_GRAD_INPUT: // dy[rows,O] w[O,I]
        p.m = shape_count(a) / last(a);
        p.n = b.dim[1];
        p.k = last(a);
        return p;
    case OP_LINEAR_GRAD_WEIGHT: // dy[rows,O]^T x[rows,I]; the first operand is input 1
        p.m = last(b);
        p.n = last(a);
        p.k = shape_count(a) / last(a);
        p.a_turned = true;
        return p;
    }
    p.a_turned = node_int(n, A_TRANSPOSE_A) != 0;
    p.b_turned = node_int(n, A_TRANSPOSE_B) != 0;
    p.m = n->shape.dim[n->shape.rank - 2];
    p.n = last(n->shape);
    p.k = a.dim[a.rank - (p.a_turned ? 2 : 1)];
    p.batch = shape_count(n->shape) / (p.m * p.n);
    return p;
}
