// A line is a node or an edge. A description may itself hold ", ", "(" and " -- ", so a node line is
// taken apart from its ends: the id up to the first " -- ", the fields after the last " -- " that
// `forward_compute_time=` follows, an optional stage_id behind them.
//
// A file may be anything: what is no text, absurd or endless is refused early, and of many errors the
// first ones are told.
#include "frontend/profile/profile.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    MAX_NODES = 1 << 20,
    MAX_EDGES = 1 << 22,
    MAX_LINE = 1 << 20,
    MAX_ERRORS = 20,
    MAX_NAMED = 80 // bytes of a name in a message
};
static const double largest =
    1e15; // ms: 30,000 years; bytes: a petabyte; of all nodes together

typedef struct Reader {
    Arena *arena;
    const char *file;
    char *line; // a terminated copy of the current one
    size_t capacity;
    int number;
    Profile *profile;
    int *table, table_size; // node index + 1 by hash of its id
    double ms, bytes;       // of all nodes so far
} Reader;

static Loc place(const Reader *r, const char *p)
{
    return (Loc){r->file, r->number, (int)(p - r->line) + 1};
}

static int *find(const Reader *r, const char *id, size_t n)
{
    size_t i = str_hash(id, n) & (size_t)(r->table_size - 1);
    for (; r->table[i]; i = (i + 1) & (size_t)(r->table_size - 1)) {
        const char *have = r->profile->nodes.items[r->table[i] - 1].id;
        if (!strncmp(have, id, n) && !have[n])
            break;
    }
    return &r->table[i];
}

static void grow_table(Reader *r)
{
    r->table_size *= 2;
    r->table = arena_array(r->arena, int, r->table_size);
    for (int i = 0; i < r->profile->nodes.n; i++) {
        const char *id = r->profile->nodes.items[i].id;
        *find(r, id, strlen(id)) = i + 1;
    }
}

// What Python prints of a float: digits, a point, an exponent. Its end, or NULL.
static const char *number_end(const char *p)
{
    p += *p == '-';
    size_t before = strspn(p, "0123456789");
    p += before;
    size_t after = *p == '.' ? strspn(p + 1, "0123456789") : 0;
    p += *p == '.' ? after + 1 : 0;
    if (!before && !after)
        return NULL;
    if (*p == 'e' || *p == 'E') {
        const char *digits = p + 1 + (p[1] == '+' || p[1] == '-');
        size_t n = strspn(digits, "0123456789");
        return n ? digits + n : NULL;
    }
    return isalpha((unsigned char)*p) ? NULL : p;
}

static bool number(Reader *r, const char **p, double *value)
{
    static const char *const no_numbers[] = {"nan", "inf", "-inf", "Infinity", "-Infinity"};
    for (size_t i = 0; i < sizeof no_numbers / sizeof *no_numbers; i++)
        if (str_starts(*p, no_numbers[i])) {
            error_at(place(r, *p), "times and sizes are finite: measure this layer again");
            return false;
        }
    const char *end = number_end(*p);
    *value = end ? strtod(*p, NULL) : 0;
    if (!end)
        error_at(place(r, *p), "a decimal number like 12.5 or 1e-05 is expected here");
    else if (*value < 0)
        error_at(place(r, *p), "times and sizes are not negative: measure this layer again");
    else if (*value > largest)
        error_at(place(r, *p), "this is more than %g: times are milliseconds, sizes bytes",
                 largest);
    if (!end || *value < 0 || *value > largest)
        return false;
    *p = end;
    return true;
}

// `12.5` or `[1.0; 2.0]`
static bool number_or_list(Reader *r, const char **p, double *sum)
{
    if (**p != '[')
        return number(r, p, sum);
    *sum = 0;
    do {
        double part;
        ++*p;
        *p += strspn(*p, " ");
        if (!number(r, p, &part))
            return false;
        *sum += part;
    } while (**p == ';');
    if (**p != ']') {
        error_at(place(r, *p), "`]` or `;` is expected in this list of sizes");
        return false;
    }
    ++*p;
    return true;
}

