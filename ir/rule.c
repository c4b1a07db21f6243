// What holds of every node before its shape rule looks at it: as many inputs as the table says,
// the op's attributes with values of the right kind and range, dtypes that go together. Also
// how rules read inputs and complain.
#include "ir/rule.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

// Windows and strides beyond this are nonsense; within it sums cannot overflow.
#define MAX_WINDOW (INT64_C(1) << 30)

static const char *user_name(const Node *n)
{
    return n->layer && n->phase == PHASE_FORWARD ? n->layer->kind : op_info[n->op].name;
}

bool rule_wrong(const Rule *r, int at, const char *format, ...)
{
    Text message = {0};
    va_list ap;
    va_start(ap, format);
    text_vprintf(&message, format, ap);
    va_end(ap);
    if (r->why) {
        text_printf(r->why, "%s: %s", user_name(r->n), message.data);
    } else {
        error_at(r->n->loc, "%s: %s", user_name(r->n), message.data);
        if (at != NO_INPUT && r->n->inputs[at]->loc.file)
            note_at(r->n->inputs[at]->loc, "this tensor was made here, %s", rule_show(r, at).s);
    }
    text_release(&message);
    return false;
}

TypeText type_text(Type t)
{
    TypeText text;
    int n = snprintf(text.s, sizeof text.s, "%s[", dtype_name(t.dtype));
    for (int i = 0; i < t.shape.rank; i++)
        n += snprintf(text.s + n, sizeof text.s - (size_t)n, i ? ",%" PRId64 : "%" PRId64,
                      t.shape.dim[i]);
    snprintf(text.s + n, sizeof text.s - (size_t)n, "]");
    return text;
}

TypeText rule_show(const Rule *r, int i)
{
    return type_text(rule_in(r, i));
}

Type rule_in(const Rule *r, int i)
{
    return (Type){r->n->inputs[i]->dtype, r->n->inputs[i]->shape};
}

bool dtype_is_float(DType t)
{
    return t == F32 || t == F64 || t == BF16;
}

Type type_make(DType t, int rank, const int64_t *dim)
{
    Type type = {t, {.rank = rank}};
    if (rank)
        memcpy(type.shape.dim, dim, sizeof *dim * (size_t)rank);
    return type;
}

Type type_vector(DType t, int64_t n)
{
    return type_make(t, 1, &n);
}

Type type_scalar(DType t)
{
    return type_make(t, 0, NULL);
}

bool rule_want_rank(const Rule *r, int i, const char *role, int rank)
{
    if (rule_in(r, i).shape.rank == rank)
        return true;
    return rule_wrong(r, i, "the %s must have %d dimension%s, but it is %s", role, rank,
                      rank == 1 ? "" : "s", rule_show(r, i).s);
}

bool rule_want_shape(const Rule *r, int i, const char *role, Shape shape)
{
    Type t = rule_in(r, i);
    if (shape_equal(t.shape, shape))
        return true;
    return rule_wrong(r, i, "the %s is %s, but %s would fit", role, rule_show(r, i).s,
                      type_text((Type){t.dtype, shape}).s);
}

bool rule_want_state(const Rule *r, int i, int64_t n, int64_t h)
{
    const Node *s = r->n->inputs[i];
    if (s->shape.rank)
        return rule_want_shape(r, i, "first state", (Shape){2, {n, 2 * h}});
    if (s->op == OP_CONSTANT && node_real(s, A_VALUE) == 0)
        return true;
    return rule_wrong(r, i,
                      "the first state is one number, and none but the constant 0 will do");
}

bool rule_want_heads(const Rule *r, int i)
{
    Shape q = rule_in(r, i).shape;
    int64_t heads = node_int(r->n, A_HEADS);
    if (!rule_want_rank(r, i, "query", 3))
        return false;
    if (q.dim[2] % heads)
        return rule_wrong(r, i,
                          "%" PRId64 " features are not shared out evenly to %" PRId64 " heads",
                          q.dim[2], heads);
    return rule_want_shape(r, i + 1, "key", q) && rule_want_shape(r, i + 2, "value", q) &&
           rule_want_rate(r);
}

bool rule_want_rate(const Rule *r)
{
    return node_real(r->n, A_RATE) < 1 ||
           rule_wrong(r, NO_INPUT, "a rate of 1 drops everything");
}

bool rule_want_axis(const Rule *r, int i)
{
    int64_t axis = node_int(r->n, A_AXIS);
    if (axis >= 0 && axis < rule_in(r, i).shape.rank)
        return true;
    return rule_wrong(r, i, "axis %" PRId64 " is not a dimension of %s", axis,
                      rule_show(r, i).s);
}

