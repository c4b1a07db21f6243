// NumPy arrays (numpy.lib.format, versions 1 to 3): magic, header length, a Python dict as
// text, the elements. Dimension 0 counts samples; the others must be the model's (dimensions of
// 1 do not count). Values are taken as they are. Object arrays would need pickle, which can run
// code: refused.
#include "runtime/data_kind.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NPY_RANK = 32 };

typedef double get_value(const uint8_t *at);

#define GETTER(name, type)                                                                     \
    static double name(const uint8_t *at)                                                      \
    {                                                                                          \
        type value;                                                                            \
        memcpy(&value, at, sizeof value);                                                      \
        return (double)value;                                                                  \
    }
GETTER(get_f4, float)
GETTER(get_f8, double)
GETTER(get_i4, int32_t)
GETTER(get_i8, int64_t)
GETTER(get_u1, uint8_t)

static const struct {
    const char *descr, *name;
    uint64_t bytes;
    bool integer;
    get_value *get;
} types[] = {
    {"<f4", "float32", 4, false, get_f4}, {"<f8", "float64", 8, false, get_f8},
    {"<i4", "int32", 4, true, get_i4},    {"<i8", "int64", 8, true, get_i8},
    {"|u1", "uint8", 1, true, get_u1},
};
enum { N_TYPES = sizeof types / sizeof *types };

// The header dict, scanned between two pointers; `at` moves on.
typedef struct Scan {
    const rt__file *file;
    const char *at, *end;
    rt__why *why;
} Scan;

static int complain(const Scan *s, const char *what)
{
    return rt__because(s->why, RT__INPUT, "%s: offset %td: npy header: %s", s->file->path,
                       (const uint8_t *)s->at - s->file->bytes, what);
}

static void skip_space(Scan *s)
{
    while (s->at < s->end && isspace((unsigned char)*s->at))
        s->at++;
}

static bool take(Scan *s, char c)
{
    skip_space(s);
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static bool take_word(Scan *s, const char *word)
{
    skip_space(s);
    size_t n = strlen(word);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0)
        return false;
    s->at += n;
    return true;
}

static int scan_string(Scan *s, char text[32])
{
    skip_space(s);
    char quote = 0;
    if (s->at < s->end)
        quote = *s->at;
    if (quote != '\'' && quote != '"')
        return complain(s, "expected a string (structured dtypes are not supported)");
    const char *close = memchr(s->at + 1, quote, (size_t)(s->end - s->at) - 1);
    if (!close || close - s->at > 31)
        return complain(s, "string too long");
    size_t n = (size_t)(close - s->at) - 1;
    memcpy(text, s->at + 1, n);
    text[n] = 0;
    s->at = close + 1;
    return 0;
}

static int scan_type(Scan *s, rt__array *a)
{
    char descr[32];
    int status = scan_string(s, descr);
    if (status)
        return status;
    for (a->type = 0; a->type < N_TYPES; a->type++)
        if (strcmp(types[a->type].descr, descr) == 0)
            return 0;
    return rt__because(
        s->why, RT__INPUT,
        "%s: dtype '%s' is not supported; float32, float64, int32, int64 and uint8 "
        "are (little-endian)",
        s->file->path, descr);
}

static int scan_dimension(Scan *s, rt__array *a)
{
    int64_t value = 0;
    const char *first = s->at;
    for (; s->at < s->end && isdigit((unsigned char)*s->at); s->at++) {
        if (value > INT64_MAX / 10 - 1)
            return complain(s, "dimension too large");
        value = 10 * value + (*s->at - '0');
    }
    if (s->at == first || a->rank == MAX_NPY_RANK)
        return complain(s, "expected a shape of at most 32 numbers");
    a->dim[a->rank++] = value;
    return 0;
}

static int scan_shape(Scan *s, rt__array *a)
{
    a->rank = 0;
    if (!take(s, '('))
        return complain(s, "expected a shape");
    while (!take(s, ')')) {
        skip_space(s);
        int status = scan_dimension(s, a);
        if (status)
            return status;
        if (!take(s, ',') && (s->at == s->end || *s->at != ')'))
            return complain(s, "expected ',' or ')'");
    }
    return 0;
}

static int scan_entry(Scan *s, rt__array *a, unsigned *seen)
{
    char key[32];
    int status = scan_string(s, key);
    if (status)
        return status;
    if (!take(s, ':'))
        return complain(s, "expected ':'");
    if (strcmp(key, "descr") == 0) {
        *seen |= 1;
        return scan_type(s, a);
    }
    if (strcmp(key, "shape") == 0) {
        *seen |= 2;
        return scan_shape(s, a);
    }
    if (strcmp(key, "fortran_order") != 0)
        return complain(s, "unknown key");
    *seen |= 4;
    if (take_word(s, "True"))
        return complain(s, "Fortran order is not supported: save numpy.ascontiguousarray(x)");
    return take_word(s, "False") ? 0 : complain(s, "expected True or False");
}

