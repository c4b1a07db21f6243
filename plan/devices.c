// devices.json. People write it by hand, too, so every field is checked, all errors are told with
// their places, and a field nobody knows is told with the one that was probably meant.
#include "plan/devices.h"

#include "base/text.h"
#include "plan/place.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEVICES = 1 << 16, MAX_LINKS = 1 << 20, MAX_THREADS = 1 << 16, MAX_TOLD = 20 };
enum { MAX_NAME = 255, MAX_PATH = 4095 };

typedef struct Reader {
    Arena *arena;
    int errors;
    JsonPlace place;     // where the entry begins
    const json_t *entry; // an entry of a list, or the whole
    const char *list;    // "devices"; NULL: the whole
    int index;
    const char *text; // of the entry
} Reader;

// Errors
// -----------------------------------------------------------------------------------------

static const char *path_of(const Reader *r, const char *key)
{
    const char *dot = r->list && key ? "." : "";
    key = key ? key : r->list ? "" : "the file";
    return r->list ? arena_printf(r->arena, "%s[%d]%s%s", r->list, r->index, dot, key) : key;
}

static Loc loc_of(const Reader *r, const char *key)
{
    return json_place_move(r->place, key ? json_place_field(r->text, key) : NULL).loc;
}

static void bad(Reader *r, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void bad(Reader *r, const char *key, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    if (++r->errors <= MAX_TOLD)
        error_at(loc_of(r, key), "%s %s", path_of(r, key), arena_vprintf(r->arena, format, ap));
    va_end(ap);
}

static void warn_unknown(const Reader *r, const char *const *known, int n)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)r->entry, key, v)
    {
        int i = 0;
        while (i < n && strcmp(key, known[i]) != 0)
            i++;
        if (i < n)
            continue;
        const char *near = str_nearest(key, known, n);
        warning_at(loc_of(r, key), "%s is not known and ignored%s%s%s", path_of(r, key),
                   near ? "; did you mean `" : "", near ? near : "", near ? "`?" : "");
    }
}

// Fields
// -----------------------------------------------------------------------------------------

static bool printable(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < ' ' || *s == 0x7f)
            return false;
    return true;
}

// NULL: it is not there, or it was reported.
static const char *get_text(Reader *r, const char *key, bool needed, size_t longest)
{
    const json_t *v = json_object_get(r->entry, key);
    const char *s = json_string_value(v);
    if (!v && needed)
        bad(r, key, "is missing");
    else if (v && !s)
        bad(r, key, "is not a string");
    else if (s && (!*s || strlen(s) > longest || !printable(s)))
        bad(r, key, "is empty, longer than %zu bytes, or has control characters", longest);
    else
        return s ? arena_strdup(r->arena, s) : NULL;
    return NULL;
}

// Of a host, which is given to ssh.
static const char *get_host(Reader *r, const char *key)
{
    const char *host = get_text(r, key, true, MAX_NAME);
    if (host && *host == '-')
        bad(r, key, "is `%s`; the name of a host does not begin with `-`", host);
    return host;
}

typedef struct Limits {
    double low, high, fallback;
    bool whole;
    const char *meaning; // what would be right
} Limits;

// fallback where it is not there; not finite: it has to be there.
static double get_number(Reader *r, const char *key, const Limits *l)
{
    const json_t *v = json_object_get(r->entry, key);
    double x = json_number_value(v);
    if (!v && isfinite(l->fallback))
        return l->fallback;
    if (!v)
        bad(r, key, "is missing: %s", l->meaning);
    else if (!json_is_number(v))
        bad(r, key, "is not a number: %s", l->meaning);
    else if (!(x >= l->low && x <= l->high) || (l->whole && x != floor(x)))
        bad(r, key, "is %.6g: %s", x, l->meaning);
    else
        return x;
    return l->low;
}

static const char *get_word(Reader *r, const char *key, const char *const *words, int n,
                            const char *fallback)
{
    const char *word = get_text(r, key, false, MAX_NAME);
    if (!word)
        return fallback;
    for (int i = 0; i < n; i++)
        if (!strcmp(word, words[i]))
            return words[i];
    const char *near = str_nearest(word, words, n);
    bad(r, key, "is `%s`; did you mean `%s`?", word, near ? near : words[0]);
    return fallback;
}

// Entries
// ----------------------------------------------------------------------------------------

static const char *const device_fields[] = {"name",  "host",    "backend", "memory_bytes",
                                            "speed", "threads", "profile"};
static const char *const link_fields[] = {"from", "to", "bytes_per_s", "latency_s", "shared"};
static const char *const top_fields[] = {"devices", "links", "reference"};
#define N(list) ((int)(sizeof(list) / sizeof *(list)))

