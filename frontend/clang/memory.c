// Objects: bytes with a shadow that knows which were written. Variables of a call lie on a stack and
// give their bytes back when it returns; an object's number is used again with another generation,
// so that a pointer kept for too long is noticed.
#include "frontend/clang/machine.h"

#include <string.h>
#include <sys/mman.h>

enum { GENERATIONS = 1 << 10 };

static uint8_t *region(int64_t bytes) // zeroed, and no memory until it is touched
{
    void *p = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        fatal("out of memory for the model's variables");
    return p;
}

void machine_init(Machine *m, Arena *a, Converter *c, Graph *g, const ModelOptions *options)
{
    *m = (Machine){.arena = a, .converter = c, .source = c->source, .draft = {g, options, 0}};
    vec_push(a, &m->objects, (Object){0});
    vec_push(a, &m->functions, NULL);
    vec_push(a, &m->tensors, (Tensor){0});
    m->stack = region(MAX_STACK);
    m->stack_shadow = region(MAX_STACK);
    m->statics = region(MAX_STATIC);
    m->statics_shadow = region(MAX_STATIC);
    m->temporaries = region(MAX_STACK);
    m->type_int = convert_basic(c, "int");
    m->type_uint = convert_basic(c, "unsigned int");
    m->type_long = convert_basic(c, "long");
    m->type_ulong = convert_basic(c, "unsigned long");
    m->type_double = convert_basic(c, "double");
    m->type_float = convert_basic(c, "float");
}

void machine_release(Machine *m)
{
    munmap(m->stack, MAX_STACK);
    munmap(m->stack_shadow, MAX_STACK);
    munmap(m->statics, MAX_STATIC);
    munmap(m->statics_shadow, MAX_STATIC);
    munmap(m->temporaries, MAX_STACK);
}

static int number_new(Machine *m, Ast *at)
{
    if (m->free_objects.n)
        return m->free_objects.items[--m->free_objects.n];
    if (m->objects.n == MAX_OBJECTS) {
        give_up(m, at, "the model has more than %d variables", MAX_OBJECTS);
        return 0;
    }
    vec_push(m->arena, &m->objects, (Object){0});
    return m->objects.n - 1;
}

uint64_t object_new(Machine *m, Ast *at, int64_t size, const char *name, bool is_static)
{
    int64_t room = (size + 15) / 16 * 16;
    int64_t *used = is_static ? &m->statics_used : &m->stack_used;
    if (size > MAX_OBJECT) {
        give_up(m, at, "`%s` takes %lld bytes; one variable of a model may take %d", name,
                (long long)size, MAX_OBJECT);
        return 0;
    }
    if (*used + room > (is_static ? MAX_STATIC : MAX_STACK)) {
        give_up(m, at, "the model's variables take more than %d bytes", MAX_STACK);
        return 0;
    }
    int number = number_new(m, at);
    if (!number)
        return 0;
    Object *o = &m->objects.items[number];
    *o = (Object){.data = (is_static ? m->statics : m->stack) + *used,
                  .shadow = (is_static ? m->statics_shadow : m->stack_shadow) + *used,
                  .size = size,
                  .generation = (o->generation + 1) % GENERATIONS,
                  .live = true,
                  .name = name};
    *used += room;
    memset(o->data, 0, (size_t)size);
    memset(o->shadow, UNSET, (size_t)size);
    return (uint64_t)number << 32 | (uint64_t)o->generation << 52;
}

static Object *object_of(Machine *m, uint64_t pointer)
{
    uint64_t number = pointer >> 32 & (MAX_OBJECTS - 1);
    if (!number || number >= (uint64_t)m->objects.n ||
        pointer & (POINTER_FUNCTION | POINTER_TENSOR))
        return NULL;
    Object *o = &m->objects.items[number];
    return o->live && o->generation == pointer >> 52 ? o : NULL;
}

void object_free(Machine *m, uint64_t pointer)
{
    Object *o = object_of(m, pointer);
    if (!o)
        return;
    o->live = false;
    vec_push(m->arena, &m->free_objects, (int)(pointer >> 32 & (MAX_OBJECTS - 1)));
}

void object_forget(Machine *m, uint64_t pointer)
{
    Object *o = object_of(m, pointer);
    if (o)
        memset(o->shadow, UNSET, (size_t)o->size);
}

Object *object_at(Machine *m, Ast *at, uint64_t pointer, int64_t size, int64_t *offset)
{
    if (!pointer) {
        complain(m, at, "a null pointer is used here");
        return NULL;
    }
    Object *o = object_of(m, pointer);
    if (!o) {
        complain(m, at, "the variable that this pointer leads to does not exist any more");
        return NULL;
    }
    *offset = (int64_t)(pointer & UINT32_MAX);
    if (size <= o->size - *offset)
        return o;
    complain(m, at, "%lld bytes at byte %lld are beyond the end of %s%s%s (%lld bytes)",
             (long long)size, (long long)*offset, *o->name ? "`" : "",
             *o->name ? o->name : "the object", *o->name ? "`" : "", (long long)o->size);
    return NULL;
}

