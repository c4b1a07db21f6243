// Batch norm, alone or with what is fused to it. It looks at its input twice, for statistics and to
// apply them; taken one run of channels after the other, the second look finds the run in the cache.
// Channels are taken side by side where they lie so (blocked images, and vectors [N,C]), else one by
// one as rows of pixels.
//
//   for (b: runs of channels)
//       for (n, p: strips of pixels)  sum up; backward: after the members that make dy
//       what applies per channel, from the sums
//       for (n, p, l)                 the norm and the members behind it
//
// Members before batch_norm_grad are stored by the first look if they have memory, and else computed
// again by the second.
#include "codegen/c/loop.h"

enum { STRIP = 1024, WIDEST = 64 }; // elements of a strip; channels of a run (C_CHANNELS)

typedef struct Channels {
    int64_t runs, width; // channels = runs x width
    int64_t n, pixels;
    int64_t n_step, run_step, pixel_step; // elements from one to the next
} Channels;

static int64_t largest_divisor(int64_t n, int64_t limit)
{
    int64_t d = limit < n ? limit : n;
    while (n % d)
        d--;
    return d;
}

static Channels channels_of(const Emit *e, const Node *norm)
{
    Shape s = norm->shape;
    int64_t n = s.dim[0], c = s.dim[1], pixels = c_product(s, 2, s.rank);
    int64_t block = e->graph->block;
    if (norm->layout == LAYOUT_BLOCKED)
        return (Channels){c / block, block, n, pixels, c * pixels, pixels * block, block};
    if (pixels > 1)
        return (Channels){c, 1, n, pixels, c * pixels, pixels, 1};
    int64_t width = largest_divisor(c, WIDEST); // a "pixel" is a sample
    return (Channels){c / width, width, 1, n, 0, width, c};
}

static bool side_by_side(const Channels *c)
{
    return c->width > 1 || c->pixel_step > 1;
}

// "n * 401408 + b * 50176 + p * 16": variables whose loop is there.
static const char *place(Emit *e, const Channels *c, bool pixel)
{
    const char *text = "";
    if (c->n > 1)
        text = arena_printf(e->scratch, "n * %lld + ", (long long)c->n_step);
    text = arena_printf(e->scratch, "%sb * %lld", text, (long long)c->run_step);
    if (pixel && c->pixel_step > 1)
        text = arena_printf(e->scratch, "%s + p * %lld", text, (long long)c->pixel_step);
    else if (pixel)
        text = arena_printf(e->scratch, "%s + p", text);
    return text;
}

// A tensor of one number per channel, at the run.
static const char *of_run(Emit *e, const Channels *c, const Node *n)
{
    if (!n)
        return "NULL";
    return c->width > 1 ? arena_printf(e->scratch, "%s + b * %lld", emit_value(e, n),
                                       (long long)c->width)
                        : arena_printf(e->scratch, "%s + b", emit_value(e, n));
}

// Loops over runs are open already; those over samples are opened by both looks.
static int open_samples(Emit *e, const Channels *c)
{
    if (c->n == 1)
        return 0;
    loop_for(e, "n", c->n, 1, "");
    e->indent += 4;
    return 4;
}

// Forward
// ----------------------------------------------------------------------------------------------

static void sum_up(Loop *l, const Channels *c, const Node *norm)
{
    Emit *e = l->e;
    int indent = open_samples(e, c);
    emit(e,
         side_by_side(c) ? "c_norm_add(&k, $x + $at, $row, $rows, $width);\n"
                         : "c_norm_add_row(&k, $x + $at, $rows);\n",
         "x", EMIT_VALUE, norm->inputs[0], "at", EMIT_TEXT, place(e, c, false), "row", EMIT_INT,
         c->pixel_step, "rows", EMIT_INT, c->pixels, "width", EMIT_INT, c->width, NULL);
    e->indent -= indent;
    emit(e, "c_norm_ready(&k, $mean, $var, $gamma, $beta, $count, $eps, $width);\n", "mean",
         EMIT_TEXT, of_run(e, c, emit_output(e, norm, 1)), "var", EMIT_TEXT,
         of_run(e, c, emit_output(e, norm, 2)), "gamma", EMIT_TEXT,
         of_run(e, c, norm->inputs[1]), "beta", EMIT_TEXT, of_run(e, c, norm->inputs[2]),
         "count", EMIT_INT, c->n * c->pixels, "eps", EMIT_TEXT,
         emit_double(e, node_real(norm, A_EPS)), "width", EMIT_INT, c->width, NULL);
}

