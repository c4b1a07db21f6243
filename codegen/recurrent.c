// Recurrence and additive attention: kernels that every backend has under the same names but for its own in
// front (c_lstm.h, ref_lstm.h; c_attention.h, ref_attention.h).
#include "codegen/codegen.h"

// gates: [N,T,4H]
static const char *lstm_sizes(Emit *e, const char *backend, const Node *n, Shape gates)
{
    return arena_printf(e->scratch, "&(const %s_lstm_sizes){.n = %lld, .t = %lld, .h = %lld%s}",
                        backend, (long long)gates.dim[0], (long long)gates.dim[1],
                        (long long)gates.dim[2] / 4,
                        node_int(n, A_REVERSE) ? ", .reverse = 1" : "");
}

// The state before the first step; zeros are NULL.
static const Node *first_state(const Node *s0)
{
    return s0->shape.rank ? s0 : NULL;
}

void emit_lstm(Emit *e, const char *backend, const Node *n)
{
    const Node *g = n->inputs[0];
    emit(e,
         arena_printf(e->scratch, "%s_lstm($y, $gates, $g, $w, $s0, $lengths, $sizes);\n",
                      backend),
         "y", EMIT_VALUE, n, "gates", EMIT_VALUE, emit_output(e, n, 1), "g", EMIT_VALUE, g, "w",
         EMIT_VALUE, n->inputs[1], "s0", EMIT_VALUE, first_state(n->inputs[2]), "lengths",
         EMIT_VALUE, n->n_inputs > 3 ? n->inputs[3] : NULL, "sizes", EMIT_TEXT,
         lstm_sizes(e, backend, n, g->shape), NULL);
}

void emit_lstm_grad(Emit *e, const char *backend, const Node *n)
{
    emit(e,
         arena_printf(
             e->scratch,
             "%s_lstm_grad($dg, $ds0, $h, $dy, $gates, $y, $w, $s0, $lengths, $sizes);\n",
             backend),
         "dg", EMIT_VALUE, n, "ds0", EMIT_VALUE, emit_output(e, n, 1), "h", EMIT_VALUE,
         emit_output(e, n, 2), "dy", EMIT_VALUE, n->inputs[0], "gates", EMIT_VALUE,
         n->inputs[1], "y", EMIT_VALUE, n->inputs[2], "w", EMIT_VALUE, n->inputs[3], "s0",
         EMIT_VALUE, first_state(n->inputs[4]), "lengths", EMIT_VALUE,
         n->n_inputs > 5 ? n->inputs[5] : NULL, "sizes", EMIT_TEXT,
         lstm_sizes(e, backend, n, n->shape), NULL);
}

static const char *additive_sizes(Emit *e, const char *backend, Shape q, Shape k)
{
    return arena_printf(
        e->scratch, "&(const %s_additive){.n = %lld, .q = %lld, .k = %lld, .h = %lld}", backend,
        (long long)q.dim[0], (long long)q.dim[1], (long long)k.dim[1], (long long)q.dim[2]);
}

void emit_additive_score(Emit *e, const char *backend, const Node *n)
{
    const Node *q = n->inputs[0], *k = n->inputs[1];
    emit(e, arena_printf(e->scratch, "%s_additive_score($y, $q, $k, $v, $sizes);\n", backend),
         "y", EMIT_VALUE, n, "q", EMIT_VALUE, q, "k", EMIT_VALUE, k, "v", EMIT_VALUE,
         n->inputs[2], "sizes", EMIT_TEXT, additive_sizes(e, backend, q->shape, k->shape),
         NULL);
}

void emit_additive_score_grad(Emit *e, const char *backend, const Node *n)
{
    const Node *q = n->inputs[1], *k = n->inputs[2];
    emit(e,
         arena_printf(e->scratch,
                      "%s_additive_score_grad($dq, $dk, $dv, $dy, $q, $k, $v, $sizes);\n",
                      backend),
         "dq", EMIT_VALUE, emit_output(e, n, 0), "dk", EMIT_VALUE, emit_output(e, n, 1), "dv",
         EMIT_VALUE, emit_output(e, n, 2), "dy", EMIT_VALUE, n->inputs[0], "q", EMIT_VALUE, q,
         "k", EMIT_VALUE, k, "v", EMIT_VALUE, n->inputs[3], "sizes", EMIT_TEXT,
         additive_sizes(e, backend, q->shape, k->shape), NULL);
}
