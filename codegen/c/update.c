// Sums of gradients, and optimizers: calls of <stagecc/c_update.h>. Learning rate, step and clip factor
// are the runtime's. Tensors may lie as a library kernel wants them, padding included: it stays zero.
#include "codegen/c/c.h"
#include "codegen/heavy.h"

void c_emit_accumulate(Emit *e, const Node *n)
{
    GradSum done = emit_grad_sum(e, n->inputs[1]);
    if (done == GRAD_SUM_ALL)
        return;
    emit(e,
         done == GRAD_SUM_FIRST ? "if ($place > 0)\n    c_accumulate($sum, $grad, $n, 0);\n"
                                : "c_accumulate($sum, $grad, $n, $first);\n",
         "place", EMIT_TEXT, emit_place_in_step(e), "first", EMIT_TEXT, emit_is_first(e), "sum",
         EMIT_VALUE, n->inputs[0], "grad", EMIT_VALUE, n->inputs[1], "n", EMIT_INT,
         emit_elements(n->inputs[0]), NULL);
}

void c_emit_sgd(Emit *e, const Node *n)
{
    const Node *momentum = n->n_inputs > 2 ? n->inputs[2] : NULL;
    emit(e,
         momentum ? "c_sgd_momentum($param, $grad, $momentum, $n, (float)rt_lr(s), "
                    "(float)rt_clip(s), $factor, $decay, $nesterov, rt_next(s));\n"
                  : "c_sgd($param, $grad, $n, (float)rt_lr(s), (float)rt_clip(s), $decay, "
                    "rt_next(s));\n",
         "param", EMIT_VALUE, n->inputs[0], "grad", EMIT_VALUE, n->inputs[1], "momentum",
         EMIT_VALUE, momentum, "n", EMIT_INT, emit_elements(n->inputs[0]), "factor", EMIT_REAL,
         node_real(n, A_MOMENTUM), "decay", EMIT_REAL, node_real(n, A_WEIGHT_DECAY), "nesterov",
         EMIT_INT, node_int(n, A_NESTEROV), NULL);
}

void c_emit_adam(Emit *e, const Node *n)
{
    const char *options = arena_printf(
        e->scratch,
        "&(const c_adam_options){.beta1 = %s, .beta2 = %s, .eps = %s, .decay = %s, "
        ".decoupled = %d}",
        emit_double(e, node_real(n, A_BETA1)), emit_double(e, node_real(n, A_BETA2)),
        emit_double(e, node_real(n, A_EPS)), emit_double(e, node_real(n, A_WEIGHT_DECAY)),
        (int)node_int(n, A_DECOUPLED));
    emit(e,
         "c_adam($param, $grad, $avg, $avg_sq, $n, rt_lr(s), rt_clip(s), rt_step(s), "
         "rt_next(s), $options);\n",
         "param", EMIT_VALUE, n->inputs[0], "grad", EMIT_VALUE, n->inputs[1], "avg", EMIT_VALUE,
         n->inputs[2], "avg_sq", EMIT_VALUE, n->inputs[3], "n", EMIT_INT,
         emit_elements(n->inputs[0]), "options", EMIT_TEXT, options, NULL);
}