static void take_running(Loop *l, const Channels *c, const Node *norm)
{
    Emit *e = l->e;
    emit(e, "c_norm_fixed(&k, $mean, $var, $gamma, $beta, $eps, $width);\n", "mean", EMIT_TEXT,
         of_run(e, c, norm->inputs[3]), "var", EMIT_TEXT, of_run(e, c, norm->inputs[4]),
         "gamma", EMIT_TEXT, of_run(e, c, norm->inputs[1]), "beta", EMIT_TEXT,
         of_run(e, c, norm->inputs[2]), "eps", EMIT_TEXT,
         emit_double(e, node_real(norm, A_EPS)), "width", EMIT_INT, c->width, NULL);
}

// Bodies
// ----------------------------------------------------------------------------------------------

// The members before the norm that `needed` or members from `from` on read, save those in memory.
static void find_needed(const Loop *l, bool *needed, int norm, int from)
{
    for (int i = l->n; i-- > 0;)
        for (int k = 0; k < l->nodes[i]->n_inputs && (i >= from || needed[i]); k++) {
            int member = loop_member(l, l->nodes[i]->inputs[k]);
            if (member >= 0 && member < norm)
                needed[member] |= !emit_stored(l->e, l->nodes[member]);
        }
}

static void compute_needed(Loop *l, const bool *needed, int norm)
{
    for (int i = 0; i < l->n; i++)
        l->in_variable[i] = false;
    for (int i = 0; i < norm; i++)
        if (needed[i])
            loop_body(l, i, i + 1);
}

// What makes dy, and members that have memory.
static void first_look(Loop *l, int norm)
{
    bool needed[LOOP_MAX] = {false};
    for (int i = 0; i < norm; i++)
        needed[i] = l->nodes[i] == l->nodes[norm]->inputs[1] || emit_stored(l->e, l->nodes[i]);
    find_needed(l, needed, norm, l->n);
    compute_needed(l, needed, norm);
}

static void second_look(Loop *l, int norm)
{
    bool needed[LOOP_MAX] = {false};
    find_needed(l, needed, norm, norm);
    compute_needed(l, needed, norm);
    loop_body(l, norm, l->n);
}

// Backward
// ----------------------------------------------------------------------------------------------

// Pixels of a strip: if possible so many that strips come out even.
static int64_t strip_pixels(const Channels *c)
{
    if (c->pixel_step > c->width) // rows do not lie next to each other
        return 1;
    int64_t most = STRIP / c->width, even = largest_divisor(c->pixels, most);
    return 4 * even >= most || even == c->pixels ? even : most;
}

static void add_gradients(Loop *l, const Channels *c, const Node *norm, const char *dy,
                          const char *rows)
{
    Emit *e = l->e;
    const char *format = side_by_side(c) ? "c_norm_grad_add(&k, $dy, $dy_row, $x, $x_row, "
                                           "$rows, $width);\n"
                                         : "c_norm_grad_add_row(&k, $dy, $x, $rows);\n";
    bool strip = loop_member(l, norm->inputs[1]) >= 0;
    const char *at = strip ? "o" : place(e, c, false);
    bool in_memory = !strip || emit_stored(e, norm->inputs[1]);
    emit(e, format, "dy", EMIT_TEXT, dy, "dy_row", EMIT_INT,
         in_memory ? c->pixel_step : c->width, "x", EMIT_TEXT,
         arena_printf(e->scratch, "%s + %s", emit_value(e, norm->inputs[0]), at), "x_row",
         EMIT_INT, c->pixel_step, "rows", EMIT_TEXT, rows, "width", EMIT_INT, c->width, NULL);
}

// The loop over a strip: members before the norm; dy goes to d if it has no memory.
static void strip(Loop *l, int norm, const char *elements)
{
    Emit *e = l->e;
    const Node *dy = l->nodes[norm]->inputs[1];
    loop_pragma(e, false, true);
    emit(e, "for (int64_t j = 0; j < $n; j++) {\n", "n", EMIT_TEXT, elements, NULL);
    e->indent += 4;
    emit(e, "const int64_t i = o + j;\n", NULL);
    first_look(l, norm);
    if (!emit_stored(e, dy))
        emit(e, "d[j] = $dy;\n", "dy", EMIT_TEXT, loop_value(l, dy), NULL);
    e->indent -= 4;
    emit(e, "}\n", NULL);
}