static int scan_header(Scan *s, rt__array *a)
{
    unsigned seen = 0;
    if (!take(s, '{'))
        return complain(s, "expected '{'");
    while (!take(s, '}')) {
        int status = scan_entry(s, a, &seen);
        if (status)
            return status;
        if (!take(s, ',') && (s->at == s->end || *s->at != '}'))
            return complain(s, "expected ',' or '}'");
    }
    return seen == 7 ? 0 : complain(s, "descr, fortran_order and shape are needed");
}

// Where the text of the header is; the elements begin behind it.
static int find_header(const rt__file *f, Scan *s, rt__why *why)
{
    if (f->size < 12 || memcmp(f->bytes, "\x93NUMPY", 6) != 0)
        return rt__because(why, RT__INPUT, "%s: offset 0: not a .npy file", f->path);
    int version = f->bytes[6];
    if (version < 1 || version > 3)
        return rt__because(why, RT__INPUT, "%s: offset 6: npy version %d, expected 1 to 3",
                           f->path, version);
    uint64_t start = version == 1 ? 10 : 12;
    uint64_t length = f->bytes[8] | (uint64_t)f->bytes[9] << 8;
    if (version > 1)
        length |= (uint64_t)f->bytes[10] << 16 | (uint64_t)f->bytes[11] << 24;
    if (length > f->size - start)
        return rt__because(why, RT__INPUT,
                           "%s: truncated: %" PRIu64 " bytes, the header ends at %" PRIu64,
                           f->path, f->size, start + length);
    const char *text = (const char *)f->bytes + start;
    *s = (Scan){f, text, text + length, why};
    return 0;
}

// Does the file hold exactly the elements that its shape promises?
static int check_size(const rt__file *f, rt__array *a, rt__why *why)
{
    uint64_t available = f->size - (uint64_t)(a->data - f->bytes);
    uint64_t bytes = types[a->type].bytes;
    if (a->rank == 0 || a->dim[0] == 0)
        return rt__because(why, RT__INPUT, "%s: no samples: dimension 0 counts them", f->path);
    a->elements = 1;
    bool overflow = false;
    for (int i = 0; i < a->rank; i++)
        overflow |= __builtin_mul_overflow(bytes, (uint64_t)a->dim[i], &bytes);
    for (int i = 1; i < a->rank; i++)
        a->elements *= (uint64_t)a->dim[i];
    if (overflow || bytes != available)
        return rt__because(why, RT__INPUT,
                           "%s: %s: %" PRIu64
                           " bytes of elements at offset %td, its shape promises "
                           "%" PRIu64 "%s",
                           f->path, overflow || available < bytes ? "truncated" : "too long",
                           available, a->data - f->bytes, bytes, overflow ? " and more" : "");
    return 0;
}

static int open_array(rt__data *d, const char *path, rt__array *a, rt__why *why)
{
    Scan s = {.at = NULL};
    int status = rt__data_map(d, path, &a->file, why);
    if (status == 0)
        status = find_header(a->file, &s, why);
    if (status)
        return status;
    a->data = (const uint8_t *)s.end;
    status = scan_header(&s, a);
    return status ? status : check_size(a->file, a, why);
}

// "source=" of "source=words.npy"; 0: a path alone.
static size_t name_length(const char *item)
{
    size_t n = 0;
    while (isalnum((unsigned char)item[n]) || item[n] == '_' || item[n] == '.')
        n++;
    return n > 0 && item[n] == '=' ? n : 0;
}

// One of PATH,PATH or NAME=PATH,NAME=PATH,...; `end` is where it ends.
static int open_item(rt__data *d, const char *item, const char *end, rt__array *a, rt__why *why)
{
    char path[4096];
    size_t name = name_length(item);
    bool first = a == d->arrays;
    if ((first ? name > 0 : d->named) != (name > 0) || (a - d->arrays > 1 && !name))
        return rt__because(why, RT__INPUT, "data '%s': say npy:X,Y, or npy:INPUT=X,INPUT=Y,...",
                           d->spec);
    d->named = name > 0;
    snprintf(a->input, sizeof a->input, "%.*s", (int)name, item);
    item += name ? name + 1 : 0;
    snprintf(path, sizeof path, "%.*s", (int)(end - item), item);
    return open_array(d, path, a, why);
}

