// Sums of gradients, and optimizers. Learning rate, step and clip factor are the runtime's.
#include "codegen/ref/ref.h"

void ref_emit_accumulate(Emit *e, const Node *n)
{
    emit(e, "ref_accumulate($sum, $grad, $n, $first);\n", "sum", EMIT_VALUE, n->inputs[0],
         "grad", EMIT_VALUE, n->inputs[1], "n", EMIT_INT, ref_elements(n->inputs[0]), "first",
         EMIT_TEXT, emit_is_first(e), NULL);
}

void ref_emit_sgd(Emit *e, const Node *n)
{
    emit(e,
         "ref_sgd($param, $grad, $momentum, $n, (real)rt_lr(s), (real)rt_clip(s), $factor, "
         "$nesterov, $decay, rt_next(s));\n",
         "param", EMIT_VALUE, n->inputs[0], "grad", EMIT_VALUE, n->inputs[1], "momentum",
         EMIT_VALUE, n->n_inputs > 2 ? n->inputs[2] : NULL, "n", EMIT_INT,
         ref_elements(n->inputs[0]), "factor", EMIT_REAL, node_real(n, A_MOMENTUM), "nesterov",
         EMIT_INT, node_int(n, A_NESTEROV), "decay", EMIT_REAL, node_real(n, A_WEIGHT_DECAY),
         NULL);
}

void ref_emit_adam(Emit *e, const Node *n)
{
    const char *options = arena_printf(
        e->scratch,
        "&(const ref_adam_options){.beta1 = %s, .beta2 = %s, .eps = %s, .decay = %s, "
        ".decoupled = %d}",
        emit_double(e, node_real(n, A_BETA1)), emit_double(e, node_real(n, A_BETA2)),
        emit_double(e, node_real(n, A_EPS)), emit_double(e, node_real(n, A_WEIGHT_DECAY)),
        (int)node_int(n, A_DECOUPLED));
    emit(e,
         "ref_adam($param, $grad, $avg, $avg_sq, $n, rt_lr(s), rt_clip(s), rt_step(s), "
         "rt_next(s), $options);\n",
         "param", EMIT_VALUE, n->inputs[0], "grad", EMIT_VALUE, n->inputs[1], "avg", EMIT_VALUE,
         n->inputs[2], "avg_sq", EMIT_VALUE, n->inputs[3], "n", EMIT_INT,
         ref_elements(n->inputs[0]), "options", EMIT_TEXT, options, NULL);
}
