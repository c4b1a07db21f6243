// What moves elements or sums them up: calls of <stagecc/cu_shape.cuh>, with walks as types, <stagecc/cu_embedding.cuh>,
// <stagecc/cu_transfer.cuh> and <stagecc/cu_sums.cuh>.
#include "codegen/cuda/cuda.h"

#include "codegen/heavy.h"
#include "codegen/walk.h"

static const char *sizes(Emit *e, const Node *n)
{
    return arena_printf(e->scratch, "%lld", (long long)cuda_elements(n));
}

// Walks
// ----------------------------------------------------------------------------------------------

static const char *numbers(Emit *e, const int64_t *v, int n)
{
    const char *text = "";
    for (int i = 0; i < n; i++)
        text = arena_printf(e->scratch, "%s%s%lld", text, i ? ", " : "", (long long)v[i]);
    return text;
}

// struct @name_TYPE; where y and x begin, in elements.
static void add_walk(Function *f, const char *type, const Walk *w, int64_t y_at, int64_t x_at)
{
    Emit *e = f->e;
    const char *walk = emit_text(
        e,
        "struct @name_$type {\n"
        "    CU_BOTH cu_walk walk()\n"
        "    {\n"
        "        return {$rank, $y_at, $x_at, {$dim}, {$y}, {$x}};\n"
        "    }\n"
        "};\n\n",
        "type", EMIT_TEXT, type, "rank", EMIT_INT, (int64_t)w->rank, "y_at", EMIT_INT, y_at,
        "x_at", EMIT_INT, x_at, "dim", EMIT_TEXT, numbers(e, w->dim, w->rank), "y", EMIT_TEXT,
        numbers(e, w->y, w->rank), "x", EMIT_TEXT, numbers(e, w->x, w->rank), NULL);
    f->before = arena_printf(e->scratch, "%s%s", f->before, walk);
}

static const char *copy_of(Emit *e, const Node *n, const char *type)
{
    return arena_printf(e->scratch, "cu_copy<%s, @name_%s>", cuda_type(n), type);
}

// Rows of which a part is copied.
static Walk walk_rows(int64_t count, int64_t length, int64_t y_row, int64_t x_row)
{
    Walk w = {0};
    walk_add(&w, count, y_row, x_row);
    walk_add(&w, length, 1, 1);
    return w.rank ? w : (Walk){1, {1}, {1}, {1}};
}

static void copy(Emit *e, const Node *n, const Walk *w, int64_t x_at)
{
    Function f = function_new(e, op_info[n->op].name, sizes(e, n));
    add_walk(&f, "walk", w, 0, x_at);
    function_out(&f, "y", n);
    function_in(&f, "x", n->inputs[0]);
    function_end(&f, copy_of(e, n, "walk"));
}

void cuda_emit_transpose(Emit *e, const Node *n)
{
    Walk w = walk_transpose(n);
    copy(e, n, &w, 0);
}

// Between plain images and such channels last.
void cuda_emit_reorder(Emit *e, const Node *n)
{
    int64_t channels = n->shape.dim[1], pixels = n->shape.dim[2] * n->shape.dim[3];
    bool last = n->layout == LAYOUT_CHANNELS_LAST;
    int64_t outer = last ? pixels : channels, inner = last ? channels : pixels;
    Walk w = {0};
    walk_add(&w, n->shape.dim[0], channels * pixels, channels * pixels);
    walk_add(&w, outer, inner, 1);
    walk_add(&w, inner, 1, outer);
    copy(e, n, &w, 0);
}

void cuda_emit_slice(Emit *e, const Node *n)
{
    int axis = (int)node_int(n, A_AXIS);
    const Node *x = n->inputs[0];
    Rows to = rows_of(n->shape, n->layout, axis), from = rows_of(x->shape, n->layout, axis);
    Walk w = walk_rows(to.count, to.length, to.length, from.length);
    copy(e, n, &w, node_int(n, A_BEGIN) * from.inner);
}

