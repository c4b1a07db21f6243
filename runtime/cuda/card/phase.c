#include "runtime/cuda/card/phase.h"

#include "runtime/cuda/card/card.h"
#include "runtime/profile.h"
#include "runtime/report.h"
#include "runtime/transport.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// More combinations than this are launched one by one.
enum { MOST_GRAPHS = 256 };

typedef struct Graph {
    uint64_t *places; // [2 + edges that the function touches]
    cudaGraphExec_t
        ready; // NULL: was launched by hand once, which loads its kernels and makes its constants
    int *layers; // [n_layers], of its stamps (stamps.c); none without a profile
    int n_layers;
} Graph;

typedef struct Phase {
    rt__code *code;
    int *edges; // that it touches
    int n_edges;
    Graph graphs[MOST_GRAPHS];
    int n;
} Phase;

struct rt__phases {
    Phase *phases; // of each function that was run
    int n;
    bool by_hand;
    bool *touched;    // [edges of the program], by what runs now
    uint64_t *places; // of what runs now
};

// A round of synchronised batch norm is added up on the host in the midst of a function.
static bool launches_by_hand(const rt_stage *s)
{
    return s->program->sums || rt__card_launches_by_hand();
}

int rt__phases_open(rt_stage *s, rt__phases **made)
{
    size_t edges = (size_t)s->program->n_edges + 1;
    rt__phases *p = *made = calloc(1, sizeof *p);
    if (p) {
        p->by_hand = launches_by_hand(s);
        p->touched = calloc(edges, sizeof *p->touched);
        p->places = calloc(edges + 1, sizeof *p->places);
    }
    bool good = p && p->touched && p->places;
    return good ? 0 : rt_fail(s, RT_E_MEMORY, "no memory for graphs over %zu edges", edges - 1);
}

void rt__phases_close(rt__phases *made)
{
    for (int i = 0; made && i < made->n; i++) {
        Phase *p = &made->phases[i];
        for (int k = 0; k < p->n; k++) {
            if (p->graphs[k].ready)
                cudaGraphExecDestroy(p->graphs[k].ready);
            free(p->graphs[k].places);
            free(p->graphs[k].layers);
        }
        free(p->edges);
    }
    if (made) {
        free(made->phases);
        free(made->touched);
        free(made->places);
    }
    free(made);
}

// Which combination it is
// -------------------------------------------------------------------------------------

// What rt_slot would say, as the number of the slot.
static uint64_t slot_of(rt_stage *s, int edge, int mb)
{
    const uint8_t *at = rt_slot(s, edge, mb);
    return (uint64_t)(at - (const uint8_t *)NULL);
}

static size_t note_places(rt_stage *s, const rt__phases *all, const Phase *p, int mb)
{
    const rt_program *program = s->program;
    int in_flight = program->in_flight ? program->in_flight : 1;
    bool first = mb % program->micro_batches / s->replicas == 0;
    all->places[0] = (uint64_t)(mb / s->replicas % in_flight) << 1 | first;
    all->places[1] = (uint64_t)s->weights_at;
    for (int i = 0; i < p->n_edges; i++)
        all->places[2 + i] = slot_of(s, p->edges[i], mb);
    return (size_t)(2 + p->n_edges) * sizeof *all->places;
}

static Graph *find(rt_stage *s, const rt__phases *all, Phase *p, int mb)
{
    size_t bytes = note_places(s, all, p, mb);
    for (int i = 0; i < p->n; i++)
        if (!memcmp(p->graphs[i].places, all->places, bytes))
            return &p->graphs[i];
    return NULL;
}

static Phase *phase_of(rt_stage *s, rt__phases *all, rt__code *code)
{
    for (int i = 0; i < all->n; i++)
        if (all->phases[i].code == code)
            return &all->phases[i];
    Phase *more = realloc(all->phases, (size_t)(all->n + 1) * sizeof *more);
    if (!more) {
        rt_fail(s, RT_E_MEMORY, "no memory for another phase");
        return NULL;
    }
    all->phases = more;
    all->phases[all->n] = (Phase){.code = code, .n_edges = -1};
    return &all->phases[all->n++];
}

// Running
// ----------------------------------------------------------------------------------------

// Stamped from its begin to its end, where somebody profiles.
static void call(rt_stage *s, const Phase *p, int mb)
{
    rt__card_of(s)->n_stamps = 0;
    if (s->profile)
        rt__profile_mark(s, -1);
    p->code(s, mb);
    rt__card_check_launches(s);
    if (s->profile)
        rt__profile_mark(s, -1);
}

