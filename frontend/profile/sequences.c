// The kinds of GNMT's profile (Wu et al., 2016, as PyTorch's modules): embeddings, LSTMs, attention. Their
// descriptions hold those of modules inside; their results are tuples, whose parts `__getitem__` takes.
// Profiles have time first; the layers have the sample first.
#include "frontend/profile/import.h"

#include <string.h>

// The description of the first module of that kind inside a node's: `(rnn): LSTM(1024, 1024)`.
static bool inner(const Maker *m, const char *kind, Description *d)
{
    const char *mark = arena_printf(m->im->arena, "): %s(", kind);
    const char *at = strstr(m->node->description, mark);
    if (at)
        *d = description_of(m->im->arena, at + strlen("): "));
    else
        maker_wrong(m, "there is no %s in its description", kind);
    return at != NULL;
}

static bool whole(const Maker *m, const Description *d, const char *key, int i, int64_t *out)
{
    bool good = field_int(description_field(d, key, i), out) && *out > 0;
    if (!good)
        maker_wrong(m, "`%s` has no whole number from 1 %s%s", d->kind,
                    key ? "behind " : "in its place", key ? key : "");
    return good;
}

// The operand of that rank with the i-th lowest number: sequences are [N,T,features], lengths [N]. NULL:
// reported.
static const Tensor *operand(const Maker *m, int rank, int i, const char *what)
{
    const Importer *im = m->im;
    for (int k = 0; k < m->n; k++) {
        int before = 0;
        for (int o = 0; o < m->n; o++)
            before += im->made[m->from[o]].node->shape.rank == rank &&
                      im->number[m->from[o]] < im->number[m->from[k]];
        if (im->made[m->from[k]].node->shape.rank == rank && before == i)
            return &im->made[m->from[k]];
    }
    maker_wrong(m, "among its %d operands there is no %s", m->n, what);
    return NULL;
}

static bool takes(const Maker *m, const Tensor *x, int64_t features)
{
    Shape s = x->node->shape;
    if (s.dim[s.rank - 1] == features)
        return true;
    maker_wrong(m, "the description says %lld features, but the operand has %lld",
                (long long)features, (long long)s.dim[s.rank - 1]);
    return false;
}

static Line *line_of(const Maker *m, const char *kind, const char *suffix, Tensor first)
{
    const char *name =
        suffix ? arena_printf(m->im->arena, "%s_%s", m->node->id, suffix) : m->node->id;
    Line *l = line_begin(m->im, m->node, kind, name);
    line_tensor(l, m->im, first);
    return l;
}

static void set_parts(const Maker *m, Tensor first, Tensor third)
{
    Tensor *parts = arena_array(m->im->arena, Tensor, PARTS);
    parts[0] = first;
    parts[2] = third;
    m->im->parts[m->index] = parts;
}

Tensor make_embedding(Maker *m)
{
    int64_t entries, features, padding;
    if (!whole(m, m->d, NULL, 0, &entries) || !whole(m, m->d, NULL, 1, &features))
        return NO_TENSOR;
    Line *l = line_of(m, "embedding", NULL, m->im->made[m->from[0]]);
    line_int(l, m->im, entries);
    line_int(l, m->im, features);
    if (field_int(description_field(m->d, "padding_idx", 0), &padding))
        line_option(l, m->im, "padding_index", padding, -1);
    return line_make(m->im, l);
}

// LSTM(inputs, features): its parts are the outputs and the last state.
Tensor make_lstm(Maker *m)
{
    int64_t in, hidden;
    bool both = false;
    const Tensor *x = operand(m, 3, 0, "sequence");
    field_bool(description_field(m->d, "bidirectional", 0), &both);
    if (!x || !whole(m, m->d, NULL, 0, &in) || !whole(m, m->d, NULL, 1, &hidden) ||
        !takes(m, x, in))
        return NO_TENSOR;
    if (m->n > 1 || m->d->fields.n > 2 + both)
        return maker_wrong(m, "one layer that begins at zero is known, not `%.80s`",
                           m->node->description);
    Line *l = line_of(m, "lstm", NULL, *x);
    line_int(l, m->im, hidden);
    line_flag(l, m->im, "bidirectional", both, false);
    Tensor y = line_make(m->im, l);
    set_parts(m, y, NO_TENSOR);
    return y;
}

// Both ways over sequences of their own lengths.
Tensor make_bidirectional(Maker *m)
{
    Description lstm;
    int64_t in, hidden;
    const Tensor *x = operand(m, 3, 0, "sequence"), *lengths = operand(m, 1, 0, "lengths");
    if (!x || !lengths || !inner(m, "LSTM", &lstm) || !whole(m, &lstm, NULL, 0, &in) ||
        !whole(m, &lstm, NULL, 1, &hidden) || !takes(m, x, in))
        return NO_TENSOR;
    Line *l = line_of(m, "lstm", NULL, *x);
    line_int(l, m->im, hidden);
    line_flag(l, m->im, "bidirectional", true, false);
    line_given(l, m->im, "lengths", *lengths);
    return line_make(m->im, l);
}

// Bytes of attention with a normalised weight: v / |v| times a number, and a bias.
static bool is_normalised(const Maker *m, int64_t in, int64_t hidden, int64_t memory,
                          int64_t units)
{
    double lstm = 4.0 * (double)hidden * (double)(in + hidden + 2);
    double plain = lstm + (double)units * (double)(hidden + memory + 1);
    return m->node->parameter_bytes != 4 * plain;
}

// An LSTM and what it looks at in the sequence that was encoded: of two sequences the first by number, as
// encoders run first. Parts: outputs, state, what was looked at, with which weights.
Tensor make_attention(Maker *m)
{
    Description lstm, query;
    int64_t in, hidden, units;
    Importer *im = m->im;
    const Tensor *memory = operand(m, 3, 0, "encoded sequence");
    const Tensor *x = memory ? operand(m, 3, 1, "second sequence") : NULL;
    const Tensor *lengths = x ? operand(m, 1, 0, "lengths") : NULL;
    if (!lengths || !inner(m, "LSTM", &lstm) || !inner(m, "Linear", &query) ||
        !whole(m, &lstm, NULL, 0, &in) || !whole(m, &lstm, NULL, 1, &hidden) ||
        !whole(m, &query, "out_features", 0, &units) || !takes(m, x, in))
        return NO_TENSOR;
    Shape s = memory->node->shape;
    Line *l = line_of(m, "lstm", NULL, *x);
    line_int(l, im, hidden);
    Tensor rnn = line_make(im, l);
    l = line_of(m, "additive_scores", "scores", rnn);
    line_tensor(l, im, *memory);
    line_int(l, im, units);
    line_flag(l, im, "normalize", is_normalised(m, in, hidden, s.dim[2], units), false);
    l = line_of(m, "softmax", "weights", line_make(im, l));
    line_given(l, im, "lengths", *lengths);
    l = line_of(m, "matmul", "context", line_make(im, l));
    line_tensor(l, im, *memory);
    set_parts(m, rnn, line_make(im, l));
    return rnn;
}

Tensor make_classifier(Maker *m)
{
    Description linear;
    int64_t in, out;
    const Tensor *x = &m->im->made[m->from[0]];
    if (!inner(m, "Linear", &linear) || !whole(m, &linear, "in_features", 0, &in) ||
        !whole(m, &linear, "out_features", 0, &out) || !takes(m, x, in))
        return NO_TENSOR;
    Line *l = line_of(m, "linear", NULL, *x);
    line_int(l, m->im, out);
    return line_make(m->im, l);
}
