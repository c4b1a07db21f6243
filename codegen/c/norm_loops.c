// Batch norm, alone or with what is fused to it. It looks at its input twice, for statistics and to
// apply them, one run of channels after the other:
//
//   for (a: runs of blocks of channels)
//       for (n, b, p: strips of pixels)  sum up; backward: after the members that make dy
//       what applies per channel, from the sums
//       for (n, b, p, l)                 the norm and the members behind it
//
// Members before batch_norm_grad are stored by the first look if they have memory, and else computed
// again by the second. Where batch_norm was followed by relu, relu_grad does not read what relu made,
// but computes its sign from the norm's input, which is read anyhow. Large results of the second look
// go past the cache.
//
// Where replicas share their statistics (A_REPLICAS), the first look goes over all runs, then the sums
// of all channels are exchanged, then the second one goes over all runs.
#include "codegen/c/channels.h"

enum {
    STRIP = 1024,       // elements of a strip
    STREAMED = 32 << 20 // bytes of a tensor of which no cache will hold much until it is read
};

// The relu behind batch_norm whose sign the gradient of both can find out for itself; NULL: none.
static const Node *known_relu(const Node *norm_grad)
{
    const Node *relu_grad = norm_grad->inputs[1], *mean = norm_grad->inputs[3];
    if (norm_grad->op != OP_BATCH_NORM_GRAD || relu_grad->op != OP_RELU_GRAD ||
        relu_grad->group < 0 || relu_grad->group != norm_grad->group)
        return NULL;
    const Node *relu = relu_grad->inputs[1];
    const Node *norm = relu->op == OP_RELU ? relu->inputs[0] : NULL;
    bool same = norm && norm->op == OP_BATCH_NORM && norm->inputs[0] == norm_grad->inputs[0] &&
                norm->inputs[1] == norm_grad->inputs[2] && mean->op == OP_RESULT &&
                mean->inputs[0] == norm && norm->layout == norm_grad->layout;
    return same ? relu : NULL;
}

const Node *c_also_reads(const Node *n)
{
    const Node *relu = n->op == OP_BATCH_NORM_GRAD ? known_relu(n) : NULL;
    return relu ? relu->inputs[0]->inputs[2] : NULL;
}

// Forward
// ----------------------------------------------------------------------------------------------

static void sum_up(Loop *l, const Channels *c, const Node *norm)
{
    Emit *e = l->e;
    emit(e, "c_norm_clear(&k, $channels);\n", "channels", EMIT_INT, c->per_run * c->width,
         NULL);
    int indent = channels_open(e, c);
    emit(e,
         channels_side_by_side(c)
             ? "c_norm_add$form(&k, $first, $x + $at, $row, $rows, $width);\n"
             : "c_norm_add_row$form(&k, $first, $x + $at, $rows);\n",
         "form", EMIT_TEXT, c_form(norm->inputs[0]), "first", EMIT_TEXT,
         channels_index(e, c, ""), "x", EMIT_VALUE, norm->inputs[0], "at", EMIT_TEXT,
         channels_place(e, c, false), "row", EMIT_INT, c->pixel_step, "rows", EMIT_INT,
         c->pixels, "width", EMIT_INT, c->width, NULL);
    e->indent -= indent;
}

// Elements of a channel that its sums are of.
static const char *count_of(Emit *e, const Channels *c, const Node *norm)
{
    int64_t own = c->n * c->pixels;
    return node_int(norm, A_REPLICAS) > 1
               ? arena_printf(e->scratch, "%lld.0 * rt_round(s, mb)", (long long)own)
               : arena_printf(e->scratch, "%lld", (long long)own);
}

static void ready(Emit *e, const Channels *c, const Node *norm)
{
    emit(e, "c_norm_ready(&k, $mean, $var, $gamma, $beta, $count, $eps, $channels);\n", "mean",
         EMIT_TEXT, channels_vector(e, c, emit_output(e, norm, 1)), "var", EMIT_TEXT,
         channels_vector(e, c, emit_output(e, norm, 2)), "gamma", EMIT_TEXT,
         channels_vector(e, c, norm->inputs[1]), "beta", EMIT_TEXT,
         channels_vector(e, c, norm->inputs[2]), "count", EMIT_TEXT, count_of(e, c, norm),
         "eps", EMIT_TEXT, emit_double(e, node_real(norm, A_EPS)), "channels", EMIT_INT,
         c->per_run * c->width, NULL);
}

