#include "codegen/c/c.h"
#include "codegen/ref/ref.h"

void c_emit_embedding(Emit *e, const Node *n)
{
    ref_emit_embedding(e, n);
}

void c_emit_concat(Emit *e, const Node *n)
{
    ref_emit_concat(e, n);
}

void c_emit_slice(Emit *e, const Node *n)
{
    ref_emit_slice(e, n);
}

void c_emit_pad(Emit *e, const Node *n)
{
    ref_emit_pad(e, n);
}

void c_emit_transpose(Emit *e, const Node *n)
{
    ref_emit_transpose(e, n);
}

void c_emit_reorder(Emit *e, const Node *n)
{
    ref_emit_reorder(e, n);
}

void c_emit_bias_grad(Emit *e, const Node *n)
{
    ref_emit_bias_grad(e, n);
}

void c_emit_sum_to(Emit *e, const Node *n)
{
    ref_emit_sum_to(e, n);
}

void c_emit_embedding_grad(Emit *e, const Node *n)
{
    ref_emit_embedding_grad(e, n);
}
