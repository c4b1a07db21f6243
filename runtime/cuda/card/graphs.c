#include "runtime/cuda/card/graphs.h"

#include "runtime/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 256 }; // of a workspace

static int64_t lines(int64_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}

// Implementations: those of the graphs, joined
// ----------------------------------------------------------------------------------------

static const char joint[] = " + ";

static int count_graphs(const char *implementation)
{
    int n = 1;
    while ((implementation = strstr(implementation, joint))) {
        implementation += strlen(joint);
        n++;
    }
    return n;
}

// That of graph `part`; false: it has no room.
static bool take_part(const char *implementation, int part, char text[DNN_IMPLEMENTATION])
{
    for (; part > 0; part--)
        implementation = strstr(implementation, joint) + strlen(joint);
    const char *end = strstr(implementation, joint);
    size_t n = end ? (size_t)(end - implementation) : strlen(implementation);
    if (n >= DNN_IMPLEMENTATION)
        return false;
    memcpy(text, implementation, n);
    text[n] = '\0';
    return true;
}

static char *append(char *at, const char *text)
{
    size_t n = strlen(text);
    memcpy(at, text, n + 1);
    return at + n;
}

static void join(DnnKernel *k)
{
    char *at = k->implementation;
    for (int i = 0; i < k->n_plans; i++)
        at = append(append(at, i ? joint : ""), k->plans[i].implementation);
}

// Making
// ------------------------------------------------------------------------------------------

// In this order. What was chosen by name is kept as such, so that what programs do without one does not depend on those
// that had one.
typedef enum Way { KEPT_NAMED, NAMED, KEPT, HEURISTICS, N_WAYS } Way;

enum { KEY = 1664 };

static void keep(const DnnMaker *m, const char *key, const DnnPlan *p)
{
    size_t bytes = 0;
    char *json = m->plans ? rt__dnn_json(p, &bytes) : NULL;
    // Without memory for it, it is made again next time.
    if (json && rt__plans_add(m->plans, key, p->implementation, json, bytes) && m->folder)
        rt__plan_folder_write(m->stage, m->folder, rt__plans_find(m->plans, key));
}

static const rt__kept_plan *find_kept(const DnnMaker *m, const char *key)
{
    const rt__kept_plan *kept = rt__plans_find(m->plans, key);
    if (kept || !m->folder)
        return kept;
    rt__plan_folder_read(m->stage, m->folder, key, m->plans);
    return rt__plans_find(m->plans, key);
}

typedef struct Choice {
    Way way;
    const char *key, *name; // name: of the engine, where the way wants it
    unsigned allowed;
} Choice;

static bool choose(const DnnMaker *m, const Choice *c, DnnPlan *p, DnnDesc graph)
{
    if (c->way == KEPT_NAMED || c->way == KEPT) {
        const rt__kept_plan *kept = find_kept(m, c->key);
        return kept &&
               rt__dnn_choose_kept(p, kept->json, kept->json_bytes, kept->implementation);
    }
    bool made = c->way == NAMED ? rt__dnn_choose_named(p, graph, c->name, c->allowed)
                                : rt__dnn_choose(p, graph, c->allowed);
    if (made)
        keep(m, c->key, p);
    return made;
}

static bool is_possible(const DnnMaker *m, const DnnWish *wish, const DnnForm *form, Way way)
{
    bool named = wish->implementation && count_graphs(wish->implementation) == form->n_graphs;
    return (named || way > NAMED) && (m->plans || way == NAMED || way == HEURISTICS);
}

// A plan's: forms whose graphs are as many differ in what these compute.
static void write_key(const DnnWish *wish, const DnnForm *form, int part, const char *name,
                      char key[KEY])
{
    snprintf(key, KEY, "%s%s%s, form %td, graph %d of %d", wish->key, *name ? " as " : "", name,
             form - wish->forms + 1, part + 1, form->n_graphs);
}

// Plan `part` of a form.
static bool make_plan(const DnnMaker *m, const DnnWish *wish, const DnnForm *form, Way way,
                      DnnKernel *k)
{
    int part = k->n_plans;
    char name[DNN_IMPLEMENTATION] = "", key[KEY];
    DnnPlan *p = &k->plans[part];
    if (way <= NAMED && !take_part(wish->implementation, part, name))
        return false;
    write_key(wish, form, part, name, key);
    rt__dnn_begin(&p->parts, m->dnn);
    form->build(&p->parts, wish->what, part);
    DnnDesc graph = rt__dnn_graph(&p->parts);
    return !p->parts.bad && choose(m, &(Choice){way, key, name, form->allowed[part]}, p, graph);
}

