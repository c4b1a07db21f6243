// Types by the pointer that clang keeps for each canonical, unqualified type.
#include "frontend/clang/convert.h"

#include <string.h>

typedef struct CTypeSlot {
    const void *key;
    CType *type;
} CTypeSlot;

static CTypeSlot *slot_of(CTypeSlot *slots, int size, const void *key)
{
    size_t mask = (size_t)size - 1,
           i = ((uintptr_t)key >> 4) * 0x9e3779b97f4a7c15u >> 20 & mask;
    while (slots[i].key && slots[i].key != key)
        i = (i + 1) & mask;
    return &slots[i];
}

static CTypeSlot *slot_insert(Converter *c, const void *key)
{
    if (2 * (c->n_types + 1) > c->types_size) {
        int size = c->types_size ? 2 * c->types_size : 256;
        CTypeSlot *grown = arena_array(c->arena, CTypeSlot, size);
        for (int i = 0; i < c->types_size; i++)
            if (c->types[i].key)
                *slot_of(grown, size, c->types[i].key) = c->types[i];
        c->types = grown;
        c->types_size = size;
    }
    CTypeSlot *s = slot_of(c->types, c->types_size, key);
    if (!s->key) {
        s->key = key;
        c->n_types++;
    }
    return s;
}

static bool is_integer(enum CXTypeKind kind, bool *is_signed)
{
    *is_signed = kind == CXType_SChar || kind == CXType_Char_S || kind == CXType_Short ||
                 kind == CXType_Int || kind == CXType_Long || kind == CXType_LongLong ||
                 kind == CXType_WChar;
    return *is_signed || kind == CXType_Bool || kind == CXType_Char_U || kind == CXType_UChar ||
           kind == CXType_UShort || kind == CXType_UInt || kind == CXType_ULong ||
           kind == CXType_ULongLong || kind == CXType_Char16 || kind == CXType_Char32;
}

typedef struct FieldVisit {
    Converter *c;
    VEC(Field) fields;
} FieldVisit;

static enum CXVisitorResult add_field(CXCursor cursor, CXClientData data)
{
    FieldVisit *v = data;
    Field f = {
        .name = source_string(v->c->source, libclang.getCursorSpelling(cursor)),
        .type = convert_type(v->c, libclang.getCursorType(cursor)),
        .offset = libclang.Cursor_getOffsetOfField(cursor) / 8,
        .bits = libclang.Cursor_isBitField(cursor),
    };
    if (strchr(f.name, ' ') || strchr(f.name, '(')) // how clang calls what has no name
        f.name = "";
    vec_push(v->c->arena, &v->fields, f);
    return CXVisit_Continue;
}

const Field *field_find(const CType *record, const char *name, int64_t *offset)
{
    for (int i = 0; i < record->n_fields; i++) {
        const Field *f = &record->fields[i];
        if (!strcmp(f->name, name)) {
            *offset = f->offset;
            return f;
        }
        const Field *inner =
            !*f->name && f->type->kind == C_RECORD ? field_find(f->type, name, offset) : NULL;
        if (inner) {
            *offset += f->offset;
            return inner;
        }
    }
    return NULL;
}

static void convert_record(Converter *c, CXType type, CType *t)
{
    CXCursor declaration = libclang.getTypeDeclaration(type);
    t->kind = C_RECORD;
    t->is_union = libclang.getCursorKind(declaration) == CXCursor_UnionDecl;
    FieldVisit v = {.c = c};
    libclang.Type_visitFields(type, add_field, &v);
    t->fields = v.fields.items;
    t->n_fields = v.fields.n;
}

static void convert_pointer(Converter *c, CXType type, CType *t)
{
    CXType target = libclang.getPointeeType(type);
    t->kind = C_POINTER;
    t->of = convert_type(c, target);
    t->is_tensor = !strcmp(t->of->name, "struct stagecc_tensor");
}

static void convert_kind(Converter *c, CXType type, CType *t)
{
    enum CXTypeKind kind = type.kind;
    if (is_integer(kind, &t->is_signed)) {
        t->kind = C_INTEGER;
        t->is_bool = kind == CXType_Bool;
    } else if (kind == CXType_Float || kind == CXType_Double) {
        t->kind = C_REAL;
    } else if (kind == CXType_Pointer) {
        convert_pointer(c, type, t);
    } else if (kind == CXType_ConstantArray) {
        t->kind = C_ARRAY;
        t->of = convert_type(c, libclang.getArrayElementType(type));
        t->count = libclang.getArraySize(type);
    } else if (kind == CXType_Record) {
        convert_record(c, type, t);
    } else if (kind == CXType_FunctionProto || kind == CXType_FunctionNoProto) {
        t->kind = C_FUNCTION;
        t->of = convert_type(c, libclang.getResultType(type));
    } else if (kind == CXType_Void) {
        t->kind = C_VOID;
    }
}

const CType *convert_type(Converter *c, CXType type)
{
    static CType invalid = {.kind = C_UNSUPPORTED, .name = "this type"};
    type = libclang.getCanonicalType(type);
    if (type.kind == CXType_Invalid) // libclang would crash on it
        return &invalid;
    type = libclang.getUnqualifiedType(type);
    if (type.kind == CXType_Enum)
        type = libclang.getCanonicalType(
            libclang.getEnumDeclIntegerType(libclang.getTypeDeclaration(type)));
    CTypeSlot *slot = slot_insert(c, type.data[0]);
    if (slot->type)
        return slot->type;
    CType *t = slot->type = arena_new(c->arena, CType);
    *t = (CType){.kind = C_UNSUPPORTED};
    t->name = source_string(c->source, libclang.getTypeSpelling(type));
    convert_kind(c, type, t);
    // Only of types that have a size: libclang crashes on the type of a compiler's builtin.
    bool sized = t->kind != C_UNSUPPORTED && t->kind != C_VOID && t->kind != C_FUNCTION;
    long long size = sized ? libclang.Type_getSizeOf(type) : 0;
    t->size = size > 0 ? size : 0;
    return t;
}

// Types that arithmetic makes without the source naming them: found among those that exist, or
// made like them.
const CType *convert_basic(Converter *c, const char *name)
{
    static const struct {
        const char *name;
        CKind kind;
        int size;
        bool is_signed;
    } basic[] = {
        {"int", C_INTEGER, 4, true},  {"unsigned int", C_INTEGER, 4, false},
        {"long", C_INTEGER, 8, true}, {"unsigned long", C_INTEGER, 8, false},
        {"double", C_REAL, 8, true},  {"float", C_REAL, 4, true},
    };
    for (size_t i = 0; i < sizeof basic / sizeof *basic; i++)
        if (!strcmp(basic[i].name, name)) {
            CTypeSlot *slot = slot_insert(c, &basic[i]);
            if (!slot->type) {
                slot->type = arena_new(c->arena, CType);
                *slot->type = (CType){.kind = basic[i].kind,
                                      .name = basic[i].name,
                                      .size = basic[i].size,
                                      .is_signed = basic[i].is_signed};
            }
            return slot->type;
        }
    BUG("frontend", "no basic type %s", name);
}