void cuda_emit_concat(Emit *e, const Node *n)
{
    int axis = (int)node_int(n, A_AXIS);
    Rows to = rows_of(n->shape, n->layout, axis);
    Function f = function_new(e, "concat", sizes(e, n));
    const char *body = "";
    int64_t at = 0;
    function_out(&f, "y", n);
    for (int i = 0; i < n->n_inputs; i++) {
        const char *type = arena_printf(e->scratch, "walk%d", i + 1);
        const char *x = arena_printf(e->scratch, "x%d", i + 1);
        Rows from = rows_of(n->inputs[i]->shape, n->layout, axis);
        Walk w = walk_rows(to.count, from.length, to.length, from.length);
        add_walk(&f, type, &w, at, 0);
        function_in(&f, x, n->inputs[i]);
        body = arena_printf(e->scratch, "%s    %s(cu_stream(s), y, %s);\n", body,
                            copy_of(e, n, type), x);
        at += from.length;
    }
    function_end_with(&f, body);
}

// Rows of which a part is zero
// ----------------------------------------------------------------------------------------------

void cuda_emit_pad(Emit *e, const Node *n)
{
    int axis = (int)node_int(n, A_AXIS);
    const Node *x = n->inputs[0];
    Rows to = rows_of(n->shape, n->layout, axis), from = rows_of(x->shape, n->layout, axis);
    int64_t begin = node_int(n, A_BEGIN) * to.inner;
    Function f = function_new(e, "pad", sizes(e, n));
    function_out(&f, "y", n);
    function_in(&f, "x", x);
    function_pass_int(&f, to.count);
    function_end(&f,
                 arena_printf(e->scratch, "cu_pad<%s, %lld, %lld, %lld>", cuda_type(n),
                              (long long)to.length, (long long)begin, (long long)from.length));
}

void cuda_emit_mask(Emit *e, const Node *n)
{
    int axis = (int)node_int(n, A_AXIS);
    Rows rows = rows_of(n->shape, LAYOUT_PLAIN, axis);
    Function f = function_new(e, "mask", sizes(e, n));
    function_out(&f, "y", n);
    function_in(&f, "x", n->inputs[0]);
    function_in(&f, "lengths", n->inputs[1]);
    function_pass_int(&f, n->shape.dim[0]);
    function_pass_int(&f, shape_product(n->shape, 1, axis));
    function_end(&f, arena_printf(e->scratch, "cu_mask<%s, %lld, %lld>", cuda_type(n),
                                  (long long)n->shape.dim[axis], (long long)rows.inner));
}

// Tables, and what travels
// ----------------------------------------------------------------------------------------------

// "64x32_of_1000": rows of a table, and how many it has.
static const char *table_sizes(Emit *e, const Node *ids, const Node *table)
{
    return arena_printf(e->scratch, "%lldx%lld_of_%lld", (long long)cuda_elements(ids),
                        (long long)table->shape.dim[1], (long long)table->shape.dim[0]);
}

void cuda_emit_embedding(Emit *e, const Node *n)
{
    const Node *ids = n->inputs[0], *table = n->inputs[1];
    Function f = function_new(e, "embedding", table_sizes(e, ids, table));
    function_out(&f, "y", n);
    function_in(&f, "ids", ids);
    function_in(&f, "table", table);
    function_pass_int(&f, cuda_elements(ids));
    function_pass_int(&f, table->shape.dim[0]);
    function_pass_int(&f, node_int(n, A_PADDING_INDEX));
    function_end(
        &f, arena_printf(e->scratch, "cu_embedding<%lld>", (long long)table->shape.dim[1]));
}

// Into the accumulator, if nobody else wants the gradient.
void cuda_emit_embedding_grad(Emit *e, const Node *n)
{
    const Node *ids = n->inputs[0], *dy = n->inputs[1], *sum = emit_destination(e, n);
    Function f = function_new(e, "embedding_grad", table_sizes(e, ids, n));
    function_out(&f, "dtable", sum ? sum : n);
    function_in(&f, "ids", ids);
    function_in(&f, "dy", dy);
    function_pass_int(&f, cuda_elements(ids));
    function_pass_int(&f, n->shape.dim[0]);
    function_pass_int(&f, node_int(n, A_PADDING_INDEX));
    function_argument(&f, "int ", "first", sum ? emit_is_first(e) : "1");
    function_end(&f, arena_printf(e->scratch, "cu_embedding_grad<%s, %lld>", cuda_type(dy),
                                  (long long)n->shape.dim[1]));
}