static int open_npy(rt__data *d, const char *paths, rt__why *why)
{
    const rt__array *first = d->arrays;
    int n = 0;
    for (const char *item = paths, *end; item; item = *end ? end + 1 : NULL) {
        rt__array *a = &d->arrays[n++];
        end = item + strcspn(item, ",");
        if (n > RT__MOST_ARRAYS)
            return rt__because(why, RT__INPUT, "data '%s': more than %d arrays", d->spec,
                               RT__MOST_ARRAYS);
        int status = open_item(d, item, end, a, why);
        if (status)
            return status;
        if (a->dim[0] != first->dim[0])
            return rt__because(why, RT__INPUT,
                               "%s: %" PRId64 " %s for %" PRId64 " samples in %s",
                               a->file->path, a->dim[0], d->named ? a->input : "targets",
                               first->dim[0], first->file->path);
    }
    d->samples = (uint64_t)first->dim[0];
    snprintf(d->summary, sizeof d->summary, "%s: %" PRIu64 " samples, values as they are",
             d->spec, d->samples);
    return 0;
}

// The next dimension that is not 1; 0 at the end.
static int64_t next_dimension(const int64_t *dim, int rank, int *i)
{
    while (*i < rank && dim[*i] == 1)
        ++*i;
    return *i < rank ? dim[(*i)++] : 0;
}

static bool same_shape(const rt__array *a, const rt_input *in)
{
    int i = 1, j = 1;
    int64_t left, right;
    do {
        left = next_dimension(a->dim, a->rank, &i);
        right = next_dimension(in->dim, in->rank, &j);
    } while (left == right && left != 0);
    return left == right;
}

// NULL: the set has none for it.
static const rt__array *array_of(const rt__data *d, const rt_input *in)
{
    const rt__array *a = &d->arrays[in->is_target ? 1 : 0];
    if (!d->named)
        return a->file ? a : NULL;
    for (int k = 0; k < RT__MOST_ARRAYS && d->arrays[k].file; k++)
        if (!strcmp(d->arrays[k].input, in->name))
            return &d->arrays[k];
    return NULL;
}

static int fit_npy(rt__data *d, int i, rt__why *why)
{
    const rt_input *in = &d->options.inputs[i];
    const rt__array *a = array_of(d, in);
    char shape[2][128];
    if (!a && d->named)
        return rt__because(why, RT__INPUT, "%s: the model takes %s as well: say %s=PATH",
                           d->spec, in->name, in->name);
    if (!a)
        return rt__because(why, RT__INPUT, "%s: the model has a target, %s: say npy:X,Y",
                           d->spec, in->name);
    if (!same_shape(a, in))
        return rt__because(why, RT__INPUT, "%s: a sample is %s, input %s takes %s",
                           a->file->path, rt__shape_text(a->dim + 1, a->rank - 1, shape[0]),
                           in->name, rt__shape_text(in->dim + 1, in->rank - 1, shape[1]));
    bool integer = in->dtype == RT_I32 || in->dtype == RT_U8;
    if (integer && !types[a->type].integer)
        return rt__because(why, RT__INPUT, "%s: holds %s, input %s takes %s", a->file->path,
                           types[a->type].name, in->name, rt__dtype_name(in->dtype));
    return 0;
}

static int read_integers(const rt__data *d, const rt__array *a, const rt_input *in,
                         const uint8_t *at, void *out, rt__why *why)
{
    double low = in->dtype == RT_U8 ? 0 : INT32_MIN,
           high = in->dtype == RT_U8 ? 255 : INT32_MAX;
    for (uint64_t e = 0; e < a->elements; e++, at += types[a->type].bytes) {
        double value = types[a->type].get(at);
        if (value < low || value > high)
            return rt__because(why, RT__INPUT, "%s: offset %td: %.0f does not fit %s",
                               a->file->path, at - a->file->bytes, value,
                               rt__dtype_name(in->dtype));
        int status = rt__data_check(d, in, (int64_t)value, a->file, at, why);
        if (status)
            return status;
        rt__put(in->dtype, out, (int64_t)e, value);
    }
    return 0;
}

static int read_npy(rt__data *d, int i, uint64_t sample, void *out, rt__why *why)
{
    const rt_input *in = &d->options.inputs[i];
    const rt__array *a = array_of(d, in);
    uint64_t bytes = types[a->type].bytes;
    const uint8_t *at = a->data + sample * a->elements * bytes;
    if (in->dtype == RT_I32 || in->dtype == RT_U8)
        return read_integers(d, a, in, at, out, why);
    if (in->dtype == RT_F32 && types[a->type].get == get_f4) {
        memcpy(out, at, a->elements * bytes);
        return 0;
    }
    for (uint64_t e = 0; e < a->elements; e++, at += bytes)
        rt__put(in->dtype, out, (int64_t)e, types[a->type].get(at));
    return 0;
}

const rt__data_kind rt__data_npy = {"npy", "npy:X,Y", open_npy, fit_npy, read_npy,
                                    NULL,  NULL,      false,    false};