static Device read_device(Reader *r)
{
    static const char *const backends[] = {"c", "cuda", "ref"};
    static const Limits memory = {0, 0x1p60, 0, true, "whole bytes from 0 (not known) to 2^60"},
                        speed = {1e-6, 1e6, 1, false,
                                 "a speed is from 1e-6 to 1e6, 1 as the profile was measured"},
                        threads = {0, MAX_THREADS, 0, true,
                                   "a whole number from 0 (not known) to 65536"};
    warn_unknown(r, device_fields, N(device_fields));
    Device d = {.loc = r->place.loc};
    d.name = get_text(r, "name", true, MAX_NAME);
    d.host = get_host(r, "host");
    d.backend = get_word(r, "backend", backends, N(backends), "c");
    d.memory_bytes = (int64_t)get_number(r, "memory_bytes", &memory);
    d.speed = get_number(r, "speed", &speed);
    d.threads = (int)get_number(r, "threads", &threads);
    d.profile = get_text(r, "profile", false, MAX_PATH);
    return d;
}

static DeviceLink read_link(Reader *r)
{
    static const char *const shared[] = {"host", "device"};
    static const Limits bandwidth = {1, 1e18, NAN, false,
                                     "bytes a second, from 1 (`stagecc devices` measures it)"},
                        latency = {0, 3600, 0, false, "seconds, from 0 to 3600"};
    warn_unknown(r, link_fields, N(link_fields));
    DeviceLink l = {.loc = r->place.loc};
    l.from = get_host(r, "from");
    l.to = get_host(r, "to");
    l.bytes_per_s = get_number(r, "bytes_per_s", &bandwidth);
    l.latency_s = get_number(r, "latency_s", &latency);
    bool inside = l.from && l.to && !strcmp(l.from, l.to);
    const char *of = inside ? "device" : "host";
    l.per_device = !strcmp(get_word(r, "shared", shared, N(shared), of), "device");
    return l;
}

// Lists
// ------------------------------------------------------------------------------------------

// How many entries: 0 where the list is missing or was reported.
static int list_length(Reader *r, const char *key, bool needed, int most)
{
    const json_t *list = json_object_get(r->entry, key);
    size_t n = json_array_size(list);
    if (list ? !json_is_array(list) : needed)
        bad(r, key, list ? "is not a list" : "is missing");
    else if ((needed && !n) || n > (size_t)most)
        bad(r, key, "has %zu entries, not from %d to %d", n, needed, most);
    else
        return (int)n;
    return 0;
}

// Goes through a list: r becomes the reader of one entry after the other.
static bool enter(Reader *r, const Reader *top, const char *list, int i)
{
    if (!i) {
        *r = *top;
        r->list = list;
        r->text = json_place_element(json_place_field(top->text, list));
    } else {
        r->text = json_place_next(r->text);
    }
    r->index = i;
    r->entry = json_array_get(json_object_get(top->entry, list), (size_t)i);
    r->place = json_place_move(r->place, r->text);
    if (!json_is_object(r->entry))
        bad(r, NULL, "is not an object");
    return json_is_object(r->entry);
}

static void read_lists(Reader *top, Devices *d)
{
    Reader r = {0};
    d->devices = arena_array(top->arena, Device, d->n + 1);
    d->links = arena_array(top->arena, DeviceLink, d->n_links + 1);
    for (int i = 0; i < d->n; i++)
        if (enter(&r, top, "devices", i))
            d->devices[i] = read_device(&r);
    top->errors += d->n ? r.errors - top->errors : 0;
    for (int i = 0; i < d->n_links; i++)
        if (enter(&r, top, "links", i))
            d->links[i] = read_link(&r);
    top->errors += d->n_links ? r.errors - top->errors : 0;
}

// What entries say of each other
// -----------------------------------------------------------------

static int by_name(const void *a, const void *b)
{
    const Device *x = *(Device *const *)a, *y = *(Device *const *)b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x > y) - (x < y); // of two that are alike the first is right
}

static int by_host(const void *a, const void *b)
{
    return strcmp((*(Device *const *)a)->host, (*(Device *const *)b)->host);
}

// The two hosts of a link in one order, whichever way it was written.
static const char *end_of(const DeviceLink *l, int which)
{
    bool ordered = strcmp(l->from, l->to) <= 0;
    return ordered == !which ? l->from : l->to;
}