static void drop_plans(DnnKernel *k)
{
    for (int i = 0; i < DNN_MOST_GRAPHS; i++) {
        rt__dnn_drop(&k->plans[i].parts);
        k->plans[i].plan = NULL;
    }
    k->n_plans = 0;
}

static bool make_form(const DnnMaker *m, const DnnWish *wish, const DnnForm *form, Way way,
                      DnnKernel *k)
{
    drop_plans(k);
    if (!is_possible(m, wish, form, way))
        return false;
    while (k->n_plans < form->n_graphs && make_plan(m, wish, form, way, k))
        k->n_plans++;
    if (k->n_plans < form->n_graphs)
        return false;
    for (int i = 0; i < k->n_plans; i++)
        if (lines(k->plans[i].workspace_bytes) > k->own_at)
            k->own_at = lines(k->plans[i].workspace_bytes);
    k->workspace_bytes = k->own_at + lines(form->own_bytes);
    return true;
}

static void warn(const DnnMaker *m, const DnnWish *wish, const DnnKernel *k)
{
    char text[1600];
    snprintf(
        text, sizeof text,
        "the plan was made with cuDNN's `%s` for `%s`, which this library or card does not have or a program "
        "may not use; here it is `%s`, and bits may differ",
        wish->implementation, wish->key, k->implementation);
    rt__report_warning(m->stage, text);
}

static int no_kernel(const DnnMaker *m, const DnnWish *wish, const char *why)
{
    char text[1024];
    snprintf(text, sizeof text, "cuDNN %zu has no deterministic kernel for `%s`: %s",
             cudnn.GetVersion(), wish->key, *why ? why : "no engine knows it");
    if (!wish->optional)
        return rt_fail(m->stage, RT_E_KERNEL, "%s", text);
    rt__report_warning(m->stage, text);
    return 0;
}

static void begin(const DnnWish *wish, DnnKernel *k)
{
    memset(k, 0, sizeof *k);
    memcpy(k->scalars, wish->scalars, sizeof k->scalars);
}

static bool make_as(const DnnMaker *m, const DnnWish *wish, int form, Way way, DnnKernel *k)
{
    if (!make_form(m, wish, &wish->forms[form], way, k))
        return false;
    k->form = form;
    join(k);
    return true;
}

int rt__dnn_make(const DnnMaker *m, const DnnWish *wish, DnnKernel *k)
{
    begin(wish, k);
    for (Way way = 0; way < N_WAYS; way++)
        for (int i = 0; i < wish->n_forms; i++) {
            if (!make_as(m, wish, i, way, k))
                continue;
            if (wish->implementation && strcmp(k->implementation, wish->implementation) != 0)
                warn(m, wish, k);
            return 0;
        }
    int error = no_kernel(m, wish, k->plans[k->n_plans].parts.why);
    drop_plans(k);
    return error;
}

// For whoever compares implementations
// ----------------------------------------------------------------------------------------

bool rt__dnn_make_named(const DnnMaker *m, const DnnWish *wish, int form, DnnKernel *k)
{
    begin(wish, k);
    if (make_as(m, wish, form, KEPT_NAMED, k) || make_as(m, wish, form, NAMED, k))
        return true;
    drop_plans(k);
    return false;
}

static int list_part(const DnnMaker *m, const DnnWish *wish, const DnnForm *form, int part,
                     char (*names)[DNN_IMPLEMENTATION], int most)
{
    DnnParts parts;
    rt__dnn_begin(&parts, m->dnn);
    form->build(&parts, wish->what, part);
    DnnDesc graph = rt__dnn_graph(&parts);
    int n = parts.bad ? 0 : rt__dnn_list(&parts, graph, form->allowed[part], names, most);
    rt__dnn_drop(&parts);
    return n;
}

// Of the first graph all; what follows it is finished as heuristics would.
int rt__dnn_names(const DnnMaker *m, const DnnWish *wish, int form,
                  char (*names)[DNN_IMPLEMENTATIONS], int most)
{
    const DnnForm *f = &wish->forms[form];
    char first[DNN_MOST_NAMES][DNN_IMPLEMENTATION], behind[1][DNN_IMPLEMENTATION];
    int n = list_part(m, wish, f, 0, first, most < DNN_MOST_NAMES ? most : DNN_MOST_NAMES);
    for (int i = 0; i < n; i++)
        append(names[i], first[i]);
    for (int part = 1; part < f->n_graphs && n; part++) {
        if (!list_part(m, wish, f, part, behind, 1))
            return 0;
        for (int i = 0; i < n; i++)
            append(append(names[i] + strlen(names[i]), joint), behind[0]);
    }
    return n;
}

