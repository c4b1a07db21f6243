// Names of layers. In this order: `.name`; the variable that gets the result, where the source gives
// it a call's result once (`stem = conv2d(...)`); the kind with a number (relu2). A call of the
// model's own function puts its name and number, or the variable's name, in front:
// bottleneck3.conv2. Numbers count within the function, so that they do not move when code before
// the call changes.
#include "frontend/clang/layers.h"

#include <ctype.h>
#include <string.h>

static int count(Machine *m, const char *stem)
{
    Frame *f = m->frame;
    for (int i = 0; i < f->counters.n; i++)
        if (!strcmp(f->counters.items[i].stem, stem))
            return ++f->counters.items[i].n;
    vec_push(m->arena, &f->counters, ((Counter){stem, 1}));
    return 1;
}

static const char *numbered(Machine *m, const char *stem, bool plain)
{
    const char *scope = m->frame->scope, *dot = *scope ? "." : "";
    int n = count(m, stem);
    if (plain && n == 1)
        return arena_printf(m->arena, "%s%s%s", scope, dot, stem);
    return arena_printf(m->arena, "%s%s%s%d", scope, dot, stem, n);
}

const char *layers_scope(Machine *m, const char *stem, bool plain)
{
    return numbered(m, stem, plain);
}

const char *layers_name(Machine *m, const char *stem, const char *hint)
{
    return numbered(m, hint ? hint : stem, hint != NULL);
}

static bool is_name(const char *name)
{
    if (!isalpha((unsigned char)*name) && *name != '_')
        return false;
    for (; *name; name++)
        if (!isalnum((unsigned char)*name) && *name != '_' && *name != '.')
            return false;
    return true;
}

bool layers_claim(Machine *m, Ast *at, const char *name)
{
    if (!is_name(name)) {
        complain(m, at,
                 "\"%s\" cannot name a layer: letters, digits, `_` and `.`, a letter first",
                 name);
        return false;
    }
    for (int i = 0; i < m->named.n; i++)
        if (!strcmp(m->named.items[i].name, name)) {
            complain(m, at,
                     "the name \"%s\" is taken; in a function that is called several times, "
                     "format(\"block%%d.conv\", i) makes names",
                     name);
            note_at(m->named.items[i].loc, "it was first used here");
            return false;
        }
    vec_push(m->arena, &m->named, ((Named){at->spot.loc, name}));
    return true;
}

const Call *layers_call(Machine *m, Frame *f)
{
    if (!f || !f->caller)
        return NULL;
    if (!f->call) {
        Call *c = arena_new(m->draft.graph->arena, Call);
        *c = (Call){f->function->name, f->called.loc, layers_call(m, f->caller)};
        f->call = c;
    }
    return f->call;
}