static bool fields(Reader *r, const char **p, ProfileNode *n)
{
    static const char *const key[] = {"forward_compute_time=", "backward_compute_time=",
                                      "activation_size=", "parameter_size="};
    double *const value[] = {&n->forward_ms, &n->backward_ms, &n->activation_bytes,
                             &n->parameter_bytes};
    for (int i = 0; i < 4; i++) {
        if (i && str_starts(*p, ", "))
            *p += 2;
        if (!str_starts(*p, key[i])) {
            error_at(place(r, *p), "`%s` is expected here", key[i]);
            return false;
        }
        *p += strlen(key[i]);
        if (!number_or_list(r, p, value[i]))
            return false;
    }
    return true;
}

static const char *last_fields(const char *s)
{
    const char *found = NULL;
    for (const char *p = s; (p = strstr(p, " -- forward_compute_time=")); p++)
        found = p;
    return found;
}

static void read_node(Reader *r)
{
    const char *sep = strstr(r->line, " -- ");
    const char *begin = sep ? last_fields(sep) : NULL;
    if (!begin || begin < sep + 4) {
        error_at(place(r, r->line), "a node is `ID -- DESCRIPTION -- forward_compute_time=MS, "
                                    "backward_compute_time=MS, activation_size=BYTES, "
                                    "parameter_size=BYTES`");
        return;
    }
    ProfileNode n = {.id = arena_strndup(r->arena, r->line, (size_t)(sep - r->line)),
                     .description = arena_strndup(r->arena, sep + 4, (size_t)(begin - sep - 4)),
                     .stage = -1,
                     .loc = place(r, r->line)};
    const char *p = begin + 4;
    if (!fields(r, &p, &n))
        return;
    n.fields = arena_strndup(r->arena, begin + 4, (size_t)(p - begin - 4));
    if (str_starts(p, " -- stage_id=")) {
        p += strlen(" -- stage_id=");
        char *end;
        long stage = strtol(p, &end, 10);
        if (end == p || stage < 0 || stage > 1 << 20) {
            error_at(place(r, p), "a stage number from 0 is expected here");
            return;
        }
        n.stage = (int)stage;
        p = end;
    }
    if (*p) {
        error_at(place(r, p), "nothing is expected after a node's fields but ` -- stage_id=N`");
        return;
    }
    int *slot = find(r, n.id, strlen(n.id));
    if (*slot) {
        error_at(n.loc, "`%.*s` is here twice", MAX_NAMED, n.id);
        note_at(r->profile->nodes.items[*slot - 1].loc, "the first one");
        return;
    }
    if ((r->ms += n.forward_ms + n.backward_ms) > largest ||
        (r->bytes += n.activation_bytes + n.parameter_bytes) > largest) {
        error_at(n.loc, "all nodes up to here add up to more than %g ms or bytes", largest);
        return;
    }
    vec_push(r->arena, &r->profile->nodes, n);
    *slot = r->profile->nodes.n;
    if (r->profile->nodes.n > r->table_size / 2)
        grow_table(r);
}

static int named(size_t n)
{
    return n < MAX_NAMED ? (int)n : MAX_NAMED;
}

static const char *indent_of(const Reader *r, size_t n)
{
    const Profile *p = r->profile;
    const char *before = p->edges.n ? p->edges.items[p->edges.n - 1].indent : "\t";
    bool same = strlen(before) == n && !strncmp(before, r->line, n);
    return same ? before : arena_strndup(r->arena, r->line, n);
}

static void read_edge(Reader *r, size_t indent)
{
    const char *from = r->line + indent, *sep = strstr(from, " -- ");
    if (!sep) {
        error_at(place(r, from), "an edge is `ID -- ID`");
        return;
    }
    const char *to = sep + 4;
    int *a = find(r, from, (size_t)(sep - from)), *b = find(r, to, strlen(to));
    if (!*a || !*b) {
        const char *at = *a ? to : from;
        error_at(place(r, at), "no node `%.*s` stands above this edge",
                 named(*a ? strlen(to) : (size_t)(sep - from)), at);
        return;
    }
    ProfileEdge e = {*a - 1, *b - 1, place(r, from), indent_of(r, indent)};
    if (e.from == e.to)
        error_at(e.loc, "`%.*s` feeds itself", named((size_t)(sep - from)), from);
    else
        vec_push(r->arena, &r->profile->edges, e);
}

