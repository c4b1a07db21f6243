// From a planned graph to the sources of its stage programs. What every backend needs lives here
// once: the program's skeleton, names, parameter tables, streams, build file. A backend is a table of
// emitters, one per op, and a few facts.
//
// The skeleton (codegen/program.c) cuts each phase of a stage into pieces, mostly one call of the
// user's function or one layer; equal pieces share one C function, a routine (codegen/pieces.h). It
// calls the emitters of the nodes or groups of each routine once, with `out` at the right place of
// the function's body, and declares afterwards whatever values the emitters asked for.
#ifndef STAGECC_CODEGEN_CODEGEN_H
#define STAGECC_CODEGEN_CODEGEN_H

#include "base/text.h"
#include "ir/device.h"
#include "plan/plan.h"

// What an emitter gets: where to write, and how values are called in this stage.
typedef struct Emit {
    Text *out;
    Arena *scratch; // lives until the stage's source is written
    const Graph *graph;
    const Plan *plan;
    const PlanStage *stage;
    const struct Backend *backend;
    int indent;              // columns
    struct Routine *routine; // whose body is being written; NULL outside
    const int
        *layer_index; // by Layer.id: where it stands in the program's table; -1: not there
    struct KernelTable *library; // kernels that it calls (codegen/kernels.h); NULL: none
    struct KernelTexts
        *kernels; // of the second source (codegen/kernel_text.h); NULL: there is none
} Emit;

// Declarations at the outer level of a node's code begin with `const`: the code gets a block then.
// Names of one letter but x, y and z are the emitters'.
typedef void EmitNode(Emit *e, const Node *n);

typedef struct CodegenPaths {
    const char *cc, *include_dir, *lib_dir;
    const char *nvcc, *cxx;    // NULL: not here
    const char *cuda_lib_dir;  // NULL: where the linker looks in any case
    bool emulated;             // kernels are for this processor
    const char *architectures; // else for these: "sm_80,sm_90"; NULL: the usual ones
} CodegenPaths;

// What compiles the second sources of stages, and what programs with such are linked with.
typedef struct KernelCompiler {
    const char *name;      // of its variable in build.ninja: "nvcc"
    const char *what;      // in messages: "the CUDA compiler"
    const char *tool;      // its path, or a name on the PATH
    const char *flags;     // words before -I and the source
    const char *libraries; // instead of Backend.libraries
    const char *lib_dir;   // of some of them; NULL: none
} KernelCompiler;

typedef struct Backend {
    const char *name;      // "ref", "c"
    const char *extension; // ".c"
    Images images;         // how it wants them to lie
    bool fuse;             // emits groups
    // Computes heads of so many features as one op; NULL: it never does (passes/attention.c).
    bool (*attention)(const Options *o, int64_t features);
    bool pitch;            // takes logits in rows that begin at multiples of 16 bytes
    bool doubles;          // emits graphs of f64
    bool bf16;             // emits activations of bf16 beside parameters of f32
    bool tf32;             // has products of floats in tf32
    const char *libraries; // after the sources: "-lstagecc-rt -ljansson -lpthread -lm"
    bool libraries_openmp; // compile and link with -fopenmp
    const char *flags;     // more words for the compiler; NULL: none
    const char *isa;       // of all its programs; NULL: as --isa says
    EmitNode *const *emit; // [N_OPS]; NULL for leaves and views
    // A parameter that the code of n, or of its group, reads beside its inputs; NULL: none ever.
    const Node *(*also_reads)(const Node *n);
    // Does one call of a library compute the heavy op n and `next`, which reads it as input 0, so that a group may begin
    // with n (passes/fuse.c)? kept: n itself is in memory as well. NULL: never.
    bool (*heads)(const Node *n, const Node *next, bool kept);
    // A whole fusion group (several nodes) at once; NULL: nodes one by one.
    void (*emit_group)(Emit *e, Node *const *nodes, int n);
    void (*prologue)(Emit *e);       // includes, kernel tables: before all functions
    void (*program_fields)(Emit *e); // extra members of rt_program: .backend, .kernels; or NULL
    // Which library kernel has the weight layout of this parameter (LAYOUT_KERNEL): its index in
    // the program's table. NULL: none ever.
    int (*weight_kernel)(Emit *e, const Node *param);
    // The library kernel that a node calls, by all that decides it: its key in kernels.json, NULL:
    // it calls none. The function is NULL where no node ever does.
    const char *(*kernel_key)(Arena *a, const Graph *g, const Node *n);
    // What keeps it from emitting a node although it emits the op, as "it ..."; NULL: nothing. The function is NULL where
    // that never is.
    const char *(*lacks)(const Node *n);
    // What its devices are like; NULL: this processor, whose cores and memory the passes know.
    const DeviceSpeed *speed;
    const DeviceMemory *device;
    // Pointer to a number that has no memory of its own, as an expression. NULL: to a literal of it.
    const char *(*number)(Emit *e, const Node *n);
    // Optimizers of parameters, which follow each other in the update, at once. NULL: node by node.
    void (*emit_updates)(Emit *e, Node *const *nodes, int n);
    // A second source a stage, for what another compiler makes: its extension, ".cu"; NULL: there is none,
    // and of the following nothing is asked. What stands in it behind its head is written when all phases are, with
    // kernel_texts_write.
    const char *kernel_extension;
    void (*kernel_source)(Emit *e);
    KernelCompiler (*kernel_compiler)(Arena *a, const Plan *p, const CodegenPaths *paths);
} Backend;

