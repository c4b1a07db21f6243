// Initialisers. libclang shows the list as it was written: positions, braces that were left out and
// what is zero because nothing was said are for us to work out (C17 6.7.9).
#include "frontend/clang/machine.h"

#include <string.h>

typedef struct Items {
    Machine *m;
    Ast *list;
    int next;
} Items;

static void fill(Items *it, uint64_t base, const CType *type, bool braced);

static int64_t part_count(const CType *type)
{
    if (type->kind == C_ARRAY)
        return type->count;
    return type->is_union && type->n_fields ? 1 : type->n_fields;
}

static const CType *part(const CType *type, int64_t i, int64_t *offset)
{
    if (type->kind == C_ARRAY) {
        *offset = i * type->of->size;
        return type->of;
    }
    *offset = type->fields[i].offset;
    return type->fields[i].type;
}

static bool is_aggregate(const CType *type)
{
    return type->kind == C_ARRAY || type->kind == C_RECORD;
}

static Ast *string_of(const CType *type, Ast *init)
{
    if (type->kind != C_ARRAY || type->of->size != 1)
        return NULL;
    while ((init->kind == AST_LIST || init->kind == AST_CONVERT) && init->n == 1)
        init = init->child[0];
    return init->kind == AST_STRING ? init : NULL;
}

static void set_all(Machine *m, Ast *at, uint64_t pointer, int64_t size, Shadow shadow)
{
    int64_t offset;
    Object *o = object_at(m, at, pointer, size, &offset);
    if (!o)
        return;
    memset(o->data + offset, 0, (size_t)size);
    memset(o->shadow + offset, (int)shadow, (size_t)size);
}

static void set_string(Machine *m, uint64_t pointer, const CType *type, const Ast *string,
                       Ast *at)
{
    int64_t offset, n = string->length < type->size ? string->length : type->size;
    set_all(m, at, pointer, type->size, SET);
    Object *o = object_at(m, at, pointer, type->size, &offset);
    if (o)
        memcpy(o->data + offset, string->text, (size_t)n);
}

// One designator, `.name` or `[index]`, applied to *type at *pointer; *position is where it leads.
static bool designate(Items *it, Ast *d, const CType **type, uint64_t *pointer,
                      int64_t *position)
{
    Machine *m = it->m;
    int64_t offset = 0;
    if (d->kind == AST_FIELD) {
        const Field *f = (*type)->kind == C_RECORD ? field_find(*type, d->text, &offset) : NULL;
        if (!f || f->bits) {
            complain(m, d, "this designator is not supported in models");
            return false;
        }
        *position = 0;
        for (int i = 0; i < (*type)->n_fields; i++)
            if ((*type)->fields[i].offset <= offset)
                *position = i;
        *type = f->type;
        return pointer_move(m, d, pointer, offset);
    }
    Value i = eval(m, d);
    if (!i.type || (*type)->kind != C_ARRAY)
        return false;
    *position = (int64_t)i.bits;
    *type = (*type)->of;
    return pointer_move(m, d, pointer, *position * (*type)->size);
}

static bool fill_range(Items *it, Ast *item, uint64_t base, const CType *array,
                       int64_t *position)
{
    Machine *m = it->m;
    Value low = eval(m, item->child[0]), high = eval(m, item->child[1]);
    if (!low.type || !high.type)
        return false;
    for (int64_t i = (int64_t)low.bits; i <= (int64_t)high.bits; i++) {
        uint64_t pointer = base;
        if (!step(m, item) || !pointer_move(m, item, &pointer, i * array->of->size))
            return false;
        initialise(m, pointer, array->of, item->child[2]);
    }
    *position = (int64_t)high.bits;
    return true;
}

// Designators and value; *position becomes where the first designator led.
static bool fill_designated(Items *it, Ast *item, uint64_t base, const CType *type,
                            int64_t *position)
{
    Machine *m = it->m;
    bool indices =
        item->n == 3 && item->child[0]->kind != AST_FIELD && item->child[1]->kind != AST_FIELD;
    if (indices && type->kind == C_ARRAY && type->of->kind != C_ARRAY) // [low ... high] = value
        return fill_range(it, item, base, type, position);
    for (int i = 0; i < item->n - 1; i++) {
        int64_t at = 0;
        if (!designate(it, item->child[i], &type, &base, &at))
            return false;
        if (i == 0)
            *position = at;
    }
    if (item->n > 2 && it->next < it->list->n &&
        it->list->child[it->next]->kind != AST_DESIGNATED) {
        complain(m, it->list->child[it->next],
                 "a value behind a nested designator is not supported in models");
        return false;
    }
    initialise(m, base, type, item->child[item->n - 1]);
    return true;
}

// Elements from `position` on; without braces of its own an aggregate takes as many as it has.
static void fill(Items *it, uint64_t base, const CType *type, bool braced)
{
    Machine *m = it->m;
    int64_t n = part_count(type);
    for (int64_t position = 0; it->next < it->list->n && !m->stop; position++) {
        Ast *item = it->list->child[it->next];
        if (item->kind == AST_DESIGNATED) {
            if (!braced)
                return;
            it->next++;
            if (!fill_designated(it, item, base, type, &position))
                return;
            continue;
        }
        if (position >= n) {
            if (braced)
                it->next++; // clang has said that there are too many
            else
                return;
            continue;
        }
        int64_t offset;
        uint64_t pointer = base;
        const CType *of = part(type, position, &offset);
        if (!pointer_move(m, item, &pointer, offset))
            return;
        bool whole =
            item->kind == AST_LIST || string_of(of, item) || (item->type && item->type == of);
        if (is_aggregate(of) && !whole) {
            fill(it, pointer, of, false);
        } else {
            it->next++;
            initialise(m, pointer, of, item);
        }
    }
}

void initialise(Machine *m, uint64_t pointer, const CType *type, Ast *init)
{
    if (!init) { // static
        Ast nowhere = {0};
        set_all(m, &nowhere, pointer, type->size, SET);
        return;
    }
    Ast *string = string_of(type, init);
    if (string) {
        set_string(m, pointer, type, string, init);
    } else if (init->kind == AST_LIST && is_aggregate(type)) {
        Items it = {m, init, 0};
        set_all(m, init, pointer, type->size, IMPLICIT);
        fill(&it, pointer, type, true);
    } else if (init->kind == AST_LIST && init->n == 0) {
        set_all(m, init, pointer, type->size, SET);
    } else {
        store(m, init, pointer, type, eval(m, init));
    }
}
