// The parts of a stage program's source, as program.c puts them together. All write to e->out.
#ifndef STAGECC_CODEGEN_PROGRAM_H
#define STAGECC_CODEGEN_PROGRAM_H

#include "codegen/names.h"
#include "codegen/pieces.h"

enum { COLUMNS = 96 }; // of generated lines, where that is possible

// codegen/locals.c: names for all values of a routine.
void routine_name_locals(Routine *r, const Graph *g);

// codegen/routine.c: a routine and the table of its calls, once it has its name.
void routine_write(Emit *e, Routine *r);
const char *piece_layers(Emit *e, const Piece *p); // "conv2d_1 .. relu_3", safe in a comment
// One line of code, broken behind commas where it is longer than COLUMNS.
void code_wrapped(Text *out, const char *line, size_t n);

// codegen/phase.c: one phase: its routines, then the function that calls them.
void phase_write(Emit *e, Phase phase, Names *names);
extern const char *const phase_function[N_PHASES];
bool phase_runs(const Plan *p, Phase phase); // false: the plan's programs have no such function

// codegen/tables.c: the constant tables that describe the stage to the runtime, and rt_program.
void tables_write(Emit *e, const char *command);

// codegen/steps.c: a step as one types it, for comments.
const char *step_line(Arena *a, const CompileStep *step);

// codegen/build_file.c: build.ninja.
int build_file_write(Arena *a, const Plan *p, const Backend *b, const CodegenPaths *paths,
                     const char *dir);

const char *emit_place(Emit *e, const Node *n); // "model.c:12", safe in a comment; "" for none

#endif
