#include "control/hostfile.h"

#include "base/text.h"
#include "base/vec.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_SLOTS = 4096, MAX_NAME = 255 };

typedef VEC(Host) HostVec;

typedef struct Field {
    char *name, *value; // "slots", "2"
    Loc loc, value_loc;
} Field;

// Fields
// ----------------------------------------------------------------------------------------

static bool read_slots(Host *h, const Field *f)
{
    char *end;
    errno = 0;
    long n = strtol(f->value, &end, 10);
    h->slots = (int)n;
    if (isdigit((unsigned char)*f->value) && !*end && !errno && n >= 1 && n <= MAX_SLOTS)
        return true;
    error_at(f->value_loc, "slots is `%s`, not a whole number from 1 to %d", f->value,
             MAX_SLOTS);
    return false;
}

static bool read_device(Host *h, const Field *f)
{
    h->cuda = !strcmp(f->value, "cuda");
    if (h->cuda || !strcmp(f->value, "cpu"))
        return true;
    error_at(f->value_loc, "device is `%s`, neither cpu nor cuda", f->value);
    return false;
}

// A decimal number from the beginning of the value; NAN: there is none. strtod takes more than that.
static double read_decimal(const char *value, char **end)
{
    bool plain = isdigit((unsigned char)*value) || *value == '.';
    double x = plain ? strtod(value, end) : NAN;
    return plain && *end - value <= (ptrdiff_t)strspn(value, "0123456789.eE+-") ? x : NAN;
}

// The power of 1024 that "G", "g", "GB" or "GiB" stands for; 0 for none; -1: it is no unit.
static int read_unit(const char *text)
{
    static const char units[] = "KMGT";
    if (!*text)
        return 0;
    const char *unit = strchr(units, toupper((unsigned char)*text++));
    bool ends = !*text || !strcmp(text, "iB") || !strcmp(text, "B");
    return unit && ends ? (int)(unit - units + 1) : -1;
}

// "24G", "1.5g", "24GiB", "1000000".
static bool read_memory(Host *h, const Field *f)
{
    char *end = f->value;
    double bytes = read_decimal(f->value, &end);
    int unit = read_unit(end);
    bytes = unit < 0 ? NAN : ldexp(bytes, 10 * unit);
    h->memory_bytes = bytes >= 1 && bytes <= 0x1p60 ? (int64_t)bytes : 0;
    if (h->memory_bytes)
        return true;
    error_at(f->value_loc, "mem is `%s`, not a size like 24G, 512M or bytes", f->value);
    return false;
}

static bool read_weight(Host *h, const Field *f)
{
    char *end = f->value;
    h->weight = read_decimal(f->value, &end);
    if (h->weight >= 1e-6 && h->weight <= 1e6 && !*end)
        return true;
    error_at(f->value_loc, "weight is `%s`, not a number from 1e-6 to 1e6", f->value);
    return false;
}

static const struct {
    const char *name;
    bool (*read)(Host *h, const Field *f);
} fields[] = {{"slots", read_slots},
              {"device", read_device},
              {"mem", read_memory},
              {"weight", read_weight}};
enum { N_FIELDS = sizeof fields / sizeof *fields };

static bool unknown_field(const Field *f)
{
    const char *names[N_FIELDS];
    for (int i = 0; i < N_FIELDS; i++)
        names[i] = fields[i].name;
    const char *near = str_nearest(f->name, names, N_FIELDS);
    if (near)
        error_at(f->loc, "there is no field `%s`; did you mean `%s`?", f->name, near);
    else
        error_at(f->loc,
                 "there is no field `%s`, only slots=N device=cpu|cuda mem=24G weight=1",
                 f->name);
    return false;
}