extern const Backend backend_ref, backend_c, backend_cuda;
extern const Backend *const backends[]; // NULL-terminated
const Backend *backend_find(const char *name);
// Of a stage: its own where stages differ, else the given one.
const Backend *backend_of_stage(const Plan *p, int stage, const Backend *given);
// "-march=..." of an instruction set of options.def (but `native`, which the driver resolves).
const char *backend_march(const char *isa);

// Template with named holes: `$name` is replaced by the value bound to it. Bindings come in triples
// (name, kind, value), ended by NULL. Example:
//   emit(e, "ref_linear($y, $x, $w, $b, $rows, $in, $out);\n",
//        "y", EMIT_VALUE, n, "x", EMIT_VALUE, n->inputs[0], "rows", EMIT_INT, rows, ..., NULL);
// "$$" is a dollar. Every line starts at the current indent; a line that is only an opening or closing
// brace is the emitter's own affair (e->indent += 4).
typedef enum EmitKind {
    EMIT_VALUE = 1, // const Node *: pointer expression of its memory; NULL pointer: NULL
    EMIT_INT,       // int64_t, not int
    EMIT_REAL,      // double, as a C literal that reads back to the same bits, in the type of
                    //   the graph's reals: 0.5f
    EMIT_TEXT,      // const char *, as it is
} EmitKind;
void emit(Emit *e, const char *format, ...);
// The same as a text of its own, without indent; it lives in e->scratch.
const char *emit_text(Emit *e, const char *format, ...);

// codegen/recurrent.c: calls of kernels that differ between backends by their first word, "c" or "ref".
void emit_lstm(Emit *e, const char *backend, const Node *n);
void emit_lstm_grad(Emit *e, const char *backend, const Node *n);
void emit_additive_score(Emit *e, const char *backend, const Node *n);
void emit_additive_score_grad(Emit *e, const char *backend, const Node *n);

// The C expression (a local variable) of a node's memory: its root's, for a view. A constant of one
// element is an array literal of it. Asking makes the skeleton declare the variable, so do not ask
// in vain. The node must be emit_stored.
const char *emit_value(Emit *e, const Node *n);
// The place of a node that has memory as a constant of tables: RT_IN_ACT(64).
const char *emit_table_place(Emit *e, const Node *n);
// Output i of n; NULL: nobody wants it, and it has no memory.
const Node *emit_output(Emit *e, const Node *n, int i);
// The random stream of a node with dropout as an expression: equal layers share code, not streams.
const char *emit_stream(Emit *e, const Node *n);
// A micro-batch's place among those that this rank runs in a step, and whether it is the first, as
// expressions.
const char *emit_place_in_step(Emit *e);
const char *emit_is_first(Emit *e);
// Elements that a running_update's statistics were taken over, those of all replicas if they share them.
const char *emit_count(Emit *e, const Node *n);
// A number as emit's EMIT_REAL writes it; the same in double whatever the graph's reals are; text as a string literal; text inside a comment.
const char *emit_real(Emit *e, double v);
const char *emit_double(Emit *e, double v);
const char *emit_string(Emit *e, const char *s);
const char *emit_comment(Emit *e, const char *s);
const char *emit_ctype(DType t); // "float"
DType emit_real_dtype(const Graph *g);

// Facts about nodes
const Node *emit_root(const Node *n);           // through views
bool emit_here(const Emit *e, const Node *n);   // this stage runs it; not for leaves
bool emit_stored(const Emit *e, const Node *n); // has memory in this stage, or is a number;
                                                //   false: lives inside its group only
// What a library computes in the call for n, the head of its group (passes/fuse.c), and what that call makes then; NULL: n
// alone.
const Node *emit_with_head(const Emit *e, const Node *n);
int64_t emit_elements(const Node *n); // in memory: with the padding of a kernel's layout
// Without memory of its own: a constant of one element, or what a micro-batch counts in its step.
bool emit_is_number(const Node *n);
// Such a number as an expression. NULL: it is none, or Backend.number has a pointer to it only, as to what differs from
// step to step.
const char *emit_number(Emit *e, const Node *n);

// Compiling
// ----------------------------------------------------------------------------------------------

typedef struct StepWords {
    const char *name;         // of their variable in build.ninja: "flags"
    const char *const *items; // which may have blanks in them
    int n;
} StepWords;

// One call of a compiler: TOOL BEFORE.. IN.. -o OUT BEHIND.., in the folder of the sources.
typedef struct CompileStep {
    const char *rule; // in build.ninja; steps of one rule differ in files only
    const char *what; // in messages: "the C compiler"
    StepWords tool, before, behind;
    const char *in[2]; // NULL: one only
    const char *out;
} CompileStep;

// What makes a stage's program from its sources: the last step, from what those before it made. The same rules, in the
// same order, for every stage of a plan with the same backend.
enum { MAX_STEPS = 3 };
typedef struct CompileSteps {
    CompileStep items[MAX_STEPS];
    int n;
} CompileSteps;
CompileSteps codegen_steps(Arena *a, const Plan *p, const Backend *b, const CodegenPaths *paths,
                           int stage);

// All sources of the plan (stage0.c ...) and build.ninja into dir. command is the line that
// reproduces them. Same input, same bytes. An exit status: a graph that the backend cannot emit, a disk that
// is full; reported.
// b: of stages that have none of their own.
int codegen_write(const Graph *g, const Plan *p, const Backend *b, const char *command,
                  const CodegenPaths *paths, const char *dir);
// One stage's sources as text, for tests; malloc'd. kernels: the second one; NULL: the backend has none.
typedef struct Sources {
    char *host, *kernels;
} Sources;
Sources codegen_source(const Graph *g, const Plan *p, int stage, const Backend *b,
                       const char *command, const CodegenPaths *paths);

#endif
