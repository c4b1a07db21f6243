// Batch norm, alone or with what is fused to it. It looks at its input twice, for statistics and to
// apply them, one run of channels after the other:
//
//   for (a: runs of blocks of channels)
//       for (n, b, p: strips of pixels)  sum up; backward: after the members that make dy
//       what applies per channel, from the sums
//       for (n, b, p, l)                 the norm and the members behind it
//
// Which members each look computes is codegen/chain.c's. Large results of the second look go past the
// cache.
//
// Where replicas share their statistics (A_REPLICAS), the first look goes over all runs, then the sums
// of all channels are exchanged, then the second one goes over all runs.
#include "codegen/c/channels.h"

enum {
    STRIP = 1024,       // elements of a strip
    STREAMED = 32 << 20 // bytes of a tensor of which no cache will hold much until it is read
};

// Forward
// ----------------------------------------------------------------------------------------------

static void sum_up(Chain *chain, const Channels *c, const Node *norm)
{
    Emit *e = chain->e;
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

static void take_running(Chain *chain, const Channels *c, const Node *norm)
{
    Emit *e = chain->e;
    emit(e, "c_norm_fixed(&k, $mean, $var, $gamma, $beta, $eps, $channels);\n", "mean",
         EMIT_TEXT, channels_vector(e, c, norm->inputs[3]), "var", EMIT_TEXT,
         channels_vector(e, c, norm->inputs[4]), "gamma", EMIT_TEXT,
         channels_vector(e, c, norm->inputs[1]), "beta", EMIT_TEXT,
         channels_vector(e, c, norm->inputs[2]), "eps", EMIT_TEXT,
         emit_double(e, node_real(norm, A_EPS)), "channels", EMIT_INT, c->per_run * c->width,
         NULL);
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
static void add_gradients(Chain *chain, const Channels *c, const char *dy, int64_t dy_row,
                          const char *x, const char *rows)
{
    emit(chain->e,
         channels_side_by_side(c)
             ? "c_norm_grad_add$form(&k, $first, $dy, $dy_row, $x, $x_row, $rows, $width);\n"
             : "c_norm_grad_add_row$form(&k, $first, $dy, $x, $rows);\n",
         "form", EMIT_TEXT, c_form(chain->nodes[chain->norm]), "first", EMIT_TEXT,
         channels_index(chain->e, c, ""), "dy", EMIT_TEXT, dy, "dy_row", EMIT_INT, dy_row, "x",
         EMIT_TEXT, x, "x_row", EMIT_INT, c->pixel_step, "rows", EMIT_TEXT, rows, "width",
         EMIT_INT, c->width, NULL);
}

// The loops over a strip: members before the norm; dy goes to d if it has no memory. Members that
// need to know their channel get a loop over lanes.
static void strip(Chain *chain, const Channels *c, const char *rows)
{
    Emit *e = chain->e;
    const Node *dy = chain->nodes[chain->norm]->inputs[1];
    bool lanes = chain->known && c->width > 1;
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
    chain_first_look(chain);
    if (!emit_stored(e, dy))
        emit(e, "d[$j] = $dy;\n", "j", EMIT_TEXT, j, "dy", EMIT_TEXT,
             loop_stored(e, dy, chain_value(chain, dy)), NULL);
    e->indent -= 4;
    emit(e, "}\n", NULL);
    e->indent = indent;
}

static void sum_up_strips(Chain *chain, const Channels *c)
{
    Emit *e = chain->e;
    const Node *n = chain->nodes[chain->norm], *dy = n->inputs[1];
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
    strip(chain, c, count);
    add_gradients(chain, c,
                  stored ? arena_printf(e->scratch, "%s + o", emit_value(e, dy)) : "d",
                  stored ? c->pixel_step : c->width,
                  arena_printf(e->scratch, "%s + o", emit_value(e, n->inputs[0])), count);
    e->indent -= 4;
    emit(e, "}\n", NULL);
    e->indent -= indent;
}

static void sum_up_whole(Chain *chain, const Channels *c, const Node *n)
{
    Emit *e = chain->e;
    int indent = channels_open(e, c);
    const char *at = channels_place(e, c, false);
    add_gradients(
        chain, c, arena_printf(e->scratch, "%s + %s", emit_value(e, n->inputs[1]), at),
        c->pixel_step, arena_printf(e->scratch, "%s + %s", emit_value(e, n->inputs[0]), at),
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
         channels_vector(e, c, chain_also_reads(n)), "eps", EMIT_TEXT, eps, "channels",
         EMIT_INT, c->per_run * c->width, NULL);
}

static void sum_up_gradients(Chain *chain, const Channels *c)
{
    if (chain_member(chain, chain->nodes[chain->norm]->inputs[1]) >= 0)
        sum_up_strips(chain, c);
    else
        sum_up_whole(chain, c, chain->nodes[chain->norm]);
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

static const char *load(const Chain *chain, const Node *n)
{
    return loop_load(chain, n,
                     arena_printf(chain->e->scratch, "i %% %lld", (long long)c_elements(n)));
}

// The member whose result goes past the cache, by way of t: the last that is stored, of a large
// blocked image, whose rows begin where such stores may.
static const Node *streamed(const Chain *chain)
{
    const Node *member = NULL;
    for (int i = chain->norm; i < chain->n; i++)
        if (emit_stored(chain->e, chain->nodes[i]) &&
            chain->nodes[i]->layout == LAYOUT_BLOCKED && chain->nodes[i]->bytes >= STREAMED)
            member = chain->nodes[i];
    return member;
}

static const char *place(const Chain *chain, const Node *n)
{
    return n == chain->user ? "t[l]" : loop_place(chain, n);
}

static const Form form = {"c", "i", load, place, loop_stored};

static void apply_lanes(Chain *chain, const Channels *c)
{
    Emit *e = chain->e;
    const Node *stream = streamed(chain);
    chain->user = stream;
    if (stream)
        emit(e, "const int64_t o = $at;\n$type t[$width];\n", "at", EMIT_TEXT,
             channels_place(e, c, true), "type", EMIT_TEXT, emit_ctype(stream->dtype), "width",
             EMIT_INT, c->width, NULL);
    loop_pragma(e, false, true);
    loop_for(e, "l", c->width, 1, " {");
    e->indent += 4;
    emit(e, "const int64_t i = $at + l;\n", "at", EMIT_TEXT,
         stream ? "o" : channels_place(e, c, true), NULL);
    chain_second_look(chain);
    e->indent -= 4;
    emit(e, "}\n", NULL);
    if (stream)
        emit(e, "c_stream$form(&$y[o], t, $width);\n", "form", EMIT_TEXT, c_form(stream), "y",
             EMIT_VALUE, stream, "width", EMIT_INT, c->width, NULL);
}

static void apply(Chain *chain, const Channels *c)
{
    Emit *e = chain->e;
    int indent = channels_open(e, c);
    if (channels_side_by_side(c)) {
        bool stream = streamed(chain) != NULL;
        loop_for(e, "p", c->pixels, 1, stream ? " {" : "");
        e->indent += 4;
        apply_lanes(chain, c);
        e->indent -= 4;
        if (stream)
            emit(e, "}\n", NULL);
    } else {
        loop_pragma(e, false, true);
        loop_for(e, "p", c->pixels, 1, " {");
        e->indent += 4;
        emit(e, "const int64_t i = $at;\n", "at", EMIT_TEXT, channels_place(e, c, true), NULL);
        chain_second_look(chain);
        e->indent -= 4;
        emit(e, "}\n", NULL);
    }
    e->indent -= indent;
    if (chain->user)
        emit(e, "c_stream_end();\n", NULL);
}

// The loop over runs, and what it knows per channel.
static void open_runs(Chain *chain, const Channels *c, const Node *n)
{
    Emit *e = chain->e;
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
static void exchange(Chain *chain, const Channels *c, const Node *n)
{
    Emit *e = chain->e;
    bool grad = n->op == OP_BATCH_NORM_GRAD;
    const Node *dgamma = grad ? emit_output(e, n, 1) : NULL;
    const Node *dbeta = grad ? emit_output(e, n, 2) : NULL;
    if (dgamma || dbeta)
        ready_gradients(e, c, n, dgamma, dbeta);
    move_sums(e, c, n, "give");
    close_runs(e);
    emit(e, "rt_add_round(s, mb, rt_sums(s), $n); // of all replicas\n", "n", EMIT_INT,
         2 * n->shape.dim[1], NULL);
    open_runs(chain, c, n);
    move_sums(e, c, n, "take");
}

// The first look: what applies per channel.
static void find_statistics(Chain *chain, const Channels *c)
{
    Emit *e = chain->e;
    const Node *n = chain->nodes[chain->norm];
    bool grad = n->op == OP_BATCH_NORM_GRAD, shared = node_int(n, A_REPLICAS) > 1;
    if (grad)
        sum_up_gradients(chain, c);
    else
        sum_up(chain, c, n);
    if (shared)
        exchange(chain, c, n);
    if (grad)
        ready_gradients(e, c, n, shared ? NULL : emit_output(e, n, 1),
                        shared ? NULL : emit_output(e, n, 2));
    else
        ready(e, c, n);
}

void loop_norm(Chain *chain)
{
    Emit *e = chain->e;
    const Node *n = chain->nodes[chain->norm];
    Channels c = channels_of(e, n);
    chain->channel = channels_index(e, &c, channels_side_by_side(&c) ? "l" : "");
    chain->form = &form;
    loop_keys(chain);
    open_runs(chain, &c, n);
    if (n->op == OP_BATCH_NORM_INFER)
        take_running(chain, &c, n);
    else
        find_statistics(chain, &c);
    if (chain_applies(chain))
        apply(chain, &c);
    close_runs(e);
}
