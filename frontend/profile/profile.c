// Graphs printed as they were read, and their order.
#include "frontend/profile/profile.h"

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

// Walks backwards over nodes that wait, until one comes again: from there on it was a cycle.
static void report_cycle(Arena *a, const Profile *p, const int *waiting)
{
    int n = p->nodes.n, v = 0, length = 0;
    int *before = arena_array(a, int, n), *edge = arena_array(a, int, n);
    bool *seen = arena_array(a, bool, n);
    for (int i = 0; i < p->edges.n; i++)
        if (waiting[p->edges.items[i].from] && waiting[p->edges.items[i].to]) {
            before[p->edges.items[i].to] = p->edges.items[i].from;
            edge[p->edges.items[i].to] = i;
        }
    while (!waiting[v])
        v++;
    for (; !seen[v]; v = before[v])
        seen[v] = true;
    const char *text = arena_printf(a, "%.*s", 80, p->nodes.items[v].id);
    int u = v;
    do {
        u = before[u];
        if (length++ < 8)
            text = arena_printf(a, "%.*s -- %s", 80, p->nodes.items[u].id, text);
    } while (u != v);
    error_at(p->edges.items[edge[v]].loc, "the graph has a cycle of %d nodes: %s%s", length,
             length > 8 ? "... -- " : "", text);
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
    report_cycle(a, p, waiting);
    return NULL;
}
