// From a planned graph to the sources of its stage programs. What every backend needs lives here
// once: the program's skeleton, names, parameter tables, streams, build file. A backend is a table of
// emitters, one per op, and a few facts.
#ifndef STAGECC_CODEGEN_CODEGEN_H
#define STAGECC_CODEGEN_CODEGEN_H

#include "base/text.h"
#include "ir/graph.h"
#include "plan/plan.h"

// What an emitter gets: where to write, and how values are called in this stage.
typedef struct Emit {
    Text *out;
    Arena *scratch;
    const Graph *graph;
    const Plan *plan;
    const PlanStage *stage;
    const struct Backend *backend;
    int indent; // columns
    void *user; // the backend's own
} Emit;

typedef void EmitNode(Emit *e, const Node *n);

typedef struct Backend {
    const char *name;      // "ref", "c"
    const char *extension; // ".c"
    const char *real_f32;  // element type in the sources, by dtype: "float"
    bool blocked, fuse;    // wants blocked image layouts; emits groups
    const char *libraries; // for the build file: "-lstagecc-rt -ldnnl"
    EmitNode *const *emit; // [N_OPS]; NULL for leaves and views
    // A whole fusion group (several nodes) at once; NULL: nodes one by one.
    void (*emit_group)(Emit *e, Node *const *nodes, int n);
    void (*prologue)(Emit *e);       // includes, kernel tables: after the tensor declarations
    void (*program_fields)(Emit *e); // extra members of rt_program: .backend, .kernels
} Backend;

extern const Backend backend_ref, backend_c;
extern const Backend *const backends[]; // NULL-terminated
const Backend *backend_find(const char *name);

// Template with named holes: `$name` is replaced by the value bound to it. Bindings come in pairs
// (name, kind, value), ended by NULL. Example:
//   emit(e, "ref_linear($y, $x, $w, $b, $rows, $in, $out);\n",
//        "y", EMIT_OUT, n, "x", EMIT_IN, n->inputs[0], "rows", EMIT_INT, rows, NULL);
// Kinds: EMIT_VALUE Node* (pointer expression of its memory), EMIT_INT int64_t, EMIT_REAL double
// (as a C literal that reads back to the same bits), EMIT_TEXT const char*. "$$" is a dollar.
typedef enum EmitKind { EMIT_VALUE = 1, EMIT_INT, EMIT_REAL, EMIT_TEXT } EmitKind;
void emit(Emit *e, const char *template, ...);
const char *emit_value(Emit *e, const Node *n); // the C expression of a node's memory

// All sources of the plan: stage0.c ... and build.ninja and CMakeLists-free one-line build. false:
// reported.
bool codegen_write(const Graph *g, const Plan *p, const Backend *b, const char *command,
                   const char *dir);

#endif
