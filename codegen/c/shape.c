// What moves elements or sums them up. Copies, turned matrices and plain sums are calls of
// <stagecc/c_shape.h>; other orders of dimensions are loops around them.
#include "codegen/c/c.h"
#include "codegen/heavy.h"
#include "codegen/walk.h"

// Order of dimensions
// ----------------------------------------------------------------------------------------------

// Rows of one run each, if there is nothing around them.
static void copy_rows_of(Emit *e, const Node *n, const Walk *w)
{
    bool rows = w->rank > 1;
    emit(e, "c_copy_rows$form($y, $y_row, $x, $x_row, $rows, $length);\n", "form", EMIT_TEXT,
         c_form(n), "y", EMIT_VALUE, n, "y_row", EMIT_INT, rows ? w->y[0] : (int64_t)0, "x",
         EMIT_VALUE, n->inputs[0], "x_row", EMIT_INT, rows ? w->x[0] : (int64_t)0, "rows",
         EMIT_INT, rows ? w->dim[0] : (int64_t)1, "length", EMIT_INT, w->dim[w->rank - 1],
         NULL);
}

static const char *three(Emit *e, const int64_t *v)
{
    return arena_printf(e->scratch, "{%lld, %lld, %lld}", (long long)v[0], (long long)v[1],
                        (long long)v[2]);
}

// The innermost dimension is a run in both; the three around it are planes of rows.
static void copy_runs(Emit *e, const Node *n, const Walk *w)
{
    if (w->rank <= 2) {
        copy_rows_of(e, n, w);
        return;
    }
    Walk loops = *w;
    loops.rank = w->rank > 4 ? w->rank - 4 : 0;
    int64_t dim[3] = {1, 0, 0}, y[3] = {0}, x[3] = {0};
    for (int d = loops.rank, to = w->rank == 3; d < w->rank - 1; d++, to++) {
        dim[to] = w->dim[d];
        y[to] = w->y[d];
        x[to] = w->x[d];
    }
    const char *planes = arena_printf(
        e->scratch, "&(const c_planes){.count = {%lld, %lld}, .rows = %lld, .y = %s, .x = %s}",
        (long long)dim[0], (long long)dim[1], (long long)dim[2], three(e, y), three(e, x));
    walk_open(e, &loops, 0);
    emit(e, "c_copy_planes$form($y, $x, $planes, $length);\n", "form", EMIT_TEXT, c_form(n),
         "y", EMIT_TEXT, walk_at(e, emit_value(e, n), &loops, loops.y, 0), "x", EMIT_TEXT,
         walk_at(e, emit_value(e, n->inputs[0]), &loops, loops.x, 0), "planes", EMIT_TEXT,
         planes, "length", EMIT_INT, w->dim[w->rank - 1], NULL);
    walk_close(e, &loops);
}

void c_emit_transpose(Emit *e, const Node *n)
{
    Walk w = walk_transpose(n);
    int last = w.rank - 1, inner = walk_inner(&w, w.x);
    if (inner == last) {
        copy_runs(e, n, &w);
        return;
    }
    Walk loops = walk_without(&w, inner, last);
    walk_open(e, &loops, 0);
    emit(e, "c_turn_rows$form($y, $y_row, $x, $x_row, $rows, $columns);\n", "form", EMIT_TEXT,
         c_form(n), "y", EMIT_TEXT, walk_at(e, emit_value(e, n), &loops, loops.y, 0), "y_row",
         EMIT_INT, w.y[inner], "x", EMIT_TEXT,
         walk_at(e, emit_value(e, n->inputs[0]), &loops, loops.x, 0), "x_row", EMIT_INT,
         w.x[last], "rows", EMIT_INT, w.dim[last], "columns", EMIT_INT, w.dim[inner], NULL);
    walk_close(e, &loops);
}

