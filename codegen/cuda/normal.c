// Running statistics, layer norm, l2_normalize, softmax and losses: calls of <stagecc/cu_layer_norm.cuh>, <stagecc/cu_l2_normalize.cuh>,
// <stagecc/cu_softmax.cuh> and <stagecc/cu_loss.cuh>.
#include "codegen/cuda/cuda.h"

static const char *sizes(Emit *e, const Node *n)
{
    return arena_printf(e->scratch, "%lldx%lld", (long long)cuda_rows(n),
                        (long long)cuda_last(n));
}

// "cu_softmax<float, 5>", of the type and the last dimension of n. Where rows lie apart: "cu_cross_entropy<rt_bf16, 5, 8>".
static const char *of_rows(Emit *e, const char *function, const Node *n)
{
    const char *row = n->layout == LAYOUT_PITCHED
                          ? arena_printf(e->scratch, ", %lld", (long long)node_row(n))
                          : "";
    return arena_printf(e->scratch, "%s<%s, %lld%s>", function, cuda_type(n),
                        (long long)cuda_last(n), row);
}

void cuda_emit_running_update(Emit *e, const Node *n)
{
    int64_t channels = cuda_elements(n->inputs[0]);
    Function f = function_new(e, "running_update",
                              arena_printf(e->scratch, "%lld", (long long)channels));
    function_out(&f, "running_mean", n->inputs[0]);
    function_out(&f, "running_var", n->inputs[1]);
    function_in(&f, "mean", n->inputs[2]);
    function_in(&f, "var", n->inputs[3]);
    function_pass_int(&f, channels);
    function_pass(&f, emit_double(e, node_real(n, A_MOMENTUM)));
    if (node_int(n, A_REPLICAS) > 1)
        function_argument(&f, "int64_t ", "count", emit_count(e, n));
    else
        function_pass_int(&f, node_int(n, A_COUNT));
    function_end(&f, "cu_running_update");
}

void cuda_emit_layer_norm(Emit *e, const Node *n)
{
    Function f = function_new(e, "layer_norm", sizes(e, n));
    function_out(&f, "y", n);
    function_out(&f, "mean", emit_output(e, n, 1));
    function_out(&f, "rstd", emit_output(e, n, 2));
    function_in(&f, "x", n->inputs[0]);
    function_in(&f, "gamma", n->inputs[1]);
    function_in(&f, "beta", n->inputs[2]);
    function_pass_int(&f, cuda_rows(n));
    function_pass(&f, emit_double(e, node_real(n, A_EPS)));
    function_end(&f, of_rows(e, "cu_layer_norm", n));
}

static void layer_norm_grad_params(Emit *e, const Node *n)
{
    const Node *x = n->inputs[0];
    const char *bytes = arena_printf(e->scratch, "%s::part_bytes(%lld)",
                                     of_rows(e, "cu_columns", x), (long long)cuda_rows(x));
    Function f = function_new(e, "layer_norm_grad_params", sizes(e, x));
    function_out(&f, "dgamma", emit_output(e, n, 1));
    function_out(&f, "dbeta", emit_output(e, n, 2));
    function_room(&f, "double", bytes);
    function_in(&f, "dy", n->inputs[1]);
    function_in(&f, "x", x);
    function_in(&f, "mean", n->inputs[3]);
    function_in(&f, "rstd", n->inputs[4]);
    function_pass_int(&f, cuda_rows(x));
    function_end(&f, of_rows(e, "cu_layer_norm_grad_params", x));
}

// The parameters' first: dx may lie where dy does.
void cuda_emit_layer_norm_grad(Emit *e, const Node *n)
{
    if (emit_output(e, n, 1) || emit_output(e, n, 2))
        layer_norm_grad_params(e, n);
    if (!emit_output(e, n, 0))
        return;
    Function f = function_new(e, "layer_norm_grad", sizes(e, n));
    function_out(&f, "dx", n);
    function_in(&f, "dy", n->inputs[1]);
    function_in(&f, "x", n->inputs[0]);
    function_in(&f, "gamma", n->inputs[2]);
    function_in(&f, "mean", n->inputs[3]);
    function_in(&f, "rstd", n->inputs[4]);
    function_pass_int(&f, cuda_rows(n));
    function_end(&f, of_rows(e, "cu_layer_norm_grad", n));
}

void cuda_emit_l2_normalize(Emit *e, const Node *n)
{
    Function f = function_new(e, "l2_normalize", sizes(e, n));
    function_out(&f, "y", n);
    function_out(&f, "factor", emit_output(e, n, 1));
    function_in(&f, "x", n->inputs[0]);
    function_pass_int(&f, cuda_rows(n));
    function_pass(&f, emit_double(e, node_real(n, A_EPS)));
    function_end(&f, of_rows(e, "cu_l2_normalize", n));
}