// Attributes: the range of numbers, how many of INTS (0: any), the words allowed.
static const struct AttrRange {
    double low, high;
    int length;
    const char *words;
} attr_range[N_ATTRS] = {
#define RANGE(lowest, highest) .low = (lowest), .high = (highest)
    [A_ROLE] = {.words = "sample target"},
    [A_INIT] = {.words = "kaiming_uniform kaiming_normal xavier_uniform xavier_normal normal "
                         "uniform constant"},
    [A_KIND] = {.words = "momentum exp_avg exp_avg_sq"},
    [A_LAYOUT] = {.words = "plain blocked channels_last"},
    [A_DTYPE] = {.words = "f32 f64 bf16 i32 u8"},
    [A_CODEC] = {.words = "bf16 f16 int8"},
    [A_FAN_IN] = {RANGE(0, 0x1p62)},
    [A_FAN_OUT] = {RANGE(0, 0x1p62)},
    [A_INDEX] = {RANGE(1, MAX_OUTPUTS - 1)},
    [A_KERNEL] = {RANGE(1, MAX_WINDOW), .length = 2},
    [A_STRIDE] = {RANGE(1, MAX_WINDOW), .length = 2},
    [A_PADDING] = {RANGE(0, MAX_WINDOW), .length = 4},
    [A_DILATION] = {RANGE(1, MAX_WINDOW), .length = 2},
    [A_GROUPS] = {RANGE(1, 0x1p62)},
    [A_CEIL_MODE] = {RANGE(0, 1)},
    [A_COUNT_INCLUDE_PAD] = {RANGE(0, 1)},
    [A_TRANSPOSE_A] = {RANGE(0, 1)},
    [A_TRANSPOSE_B] = {RANGE(0, 1)},
    [A_EPS] = {RANGE(0, 1e300)},
    [A_MOMENTUM] = {RANGE(0, 1)},
    [A_COUNT] = {RANGE(1, 0x1p62)},
    [A_REPLICAS] = {RANGE(1, 0x1p20)},
    [A_HEADS] = {RANGE(1, 0x1p20)},
    [A_RATE] = {RANGE(0, 1)},
    [A_STREAM] = {RANGE(0, 0x1p62)},
    [A_CAUSAL] = {RANGE(0, 1)},
    [A_SMOOTHING] = {RANGE(0, 1)},
    [A_PADDING_INDEX] = {RANGE(-1, 0x1p31)},
    [A_REVERSE] = {RANGE(0, 1)},
    [A_AXIS] = {RANGE(0, MAX_RANK - 1)},
    [A_BEGIN] = {RANGE(0, 0x1p62)},
    [A_LENGTH] = {RANGE(1, 0x1p62)},
    [A_PERM] = {RANGE(0, MAX_RANK - 1)},
    [A_NESTEROV] = {RANGE(0, 1)},
    [A_WEIGHT_DECAY] = {RANGE(0, 1e300)},
    [A_BETA1] = {RANGE(0, 1)},
    [A_BETA2] = {RANGE(0, 1)},
    [A_DECOUPLED] = {RANGE(0, 1)},
#undef RANGE
};

static bool word_in(const char *words, const char *word)
{
    size_t n = strlen(word);
    for (const char *w = words; n && (w = strstr(w, word)); w += n)
        if ((w == words || w[-1] == ' ') && (w[n] == ' ' || !w[n]))
            return true;
    return false;
}

static bool number_fits(const Rule *r, const Attr *a, double v)
{
    const struct AttrRange *range = &attr_range[a->key];
    if (range->low == 0 && range->high == 0) // any number
        return true;
    if (v >= range->low && v <= range->high)
        return true;
    return rule_wrong(r, NO_INPUT, "%s = %g is not between %g and %g", attr_info[a->key].name,
                      v, range->low, range->high);
}

static bool attr_fits(const Rule *r, const Attr *a)
{
    const struct AttrRange *range = &attr_range[a->key];
    const char *name = attr_info[a->key].name;
    if (a->kind != attr_info[a->key].kind)
        return rule_wrong(r, NO_INPUT, "%s is of the wrong kind", name);
    switch (a->kind) {
    case ATTR_INT: return number_fits(r, a, (double)a->i);
    case ATTR_REAL: return number_fits(r, a, a->r);
    case ATTR_INTS:
        if (range->length && a->n != range->length)
            return rule_wrong(r, NO_INPUT, "%s must be %d numbers, not %d", name, range->length,
                              a->n);
        for (int i = 0; i < a->n; i++)
            if (!number_fits(r, a, (double)a->ints[i]))
                return false;
        return true;
    case ATTR_STRING:
        if (!a->s || !*a->s)
            return rule_wrong(r, NO_INPUT, "%s is empty", name);
        if (range->words && !word_in(range->words, a->s))
            return rule_wrong(r, NO_INPUT, "%s = \"%s\" is none of: %s", name, a->s,
                              range->words);
        return true;
    }
    return false;
}