bool pointer_move(Machine *m, Ast *at, uint64_t *pointer, int64_t bytes)
{
    if (!bytes)
        return true;
    int64_t offset, to;
    Object *o = object_at(m, at, *pointer, 0, &offset);
    if (!o)
        return false;
    if (__builtin_add_overflow(offset, bytes, &to) || to < 0 || to > o->size) {
        complain(m, at, "this leads %s %s%s%s",
                 to < 0 ? "before the beginning of" : "beyond the end of", *o->name ? "`" : "",
                 *o->name ? o->name : "the object", *o->name ? "`" : "");
        return false;
    }
    *pointer = (*pointer & ~(uint64_t)UINT32_MAX) | (uint64_t)to;
    return true;
}

// The worst that is known of some bytes.
static Shadow shadow_of(const uint8_t *shadow, int64_t n)
{
    Shadow worst = SET;
    for (int64_t i = 0; i < n; i++) {
        if (shadow[i] == POISONED)
            return POISONED;
        if (shadow[i] == UNSET)
            worst = UNSET;
    }
    return worst;
}

Value load_bytes(Machine *m, Ast *at, const uint8_t *data, const uint8_t *shadow,
                 const CType *type)
{
    if (type->kind == C_RECORD)
        return (Value){.type = type, .data = data, .shadow = shadow};
    Shadow known = shadow_of(shadow, type->size);
    if (known == POISONED)
        return POISON;
    if (known == UNSET) {
        const char *name = at->kind == AST_VARIABLE ? at->variable->name
                           : at->kind == AST_MEMBER || at->kind == AST_ARROW ? at->field->name
                                                                             : NULL;
        return name ? complain(m, at, "`%s` is read before it was given a value", name)
                    : complain(m, at, "this is read before it was given a value");
    }
    uint64_t bits = 0;
    if (type->kind == C_REAL && type->size == 4) {
        float f;
        memcpy(&f, data, sizeof f);
        return value_real(type, (double)f);
    }
    memcpy(&bits, data, type->size < 8 ? (size_t)type->size : 8);
    if (type->kind == C_REAL) {
        double d;
        memcpy(&d, &bits, sizeof d);
        return value_real(type, d);
    }
    return type->kind == C_INTEGER ? value_integer(type, bits)
                                   : (Value){.type = type, .bits = bits};
}

Value load(Machine *m, Ast *at, uint64_t pointer, const CType *type)
{
    if (type->kind == C_UNSUPPORTED)
        return complain(m, at, "%s is not supported in models", type->name);
    int64_t offset;
    Object *o = object_at(m, at, pointer, type->size, &offset);
    return o ? load_bytes(m, at, o->data + offset, o->shadow + offset, type) : POISON;
}

void store(Machine *m, Ast *at, uint64_t pointer, const CType *type, Value v)
{
    int64_t offset;
    Object *o = object_at(m, at, pointer, type->size, &offset);
    if (!o)
        return;
    uint8_t *data = o->data + offset, *shadow = o->shadow + offset;
    if (!v.type) {
        memset(shadow, POISONED, (size_t)type->size);
        return;
    }
    if (type->kind == C_RECORD) {
        memmove(data, v.data, (size_t)type->size);
        memmove(shadow, v.shadow, (size_t)type->size);
        return;
    }
    memset(shadow, SET, (size_t)type->size);
    if (type->kind == C_REAL && type->size == 4) {
        float f = (float)v.real;
        memcpy(data, &f, sizeof f);
    } else if (type->kind == C_REAL) {
        memcpy(data, &v.real, sizeof v.real);
    } else {
        memcpy(data, &v.bits, (size_t)type->size);
    }
}

uint8_t *temporary(Machine *m, Ast *at, int64_t bytes)
{
    int64_t room = (bytes + 15) / 16 * 16;
    if (bytes > MAX_OBJECT || m->temporaries_used + room > MAX_STACK) {
        give_up(m, at, "the model's temporary values take more than %d bytes", MAX_STACK);
        return NULL;
    }
    uint8_t *p = m->temporaries + m->temporaries_used;
    m->temporaries_used += room;
    memset(p, 0, (size_t)room);
    return p;
}

uint64_t string_new(Machine *m, Ast *at, const char *bytes, int64_t n)
{
    uint64_t pointer = object_new(m, at, n, "", true);
    if (!pointer)
        return 0;
    Object *o = object_of(m, pointer);
    memcpy(o->data, bytes, (size_t)n);
    memset(o->shadow, SET, (size_t)n);
    return pointer;
}

const char *string_at(Machine *m, Ast *at, uint64_t pointer)
{
    int64_t offset;
    Object *o = object_at(m, at, pointer, 1, &offset);
    if (!o)
        return NULL;
    const char *s = (const char *)o->data + offset;
    for (int64_t i = offset; i < o->size; i++) {
        if (o->shadow[i] == POISONED)
            return NULL;
        if (o->shadow[i] == UNSET)
            break;
        if (!o->data[i])
            return s;
    }
    complain(m, at, "this string has no end");
    return NULL;
}