static int by_ends(const void *a, const void *b)
{
    const DeviceLink *x = *(DeviceLink *const *)a, *y = *(DeviceLink *const *)b;
    int order = strcmp(end_of(x, 0), end_of(y, 0));
    order = order ? order : strcmp(end_of(x, 1), end_of(y, 1));
    return order ? order : (x > y) - (x < y);
}

static void check_names(Reader *r, const Devices *d, Device **sorted)
{
    qsort(sorted, (size_t)d->n, sizeof(void *), by_name);
    for (int i = 1; i < d->n; i++)
        if (!strcmp(sorted[i]->name, sorted[i - 1]->name) && ++r->errors <= MAX_TOLD) {
            error_at(sorted[i]->loc, "devices[%d].name `%s` is taken: every device has its own",
                     (int)(sorted[i] - d->devices), sorted[i]->name);
            note_at(sorted[i - 1]->loc, "the device that has it");
        }
}

static void check_host(Reader *r, const Devices *d, Device **by_hosts, const DeviceLink *l,
                       const char *host)
{
    Device wanted = {.host = host}, *key = &wanted;
    if (bsearch(&key, by_hosts, (size_t)d->n, sizeof(void *), by_host) ||
        ++r->errors > MAX_TOLD)
        return;
    const char **hosts = arena_array(r->arena, const char *, d->n);
    for (int i = 0; i < d->n; i++)
        hosts[i] = by_hosts[i]->host;
    const char *near = str_nearest(host, hosts, d->n);
    error_at(l->loc, "links[%d].%s is `%s`, and no device is on that host%s%s%s",
             (int)(l - d->links), host == l->from ? "from" : "to", host,
             near ? "; did you mean `" : "", near ? near : "", near ? "`?" : "");
}

static void check_links(Reader *r, const Devices *d, Device **by_hosts)
{
    DeviceLink **sorted = arena_array(r->arena, DeviceLink *, d->n_links + 1);
    qsort(by_hosts, (size_t)d->n, sizeof(void *), by_host);
    for (int i = 0; i < d->n_links; i++) {
        DeviceLink *l = sorted[i] = &d->links[i];
        check_host(r, d, by_hosts, l, l->from);
        if (strcmp(l->from, l->to) != 0)
            check_host(r, d, by_hosts, l, l->to);
    }
    qsort(sorted, (size_t)d->n_links, sizeof(void *), by_ends);
    for (int i = 1; i < d->n_links; i++)
        if (!strcmp(end_of(sorted[i], 0), end_of(sorted[i - 1], 0)) &&
            !strcmp(end_of(sorted[i], 1), end_of(sorted[i - 1], 1)) &&
            ++r->errors <= MAX_TOLD) {
            error_at(sorted[i]->loc,
                     "links[%d] is the second between %s and %s: one counts for both ways",
                     (int)(sorted[i] - d->links), sorted[i]->from, sorted[i]->to);
            note_at(sorted[i - 1]->loc, "the first one");
        }
}

static void read_all(Reader *r, Devices *d)
{
    d->n = list_length(r, "devices", true, MAX_DEVICES);
    d->n_links = list_length(r, "links", false, MAX_LINKS);
    d->reference = get_text(r, "reference", false, MAX_PATH);
    warn_unknown(r, top_fields, N(top_fields));
    read_lists(r, d);
    if (r->errors)
        return;
    Device **sorted = arena_array(r->arena, Device *, d->n);
    for (int i = 0; i < d->n; i++)
        sorted[i] = &d->devices[i];
    check_names(r, d, sorted);
    check_links(r, d, sorted);
}

Devices *devices_from_json(Arena *a, const char *file, const char *text)
{
    json_error_t e;
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, &e);
    if (!root) {
        error_at((Loc){file, e.line, e.column},
                 "this is not the JSON of devices: %s; `stagecc devices` writes one", e.text);
        return NULL;
    }
    Reader r = {.arena = a, .place = json_place_begin(file, text), .entry = root, .text = text};
    Devices *d = arena_new(a, Devices);
    if (!json_is_object(root))
        bad(&r, NULL, "is not an object with a list `devices`");
    else
        read_all(&r, d);
    json_decref(root);
    if (r.errors > MAX_TOLD)
        note_at((Loc){file, 0, 0}, "and %d more errors", r.errors - MAX_TOLD);
    return r.errors ? NULL : d;
}

const DeviceLink *devices_link(const Devices *d, const char *host, const char *other)
{
    for (int i = 0; i < d->n_links; i++) {
        const DeviceLink *l = &d->links[i];
        if ((!strcmp(l->from, host) && !strcmp(l->to, other)) ||
            (!strcmp(l->from, other) && !strcmp(l->to, host)))
            return l;
    }
    return NULL;
}
