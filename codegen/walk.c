#include "codegen/walk.h"

// The names of a model's tensors have more than one letter.
static const char letters[] = "abcdfg";

void walk_add(Walk *w, int64_t dim, int64_t y, int64_t x)
{
    int last = w->rank - 1;
    if (dim == 1)
        return;
    if (last >= 0 && w->y[last] == dim * y && w->x[last] == dim * x) {
        w->dim[last] *= dim;
        w->y[last] = y;
        w->x[last] = x;
        return;
    }
    w->dim[w->rank] = dim;
    w->y[w->rank] = y;
    w->x[w->rank++] = x;
}

Walk walk_without(const Walk *w, int a, int b)
{
    Walk rest = {0};
    for (int d = 0; d < w->rank; d++)
        if (d != a && d != b) {
            rest.dim[rest.rank] = w->dim[d];
            rest.y[rest.rank] = w->y[d];
            rest.x[rest.rank++] = w->x[d];
        }
    return rest;
}

int walk_inner(const Walk *w, const int64_t *step)
{
    for (int d = 0; d < w->rank; d++)
        if (step[d] == 1)
            return d;
    return -1;
}

// Ops
// ----------------------------------------------------------------------------------------------

Walk walk_transpose(const Node *n)
{
    const int64_t *perm = node_ints(n, A_PERM);
    Shape from = n->inputs[0]->shape, to = n->shape;
    Walk w = {0};
    for (int d = 0; d < to.rank; d++)
        walk_add(&w, to.dim[d], shape_product(to, d + 1, to.rank),
                 shape_product(from, (int)perm[d] + 1, from.rank));
    return w.rank ? w : (Walk){1, {1}, {1}, {1}};
}

// Has y the dimension d of x? false: x is summed up along it.
static bool is_kept(Shape x, Shape y, int d)
{
    int own = d - (x.rank - y.rank);
    return own >= 0 && y.dim[own] == x.dim[d];
}

// As they lie. Sums of images channels last lie alike in both layouts.
static void shapes_of_sum(const Node *n, Shape *x, Shape *y)
{
    bool channels_last = n->inputs[0]->layout == LAYOUT_CHANNELS_LAST;
    *x = channels_last ? shape_channels_last(n->inputs[0]->shape) : n->inputs[0]->shape;
    *y = channels_last ? shape_channels_last(n->shape) : n->shape;
}

bool walk_sum_parts(const Node *n, int64_t part[3])
{
    Shape x, y;
    int at = 0;
    shapes_of_sum(n, &x, &y);
    part[0] = part[1] = part[2] = 1;
    for (int d = 0; d < x.rank; d++) {
        bool keep = is_kept(x, y, d);
        if (x.dim[d] == 1)
            continue;
        if (keep != (at == 1))
            at++;
        if (at > 2)
            return false;
        part[at] *= x.dim[d];
    }
    return true;
}

void walk_sum(const Node *n, Walk *kept, Walk *summed)
{
    Shape x, y;
    shapes_of_sum(n, &x, &y);
    *kept = *summed = (Walk){0};
    for (int d = 0; d < x.rank; d++) {
        int64_t step = shape_product(x, d + 1, x.rank);
        int own = d - (x.rank - y.rank);
        if (is_kept(x, y, d))
            walk_add(kept, x.dim[d], shape_product(y, own + 1, y.rank), step);
        else
            walk_add(summed, x.dim[d], 0, step);
    }
}

Rows rows_of(Shape s, Layout layout, int axis)
{
    if (layout == LAYOUT_CHANNELS_LAST) {
        s = shape_channels_last(s);
        axis = dim_channels_last(axis);
    }
    int64_t inner = shape_product(s, axis + 1, s.rank);
    return (Rows){shape_product(s, 0, axis), s.dim[axis] * inner, inner};
}

// Loops
// ----------------------------------------------------------------------------------------------

void walk_open(Emit *e, const Walk *w, int first)
{
    for (int d = 0; d < w->rank; d++) {
        const char i[2] = {letters[first + d], 0};
        emit(e, "for (int64_t $i = 0; $i < $end; $i++)\n", "i", EMIT_TEXT, i, "end", EMIT_INT,
             w->dim[d], NULL);
        e->indent += 4;
    }
}

void walk_close(Emit *e, const Walk *w)
{
    e->indent -= 4 * w->rank;
}

const char *walk_at(Emit *e, const char *text, const Walk *w, const int64_t *step, int first)
{
    for (int d = 0; d < w->rank; d++)
        if (step[d])
            text = arena_printf(e->scratch, "%s + %c * %lld", text, letters[first + d],
                                (long long)step[d]);
    return text;
}
