// What a model wrote into a struct of options. A field is given when its bytes were written; what an
// initialiser leaves out is zero and marked so (IMPLICIT), and then the fallback holds.
#include "frontend/clang/layers.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const Field *find(const Value *record, const char *name, int64_t *offset)
{
    return record ? field_find(record->type, name, offset) : NULL;
}

static bool given(const Value *record, const char *name)
{
    int64_t offset;
    const Field *f = find(record, name, &offset);
    return f && memchr(record->shadow + offset, SET, (size_t)f->type->size) != NULL;
}

bool option_given(const Build *b, const char *name)
{
    return given(b->options, name);
}

Value record_field(const Build *b, const Value *record, const char *name)
{
    int64_t offset;
    const Field *f = find(record, name, &offset);
    if (!f || !given(record, name))
        return POISON;
    return load_bytes(b->m, b->at, record->data + offset, record->shadow + offset, f->type);
}

int64_t option_int(const Build *b, const char *name, int64_t fallback)
{
    Value v = record_field(b, b->options, name);
    return v.type ? (int64_t)v.bits : fallback;
}

double option_real(const Build *b, const char *name, double fallback)
{
    Value v = record_field(b, b->options, name);
    return v.type ? v.real : fallback;
}

const char *option_string(const Build *b, const char *name)
{
    Value v = record_field(b, b->options, name);
    return v.type && v.bits ? string_at(b->m, b->at, v.bits) : NULL;
}

bool option_tensor(const Build *b, const char *name, TensorRecord *t)
{
    Value v = record_field(b, b->options, name);
    return v.type && v.bits && tensor_of(b->call, v, t);
}

Init option_init(const Build *b, const char *name, Init fallback)
{
    static const char *const rules[] = {
        NULL,     "kaiming_uniform", "kaiming_normal", "xavier_uniform", "xavier_normal",
        "normal", "uniform",         "constant"};
    Value record = record_field(b, b->options, name);
    if (!record.type)
        return fallback;
    Value rule = record_field(b, &record, "rule"), gain = record_field(b, &record, "gain"),
          fan_out = record_field(b, &record, "fan_out");
    if (!rule.type || !rule.bits || rule.bits >= sizeof rules / sizeof *rules)
        return fallback;
    Init init = {rules[rule.bits], gain.type ? gain.real : NAN, fan_out.type && fan_out.bits};
    if (isnan(init.gain))
        init.gain = strstr(init.rule, "kaiming") ? sqrt(2) : 1;
    return init;
}

int option_values(const Build *b, const char *stem, Value *out, int most)
{
    int n = 0;
    for (; n < most; n++) {
        char name[32];
        snprintf(name, sizeof name, "%s%d", stem, n);
        if (!option_given(b, name))
            break;
        out[n] = record_field(b, b->options, name);
    }
    return n;
}

int option_dims(const Build *b, int64_t *out)
{
    Value v[MAX_RANK];
    int n = option_values(b, "dim", v, MAX_RANK);
    for (int i = 0; i < n; i++)
        out[i] = (int64_t)v[i].bits;
    return n;
}

bool option_pair(Build *b, const char *name, const int64_t *fallback, int64_t lowest,
                 int64_t out[2])
{
    static const char *const ends[] = {"_h", "_w"};
    for (int i = 0; i < 2; i++) {
        char single[32];
        snprintf(single, sizeof single, "%s%s", name, ends[i]);
        const char *from = option_given(b, single) ? single : name;
        if (!fallback && !option_given(b, from)) {
            complain(b->m, b->at, "%s: .%s is missing", b->call->builtin->kind, name);
            return false;
        }
        out[i] = option_int(b, from, fallback ? fallback[i] : 0);
        if (out[i] < lowest) {
            complain(b->m, b->at, "%s: .%s = %lld is less than %lld", b->call->builtin->kind,
                     from, (long long)out[i], (long long)lowest);
            return false;
        }
    }
    return true;
}