bool profile_looks_like(const char *text)
{
    const char *sep = strstr(text, " -- ");
    size_t line = strcspn(text, "\r\n");
    return sep && (size_t)(sep - text) < line;
}

// The length of the character at p in UTF-8; 0: it is none, or a control character.
static int character(const unsigned char *p)
{
    if (*p < 0x80)
        return (*p >= 0x20 && *p != 0x7f) || *p == '\t';
    int n = *p >= 0xf0 && *p < 0xf5   ? 4
            : *p >= 0xe0 && *p < 0xf0 ? 3
            : *p >= 0xc2 && *p < 0xe0 ? 2
                                      : 0;
    for (int i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xf0 && p[1] < 0x90);
    bool surrogate = *p == 0xed && p[1] > 0x9f, beyond = *p == 0xf4 && p[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : n;
}

// A copy of the line into r->line. false: it is no text, reported.
static bool take_line(Reader *r, const char *p, size_t n)
{
    if (n > MAX_LINE) {
        error_at((Loc){r->file, r->number, 0}, "this line has %zu bytes, %d are the most", n,
                 MAX_LINE);
        return false;
    }
    if (n >= r->capacity) {
        r->capacity = 2 * n + 256;
        r->line = arena_alloc(r->arena, r->capacity);
    }
    memcpy(r->line, p, n);
    r->line[n] = 0;
    for (size_t i = 0; i < n;) {
        int length = character((const unsigned char *)r->line + i);
        if (!length) {
            error_at((Loc){r->file, r->number, (int)i + 1},
                     "this is not text in UTF-8 (byte 0x%02x)", (unsigned char)r->line[i]);
            return false;
        }
        i += (size_t)length;
    }
    return true;
}

static void read_line(Reader *r)
{
    size_t indent = strspn(r->line, " \t");
    if (!r->line[indent])
        return;
    if (indent)
        read_edge(r, indent);
    else
        read_node(r);
    if (r->profile->nodes.n > MAX_NODES || r->profile->edges.n > MAX_EDGES)
        error_at((Loc){r->file, r->number, 0}, "there are more than %d %s in this graph",
                 indent ? MAX_EDGES : MAX_NODES, indent ? "edges" : "nodes");
}

Profile *profile_read(Arena *a, const char *file, const char *text)
{
    Profile *profile = arena_new(a, Profile);
    Reader r = {.arena = a, .file = file, .profile = profile, .table_size = 64};
    int before = diag_errors();
    r.table = arena_array(a, int, r.table_size);
    for (const char *p = text, *next; *p; p = next) {
        size_t n = strcspn(p, "\n");
        next = p + n + (p[n] == '\n');
        profile->final_newline = p[n] == '\n';
        if (n && p[n - 1] == '\r') {
            profile->crlf = true;
            n--;
        }
        r.number++;
        if (take_line(&r, p, n))
            read_line(&r);
        if (diag_errors() - before >= MAX_ERRORS || profile->nodes.n > MAX_NODES ||
            profile->edges.n > MAX_EDGES) {
            note_at((Loc){file, r.number, 0}, "the rest of the file was not read");
            break;
        }
    }
    if (diag_errors() == before && !profile->nodes.n)
        error_at((Loc){file, 1, 1}, "there is no node in this graph");
    return diag_errors() == before ? profile : NULL;
}

Profile *profile_load(Arena *a, const char *file)
{
    size_t size;
    char *text = file_read(file, &size);
    if (!text) {
        error_at((Loc){file, 0, 0}, "cannot read the graph: %s", strerror(errno));
        return NULL;
    }
    size_t length = strlen(text);
    Profile *p = NULL;
    if (length < size)
        error_at((Loc){file, 0, 0},
                 "there is a zero byte at offset %zu: this is not a graph's text", length);
    else if (str_starts(text, "\xef\xbb\xbf"))
        error_at((Loc){file, 1, 1},
                 "a byte-order mark stands before the first node: save the file without it");
    else
        p = profile_read(a, file, text);
    free(text);
    return p;
}

bool profile_file(const char *file)
{
    char begin[4096];
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a pipe is not waited for
    ssize_t n = fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode)
                    ? read(fd, begin, sizeof begin - 1)
                    : 0;
    if (fd >= 0)
        close(fd);
    begin[n > 0 ? n : 0] = 0;
    return profile_looks_like(begin);
}
