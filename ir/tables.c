// The tables of ir/ops.def and ir/attrs.def as data, and the small functions over attributes,
// shapes and element types.
#include "ir/graph.h"

#include <string.h>

#define MANY (-1)
#define A(KEY) (UINT64_C(1) << A_##KEY)
const OpInfo op_info[N_OPS] = {
#define OP(ID, name, in_min, in_max, out, shape, gradient, cost, flags, bf16, attrs, meaning)  \
    [OP_##ID] = {#ID,    #name,     meaning, in_min, in_max, out,                              \
                 #shape, #gradient, #cost,   #flags, bf16,   attrs},
#include "ir/ops.def"
};

#define REQUIRED (-1e300)
#define INT ATTR_INT
#define REAL ATTR_REAL
#define INTS ATTR_INTS
#define STRING ATTR_STRING
const AttrInfo attr_info[N_ATTRS] = {
#define ATTR(KEY, name, kind, fallback, meaning)                                               \
    [A_##KEY] = {#name, meaning, kind, (fallback) == REQUIRED, fallback},
#include "ir/attrs.def"
};

const char *const phase_name[N_PHASES] = {"forward", "backward", "backward_weight", "update",
                                          "eval"};
const char *const layout_name[N_LAYOUTS] = {"plain", "blocked", "channels_last", "kernel",
                                            "pitched"};

static const struct {
    const char *name;
    int bytes;
} dtypes[N_DTYPES] = {{"error", 0}, {"f32", 4}, {"f64", 8}, {"bf16", 2}, {"i32", 4}, {"u8", 1}};

int64_t dtype_bytes(DType t)
{
    return dtypes[t].bytes;
}

const char *dtype_name(DType t)
{
    return dtypes[t].name;
}

DType dtype_parse(const char *name)
{
    for (int i = 1; i < N_DTYPES; i++)
        if (!strcmp(dtypes[i].name, name))
            return (DType)i;
    return DTYPE_ERROR;
}

Op op_find(const char *name)
{
    for (int i = 0; i < N_OPS; i++)
        if (!strcmp(op_info[i].name, name))
            return (Op)i;
    return N_OPS;
}

// The i-th letter of a list, or its last.
static char form_letter(const char *list, int i)
{
    while (i-- > 0 && list[1] && list[1] != ':')
        list++;
    return *list;
}

static BF16Form form_of(char letter)
{
    return letter == 'b'   ? FORM_BF16
           : letter == 'f' ? FORM_F32
           : letter == 'r' ? FORM_READABLE
                           : FORM_ANY;
}

BF16Form op_bf16_input(Op op, int i)
{
    return form_of(form_letter(op_info[op].bf16, i));
}

BF16Form op_bf16_output(Op op, int i)
{
    return form_of(form_letter(strchr(op_info[op].bf16, ':') + 1, i));
}

bool node_is(const Node *n, char flag)
{
    return strchr(op_info[n->op].flags, flag) != NULL;
}

Attr attr_int(AttrKey key, int64_t v)
{
    return (Attr){.key = key, .kind = ATTR_INT, .i = v};
}

Attr attr_real(AttrKey key, double v)
{
    return (Attr){.key = key, .kind = ATTR_REAL, .r = v};
}

Attr attr_string(AttrKey key, const char *s)
{
    return (Attr){.key = key, .kind = ATTR_STRING, .s = s};
}

Attr attr_ints(AttrKey key, int n, const int64_t *v)
{
    Attr a = {.key = key, .kind = ATTR_INTS, .n = n};
    memcpy(a.ints, v, sizeof *v * (size_t)n);
    return a;
}

Attr attr_shape(Shape s)
{
    return attr_ints(A_SHAPE, s.rank, s.dim);
}

const Attr *node_attr(const Node *n, AttrKey key)
{
    for (int i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].key == key)
            return &n->attrs[i];
    return NULL;
}

int64_t node_int(const Node *n, AttrKey key)
{
    const Attr *a = node_attr(n, key);
    return a ? a->i : (int64_t)attr_info[key].fallback;
}

double node_real(const Node *n, AttrKey key)
{
    const Attr *a = node_attr(n, key);
    return a ? a->r : attr_info[key].fallback;
}

const int64_t *node_ints(const Node *n, AttrKey key)
{
    const Attr *a = node_attr(n, key);
    return a ? a->ints : NULL;
}

const char *node_string(const Node *n, AttrKey key)
{
    const Attr *a = node_attr(n, key);
    return a ? a->s : NULL;
}

int64_t shape_count(Shape s)
{
    int64_t count = 1;
    for (int i = 0; i < s.rank; i++)
        if (__builtin_mul_overflow(count, s.dim[i], &count) || count > INT64_C(1) << 62)
            return -1;
    return count;
}

int64_t shape_product(Shape s, int begin, int end)
{
    int64_t n = 1;
    for (int i = begin; i < end; i++)
        n *= s.dim[i];
    return n;
}

bool shape_equal(Shape a, Shape b)
{
    return a.rank == b.rank && !memcmp(a.dim, b.dim, sizeof a.dim[0] * (size_t)a.rank);
}

const char *shape_text(Arena *a, Shape s)
{
    const char *text = "[";
    for (int i = 0; i < s.rank; i++)
        text = arena_printf(a, i ? "%s,%lld" : "%s%lld", text, (long long)s.dim[i]);
    return arena_printf(a, "%s]", text);
}

int dim_channels_last(int d)
{
    static const int where[] = {0, 3, 1, 2};
    return where[d];
}

Shape shape_channels_last(Shape s)
{
    Shape last = {4, {1, 1, 1, 1}};
    CHECK(s.rank <= 4, "ir", "a tensor of %d dimensions is no image", s.rank);
    for (int d = 0; d < s.rank; d++)
        last.dim[dim_channels_last(d + 4 - s.rank)] = s.dim[d];
    return last;
}

bool shape_lies_alike(Shape s)
{
    Shape last = shape_channels_last(s);
    return last.dim[3] == 1 || last.dim[1] * last.dim[2] == 1;
}

int64_t node_logical_bytes(const Node *n)
{
    return shape_count(n->shape) * dtype_bytes(n->dtype);
}

int64_t node_row(const Node *n)
{
    int64_t columns = n->shape.rank ? n->shape.dim[n->shape.rank - 1] : 1;
    int64_t step = n->layout == LAYOUT_PITCHED ? ROW_ALIGN / dtype_bytes(n->dtype) : 1;
    return (columns + step - 1) / step * step;
}