void rt__dnn_keep(const DnnMaker *m, const DnnWish *wish, const DnnKernel *k)
{
    char key[KEY];
    for (int i = 0; i < k->n_plans; i++) {
        write_key(wish, &wish->forms[k->form], i, k->plans[i].implementation, key);
        keep(m, key, &k->plans[i]);
    }
}

// Running
// --------------------------------------------------------------------------------------------

static void *pointer(DnnKernel *k, const DnnPack *p, int64_t number)
{
    if (number >= DNN_SCALAR)
        return &k->scalars[number - DNN_SCALAR];
    if (number == DNN_OWN)
        return (uint8_t *)p->workspace + k->own_at;
    return p->tensors[number - 1];
}

static cudnnStatus_t fill(DnnKernel *k, const DnnPack *p, int graph, DnnDesc pack)
{
    const DnnParts *parts = &k->plans[graph].parts;
    void *at[DNN_MOST_REAL];
    for (int i = 0; i < parts->n_real; i++)
        at[i] = pointer(k, p, parts->real[i]);
    cudnnStatus_t bad = cudnn.BackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS,
                                                  CUDNN_TYPE_INT64, parts->n_real, parts->real);
    if (!bad)
        bad = cudnn.BackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS,
                                        CUDNN_TYPE_VOID_PTR, parts->n_real, at);
    if (!bad)
        bad = cudnn.BackendSetAttribute(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE,
                                        CUDNN_TYPE_VOID_PTR, 1, &p->workspace);
    return bad ? bad : cudnn.BackendFinalize(pack);
}

static bool make_room(DnnKernel *k)
{
    if (k->n_packs < k->room)
        return true;
    int room = k->room ? 2 * k->room : 8;
    DnnPack *packs = realloc(k->packs, (size_t)room * sizeof *packs);
    if (!packs)
        return false;
    k->packs = packs;
    k->room = room;
    return true;
}

static void drop_pack(const DnnPack *p)
{
    for (int i = 0; i < DNN_MOST_GRAPHS; i++)
        if (p->packs[i])
            cudnn.BackendDestroyDescriptor(p->packs[i]);
}

void rt__dnn_unmake(DnnKernel *k)
{
    for (int i = 0; i < k->n_packs; i++)
        drop_pack(&k->packs[i]);
    free(k->packs);
    drop_plans(k);
    memset(k, 0, sizeof *k);
}

// The last place of the table, until it counts.
static cudnnStatus_t add_pack(DnnKernel *k, void *const tensors[DNN_TENSORS], void *workspace)
{
    cudnnStatus_t bad = CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED;
    if (!make_room(k))
        return bad;
    DnnPack *p = &k->packs[k->n_packs];
    *p = (DnnPack){.workspace = workspace};
    memcpy(p->tensors, tensors, sizeof p->tensors);
    bad = CUDNN_STATUS_SUCCESS;
    for (int i = 0; !bad && i < k->n_plans; i++) {
        bad =
            cudnn.BackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &p->packs[i]);
        if (!bad)
            bad = fill(k, p, i, p->packs[i]);
    }
    if (bad)
        drop_pack(p);
    else
        k->n_packs++;
    return bad;
}

static const DnnPack *find_pack(const DnnKernel *k, void *const tensors[DNN_TENSORS],
                                const void *workspace)
{
    for (int i = 0; i < k->n_packs; i++)
        if (k->packs[i].workspace == workspace &&
            !memcmp(k->packs[i].tensors, tensors, sizeof k->packs[i].tensors))
            return &k->packs[i];
    return NULL;
}

static int failed(rt_stage *s, const DnnKernel *k, cudnnStatus_t status)
{
    char last[256] = "";
    cudnn.GetLastErrorString(last, sizeof last);
    return rt_fail(s, RT_E_KERNEL, "cuDNN's `%s` failed: %s: %s", k->implementation,
                   cudnn.GetErrorString(status), last);
}

int rt__dnn_run(rt_stage *s, Dnn *d, DnnKernel *k, void *const tensors[DNN_TENSORS],
                void *workspace, void *stream)
{
    cudnnStatus_t bad = CUDNN_STATUS_SUCCESS;
    if (d->stream != stream)
        bad = cudnn.SetStream(d->handle, stream);
    if (!bad)
        d->stream = stream;
    const DnnPack *p = find_pack(k, tensors, workspace);
    if (!bad && !p) {
        bad = add_pack(k, tensors, workspace);
        p = bad ? NULL : &k->packs[k->n_packs - 1];
    }
    for (int i = 0; !bad && i < k->n_plans; i++)
        bad = cudnn.BackendExecute(d->handle, k->plans[i].plan, p->packs[i]);
    return bad ? failed(s, k, bad) : 0;
}
