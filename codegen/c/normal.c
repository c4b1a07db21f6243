#include "codegen/c/c.h"
#include "codegen/ref/ref.h"

void c_emit_batch_norm(Emit *e, const Node *n)
{
    ref_emit_batch_norm(e, n);
}

void c_emit_batch_norm_infer(Emit *e, const Node *n)
{
    ref_emit_batch_norm_infer(e, n);
}

void c_emit_running_update(Emit *e, const Node *n)
{
    ref_emit_running_update(e, n);
}

void c_emit_layer_norm(Emit *e, const Node *n)
{
    ref_emit_layer_norm(e, n);
}

void c_emit_softmax(Emit *e, const Node *n)
{
    ref_emit_softmax(e, n);
}

void c_emit_cross_entropy(Emit *e, const Node *n)
{
    ref_emit_cross_entropy(e, n);
}

void c_emit_mse(Emit *e, const Node *n)
{
    ref_emit_mse(e, n);
}

void c_emit_batch_norm_grad(Emit *e, const Node *n)
{
    ref_emit_batch_norm_grad(e, n);
}

void c_emit_layer_norm_grad(Emit *e, const Node *n)
{
    ref_emit_layer_norm_grad(e, n);
}

void c_emit_softmax_grad(Emit *e, const Node *n)
{
    ref_emit_softmax_grad(e, n);
}

void c_emit_cross_entropy_grad(Emit *e, const Node *n)
{
    ref_emit_cross_entropy_grad(e, n);
}

void c_emit_mse_grad(Emit *e, const Node *n)
{
    ref_emit_mse_grad(e, n);
}
