#include "codegen/c/c.h"
#include "codegen/ref/ref.h"

void c_emit_accumulate(Emit *e, const Node *n)
{
    ref_emit_accumulate(e, n);
}

void c_emit_sgd(Emit *e, const Node *n)
{
    ref_emit_sgd(e, n);
}

void c_emit_adam(Emit *e, const Node *n)
{
    ref_emit_adam(e, n);
}
