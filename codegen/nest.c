#include "codegen/nest.h"

// The names of a model's tensors have more than one letter.
static const char *const letters[MAX_RANK] = {"a", "b", "c", "d", "r", "j"};

const char *nest_letter(const Nest *nest, int d)
{
    return nest->n == 1 ? "i" : letters[MAX_RANK - nest->n + d];
}

// The dimensions in the order of memory. What images channels last are read beside lies so, too (passes/images.c).
static Shape lies(const Nest *nest, Shape s)
{
    return nest->channels_last ? shape_channels_last(s) : s;
}

// Elements from one to the next along dimension d of s, at which x, aligned at its end, is read.
static int64_t stride(Shape s, Shape x, int d)
{
    int own = d - (s.rank - x.rank);
    if (own < 0 || x.dim[own] == 1)
        return 0;
    return shape_product(x, own + 1, x.rank);
}

static bool merges(const Nest *nest, const Chain *c, int d, int inner)
{
    Shape s = lies(nest, nest->shape);
    for (int i = 0; i < c->n; i++)
        for (int k = 0; k < c->nodes[i]->n_inputs; k++) {
            Shape x = lies(nest, c->nodes[i]->inputs[k]->shape);
            if (shape_count(x) > 1 && stride(s, x, d) != stride(s, x, inner) * s.dim[inner])
                return false;
        }
    return true;
}

Nest nest_of(const Chain *c)
{
    const Node *first = c->nodes[0];
    Nest nest = {.shape = first->shape, .channels_last = first->layout == LAYOUT_CHANNELS_LAST};
    Shape s = lies(&nest, first->shape);
    if (first->layout == LAYOUT_KERNEL)
        return (Nest){.shape = s, .n = 1, .dim = {emit_elements(first)}};
    int64_t dim[MAX_RANK] = {0};
    int last[MAX_RANK] = {0}, inner = -1;
    for (int d = s.rank - 1; d >= 0; d--) { // innermost first
        if (s.dim[d] == 1)
            continue;
        if (inner >= 0 && merges(&nest, c, d, inner)) {
            dim[nest.n - 1] *= s.dim[d];
        } else {
            last[nest.n] = d;
            dim[nest.n++] = s.dim[d];
        }
        inner = d;
    }
    if (!nest.n)
        dim[nest.n++] = 1;
    for (int i = 0; i < nest.n; i++) {
        nest.dim[i] = dim[nest.n - 1 - i];
        nest.source[i] = s.rank ? last[nest.n - 1 - i] : 0;
    }
    return nest;
}

const char *nest_index(Emit *e, const Nest *nest, Shape x)
{
    const char *text = "";
    Shape s = lies(nest, nest->shape);
    x = lies(nest, x);
    for (int d = 0; d < nest->n; d++) {
        int64_t step = shape_count(x) > 1 ? stride(s, x, nest->source[d]) : 0;
        if (!step)
            continue;
        text =
            arena_printf(e->scratch, "%s%s%s", text, *text ? " + " : "", nest_letter(nest, d));
        if (step > 1)
            text = arena_printf(e->scratch, "%s * %lld", text, (long long)step);
    }
    return *text ? text : "0";
}
