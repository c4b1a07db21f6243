#include "codegen/c/c.h"
#include "codegen/ref/ref.h"

void c_emit_relu(Emit *e, const Node *n)
{
    ref_emit_relu(e, n);
}

void c_emit_gelu(Emit *e, const Node *n)
{
    ref_emit_gelu(e, n);
}

void c_emit_gelu_tanh(Emit *e, const Node *n)
{
    ref_emit_gelu_tanh(e, n);
}

void c_emit_sigmoid(Emit *e, const Node *n)
{
    ref_emit_sigmoid(e, n);
}

void c_emit_tanh(Emit *e, const Node *n)
{
    ref_emit_tanh(e, n);
}

void c_emit_add(Emit *e, const Node *n)
{
    ref_emit_add(e, n);
}

void c_emit_mul(Emit *e, const Node *n)
{
    ref_emit_mul(e, n);
}

void c_emit_scale(Emit *e, const Node *n)
{
    ref_emit_scale(e, n);
}

void c_emit_dropout(Emit *e, const Node *n)
{
    ref_emit_dropout(e, n);
}

void c_emit_relu_grad(Emit *e, const Node *n)
{
    ref_emit_relu_grad(e, n);
}

void c_emit_gelu_grad(Emit *e, const Node *n)
{
    ref_emit_gelu_grad(e, n);
}

void c_emit_gelu_tanh_grad(Emit *e, const Node *n)
{
    ref_emit_gelu_tanh_grad(e, n);
}

void c_emit_sigmoid_grad(Emit *e, const Node *n)
{
    ref_emit_sigmoid_grad(e, n);
}

void c_emit_tanh_grad(Emit *e, const Node *n)
{
    ref_emit_tanh_grad(e, n);
}
