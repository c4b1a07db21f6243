// From the nodes of a profile to layers, in an order in which they can run: that of their numbers, by
// which the profiled framework counted them as it ran, as far as the edges allow; of a graph with stages
// one stage behind the other.
#include "frontend/profile/import.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

// "node12" -> 12; -1: it ends in no number.
static int id_number(const char *id)
{
    size_t n = strlen(id), digits = 0;
    while (digits < n && isdigit((unsigned char)id[n - digits - 1]))
        digits++;
    return digits > 0 && digits < 9 ? atoi(id + n - digits) : -1;
}

static void number_nodes(Importer *im)
{
    const Profile *p = im->profile;
    bool all = true;
    im->number = arena_array(im->arena, int, p->nodes.n + 1);
    for (int i = 0; i < p->nodes.n; i++) {
        im->number[i] = id_number(p->nodes.items[i].id);
        all &= im->number[i] >= 0;
    }
    for (int i = 0; !all && i < p->nodes.n; i++)
        im->number[i] = i;
}

// Of a kind each, or reported.
static bool find_kinds(Importer *im)
{
    const Profile *p = im->profile;
    im->described = arena_array(im->arena, Description, p->nodes.n + 1);
    im->kind = arena_array(im->arena, const Kind *, p->nodes.n + 1);
    bool listed = false;
    for (int i = 0; i < p->nodes.n && diag_errors() < MOST_ERRORS; i++) {
        const ProfileNode *n = &p->nodes.items[i];
        im->described[i] = description_of(im->arena, n->description);
        im->kind[i] = kind_find(im->described[i].kind);
        if (im->kind[i])
            continue;
        Loc loc = n->loc;
        loc.col += (int)strlen(n->id) + 4; // behind " -- "
        error_at(loc, "`%.80s` is no kind of layer that stagecc knows",
                 *im->described[i].kind ? im->described[i].kind : n->description);
        if (!listed)
            note_at(NO_LOC, "known kinds: %s", kind_names(im->arena));
        listed = true;
    }
    return !diag_errors();
}

static int by_key(const void *a, const void *b, void *user)
{
    const int *key = user, x = *(const int *)a, y = *(const int *)b;
    return key[x] != key[y] ? (key[x] > key[y]) - (key[x] < key[y]) : (x > y) - (x < y);
}

// Some profilers list nodes as they ran, but for inputs; others as a dictionary had them, which leads
// every other edge back.
static bool stands_in_order(const Profile *p)
{
    int forward = 0;
    for (int e = 0; e < p->edges.n; e++)
        forward += p->edges.items[e].from < p->edges.items[e].to;
    return forward >= p->edges.n - p->edges.n / 5;
}

// im->from: operands of every node without those that make no tensor, each once, in the order of their
// edges where the file is in order, else by number.
static void find_operands(Importer *im)
{
    const Profile *p = im->profile;
    int n = p->nodes.n;
    im->first = arena_array(im->arena, int, n + 2);
    im->from = arena_array(im->arena, int, p->edges.n + 1);
    int *count = arena_array(im->arena, int, n + 2), *all = im->from;
    for (int e = 0; e < p->edges.n; e++)
        count[p->edges.items[e].to + 1]++;
    for (int i = 0; i < n; i++)
        count[i + 1] += count[i];
    int *fill = arena_copy(im->arena, count, sizeof *count * (size_t)(n + 1));
    for (int e = 0; e < p->edges.n; e++)
        all[fill[p->edges.items[e].to]++] = p->edges.items[e].from;
    int kept = 0, *reader = arena_array(im->arena, int, n + 1);
    im->in_order = stands_in_order(p);
    for (int i = 0; i < n; i++) {
        int begin = count[i], end = count[i + 1];
        im->first[i] = kept;
        if (!im->in_order)
            qsort_r(all + begin, (size_t)(end - begin), sizeof *all, by_key, im->number);
        for (int k = begin; k < end; k++) {
            int from = all[k];
            if (reader[from] != i + 1 && im->kind[from]->makes_tensor)
                all[kept++] = from;
            reader[from] = i + 1;
        }
    }
    im->first[n] = kept;
}

// A heap of nodes that are ready, the one to run next on top.
typedef struct Heap {
    const int *stage, *number;
    int *items, n;
} Heap;

static bool before(const Heap *h, int a, int b)
{
    if (h->stage[a] != h->stage[b])
        return h->stage[a] < h->stage[b];
    return h->number[a] != h->number[b] ? h->number[a] < h->number[b] : a < b;
}

