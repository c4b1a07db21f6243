// A line is a node or an edge. A description may itself hold ", ", "(" and " -- ", so a node line is
// taken apart from its ends: the id up to the first " -- ", the fields after the last " -- " that
// `forward_compute_time=` follows, an optional stage_id behind them.
#include "frontend/profile/profile.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Reader {
    Arena *arena;
    const char *file, *line; // line: a terminated copy of the current one
    int number;
    Profile *profile;
    int *table, table_size; // node index + 1 by hash of its id
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

static bool number(Reader *r, const char **p, double *value)
{
    char *end;
    *value = strtod(*p, &end);
    if (end == *p || !isfinite(*value) || *value < 0) {
        error_at(place(r, *p), end == *p ? "a number is expected here"
                                         : "times and sizes are finite and not negative");
        return false;
    }
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
        error_at(n.loc, "`%s` is here twice", n.id);
        note_at(r->profile->nodes.items[*slot - 1].loc, "the first one");
        return;
    }
    vec_push(r->arena, &r->profile->nodes, n);
    *slot = r->profile->nodes.n;
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
                 *a ? (int)strlen(to) : (int)(sep - from), at);
        return;
    }
    ProfileEdge e = {*a - 1, *b - 1, place(r, from), arena_strndup(r->arena, r->line, indent)};
    if (e.from == e.to)
        error_at(e.loc, "`%.*s` feeds itself", (int)(sep - from), from);
    else
        vec_push(r->arena, &r->profile->edges, e);
}

static int count_lines(const char *text)
{
    int n = 1;
    for (const char *p = text; (p = strchr(p, '\n')); p++)
        n++;
    return n;
}

bool profile_looks_like(const char *text)
{
    const char *sep = strstr(text, " -- ");
    size_t line = strcspn(text, "\r\n");
    return sep && (size_t)(sep - text) < line;
}

Profile *profile_read(Arena *a, const char *file, const char *text)
{
    Profile *profile = arena_new(a, Profile);
    Reader r = {.arena = a, .file = file, .profile = profile, .table_size = 16};
    int before = diag_errors();
    while (r.table_size < 2 * count_lines(text))
        r.table_size *= 2;
    r.table = arena_array(a, int, r.table_size);
    for (const char *p = text, *next; *p; p = next) {
        size_t n = strcspn(p, "\n");
        next = p + n + (p[n] == '\n');
        profile->final_newline = p[n] == '\n';
        if (n && p[n - 1] == '\r') {
            profile->crlf = true;
            n--;
        }
        r.line = arena_strndup(a, p, n);
        r.number++;
        size_t indent = strspn(r.line, " \t");
        if (indent == n)
            continue;
        if (indent)
            read_edge(&r, indent);
        else
            read_node(&r);
    }
    if (diag_errors() == before && !profile->nodes.n)
        error_at((Loc){file, 1, 1}, "there is no node in this graph");
    return diag_errors() == before ? profile : NULL;
}

void profile_print(Text *out, const Profile *p)
{
    const char *end = p->crlf ? "\r\n" : "\n";
    for (int i = 0; i < p->nodes.n; i++) {
        const ProfileNode *n = &p->nodes.items[i];
        text_printf(out, "%s%s -- %s -- %s", i ? end : "", n->id, n->description, n->fields);
        if (n->stage >= 0)
            text_printf(out, " -- stage_id=%d", n->stage);
    }
    for (int i = 0; i < p->edges.n; i++) {
        const ProfileEdge *e = &p->edges.items[i];
        text_printf(out, "%s%s%s -- %s", end, e->indent, p->nodes.items[e->from].id,
                    p->nodes.items[e->to].id);
    }
    if (p->final_newline)
        text_puts(out, end);
}

const char *profile_fields(Arena *a, double forward_ms, double backward_ms,
                           double activation_bytes, double parameter_bytes)
{
    return arena_printf(a,
                        "forward_compute_time=%.3f, backward_compute_time=%.3f, "
                        "activation_size=%.3f, parameter_size=%.3f",
                        forward_ms, backward_ms, activation_bytes, parameter_bytes);
}

static void report_cycle(const Profile *p, const int *waiting)
{
    for (int i = 0; i < p->edges.n; i++) {
        const ProfileEdge *e = &p->edges.items[i];
        if (waiting[e->from] && waiting[e->to]) {
            error_at(e->loc, "the graph has a cycle through `%s` and `%s`",
                     p->nodes.items[e->from].id, p->nodes.items[e->to].id);
            return;
        }
    }
}

// A depth-first form of Kahn's algorithm: chains stay together, siblings keep the order of the file,
// which is what a reader expects.
int *profile_order(Arena *a, const Profile *p)
{
    int n = p->nodes.n, m = p->edges.n, done = 0;
    int *waiting = arena_array(a, int, n), *first = arena_array(a, int, n + 1);
    int *out = arena_array(a, int, m), *order = arena_array(a, int, n);
    for (int i = 0; i < m; i++) {
        waiting[p->edges.items[i].to]++;
        first[p->edges.items[i].from + 1]++;
    }
    for (int i = 0; i < n; i++)
        first[i + 1] += first[i];
    int *fill = arena_copy(a, first, sizeof *first * (size_t)n);
    for (int i = 0; i < m; i++)
        out[fill[p->edges.items[i].from]++] = p->edges.items[i].to;
    int *stack = arena_array(a, int, n + m), top = 0;
    for (int i = n; i-- > 0;)
        if (!waiting[i])
            stack[top++] = i;
    while (top) {
        int v = stack[--top];
        order[done++] = v;
        for (int i = first[v + 1]; i-- > first[v];)
            if (!--waiting[out[i]])
                stack[top++] = out[i];
    }
    if (done == n)
        return order;
    report_cycle(p, waiting);
    return NULL;
}
