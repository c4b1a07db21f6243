#include "codegen/c/c.h"

void c_emit_lstm(Emit *e, const Node *n)
{
    emit_lstm(e, "c", n);
}

void c_emit_lstm_grad(Emit *e, const Node *n)
{
    emit_lstm_grad(e, "c", n);
}

void c_emit_additive_score(Emit *e, const Node *n)
{
    emit_additive_score(e, "c", n);
}

void c_emit_additive_score_grad(Emit *e, const Node *n)
{
    emit_additive_score_grad(e, "c", n);
}
