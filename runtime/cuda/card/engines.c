#include "runtime/cuda/card/engines.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CHOICES = 64 };

// What an engine's notes forbid unless it is allowed; 0: always.
static const struct Note {
    cudnnBackendNumericalNote_t note;
    unsigned allowed;
} notes[] = {
    {CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC, 0},
    {CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION, 0},
    {CUDNN_NUMERICAL_NOTE_TENSOR_CORE, DNN_CORES},
    {CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS, DNN_CORES},
    {CUDNN_NUMERICAL_NOTE_FFT, DNN_FAST},
    {CUDNN_NUMERICAL_NOTE_WINOGRAD, DNN_FAST},
    {CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4, DNN_FAST},
    {CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6, DNN_FAST},
    {CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13, DNN_FAST},
};

// Descriptors that are looked at and dropped again
// ------------------------------------------------------------------------------------

typedef struct Few {
    DnnDesc items[MOST_CHOICES];
    int64_t n;
} Few;

static void drop(Few *f)
{
    for (int i = 0; i < MOST_CHOICES; i++)
        if (f->items[i])
            cudnn.BackendDestroyDescriptor(f->items[i]);
}

// The descriptors that an attribute holds; the library fills those that it is given.
static bool get(DnnDesc from, cudnnBackendAttributeName_t name,
                cudnnBackendDescriptorType_t type, Few *f)
{
    memset(f, 0, sizeof *f);
    for (int i = 0; i < MOST_CHOICES; i++)
        if (cudnn.BackendCreateDescriptor(type, &f->items[i]))
            return false;
    cudnnStatus_t bad = cudnn.BackendGetAttribute(from, name, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                                  MOST_CHOICES, &f->n, f->items);
    f->n = f->n < MOST_CHOICES ? f->n : MOST_CHOICES;
    return !bad;
}

static int64_t get_int(DnnDesc from, cudnnBackendAttributeName_t name)
{
    int64_t n = 0, value = -1;
    cudnnStatus_t bad = cudnn.BackendGetAttribute(from, name, CUDNN_TYPE_INT64, 1, &n, &value);
    return bad ? -1 : value;
}

// The engine of a configuration; the caller drops it.
static DnnDesc engine_of(DnnDesc config)
{
    DnnDesc engine = NULL;
    int64_t n = 0;
    if (cudnn.BackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine))
        return NULL;
    if (!cudnn.BackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                   CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &n, &engine))
        return engine;
    cudnn.BackendDestroyDescriptor(engine);
    return NULL;
}

static bool may_run(DnnDesc engine, unsigned allowed)
{
    cudnnBackendNumericalNote_t found[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t n = 0;
    if (cudnn.BackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                  CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT,
                                  &n, found))
        return false;
    for (int64_t i = 0; i < n; i++)
        for (size_t k = 0; k < sizeof notes / sizeof *notes; k++)
            if (notes[k].note == found[i] && !(notes[k].allowed & allowed))
                return false;
    return true;
}

// Engine and knobs as text
// --------------------------------------------------------------------------------------

static bool add_knob(DnnDesc knob, char text[DNN_IMPLEMENTATION])
{
    cudnnBackendKnobType_t type;
    int64_t n = 0, value = get_int(knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE);
    size_t used = strlen(text), room = DNN_IMPLEMENTATION - used;
    return !cudnn.BackendGetAttribute(knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE,
                                      CUDNN_TYPE_KNOB_TYPE, 1, &n, &type) &&
           snprintf(text + used, room, " k%d=%" PRId64, (int)type, value) < (int)room;
}

static bool describe(DnnDesc config, DnnDesc engine, char text[DNN_IMPLEMENTATION])
{
    Few knobs;
    bool good = get(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                    CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, &knobs);
    snprintf(text, DNN_IMPLEMENTATION, "e%" PRId64,
             get_int(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX));
    for (int64_t i = 0; good && i < knobs.n; i++)
        good = add_knob(knobs.items[i], text);
    drop(&knobs);
    return good;
}