void c_emit_reorder(Emit *e, const Node *n)
{
    Shape s = n->shape;
    int64_t block = e->graph->block;
    emit(e, "$f$form($y, $x, $planes, $pixels, $block);\n", "form", EMIT_TEXT, c_form(n), "f",
         EMIT_TEXT, n->layout == LAYOUT_BLOCKED ? "c_block" : "c_unblock", "y", EMIT_VALUE, n,
         "x", EMIT_VALUE, n->inputs[0], "planes", EMIT_INT, s.dim[0] * s.dim[1] / block,
         "pixels", EMIT_INT, shape_product(s, 2, s.rank), "block", EMIT_INT, block, NULL);
}

// As tensors travel between stages: <stagecc/transfer.h>.
void c_emit_encode(Emit *e, const Node *n)
{
    emit(e, "c_encode_$codec$form($message, $x, $n);\n", "form", EMIT_TEXT,
         c_form(n->inputs[0]), "codec", EMIT_TEXT, node_string(n, A_CODEC), "message",
         EMIT_VALUE, n, "x", EMIT_VALUE, n->inputs[0], "n", EMIT_INT, c_elements(n->inputs[0]),
         NULL);
}

void c_emit_decode(Emit *e, const Node *n)
{
    emit(e, "c_decode_$codec$form($x, $message, $n);\n", "form", EMIT_TEXT, c_form(n), "codec",
         EMIT_TEXT, node_string(n, A_CODEC), "x", EMIT_VALUE, n, "message", EMIT_VALUE,
         n->inputs[0], "n", EMIT_INT, c_elements(n), NULL);
}

// Copies
// ----------------------------------------------------------------------------------------------

static const char *offset(Emit *e, const Node *n, int64_t at)
{
    return at ? arena_printf(e->scratch, "%s + %lld", emit_value(e, n), (long long)at)
              : emit_value(e, n);
}

// Images in blocks of channels are concatenated like plain ones: whole blocks go together.
static void copy_rows(Emit *e, const Node *y, int64_t y_at, const Node *x, int64_t x_at,
                      int64_t length)
{
    int axis = (int)node_int(y, A_AXIS);
    Rows to = rows_of(y->shape, y->layout, axis), from = rows_of(x->shape, y->layout, axis);
    emit(e, "c_copy_rows$form($y, $y_row, $x, $x_row, $rows, $length);\n", "form", EMIT_TEXT,
         c_form(y), "y", EMIT_TEXT, offset(e, y, y_at * to.inner), "y_row", EMIT_INT, to.length,
         "x", EMIT_TEXT, offset(e, x, x_at * to.inner), "x_row", EMIT_INT, from.length, "rows",
         EMIT_INT, to.count, "length", EMIT_INT, length * to.inner, NULL);
}

void c_emit_concat(Emit *e, const Node *n)
{
    int64_t at = 0;
    for (int i = 0; i < n->n_inputs; i++) {
        int64_t length = n->inputs[i]->shape.dim[node_int(n, A_AXIS)];
        copy_rows(e, n, at, n->inputs[i], 0, length);
        at += length;
    }
}

void c_emit_slice(Emit *e, const Node *n)
{
    copy_rows(e, n, 0, n->inputs[0], node_int(n, A_BEGIN), node_int(n, A_LENGTH));
}

void c_emit_pad(Emit *e, const Node *n)
{
    emit(e, "c_zero$form($y, $n);\n", "form", EMIT_TEXT, c_form(n), "y", EMIT_VALUE, n, "n",
         EMIT_INT, c_elements(n), NULL);
    copy_rows(e, n, node_int(n, A_BEGIN), n->inputs[0], 0,
              n->inputs[0]->shape.dim[node_int(n, A_AXIS)]);
}

void c_emit_embedding(Emit *e, const Node *n)
{
    const Node *table = n->inputs[1];
    emit(e, "c_embedding($y, $ids, $table, $n, $rows, $width, $padding);\n", "y", EMIT_VALUE, n,
         "ids", EMIT_VALUE, n->inputs[0], "table", EMIT_VALUE, table, "n", EMIT_INT,
         c_elements(n->inputs[0]), "rows", EMIT_INT, table->shape.dim[0], "width", EMIT_INT,
         table->shape.dim[1], "padding", EMIT_INT, node_int(n, A_PADDING_INDEX), NULL);
}