void cuda_emit_l2_normalize_grad(Emit *e, const Node *n)
{
    Function f = function_new(e, "l2_normalize_grad", sizes(e, n));
    function_out(&f, "dx", n);
    function_in(&f, "dy", n->inputs[0]);
    function_in(&f, "y", n->inputs[1]);
    function_in(&f, "factor", n->inputs[2]);
    function_pass_int(&f, cuda_rows(n));
    function_pass(&f, emit_double(e, node_real(n, A_EPS)));
    function_end(&f, of_rows(e, "cu_l2_normalize_grad", n));
}

void cuda_emit_softmax(Emit *e, const Node *n)
{
    int rank = n->shape.rank;
    bool causal = node_int(n, A_CAUSAL) && rank > 1;
    Function f = function_new(e, "softmax", sizes(e, n));
    function_out(&f, "y", n);
    function_in(&f, "x", n->inputs[0]);
    function_in(&f, "lengths", n->n_inputs > 1 ? n->inputs[1] : NULL);
    function_pass_int(&f, shape_product(n->shape, 1, rank - 1));
    function_pass_int(&f, cuda_rows(n));
    function_pass_int(&f, causal ? n->shape.dim[rank - 2] : 0);
    function_end(&f, of_rows(e, "cu_softmax", n));
}

void cuda_emit_softmax_grad(Emit *e, const Node *n)
{
    Function f = function_new(e, "softmax_grad", sizes(e, n));
    function_out(&f, "dx", n);
    function_in(&f, "dy", n->inputs[0]);
    function_in(&f, "y", n->inputs[1]);
    function_pass_int(&f, cuda_rows(n));
    function_end(&f, of_rows(e, "cu_softmax_grad", n));
}

void cuda_emit_cross_entropy(Emit *e, const Node *n)
{
    const Node *logits = n->inputs[0];
    Function f = function_new(e, "cross_entropy", sizes(e, logits));
    function_out(&f, "loss", n);
    function_out(&f, "lse", emit_output(e, n, 1));
    function_room(&f, "double",
                  arena_printf(e->scratch, "%lld * (int64_t)sizeof(double)",
                               (long long)cuda_rows(logits)));
    function_in(&f, "logits", logits);
    function_in(&f, "labels", n->inputs[1]);
    function_pass_int(&f, cuda_rows(logits));
    function_pass(&f, emit_double(e, node_real(n, A_SMOOTHING)));
    function_end(&f, of_rows(e, "cu_cross_entropy", logits));
}

void cuda_emit_cross_entropy_grad(Emit *e, const Node *n)
{
    Function f = function_new(e, "cross_entropy_grad", sizes(e, n));
    function_out(&f, "dlogits", n);
    function_room(&f, "float", "(int64_t)sizeof(float)");
    function_in(&f, "logits", n->inputs[0]);
    function_in(&f, "labels", n->inputs[1]);
    function_in(&f, "lse", n->inputs[2]);
    function_in(&f, "dloss", n->inputs[3]);
    function_pass_int(&f, cuda_rows(n));
    function_pass(&f, emit_double(e, node_real(n, A_SMOOTHING)));
    function_end(&f, of_rows(e, "cu_cross_entropy_grad", n));
}

static const char *elements(Emit *e, const Node *n)
{
    return arena_printf(e->scratch, "%lld", (long long)cuda_elements(n));
}

static const char *of_elements(Emit *e, const char *function, const Node *n)
{
    return arena_printf(e->scratch, "%s<%s, %s>", function, cuda_type(n), elements(e, n));
}

void cuda_emit_mse(Emit *e, const Node *n)
{
    const Node *x = n->inputs[0];
    Function f = function_new(e, "mse", elements(e, x));
    function_out(&f, "loss", n);
    function_room(
        &f, "double",
        arena_printf(e->scratch, "cu_mse_parts(%s) * (int64_t)sizeof(double)", elements(e, x)));
    function_in(&f, "x", x);
    function_in(&f, "t", n->inputs[1]);
    function_end(&f, of_elements(e, "cu_mse", x));
}

void cuda_emit_mse_grad(Emit *e, const Node *n)
{
    Function f = function_new(e, "mse_grad", elements(e, n));
    function_out(&f, "dx", n);
    function_in(&f, "x", n->inputs[0]);
    function_in(&f, "t", n->inputs[1]);
    function_in(&f, "dloss", n->inputs[2]);
    function_end(&f, of_elements(e, "cu_mse_grad", n));
}