static void heap_push(Heap *h, int node)
{
    int i = h->n++;
    for (; i && before(h, node, h->items[(i - 1) / 2]); i = (i - 1) / 2)
        h->items[i] = h->items[(i - 1) / 2];
    h->items[i] = node;
}

static int heap_pop(Heap *h)
{
    int top = h->items[0], node = h->items[--h->n], i = 0;
    for (int child; (child = 2 * i + 1) < h->n; i = child) {
        child += child + 1 < h->n && before(h, h->items[child + 1], h->items[child]);
        if (!before(h, h->items[child], node))
            break;
        h->items[i] = h->items[child];
    }
    h->items[i] = node;
    return top;
}

static const int *find_stages(Importer *im)
{
    const Profile *p = im->profile;
    int *stage = arena_array(im->arena, int, p->nodes.n + 1);
    for (int i = 0; i < p->nodes.n; i++)
        stage[i] = p->nodes.items[i].stage;
    return stage;
}

// Every edge goes forward. The profile has no cycles.
static void find_order(Importer *im)
{
    const Profile *p = im->profile;
    int n = p->nodes.n;
    int *waits = arena_array(im->arena, int, n + 1),
        *first = arena_array(im->arena, int, n + 2);
    int *users = arena_array(im->arena, int, im->first[n] + 1);
    for (int i = 0; i < n; i++)
        for (int k = im->first[i]; k < im->first[i + 1]; k++)
            first[im->from[k] + 1]++;
    for (int i = 0; i < n; i++)
        first[i + 1] += first[i];
    int *fill = arena_copy(im->arena, first, sizeof *first * (size_t)(n + 1));
    Heap ready = {find_stages(im), im->number, arena_array(im->arena, int, n + 1), 0};
    for (int i = 0; i < n; i++) {
        waits[i] = im->first[i + 1] - im->first[i];
        for (int k = im->first[i]; k < im->first[i + 1]; k++)
            users[fill[im->from[k]]++] = i;
        if (!waits[i])
            heap_push(&ready, i);
    }
    im->order = arena_array(im->arena, int, n + 1);
    for (int done = 0; ready.n; done++) {
        int v = im->order[done] = heap_pop(&ready);
        for (int k = first[v]; k < first[v + 1]; k++)
            if (!--waits[users[k]])
                heap_push(&ready, users[k]);
    }
}

static bool right_count(const Importer *im, const Maker *m)
{
    const Kind *kind = im->kind[m->index];
    if (m->n >= kind->fewest && (kind->most < 0 || m->n <= kind->most))
        return true;
    if (kind->most == kind->fewest)
        maker_wrong(m, "it has %d operand%s, but takes %d", m->n, m->n == 1 ? "" : "s",
                    kind->most);
    else
        maker_wrong(m, "it has %d operand%s, but takes %s %d", m->n, m->n == 1 ? "" : "s",
                    m->n < kind->fewest ? "at least" : "at most",
                    m->n < kind->fewest ? kind->fewest : kind->most);
    return false;
}

// Operands without those that are zero. false: one of the others is not there.
static bool find_present(const Importer *im, Maker *m)
{
    int *from = arena_array(im->arena, int, m->n + 1), n = 0;
    bool good = true;
    for (int k = 0; k < m->n; k++) {
        int of = m->from[k];
        if (im->absent[of] == NO_PART)
            maker_wrong(m, "it reads `%.80s`, a part of a tuple that no layer gives",
                        im->profile->nodes.items[of].id);
        if (im->absent[of] != ZERO_STATE)
            from[n++] = of;
        good &= im->absent[of] == ZERO_STATE || im->made[of].node; // else that was reported
    }
    m->from = from;
    m->n = n;
    return good;
}

static void make_node(Importer *im, int i)
{
    Graph *g = im->draft.graph;
    Maker m = {im,
               i,
               &im->profile->nodes.items[i],
               &im->described[i],
               &im->from[im->first[i]],
               im->first[i + 1] - im->first[i]};
    int layers = g->layers.n;
    if (find_present(im, &m) && right_count(im, &m) && im->kind[i]->make)
        im->made[i] = im->kind[i]->make(&m);
    for (int k = layers; k < g->layers.n; k++)
        g->layers.items[k]->stage = m.node->stage;
}

// Inputs that the losses of a profile read, and nothing else.
static void find_labels(Importer *im)
{
    int n = im->profile->nodes.n;
    im->label = arena_array(im->arena, bool, n + 1);
    im->reader = arena_array(im->arena, const Kind *, n + 1);
    for (int i = n; i-- > 0;)
        for (int k = im->first[i]; k < im->first[i + 1]; k++)
            im->reader[im->from[k]] = im->kind[i];
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < n; i++)
            for (int k = im->first[i]; k < im->first[i + 1]; k++)
                if (kind_is_loss(im->kind[i]) == !pass && !im->kind[im->from[k]]->most)
                    im->label[im->from[k]] = !pass;
}