static const char *codec_of(Emit *e, const char *function, const Node *n, const Node *x)
{
    return arena_printf(e->scratch, "%s<cu_codec_%s, %s>", function, node_string(n, A_CODEC),
                        cuda_type(x));
}

void cuda_emit_encode(Emit *e, const Node *n)
{
    const Node *x = n->inputs[0];
    Function f = function_new(e, "encode", sizes(e, x));
    function_out(&f, "message", n);
    function_in(&f, "x", x);
    function_pass_int(&f, cuda_elements(x));
    function_end(&f, codec_of(e, "cu_encode", n, x));
}

void cuda_emit_decode(Emit *e, const Node *n)
{
    Function f = function_new(e, "decode", sizes(e, n));
    function_out(&f, "x", n);
    function_in(&f, "message", n->inputs[0]);
    function_pass_int(&f, cuda_elements(n));
    function_end(&f, codec_of(e, "cu_decode", n, n));
}

// Sums
// ----------------------------------------------------------------------------------------------

// y[channels] of x[before,channels,1].
static void sum_rows(Emit *e, const Node *n, int64_t before, int64_t channels)
{
    const Node *x = n->inputs[0];
    const char *shares =
        arena_printf(e->scratch, "cu_columns<%s, %lld>", cuda_type(x), (long long)channels);
    Function f = function_new(e, op_info[n->op].name, sizes(e, x));
    function_out(&f, "y", n);
    function_room(
        &f, "double",
        arena_printf(e->scratch, "%s::part_bytes(%lld, 1, 1)", shares, (long long)before));
    function_in(&f, "x", x);
    function_pass_int(&f, 1);
    function_pass_int(&f, before);
    function_pass(&f, "1.0");
    const char *row = x->layout == LAYOUT_PITCHED
                          ? arena_printf(e->scratch, ", %lld", (long long)node_row(x))
                          : "";
    function_end(&f, arena_printf(e->scratch, "cu_sum_rows<float, %s, %lld%s>", cuda_type(x),
                                  (long long)channels, row));
}

// y[channels] of x[before,channels,after].
static void sum_channels(Emit *e, const Node *n, int64_t before, int64_t channels,
                         int64_t after)
{
    if (channels == 1) { // one row
        after *= before;
        before = 1;
    }
    if (after == 1) {
        sum_rows(e, n, before, channels);
        return;
    }
    const Node *x = n->inputs[0];
    const char *planes =
        arena_printf(e->scratch, "cu_planes<%s, %lld>{%lld, %lld}", cuda_type(x),
                     (long long)after, (long long)before, (long long)channels);
    Function f = function_new(e, op_info[n->op].name, sizes(e, x));
    function_pass(&f, planes);
    function_out(&f, "y", n);
    function_room(&f, "double", arena_printf(e->scratch, "%s.part_bytes(1)", planes));
    function_in(&f, "x", x);
    function_end(&f, "cu_sum_channels");
}

void cuda_emit_bias_grad(Emit *e, const Node *n)
{
    Shape s = n->inputs[0]->shape;
    int axis = (int)node_int(n, A_AXIS);
    if (n->inputs[0]->layout == LAYOUT_CHANNELS_LAST) {
        s = shape_channels_last(s);
        axis = dim_channels_last(axis);
    }
    sum_channels(e, n, shape_product(s, 0, axis), s.dim[axis],
                 shape_product(s, axis + 1, s.rank));
}

void cuda_emit_sum_to(Emit *e, const Node *n)
{
    int64_t part[3];
    if (walk_sum_parts(n, part)) {
        sum_channels(e, n, part[0], part[1], part[2]);
        return;
    }
    Walk kept, summed;
    walk_sum(n, &kept, &summed);
    Function f = function_new(e, "sum_to", sizes(e, n->inputs[0]));
    add_walk(&f, "kept", &kept, 0, 0);
    add_walk(&f, "summed", &summed, 0, 0);
    function_out(&f, "y", n);
    function_in(&f, "x", n->inputs[0]);
    function_end(&f, arena_printf(e->scratch, "cu_sum_walk<%s, @name_kept, @name_summed>",
                                  cuda_type(n->inputs[0])));
}
