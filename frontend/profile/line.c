// Calls of the model language, as they are made.
#include "frontend/profile/import.h"

#include <stdarg.h>

Line *line_begin(Importer *im, const ProfileNode *node, const char *kind, const char *name)
{
    Line *l = arena_new(im->arena, Line);
    l->node = node;
    l->call = (LayerCall){.draft = &im->draft,
                          .kind = layer_kind(kind),
                          .name = name,
                          .loc = node ? node->loc : NO_LOC};
    CHECK(l->call.kind, "frontend", "there is no layer %s", kind);
    return l;
}

Line *maker_line(Maker *m, const char *kind)
{
    Line *l = line_begin(m->im, m->node, kind, m->node->id);
    if (m->n)
        line_tensor(l, m->im, m->im->made[m->from[0]]);
    return l;
}

void line_tensor(Line *l, const Importer *im, Tensor t)
{
    vec_push(im->arena, &l->args, ((Arg){.kind = ARG_TENSOR, .tensor = t}));
}

void line_int(Line *l, const Importer *im, int64_t v)
{
    vec_push(im->arena, &l->args, ((Arg){.kind = ARG_INT, .i = v}));
}

void line_real(Line *l, const Importer *im, double v)
{
    vec_push(im->arena, &l->args, ((Arg){.kind = ARG_REAL, .real = v}));
}

void line_option(Line *l, const Importer *im, const char *name, int64_t v, int64_t fallback)
{
    if (v != fallback)
        vec_push(im->arena, &l->options, ((Arg){name, ARG_INT, {.i = v}}));
}

void line_given(Line *l, const Importer *im, const char *name, Tensor t)
{
    vec_push(im->arena, &l->options, ((Arg){name, ARG_TENSOR, {.tensor = t}}));
}

void line_flag(Line *l, const Importer *im, const char *name, bool v, bool fallback)
{
    if (v != fallback)
        vec_push(im->arena, &l->options, ((Arg){name, ARG_BOOL, {.i = v}}));
}

void line_number(Line *l, const Importer *im, const char *name, double v, double fallback)
{
    if (v < fallback || v > fallback)
        vec_push(im->arena, &l->options, ((Arg){name, ARG_REAL, {.real = v}}));
}

void line_pair(Line *l, const Importer *im, const char *name, const int64_t v[2],
               const int64_t *fallback)
{
    if (fallback && v[0] == fallback[0] && v[1] == fallback[1])
        return;
    if (v[0] == v[1]) {
        vec_push(im->arena, &l->options, ((Arg){name, ARG_INT, {.i = v[0]}}));
        return;
    }
    for (int i = 0; i < 2; i++) {
        const char *one = arena_printf(im->arena, "%s_%c", name, "hw"[i]);
        vec_push(im->arena, &l->options, ((Arg){one, ARG_INT, {.i = v[i]}}));
    }
}

Tensor line_make(Importer *im, Line *l)
{
    for (int i = 0; i < l->args.n; i++) // an operand that is wrong was reported
        if (l->args.items[i].kind == ARG_TENSOR && !l->args.items[i].tensor.node)
            return NO_TENSOR;
    l->call.args = l->args.items;
    l->call.n = l->args.n;
    l->call.options = l->options.items;
    l->call.n_options = l->options.n;
    l->result = layer_make(&l->call);
    vec_push(im->arena, &im->script->lines, l);
    return l->result;
}

Tensor maker_wrong(const Maker *m, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    const char *message = arena_vprintf(m->im->arena, format, ap);
    va_end(ap);
    error_at(m->node->loc, "%s: %s", m->d->kind, message);
    return NO_TENSOR;
}
