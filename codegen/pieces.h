// How a phase of a stage becomes functions. Items (a group, or a node alone) in their order are cut
// into pieces: one call of a function of the user's, or else one layer. Pieces that compute the same
// (ops, attributes, shapes, layouts, and the same connections inside) share a routine: one C function,
// which takes the places of its tensors from a row of a table unless it is called only once.
#ifndef STAGECC_CODEGEN_PIECES_H
#define STAGECC_CODEGEN_PIECES_H

#include "base/vec.h"
#include "codegen/codegen.h"

typedef struct Routine Routine;

typedef struct Item {
    Node **nodes; // of one group, or one node, or
    int n;
    bool updates; // optimizers, for Backend.emit_updates
    Layer *layer; // NULL: no layer's
} Item;

typedef struct Piece {
    Phase phase;
    const char *function; // the user's, or NULL: one layer
    int part;             // of backward, where it runs in parts (plan/plan.h)
    VEC(Item) items;
    VEC(const Node *) values;  // roots that it reads and writes, in order of first appearance
    VEC(const Node *) streams; // nodes with random numbers, in order
    Routine *routine;
    int row; // in its routine's table
} Piece;
typedef VEC(Piece *) PieceList;

struct Routine {
    const char *name;
    Piece *like;        // the piece it was written for
    PieceList pieces;   // all that share it, in the order in which they run
    const char **local; // names of values
    bool *used;         // values that the body asked for,
    VEC(int) order;     //   in this order
    VEC(int) streams;   // streams that the body asked for
    bool uses_mb;       // the body depends on the micro-batch
    Arena *arena;
};
typedef VEC(Routine *) RoutineList;

// The pieces of a phase of e->stage in order, each with its routine; the routines have no names yet.
PieceList pieces_of(Emit *e, Phase phase, RoutineList *routines);
// The same as loops: from position i on, `length` calls repeat `times` times (both 1: no loop).
void pieces_repeat(const PieceList *pieces, int i, int *length, int *times);

// The stage runs this phase in parts (plan/plan.h) when a step ends.
bool phase_has_parts(const Emit *e, Phase phase);

// Index of an item's layer in the program's table; -1: of no layer.
int item_layer(const Emit *e, const Item *item);

// For emit_value and emit_stream: note the use, give the local name or the expression.
const char *routine_local(Routine *r, const Node *root);
const char *routine_stream(Routine *r, const Node *dropout);

#endif