static void make_nodes(Importer *im)
{
    int n = im->profile->nodes.n;
    im->made = arena_array(im->arena, Tensor, n + 1);
    im->parts = arena_array(im->arena, Tensor *, n + 1);
    im->absent = arena_array(im->arena, Absent, n + 1);
    for (int k = 0; k < n && diag_errors() < MOST_ERRORS; k++)
        make_node(im, im->order[k]);
    if (im->joined)
        note_at(
            im->first_joined->loc,
            "a profile does not tell the order in which Concat joins its operands: they are "
            "taken %s%s",
            im->in_order ? "as their edges stand in the file" : "by their numbers",
            im->joined > 1 ? ", here and in other nodes" : "");
}

static int by_node(const void *a, const void *b)
{
    return strcmp(((const NodeStage *)a)->node, ((const NodeStage *)b)->node);
}

// The stages that a plan gave, in place of the file's own. false: it is of another graph.
static bool take_stages(Arena *a, Profile *p, const char *path, const ModelOptions *o)
{
    size_t n = (size_t)o->n_stages, size = sizeof(NodeStage);
    NodeStage *stages = arena_copy(a, o->stages, size * n);
    int found = 0;
    qsort(stages, n, size, by_node);
    for (int i = 0; i < p->nodes.n; i++) {
        ProfileNode *node = &p->nodes.items[i];
        const NodeStage wanted = {node->id, 0}, *s = bsearch(&wanted, stages, n, size, by_node);
        node->stage = s ? s->stage : -1;
        found += s != NULL;
    }
    if (found == o->n_stages && found == p->nodes.n)
        return true;
    error_at((Loc){path, 0, 0},
             "the plan is of another graph: of its %d nodes, %d are among the %d here",
             o->n_stages, found, p->nodes.n);
    return false;
}

// No edge may lead back.
static bool settle_stages(Arena *a, Profile *p, const char *path, const ModelOptions *o)
{
    if (o->n_stages && !take_stages(a, p, path, o))
        return false;
    for (int i = 0; i < p->edges.n; i++) {
        const ProfileEdge *e = &p->edges.items[i];
        const ProfileNode *from = &p->nodes.items[e->from], *to = &p->nodes.items[e->to];
        if (from->stage > to->stage && to->stage >= 0 && diag_errors() < MOST_ERRORS)
            error_at(e->loc, "this edge leads back from stage %d to stage %d", from->stage,
                     to->stage);
    }
    return !diag_errors();
}

static const char *graph_name(Arena *a, const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    return arena_strndup(a, base, strcspn(base, ".=")); // "gpus=4.txt": gpus
}

// A profile says nothing of training. The language's 0.01 is too fast for deep networks with batch norm on the few
// samples that a first try has: resnext50 diverges.
static void set_rate(Graph *g)
{
    TrainSetting rate = {"lr", "0.003", {g->file, 0, 0}};
    vec_push(g->arena, &g->train, rate);
}

Script *profile_import(Arena *a, const char *path, const char *text,
                       const ModelOptions *options)
{
    Profile *p = profile_read(a, path, text);
    if (!p || !profile_order(a, p) || !settle_stages(a, p, path, options))
        return NULL;
    Importer im = {.arena = a, .path = path, .profile = p};
    im.script = arena_new(a, Script);
    im.draft = (Draft){graph_new(a, graph_name(a, path), options->micro_batch), options, 0};
    im.draft.graph->file = arena_strdup(a, path);
    set_rate(im.draft.graph);
    im.script->graph = im.draft.graph;
    number_nodes(&im);
    if (!find_kinds(&im))
        return NULL;
    find_operands(&im);
    find_order(&im);
    find_labels(&im);
    if (!sizes_find_input(&im))
        return NULL;
    make_nodes(&im);
    if (!diag_errors())
        sizes_check(&im);
    if (!diag_errors())
        loss_add(&im);
    return diag_errors() ? NULL : im.script;
}

static Graph *parse(Arena *a, const char *path, const char *text, const ModelOptions *options)
{
    Script *s = profile_import(a, path, text, options);
    return s ? s->graph : NULL;
}

static bool probe(const char *path, const char *text)
{
    (void)path;
    return profile_looks_like(text);
}

const Frontend profile_frontend = {"profile", probe, parse};