static bool attrs_fit(const Rule *r)
{
    const OpInfo *op = &op_info[r->n->op];
    uint64_t seen = 0;
    for (int i = 0; i < r->n->n_attrs; i++) {
        const Attr *a = &r->n->attrs[i];
        uint64_t bit = UINT64_C(1) << a->key;
        if (!(op->attrs & bit))
            return rule_wrong(r, NO_INPUT, "it has no attribute %s", attr_info[a->key].name);
        if (seen & bit)
            return rule_wrong(r, NO_INPUT, "%s is given twice", attr_info[a->key].name);
        if (!attr_fits(r, a))
            return false;
        seen |= bit;
    }
    for (int key = 0; key < N_ATTRS; key++)
        if ((op->attrs & ~seen) >> key & 1 && attr_info[key].required)
            return rule_wrong(r, NO_INPUT, "attribute %s is missing", attr_info[key].name);
    return true;
}

static bool arity_fits(const Rule *r)
{
    const OpInfo *op = &op_info[r->n->op];
    int n = r->n->n_inputs;
    if (n >= op->min_inputs && (op->max_inputs < 0 || n <= op->max_inputs))
        return true;
    if (op->max_inputs < 0)
        return rule_wrong(r, NO_INPUT, "takes %d or more inputs, not %d", op->min_inputs, n);
    if (op->min_inputs == op->max_inputs)
        return rule_wrong(r, NO_INPUT, "takes %d input%s, not %d", op->min_inputs,
                          op->min_inputs == 1 ? "" : "s", n);
    return rule_wrong(r, NO_INPUT, "takes %d to %d inputs, not %d", op->min_inputs,
                      op->max_inputs, n);
}

// Which input holds integers: indices, labels, lengths, positions of maxima. -1: none.
static int integer_input(Op op)
{
    static const int one_more[N_OPS] = {
        [OP_EMBEDDING] = 1,
        [OP_EMBEDDING_GRAD] = 1,
        [OP_SOFTMAX] = 2,
        [OP_CROSS_ENTROPY] = 2,
        [OP_CROSS_ENTROPY_GRAD] = 2,
        [OP_MAX_POOL2D_GRAD] = 2,
        [OP_MASK] = 2,
        [OP_LSTM] = 4,
        [OP_LSTM_GRAD] = 6,
    };
    return one_more[op] - 1;
}

static bool moves_anything(Op op) // copies elements of whatever type
{
    return op == OP_CONCAT || op == OP_SLICE || op == OP_PAD || op == OP_RESHAPE ||
           op == OP_TRANSPOSE || op == OP_REORDER || op == OP_RESULT;
}

static bool is_message(const Rule *r, DType t)
{
    return r->n->op == OP_DECODE && t == U8;
}

bool rule_is_bf16(const Rule *r)
{
    for (int i = 0; i < r->n->n_inputs; i++)
        if (rule_in(r, i).dtype == BF16)
            return true;
    return false;
}

// In a graph in bf16, inputs are of the types that the table says.
static bool bf16_fits(const Rule *r, int i)
{
    BF16Form form = op_bf16_input(r->n->op, i);
    DType want = form == FORM_F32 ? F32 : BF16, have = rule_in(r, i).dtype;
    return have == want || (form == FORM_READABLE && have == F32) ||
           rule_wrong(r, i, "beside bf16 input %d must be %s, but it is %s", i + 1,
                      dtype_name(want), rule_show(r, i).s);
}

static bool dtypes_fit(const Rule *r)
{
    int integer = integer_input(r->n->op), first = integer == 0 ? 1 : 0;
    bool bf16 = rule_is_bf16(r);
    for (int i = 0; i < r->n->n_inputs; i++) {
        DType t = rule_in(r, i).dtype;
        if (t == DTYPE_ERROR)
            return rule_wrong(r, i, "input %d has no type", i + 1);
        if (i == integer && t != I32)
            return rule_wrong(r, i,
                              "input %d must be i32 (indices, labels or lengths), but it is %s",
                              i + 1, rule_show(r, i).s);
        if (i == integer)
            continue;
        if (!dtype_is_float(t) && !moves_anything(r->n->op) && !is_message(r, t))
            return rule_wrong(r, i, "input %d must be floating-point, but it is %s", i + 1,
                              rule_show(r, i).s);
        if (bf16 && op_bf16_input(r->n->op, i) != FORM_ANY) {
            if (!bf16_fits(r, i))
                return false;
        } else if (t != rule_in(r, first).dtype)
            return rule_wrong(r, i, "inputs differ in element type: %s and %s",
                              rule_show(r, first).s, rule_show(r, i).s);
    }
    return true;
}

bool rule_prepared(const Rule *r)
{
    return arity_fits(r) && attrs_fit(r) && dtypes_fit(r);
}
