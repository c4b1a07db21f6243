#include "codegen/kernel_text.h"

#include "codegen/program.h"

#include <string.h>

static bool same(const KernelText *a, const KernelText *b)
{
    const char *x = a->room ? a->room : "", *y = b->room ? b->room : "";
    return !strcmp(a->stem, b->stem) && !strcmp(a->head, b->head) &&
           !strcmp(a->code, b->code) && !strcmp(x, y);
}

static bool taken(const KernelTexts *t, const char *name)
{
    for (int i = 0; i < t->names.n; i++)
        if (!strcmp(t->names.items[i], name))
            return true;
    return false;
}

const char *emit_kernel(Emit *e, KernelText text)
{
    KernelTexts *t = e->kernels;
    for (int i = 0; i < t->items.n; i++)
        if (same(&t->items.items[i], &text))
            return t->names.items[i];
    const char *name = text.stem;
    for (int i = 2; taken(t, name); i++)
        name = arena_printf(e->scratch, "%s_%d", text.stem, i);
    vec_push(e->scratch, &t->items, text);
    vec_push(e->scratch, &t->names, name);
    return name;
}

// `text` with what stands for `hole`.
static const char *filled(Arena *a, const char *text, const char *hole, const char *with)
{
    size_t n = strlen(hole);
    const char *out = "";
    for (const char *at; (at = strstr(text, hole)); text = at + n)
        out = arena_printf(a, "%s%.*s%s", out, (int)(at - text), text, with);
    return arena_printf(a, "%s%s", out, text);
}

void kernel_texts_write(Emit *e)
{
    const KernelTexts *t = e->kernels;
    for (int i = 0; i < t->items.n; i++) {
        const KernelText *k = &t->items.items[i];
        const char *code = filled(e->scratch, k->code, "@head", k->head);
        code = filled(e->scratch, code, "@name", t->names.items[i]);
        text_puts(e->out, "\n");
        for (const char *end; (end = strchr(code, '\n')); code = end + 1) {
            code_wrapped(e->out, code, (size_t)(end - code));
            text_puts(e->out, "\n");
        }
    }
}

void kernel_texts_declare(Emit *e)
{
    const KernelTexts *t = e->kernels;
    for (int i = 0; i < t->items.n; i++) {
        const char *line =
            filled(e->scratch, t->items.items[i].head, "@name", t->names.items[i]);
        line = arena_printf(e->scratch, "%s;\n", line);
        code_wrapped(e->out, line, strlen(line));
    }
}