void c_emit_embedding_grad(Emit *e, const Node *n)
{
    const Node *sum = emit_destination(e, n);
    emit(e, "c_embedding_grad$form($dtable, $ids, $dy, $n, $rows, $width, $padding, $first);\n",
         "form", EMIT_TEXT, c_form(n->inputs[1]), "dtable", EMIT_VALUE, sum ? sum : n, "first",
         EMIT_TEXT, sum ? emit_is_first(e) : "1", "ids", EMIT_VALUE, n->inputs[0], "dy",
         EMIT_VALUE, n->inputs[1], "n", EMIT_INT, c_elements(n->inputs[0]), "rows", EMIT_INT,
         n->shape.dim[0], "width", EMIT_INT, n->shape.dim[1], "padding", EMIT_INT,
         node_int(n, A_PADDING_INDEX), NULL);
}

// Sums
// ----------------------------------------------------------------------------------------------

static void sum_channels(Emit *e, const Node *n, int64_t before, int64_t channels,
                         int64_t after)
{
    if (channels == 1) { // one row
        after *= before;
        before = 1;
    }
    const char *sizes =
        after == 1
            ? arena_printf(e->scratch, "%lld, %lld", (long long)before, (long long)channels)
            : arena_printf(e->scratch, "%lld, %lld, %lld", (long long)before,
                           (long long)channels, (long long)after);
    emit(e, "$f$form($y, $x, $sizes);\n", "form", EMIT_TEXT, c_form(n->inputs[0]), "f",
         EMIT_TEXT, after == 1 ? "c_sum_columns" : "c_sum_channels", "y", EMIT_VALUE, n, "x",
         EMIT_VALUE, n->inputs[0], "sizes", EMIT_TEXT, sizes, NULL);
}

void c_emit_bias_grad(Emit *e, const Node *n)
{
    Shape s = n->inputs[0]->shape;
    int axis = (int)node_int(n, A_AXIS);
    if (n->inputs[0]->layout != LAYOUT_BLOCKED) {
        sum_channels(e, n, shape_product(s, 0, axis), s.dim[axis],
                     shape_product(s, axis + 1, s.rank));
        return;
    }
    CHECK(axis == 1, "codegen", "%s keeps dimension %d of a blocked image", n->name, axis);
    emit(e, "c_sum_blocks$form($y, $x, $before, $channels, $pixels, $block);\n", "form",
         EMIT_TEXT, c_form(n->inputs[0]), "y", EMIT_VALUE, n, "x", EMIT_VALUE, n->inputs[0],
         "before", EMIT_INT, s.dim[0], "channels", EMIT_INT, s.dim[1], "pixels", EMIT_INT,
         shape_product(s, 2, s.rank), "block", EMIT_INT, (int64_t)e->graph->block, NULL);
}

void c_emit_sum_to(Emit *e, const Node *n)
{
    int64_t part[3];
    if (walk_sum_parts(n, part)) {
        sum_channels(e, n, part[0], part[1], part[2]);
        return;
    }
    Walk outer, inner;
    walk_sum(n, &outer, &inner);
    const char *from = walk_at(e, emit_value(e, n->inputs[0]), &outer, outer.x, 0);
    from = walk_at(e, from, &inner, inner.x, outer.rank);
    walk_open(e, &outer, 0);
    emit(e, "{\n", NULL);
    e->indent += 4;
    emit(e, "double t = 0;\n", NULL);
    walk_open(e, &inner, outer.rank);
    emit(e,
         n->inputs[0]->dtype == BF16 ? "t += (double)rt_to_float(*($x));\n"
                                     : "t += (double)*($x);\n",
         "x", EMIT_TEXT, from, NULL);
    walk_close(e, &inner);
    emit(e, "*($y) = (float)t;\n", "y", EMIT_TEXT,
         walk_at(e, emit_value(e, n), &outer, outer.y, 0), NULL);
    e->indent -= 4;
    emit(e, "}\n", NULL);
    walk_close(e, &outer);
}