// " k40=2": what follows it, or NULL.
static const char *read_knob(DnnParts *p, const char *text, DnnDesc *knob)
{
    int type, length = 0;
    int64_t value;
    if (sscanf(text, " k%d=%" SCNd64 "%n", &type, &value, &length) < 2 || !length)
        return NULL;
    cudnnBackendKnobType_t of = (cudnnBackendKnobType_t)type;
    *knob = rt__dnn_part(p, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
    rt__dnn_set(p, *knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &of);
    rt__dnn_set_int(p, *knob, CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, value);
    rt__dnn_done(p, *knob, "knob");
    return text + length;
}

static DnnDesc make_engine(DnnParts *p, DnnDesc graph, int64_t index)
{
    DnnDesc engine = rt__dnn_part(p, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    rt__dnn_set_desc(p, engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph);
    rt__dnn_set_int(p, engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, index);
    if (p->dnn->properties)
        rt__dnn_set_desc(p, engine, CUDNN_ATTR_ENGINE_DEVICEPROP, p->dnn->properties);
    return rt__dnn_done(p, engine, "engine");
}

// The configuration that a text names; NULL: it names none that is allowed.
static DnnDesc make_config(DnnParts *p, DnnDesc graph, const char *text, unsigned allowed)
{
    DnnDesc knobs[MOST_CHOICES];
    int64_t index;
    int n = 0, length = 0;
    if (sscanf(text, "e%" SCNd64 "%n", &index, &length) < 1 || !length)
        return NULL;
    for (text += length; *text && n < MOST_CHOICES; n++)
        if (!(text = read_knob(p, text, &knobs[n])))
            return NULL;
    DnnDesc engine = make_engine(p, graph, index);
    if (p->bad || !may_run(engine, allowed))
        return NULL;
    DnnDesc config = rt__dnn_part(p, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    rt__dnn_set_desc(p, config, CUDNN_ATTR_ENGINECFG_ENGINE, engine);
    if (n)
        rt__dnn_set(p, config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                    n, knobs);
    rt__dnn_done(p, config, "configuration");
    return p->bad ? NULL : config;
}

// Plans
// --------------------------------------------------------------------------------------------

static DnnDesc begin_plan(DnnParts *p)
{
    DnnDesc plan = rt__dnn_part(p, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    if (p->dnn->handle)
        rt__dnn_set(p, plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
                    &p->dnn->handle);
    else
        rt__dnn_set_desc(p, plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, p->dnn->properties);
    return plan;
}

// An engine may refuse what the heuristics thought it could do: then there is no plan, and the next one has its turn.
static bool finish_plan(DnnPlan *p, DnnDesc plan, const char *what)
{
    DnnParts *parts = &p->parts;
    if (parts->bad)
        return false;
    cudnnStatus_t bad = cudnn.BackendFinalize(plan);
    if (bad) {
        rt__dnn_say(parts, what, bad);
        cudnn.BackendDestroyDescriptor(parts->made[--parts->n_made]);
        return false;
    }
    p->plan = plan;
    p->workspace_bytes = get_int(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
    return p->workspace_bytes >= 0;
}

static bool plan_of(DnnPlan *p, DnnDesc config)
{
    DnnDesc plan = begin_plan(&p->parts);
    rt__dnn_set_desc(&p->parts, plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
    return finish_plan(p, plan, p->implementation);
}

// A configuration that is taken belongs to the parts.
static bool try_config(DnnPlan *p, DnnDesc *config, unsigned allowed)
{
    DnnParts *parts = &p->parts;
    DnnDesc engine = engine_of(*config);
    bool good = engine && parts->n_made < DNN_MOST_PARTS && may_run(engine, allowed) &&
                describe(*config, engine, p->implementation) && plan_of(p, *config);
    if (engine)
        cudnn.BackendDestroyDescriptor(engine);
    if (good) {
        parts->made[parts->n_made++] = *config;
        *config = NULL;
    }
    return good;
}

// Whatever it finds, the caller drops it.
static void suggest(DnnParts *parts, DnnDesc graph, cudnnBackendHeurMode_t mode, Few *configs)
{
    DnnDesc heuristics = rt__dnn_part(parts, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    memset(configs, 0, sizeof *configs);
    rt__dnn_set_desc(parts, heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    rt__dnn_set(parts, heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (parts->dnn->properties)
        rt__dnn_set_desc(parts, heuristics, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP,
                         parts->dnn->properties);
    if (!parts->bad && !cudnn.BackendFinalize(heuristics) &&
        !get(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
             configs))
        configs->n = 0;
}

static const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
enum { N_MODES = sizeof modes / sizeof *modes };

bool rt__dnn_choose(DnnPlan *p, DnnDesc graph, unsigned allowed)
{
    bool made = false;
    for (int mode = 0; mode < N_MODES && !made; mode++) {
        Few configs;
        suggest(&p->parts, graph, modes[mode], &configs);
        for (int64_t i = 0; i < configs.n && !made; i++)
            made = try_config(p, &configs.items[i], allowed);
        drop(&configs);
    }
    return made;
}

static bool is_known(char (*names)[DNN_IMPLEMENTATION], int n)
{
    for (int i = 0; i < n; i++)
        if (!strcmp(names[i], names[n]))
            return true;
    return false;
}

int rt__dnn_list(DnnParts *parts, DnnDesc graph, unsigned allowed,
                 char (*names)[DNN_IMPLEMENTATION], int most)
{
    int n = 0;
    for (int mode = 0; mode < N_MODES; mode++) {
        Few configs;
        suggest(parts, graph, modes[mode], &configs);
        for (int64_t i = 0; i < configs.n && n < most; i++) {
            DnnDesc engine = engine_of(configs.items[i]);
            if (engine && may_run(engine, allowed) &&
                describe(configs.items[i], engine, names[n]) && !is_known(names, n))
                n++;
            if (engine)
                cudnn.BackendDestroyDescriptor(engine);
        }
        drop(&configs);
    }
    return n;
}

bool rt__dnn_choose_named(DnnPlan *p, DnnDesc graph, const char *implementation,
                          unsigned allowed)
{
    DnnDesc config = make_config(&p->parts, graph, implementation, allowed);
    snprintf(p->implementation, sizeof p->implementation, "%s", implementation);
    return config && plan_of(p, config);
}

bool rt__dnn_choose_kept(DnnPlan *p, const char *json, size_t bytes, const char *implementation)
{
    DnnDesc plan = begin_plan(&p->parts);
    rt__dnn_set(&p->parts, plan, CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                (int64_t)bytes, json);
    snprintf(p->implementation, sizeof p->implementation, "%s", implementation);
    return finish_plan(p, plan, "kept plan");
}

char *rt__dnn_json(const DnnPlan *p, size_t *bytes)
{
    const cudnnBackendAttributeName_t name = CUDNN_ATTR_EXECUTION_PLAN_JSON_REPRESENTATION;
    int64_t n = 0, got = 0;
    if (cudnn.BackendGetAttribute(p->plan, name, CUDNN_TYPE_CHAR, 0, &n, NULL) || n <= 0)
        return NULL;
    char *json = malloc((size_t)n);
    if (json && !cudnn.BackendGetAttribute(p->plan, name, CUDNN_TYPE_CHAR, n, &got, json)) {
        *bytes = (size_t)got;
        return json;
    }
    free(json);
    return NULL;
}