static bool read_field(Host *h, Field *f, unsigned *seen)
{
    char *equals = strchr(f->name, '=');
    if (!equals) {
        error_at(f->loc, "`%s` is not a field like slots=2: a line has one host", f->name);
        return false;
    }
    *equals = 0;
    f->value = equals + 1;
    f->value_loc = f->loc;
    f->value_loc.col += (int)(f->value - f->name);
    for (unsigned i = 0; i < N_FIELDS; i++) {
        if (strcmp(f->name, fields[i].name) != 0)
            continue;
        if (*seen & 1u << i) {
            error_at(f->loc, "%s is given twice", f->name);
            return false;
        }
        *seen |= 1u << i;
        return fields[i].read(h, f);
    }
    return unknown_field(f);
}

// Lines
// -----------------------------------------------------------------------------------------

static bool check_name(const char *name, Loc loc)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-:@%";
    if (*name == '-')
        error_at(loc, "`%s` begins with `-`: ssh would take it for an option", name);
    else if (strchr(name, '='))
        error_at(loc, "`%s` stands where a host is named: HOST slots=2", name);
    else if (strspn(name, allowed) != strlen(name) || strlen(name) > MAX_NAME)
        error_at(loc, "`%.80s` is no name of a host: letters, digits and ._-:@%% are", name);
    else
        return true;
    return false;
}

static bool check_new(const HostVec *hosts, const char *name, Loc loc)
{
    for (int i = 0; i < hosts->n; i++)
        if (!strcmp(hosts->items[i].name, name)) {
            error_at(loc, "%s is listed twice; give it more slots instead", name);
            note_at(hosts->items[i].loc, "the first time");
            return false;
        }
    return true;
}

// Cuts the next word off the line; NULL: there is none.
static char *next_word(char **line)
{
    char *word = *line + strspn(*line, " \t\r");
    char *end = word + strcspn(word, " \t\r");
    if (!*word)
        return NULL;
    *line = *end ? end + 1 : end;
    *end = 0;
    return word;
}

static bool read_line(Arena *a, HostVec *hosts, char *line, Loc loc)
{
    char *rest = line, *name = next_word(&rest);
    Host h = {.slots = 1};
    unsigned seen = 0;
    if (!name)
        return true;
    loc.col = (int)(name - line) + 1;
    h.name = name;
    h.loc = loc;
    bool good = check_name(name, loc) && check_new(hosts, name, loc);
    for (char *word; good && (word = next_word(&rest)) != NULL;) {
        Field f = {.name = word, .loc = loc};
        f.loc.col = (int)(word - line) + 1;
        good &= read_field(&h, &f, &seen);
    }
    if (good)
        vec_push(a, hosts, h);
    return good;
}

Hosts *hostfile_parse(Arena *a, const char *file, const char *text)
{
    HostVec hosts = {0};
    bool good = true;
    int number = 1;
    for (const char *at = text; *at; number++) {
        size_t n = strcspn(at, "\n"), comment = strcspn(at, "\n#");
        good &= read_line(a, &hosts, arena_strndup(a, at, comment), (Loc){file, number, 1});
        at += n + (at[n] != 0);
    }
    if (good && !hosts.n) {
        error_at((Loc){file, 0, 0}, "no host is listed; a line is: HOST slots=2");
        good = false;
    }
    Hosts *result = arena_new(a, Hosts);
    *result = (Hosts){hosts.items, hosts.n};
    return good ? result : NULL;
}

Hosts *hostfile_read(Arena *a, const char *file)
{
    char *text = file_read(file, NULL);
    if (!text) {
        error_at((Loc){file, 0, 0}, "cannot read the hostfile: %s", strerror(errno));
        return NULL;
    }
    Hosts *hosts = hostfile_parse(a, file, text);
    free(text);
    return hosts;
}

bool host_is_local(const char *name)
{
    char own[256] = "";
    gethostname(own, sizeof own - 1);
    return !strcmp(name, "localhost") || !strcmp(name, "::1") || !strncmp(name, "127.", 4) ||
           !strcmp(name, own);
}