// Which layers they were, for its replays.
static int *layers_now(rt_stage *s)
{
    const rt__card *c = rt__card_of(s);
    int *layers = malloc(((size_t)c->n_stamps + 1) * sizeof *layers);
    for (int i = 0; layers && i < c->n_stamps; i++)
        layers[i] = c->stamps[i].layer;
    if (!layers)
        rt_fail(s, RT_E_MEMORY, "no memory for the layers of a graph");
    return layers;
}

// After a launch by hand.
static void tell_times(rt_stage *s)
{
    int *layers = s->profile ? layers_now(s) : NULL;
    if (layers)
        rt__card_tell_times(s, layers, rt__card_of(s)->n_stamps);
    free(layers);
}

// The edges are the same at every run: which they are is in the program's text.
static void run_and_note_edges(rt_stage *s, rt__phases *all, Phase *p, int mb)
{
    int n = s->program->n_edges;
    memset(all->touched, 0, (size_t)n * sizeof *all->touched);
    s->touched = all->touched;
    call(s, p, mb);
    s->touched = NULL;
    p->edges = calloc((size_t)n + 1, sizeof *p->edges);
    p->n_edges = 0;
    for (int e = 0; p->edges && e < n; e++)
        if (all->touched[e])
            p->edges[p->n_edges++] = e;
}

static void add(rt_stage *s, const rt__phases *all, Phase *p, int mb)
{
    size_t bytes = note_places(s, all, p, mb);
    uint64_t *places = malloc(bytes);
    if (!places) {
        rt_fail(s, RT_E_MEMORY, "no memory for another graph");
        return;
    }
    memcpy(places, all->places, bytes);
    p->graphs[p->n++] = (Graph){.places = places};
}

static int capture(rt_stage *s, const Phase *p, Graph *to, int mb)
{
    cudaStream_t work = rt__card_of(s)->work;
    cudaGraph_t graph = NULL;
    cudaGraphExec_t ready = NULL;
    int error = rt__card_check(
        s, cudaStreamBeginCapture(work, cudaStreamCaptureModeThreadLocal), "begin a graph");
    if (error)
        return error;
    rt__card_of(s)->capturing = true;
    call(s, p, mb);
    rt__card_of(s)->capturing = false;
    if (s->profile) {
        to->layers = layers_now(s);
        to->n_layers = rt__card_of(s)->n_stamps;
    }
    rt__card_check(s, cudaStreamEndCapture(work, &graph), "end a graph");
    if (!s->error &&
        !rt__card_check(s, cudaGraphInstantiate(&ready, graph, 0), "make a graph ready"))
        to->ready = ready;
    if (graph)
        cudaGraphDestroy(graph);
    return (int)s->error;
}

// A library may refuse to be captured, or a driver. Nothing of it ran, and host code of a function may run again: what is
// wrong by hand, too, ends the run then.
static void launch_instead(rt_stage *s, rt__phases *all, const Phase *p, int mb)
{
    char text[sizeof s->message + 64];
    if (s->error != RT_E_ENVIRONMENT && s->error != RT_E_KERNEL && s->error != RT_E_MEMORY)
        return;
    snprintf(text, sizeof text, "no CUDA graphs: %s", s->message);
    rt__report_warning(s, text);
    (void)cudaGetLastError(); // nobody else shall find it
    s->error = 0;
    all->by_hand = true;
    call(s, p, mb);
    tell_times(s);
}

static void run(rt_stage *s, rt__phases *all, Phase *p, int mb)
{
    if (p->n_edges < 0) {
        run_and_note_edges(s, all, p, mb);
        tell_times(s);
        add(s, all, p, mb);
        return;
    }
    Graph *g = all->by_hand ? NULL : find(s, all, p, mb);
    if (!g) {
        call(s, p, mb);
        tell_times(s);
        if (p->n < MOST_GRAPHS && !all->by_hand)
            add(s, all, p, mb);
        return;
    }
    if (!g->ready && capture(s, p, g, mb)) {
        launch_instead(s, all, p, mb);
        return;
    }
    rt__card_check(s, cudaGraphLaunch(g->ready, rt__card_of(s)->work), "launch a graph");
    if (g->layers)
        rt__card_tell_times(s, g->layers, g->n_layers);
}

void rt__phases_run(rt_stage *s, rt__phases *all, rt__code *code, int mb)
{
    Phase *p = phase_of(s, all, code);
    // Those before it: nothing that is launched by hand instead would make them good.
    if (p && !rt__card_check_launches(s))
        run(s, all, p, mb);
}
