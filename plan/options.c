// options.def as data: rows with a kind, a field's offset and its bounds. Everything else walks them.
#include "plan/options.h"

#include "base/text.h"
#include "plan/schedule.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum Kind { INTEGER, REAL, WORD } Kind;

// The words of a row in one writable array: spaces become ends of strings when first needed, so
// that a word has an address that lives forever.
#define OPTION_INT(field, name, low, high, fallback, meaning)
#define OPTION_REAL(field, name, low, high, fallback, meaning)
#define OPTION_WORD(field, name, words, fallback, meaning) static char words_##field[] = words;
#include "plan/options.def"

static const struct Row {
    Kind kind;
    const char *name, *meaning;
    size_t offset;
    int64_t low, high; // INTEGER
    double real_low, real_high;
    char *words;
    size_t words_size;
} rows[] = {
#define OPTION_INT(field, name, low, high, fallback, meaning)                                  \
    {INTEGER, name, meaning, offsetof(Options, field), low, high, 0, 0, NULL, 0},
#define OPTION_REAL(field, name, low, high, fallback, meaning)                                 \
    {REAL, name, meaning, offsetof(Options, field), 0, 0, low, high, NULL, 0},
#define OPTION_WORD(field, name, words, fallback, meaning)                                     \
    {WORD, name, meaning,       offsetof(Options, field), 0, 0,                                \
     0,    0,    words_##field, sizeof words_##field},
#include "plan/options.def"
};

enum { N_ROWS = sizeof rows / sizeof *rows };
_Static_assert(N_ROWS <= 64, "Options.set has a bit per row");

Options options_default(void)
{
    return (Options){
#define OPTION_INT(field, name, low, high, fallback, meaning) .field = (fallback),
#define OPTION_REAL(field, name, low, high, fallback, meaning) .field = (fallback),
#define OPTION_WORD(field, name, words, fallback, meaning) .field = (fallback),
#include "plan/options.def"
    };
}

static bool same_name(const char *a, const char *b) // '_' is as good as '-'
{
    for (; *a && *b; a++, b++)
        if ((*a == '_' ? '-' : *a) != (*b == '_' ? '-' : *b))
            return false;
    return !*a && !*b;
}

static int row_of(const char *name)
{
    for (int i = 0; i < N_ROWS; i++)
        if (same_name(rows[i].name, name))
            return i;
    return -1;
}

bool options_known(const char *name)
{
    return row_of(name) >= 0;
}

static void report_unknown(const char *name, Loc loc)
{
    int best = 0;
    for (int i = 1; i < N_ROWS; i++)
        if (str_distance(name, rows[i].name) < str_distance(name, rows[best].name))
            best = i;
    if (str_distance(name, rows[best].name) <= 3)
        error_at(loc, "there is no option `%s`; did you mean `%s`?", name, rows[best].name);
    else
        error_at(loc, "there is no option `%s`; `stagecc build --help` lists them", name);
}

static bool set_integer(const struct Row *r, int64_t *out, const char *value, Loc loc)
{
    char *end;
    errno = 0;
    long long v = strtoll(value, &end, 10);
    if (end == value || *end || errno || v < r->low || v > r->high) {
        if (r->high == INT64_MAX)
            error_at(loc, "%s takes a whole number from %lld, not `%s`", r->name,
                     (long long)r->low, value);
        else
            error_at(loc, "%s takes a whole number from %lld to %lld, not `%s`", r->name,
                     (long long)r->low, (long long)r->high, value);
        return false;
    }
    *out = v;
    return true;
}

static bool set_real(const struct Row *r, double *out, const char *value, Loc loc)
{
    char *end;
    double v = strtod(value, &end);
    if (end == value || *end || !isfinite(v) || v < r->real_low || v > r->real_high) {
        error_at(loc, "%s takes a number from %g to %g, not `%s`", r->name, r->real_low,
                 r->real_high, value);
        return false;
    }
    *out = v;
    return true;
}

static bool set_word(const struct Row *r, const char **out, const char *value, Loc loc)
{
    for (char *p = r->words; p < r->words + r->words_size; p++)
        if (*p == ' ')
            *p = 0;
    for (char *w = r->words; w < r->words + r->words_size; w += strlen(w) + 1)
        if (!strcmp(w, value)) {
            *out = w;
            return true;
        }
    char all[160] = "";
    for (char *w = r->words; w < r->words + r->words_size; w += strlen(w) + 1)
        snprintf(all + strlen(all), sizeof all - strlen(all), "%s%s", *all ? ", " : "", w);
    error_at(loc, "%s is one of %s, not `%s`", r->name, all, value);
    return false;
}

// A wrong value is an error even where a stronger source hides it: it would surface later.
bool options_set(Options *o, const char *name, const char *value, OptionSource from, Loc loc)
{
    int i = row_of(name);
    if (i < 0) {
        report_unknown(name, loc);
        return false;
    }
    Options changed = *o;
    void *field = (char *)&changed + rows[i].offset;
    bool good = false;
    switch (rows[i].kind) {
    case INTEGER: good = set_integer(&rows[i], field, value, loc); break;
    case REAL: good = set_real(&rows[i], field, value, loc); break;
    case WORD: good = set_word(&rows[i], field, value, loc); break;
    }
    uint64_t bit = UINT64_C(1) << i;
    bool weaker = from != FROM_COMMAND_LINE && o->set & bit;
    if (!good || weaker)
        return good;
    *o = changed;
    if (from != FROM_MODEL)
        o->set |= bit;
    return true;
}

// The divisors of batch on both sides of the micro-batches that were asked for.
static void report_batch(const Options *o)
{
    int64_t below = o->micro_batches, above = o->micro_batches;
    if (o->batch < o->micro_batches) {
        error_at(
            NO_LOC,
            "a batch of %lld cannot be cut into %lld micro-batches: try --micro-batches %lld "
            "or --batch %lld",
            (long long)o->batch, (long long)o->micro_batches, (long long)o->batch,
            (long long)o->micro_batches);
        return;
    }
    int64_t batch = (o->batch / o->micro_batches + 1) * o->micro_batches;
    while (o->batch % below)
        below--;
    while (o->batch % above)
        above++;
    error_at(NO_LOC,
             "a batch of %lld does not divide into %lld equal micro-batches: try "
             "--micro-batches %lld, "
             "--micro-batches %lld or --batch %lld",
             (long long)o->batch, (long long)o->micro_batches, (long long)below,
             (long long)above, (long long)batch);
}

static bool check_schedule(const Options *o)
{
    bool asynchronous = schedule_asynchronous(o);
    bool clips = asynchronous && o->clip_norm > 0;
    bool drains = !asynchronous && o->drain_every != options_default().drain_every;
    if (clips)
        error_at(NO_LOC,
                 "clipping needs the gradients of all stages before an update, and %s never "
                 "waits for them: use --clip-norm 0, or --schedule 1f1b",
                 o->schedule);
    if (drains)
        error_at(NO_LOC,
                 "%s drains the pipeline behind every step: drop --drain-every, or use "
                 "--schedule pipedream",
                 o->schedule);
    return !clips && !drains;
}

bool options_check(const Options *o)
{
    bool divides = o->batch % o->micro_batches == 0;
    bool nesterov = !o->nesterov || o->momentum > 0;
    if (!divides)
        report_batch(o);
    if (!nesterov)
        error_at(NO_LOC,
                 "Nesterov momentum needs a momentum: add --momentum 0.9 or drop nesterov");
    return check_schedule(o) && divides && nesterov;
}

const char *option_name(int i)
{
    return i >= 0 && i < N_ROWS ? rows[i].name : NULL;
}

const char *option_meaning(int i)
{
    return i >= 0 && i < N_ROWS ? rows[i].meaning : NULL;
}

bool option_is_number(int i)
{
    return i >= 0 && i < N_ROWS && rows[i].kind != WORD;
}

// The shortest decimal that reads back to the same double.
static void print_real(char *buffer, double v)
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(buffer, 64, "%.*g", digits, v);
        if (strtod(buffer, NULL) == v)
            return;
    }
}

const char *option_value(const Options *o, int i, char *buffer)
{
    if (i < 0 || i >= N_ROWS)
        return NULL;
    const void *field = (const char *)o + rows[i].offset;
    switch (rows[i].kind) {
    case INTEGER: snprintf(buffer, 64, "%lld", (long long)*(const int64_t *)field); break;
    case REAL: print_real(buffer, *(const double *)field); break;
    case WORD: snprintf(buffer, 64, "%s", *(const char *const *)field); break;
    }
    return buffer;
}

bool options_given(const Options *o, const char *name)
{
    for (int i = 0; option_name(i); i++)
        if (!strcmp(option_name(i), name))
            return o->set >> i & 1;
    return false;
}