static void sum_up_strips(Loop *l, const Channels *c, int norm)
{
    Emit *e = l->e;
    const Node *dy = l->nodes[norm]->inputs[1];
    int64_t pixels = strip_pixels(c);
    bool even = c->pixels % pixels == 0, stored = emit_stored(e, dy);
    const char *count = arena_printf(e->scratch, "%lld", (long long)pixels);
    const char *elements = arena_printf(e->scratch, "%lld", (long long)(pixels * c->width));
    int indent = open_samples(e, c);
    loop_for(e, "p", c->pixels, pixels, " {");
    e->indent += 4;
    emit(e, "const int64_t o = $at;\n", "at", EMIT_TEXT, place(e, c, true), NULL);
    if (!stored)
        emit(e, "float d[$n];\n", "n", EMIT_TEXT, elements, NULL);
    if (!even) {
        emit(e, "const int64_t m = $all - p < $n ? $all - p : $n;\n", "all", EMIT_INT,
             c->pixels, "n", EMIT_TEXT, count, NULL);
        count = "m";
        elements = arena_printf(e->scratch, "m * %lld", (long long)c->width);
    }
    strip(l, norm, elements);
    add_gradients(l, c, l->nodes[norm],
                  stored ? arena_printf(e->scratch, "%s + o", emit_value(e, dy)) : "d", count);
    e->indent -= 4;
    emit(e, "}\n", NULL);
    e->indent -= indent;
}

static void sum_up_gradients(Loop *l, const Channels *c, int norm)
{
    Emit *e = l->e;
    const Node *n = l->nodes[norm];
    if (loop_member(l, n->inputs[1]) >= 0) {
        sum_up_strips(l, c, norm);
    } else {
        int indent = open_samples(e, c);
        add_gradients(l, c, n,
                      arena_printf(e->scratch, "%s + %s", emit_value(e, n->inputs[1]),
                                   place(e, c, false)),
                      arena_printf(e->scratch, "%lld", (long long)c->pixels));
        e->indent -= indent;
    }
    emit(e,
         "c_norm_grad_ready(&k, $dgamma, $dbeta, $gamma, $mean, $var, $count, $eps, $width);\n",
         "dgamma", EMIT_TEXT, of_run(e, c, emit_output(e, n, 1)), "dbeta", EMIT_TEXT,
         of_run(e, c, emit_output(e, n, 2)), "gamma", EMIT_TEXT, of_run(e, c, n->inputs[2]),
         "mean", EMIT_TEXT, of_run(e, c, n->inputs[3]), "var", EMIT_TEXT,
         of_run(e, c, n->inputs[4]), "count", EMIT_INT, c->n * c->pixels, "eps", EMIT_TEXT,
         emit_double(e, node_real(n, A_EPS)), "width", EMIT_INT, c->width, NULL);
}

// Both
// ----------------------------------------------------------------------------------------------

static const char *outside(Loop *l, const Node *n)
{
    return arena_printf(l->e->scratch, "%s[i %% %lld]", emit_value(l->e, n),
                        (long long)c_elements(n));
}

static bool stores(const Loop *l, int norm)
{
    for (int i = norm; i < l->n; i++)
        if (emit_stored(l->e, l->nodes[i]))
            return true;
    return false;
}

static void apply(Loop *l, const Channels *c, int norm)
{
    Emit *e = l->e;
    bool lanes = side_by_side(c);
    int indent = open_samples(e, c);
    loop_pragma(e, false, !lanes);
    loop_for(e, "p", c->pixels, 1, lanes ? "" : " {");
    e->indent += 4;
    if (lanes) {
        loop_pragma(e, false, true);
        loop_for(e, "l", c->width, 1, " {");
        e->indent += 4;
    }
    emit(e, "const int64_t i = $at$lane;\n", "at", EMIT_TEXT, place(e, c, true), "lane",
         EMIT_TEXT, lanes ? " + l" : "", NULL);
    second_look(l, norm);
    e->indent -= 4;
    emit(e, "}\n", NULL);
    e->indent -= indent + (lanes ? 4 : 0);
}

void loop_norm(Loop *l, int norm)
{
    Emit *e = l->e;
    const Node *n = l->nodes[norm];
    Channels c = channels_of(e, n);
    bool grad = n->op == OP_BATCH_NORM_GRAD;
    l->channel = side_by_side(&c) ? "l" : "0";
    l->outside = outside;
    loop_keys(l);
    loop_pragma(e, loop_parallel(e, c_elements(n)), false);
    loop_for(e, "b", c.runs, 1, " {");
    e->indent += 4;
    emit(e, "$type k = {0};\n", "type", EMIT_TEXT, grad ? "c_norm_grad" : "c_norm", NULL);
    if (grad)
        sum_up_gradients(l, &c, norm);
    else if (n->op == OP_BATCH_NORM_INFER)
        take_running(l, &c, n);
    else
        sum_up(l, &c, n);
    if (stores(l, norm))
        apply(l, &c, norm);
    e->indent -= 4;
    emit(e, "}\n", NULL);
}
