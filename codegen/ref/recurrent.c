#include "codegen/ref/ref.h"

void ref_emit_lstm(Emit *e, const Node *n)
{
    emit_lstm(e, "ref", n);
}

void ref_emit_lstm_grad(Emit *e, const Node *n)
{
    emit_lstm_grad(e, "ref", n);
}

void ref_emit_additive_score(Emit *e, const Node *n)
{
    emit_additive_score(e, "ref", n);
}

void ref_emit_additive_score_grad(Emit *e, const Node *n)
{
    emit_additive_score_grad(e, "ref", n);
}