static void take_running(Loop *l, const Channels *c, const Node *norm)
{
    Emit *e = l->e;
    emit(e, "c_norm_fixed(&k, $mean, $var, $gamma, $beta, $eps, $channels);\n", "mean",
         EMIT_TEXT, channels_vector(e, c, norm->inputs[3]), "var", EMIT_TEXT,
         channels_vector(e, c, norm->inputs[4]), "gamma", EMIT_TEXT,
         channels_vector(e, c, norm->inputs[1]), "beta", EMIT_TEXT,
         channels_vector(e, c, norm->inputs[2]), "eps", EMIT_TEXT,
         emit_double(e, node_real(norm, A_EPS)), "channels", EMIT_INT, c->per_run * c->width,
         NULL);
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

// dy: where the gradients of `rows` pixels lie, x alike.
static void add_gradients(Loop *l, const Channels *c, const char *dy, int64_t dy_row,
                          const char *x, const char *rows)
{
    emit(l->e,
         channels_side_by_side(c)
             ? "c_norm_grad_add$form(&k, $first, $dy, $dy_row, $x, $x_row, $rows, $width);\n"
             : "c_norm_grad_add_row$form(&k, $first, $dy, $x, $rows);\n",
         "form", EMIT_TEXT, c_form(l->known_by), "first", EMIT_TEXT,
         channels_index(l->e, c, ""), "dy", EMIT_TEXT, dy, "dy_row", EMIT_INT, dy_row, "x",
         EMIT_TEXT, x, "x_row", EMIT_INT, c->pixel_step, "rows", EMIT_TEXT, rows, "width",
         EMIT_INT, c->width, NULL);
}

// The loops over a strip: members before the norm; dy goes to d if it has no memory. Members that
// need to know their channel get a loop over lanes.
static void strip(Loop *l, const Channels *c, int norm, const char *rows)
{
    Emit *e = l->e;
    const Node *dy = l->nodes[norm]->inputs[1];
    bool lanes = l->known && c->width > 1;
    int indent = e->indent;
    const char *width = arena_printf(e->scratch, "%lld", (long long)c->width);
    const char *all = c->width == 1 ? rows : arena_printf(e->scratch, "%s * %s", rows, width);
    const char *j = lanes ? arena_printf(e->scratch, "r * %s + l", width) : "j";
    if (lanes) {
        emit(e, "for (int64_t r = 0; r < $n; r++)\n", "n", EMIT_TEXT, rows, NULL);
        e->indent += 4;
    }
    loop_pragma(e, false, true);
    emit(e, "for (int64_t $j = 0; $j < $n; $j++) {\n", "j", EMIT_TEXT, lanes ? "l" : "j", "n",
         EMIT_TEXT, lanes ? width : all, NULL);
    e->indent += 4;
    emit(e, "const int64_t i = o + $j;\n", "j", EMIT_TEXT, j, NULL);
    first_look(l, norm);
    if (!emit_stored(e, dy))
        emit(e, "d[$j] = $dy;\n", "j", EMIT_TEXT, j, "dy", EMIT_TEXT,
             loop_stored(e, dy, loop_value(l, dy)), NULL);
    e->indent -= 4;
    emit(e, "}\n", NULL);
    e->indent = indent;
}

static void sum_up_strips(Loop *l, const Channels *c, int norm)
{
    Emit *e = l->e;
    const Node *n = l->nodes[norm], *dy = n->inputs[1];
    int64_t pixels = strip_pixels(c);
    bool stored = emit_stored(e, dy);
    const char *count = arena_printf(e->scratch, "%lld", (long long)pixels);
    int indent = channels_open(e, c);
    loop_for(e, "p", c->pixels, pixels, " {");
    e->indent += 4;
    emit(e, "const int64_t o = $at;\n", "at", EMIT_TEXT, channels_place(e, c, true), NULL);
    if (!stored)
        emit(e, "$type d[$n];\n", "type", EMIT_TEXT, emit_ctype(dy->dtype), "n", EMIT_INT,
             pixels * c->width, NULL);
    if (c->pixels % pixels) {
        emit(e, "const int64_t m = $all - p < $n ? $all - p : $n;\n", "all", EMIT_INT,
             c->pixels, "n", EMIT_TEXT, count, NULL);
        count = "m";
    }
    strip(l, c, norm, count);
    add_gradients(l, c, stored ? arena_printf(e->scratch, "%s + o", emit_value(e, dy)) : "d",
                  stored ? c->pixel_step : c->width,
                  arena_printf(e->scratch, "%s + o", emit_value(e, n->inputs[0])), count);
    e->indent -= 4;
    emit(e, "}\n", NULL);
    e->indent -= indent;
}

static void sum_up_whole(Loop *l, const Channels *c, const Node *n)
{
    Emit *e = l->e;
    int indent = channels_open(e, c);
    const char *at = channels_place(e, c, false);
    add_gradients(l, c, arena_printf(e->scratch, "%s + %s", emit_value(e, n->inputs[1]), at),
                  c->pixel_step,
                  arena_printf(e->scratch, "%s + %s", emit_value(e, n->inputs[0]), at),
                  arena_printf(e->scratch, "%lld", (long long)c->pixels));
    e->indent -= indent;
}

static void begin_gradients(Emit *e, const Channels *c, const Node *n)
{
    const char *mean = channels_vector(e, c, n->inputs[3]);
    const char *var = channels_vector(e, c, n->inputs[4]);
    const char *eps = emit_double(e, node_real(n, A_EPS));
    emit(e, "c_norm_grad_begin(&k, $mean, $var, $gamma, $beta, $eps, $channels);\n", "mean",
         EMIT_TEXT, mean, "var", EMIT_TEXT, var, "gamma", EMIT_TEXT,
         channels_vector(e, c, n->inputs[2]), "beta", EMIT_TEXT,
         channels_vector(e, c, c_also_reads(n)), "eps", EMIT_TEXT, eps, "channels", EMIT_INT,
         c->per_run * c->width, NULL);
}

static void sum_up_gradients(Loop *l, const Channels *c, int norm)
{
    if (loop_member(l, l->nodes[norm]->inputs[1]) >= 0)
        sum_up_strips(l, c, norm);
    else
        sum_up_whole(l, c, l->nodes[norm]);
}

static void ready_gradients(Emit *e, const Channels *c, const Node *n, const Node *dgamma,
                            const Node *dbeta)
{
    emit(e, "c_norm_grad_ready(&k, $dgamma, $dbeta, $var, $count, $eps, $channels);\n",
         "dgamma", EMIT_TEXT, channels_vector(e, c, dgamma), "dbeta", EMIT_TEXT,
         channels_vector(e, c, dbeta), "var", EMIT_TEXT, channels_vector(e, c, n->inputs[4]),
         "count", EMIT_TEXT, count_of(e, c, n), "eps", EMIT_TEXT,
         emit_double(e, node_real(n, A_EPS)), "channels", EMIT_INT, c->per_run * c->width,
         NULL);
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

// The member whose result goes past the cache, by way of t: the last that is stored, of a large
// blocked image, whose rows begin where such stores may.
static int streamed(const Loop *l, int norm)
{
    int member = -1;
    for (int i = norm; i < l->n; i++)
        if (emit_stored(l->e, l->nodes[i]) && l->nodes[i]->layout == LAYOUT_BLOCKED &&
            l->nodes[i]->bytes >= STREAMED)
            member = i;
    return member;
}

static void apply_lanes(Loop *l, const Channels *c, int norm)
{
    Emit *e = l->e;
    l->streamed = streamed(l, norm);
    bool stream = l->streamed >= 0;
    if (stream) {
        emit(e, "const int64_t o = $at;\n$type t[$width];\n", "at", EMIT_TEXT,
             channels_place(e, c, true), "type", EMIT_TEXT,
             emit_ctype(l->nodes[l->streamed]->dtype), "width", EMIT_INT, c->width, NULL);
    }
    loop_pragma(e, false, true);
    loop_for(e, "l", c->width, 1, " {");
    e->indent += 4;
    emit(e, "const int64_t i = $at + l;\n", "at", EMIT_TEXT,
         stream ? "o" : channels_place(e, c, true), NULL);
    second_look(l, norm);
    e->indent -= 4;
    emit(e, "}\n", NULL);
    if (stream)
        emit(e, "c_stream$form(&$y[o], t, $width);\n", "form", EMIT_TEXT,
             c_form(l->nodes[l->streamed]), "y", EMIT_VALUE, l->nodes[l->streamed], "width",
             EMIT_INT, c->width, NULL);
}

static void apply(Loop *l, const Channels *c, int norm)
{
    Emit *e = l->e;
    int indent = channels_open(e, c);
    if (channels_side_by_side(c)) {
        bool stream = streamed(l, norm) >= 0;
        loop_for(e, "p", c->pixels, 1, stream ? " {" : "");
        e->indent += 4;
        apply_lanes(l, c, norm);
        e->indent -= 4;
        if (stream)
            emit(e, "}\n", NULL);
    } else {
        loop_pragma(e, false, true);
        loop_for(e, "p", c->pixels, 1, " {");
        e->indent += 4;
        emit(e, "const int64_t i = $at;\n", "at", EMIT_TEXT, channels_place(e, c, true), NULL);
        second_look(l, norm);
        e->indent -= 4;
        emit(e, "}\n", NULL);
    }
    e->indent -= indent;
    if (l->streamed >= 0)
        emit(e, "c_stream_end();\n", NULL);
}

// The loop over runs, and what it knows per channel.
static void open_runs(Loop *l, const Channels *c, const Node *n)
{
    Emit *e = l->e;
    bool grad = n->op == OP_BATCH_NORM_GRAD;
    loop_pragma(e, loop_parallel(e, c_elements(n)), false);
    loop_for(e, "a", c->blocks, c->per_run, " {");
    e->indent += 4;
    emit(e, "$type k;\n", "type", EMIT_TEXT, grad ? "c_norm_grad" : "c_norm", NULL);
    if (grad)
        begin_gradients(e, c, n);
}

static void close_runs(Emit *e)
{
    e->indent -= 4;
    emit(e, "}\n", NULL);
}

static void move_sums(Emit *e, const Channels *c, const Node *n, const char *how)
{
    bool grad = n->op == OP_BATCH_NORM_GRAD;
    emit(e, "$move(&k, rt_sums(s) + a$width, $c, $channels);\n", "move", EMIT_TEXT,
         arena_printf(e->scratch, "c_norm%s_%s", grad ? "_grad" : "", how), "width", EMIT_TEXT,
         c->width > 1 ? arena_printf(e->scratch, " * %lld", (long long)c->width) : "", "c",
         EMIT_INT, n->shape.dim[1], "channels", EMIT_INT, c->per_run * c->width, NULL);
}

// Between the looks, where the sums are those of all replicas. A gradient's dgamma and dbeta are its own.
static void exchange(Loop *l, const Channels *c, const Node *n)
{
    Emit *e = l->e;
    bool grad = n->op == OP_BATCH_NORM_GRAD;
    const Node *dgamma = grad ? emit_output(e, n, 1) : NULL;
    const Node *dbeta = grad ? emit_output(e, n, 2) : NULL;
    if (dgamma || dbeta)
        ready_gradients(e, c, n, dgamma, dbeta);
    move_sums(e, c, n, "give");
    close_runs(e);
    emit(e, "rt_add_round(s, mb, rt_sums(s), $n); // of all replicas\n", "n", EMIT_INT,
         2 * n->shape.dim[1], NULL);
    open_runs(l, c, n);
    move_sums(e, c, n, "take");
}

// The first look: what applies per channel.
static void find_statistics(Loop *l, const Channels *c, int norm)
{
    Emit *e = l->e;
    const Node *n = l->nodes[norm];
    bool grad = n->op == OP_BATCH_NORM_GRAD, shared = node_int(n, A_REPLICAS) > 1;
    if (grad)
        sum_up_gradients(l, c, norm);
    else
        sum_up(l, c, n);
    if (shared)
        exchange(l, c, n);
    if (grad)
        ready_gradients(e, c, n, shared ? NULL : emit_output(e, n, 1),
                        shared ? NULL : emit_output(e, n, 2));
    else
        ready(e, c, n);
}

void loop_norm(Loop *l, int norm)
{
    Emit *e = l->e;
    const Node *n = l->nodes[norm];
    Channels c = channels_of(e, n);
    bool grad = n->op == OP_BATCH_NORM_GRAD;
    l->channel = channels_index(e, &c, channels_side_by_side(&c) ? "l" : "");
    l->outside = outside;
    l->known = grad ? known_relu(n) : NULL;
    l->known_by = n;
    loop_keys(l);
    open_runs(l, &c, n);
    if (n->op == OP_BATCH_NORM_INFER)
        take_running(l, &c, n);
    else
        find_statistics(l, &c, norm);
    if (stores(l, norm))
        apply(l, &c, norm);
    close_runs(e);
}
