// TRAIN(.lr = 0.1, ...): settings as the command line would spell them. Their names and ranges are
// checked where all options are (plan/options.def).
#include "frontend/clang/layers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool layers_is_train(const Variable *v)
{
    return !strcmp(v->name, "stagecc_train_settings");
}

static const char *shortest(Arena *a, double v)
{
    char text[40];
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    return arena_strdup(a, text);
}

static const char *text_of(Machine *m, Ast *at, Value v)
{
    Arena *a = m->draft.graph->arena;
    if (v.type->kind == C_REAL)
        return shortest(a, v.real);
    if (v.type->kind == C_INTEGER)
        return arena_printf(a, "%lld", (long long)v.bits);
    const char *s = string_at(m, at, v.bits);
    return s ? arena_strdup(a, s) : NULL;
}

void layers_train(Machine *m, Variable *v)
{
    for (int i = 0; v->init && i < v->init->n; i++) {
        Ast *item = v->init->child[i];
        if (item->kind != AST_DESIGNATED || item->n != 2 || item->child[0]->kind != AST_FIELD) {
            complain(m, item, "settings are given by name, as in TRAIN(.lr = 0.1)");
            continue;
        }
        int64_t offset;
        const Field *f = field_find(v->type, item->child[0]->text, &offset);
        Value value = eval(m, item->child[1]);
        if (!f || !value.type)
            continue;
        value = convert(m, item, value, f->type);
        const char *text = value.type ? text_of(m, item, value) : NULL;
        if (!text)
            continue;
        TrainSetting s = {arena_strdup(m->draft.graph->arena, f->name), text, item->spot.loc};
        vec_push(m->draft.graph->arena, &m->draft.graph->train, s);
    }
}
