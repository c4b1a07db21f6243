// A profiled graph as a model: every node becomes calls of the model language's layers, which make the
// IR (profile_frontend) and can be printed as a C model (emit-model).
#ifndef STAGECC_FRONTEND_PROFILE_IMPORT_H
#define STAGECC_FRONTEND_PROFILE_IMPORT_H

#include "base/text.h"
#include "frontend/layers/layers.h"
#include "frontend/profile/description.h"
#include "frontend/profile/profile.h"

extern const Frontend profile_frontend;

typedef struct Line {
    LayerCall call;
    VEC(Arg) args, options;
    Tensor result;
    const ProfileNode *node; // that it was made for; NULL: the loss
} Line;

typedef struct Script {
    Graph *graph;
    VEC(Line *) lines;
    Shape input;   // of one sample
    int64_t batch; // that was profiled; 0: the file has no sizes
    int sinks;     // outputs that the loss compares
} Script;

// NULL: errors were reported.
Script *profile_import(Arena *a, const char *path, const char *text,
                       const ModelOptions *options);
// emit.c: the script as a C model. command: what wrote it.
void script_print(Text *out, const Script *s, const char *command);

// ---- for the files of this folder

enum { MOST_ERRORS = 20, PARTS = 4 }; // that are told; of a tuple, at most

// Nodes that have no tensor, though their kind makes one.
typedef enum Absent {
    PRESENT,
    ZERO_STATE, // where a recurrence begins: its reader does without
    NO_PART,    // of a tuple, nothing that a layer gives
} Absent;

typedef struct Importer {
    Arena *arena;
    const char *path;
    const Profile *profile;
    Draft draft;
    Script *script;
    int *number;                // [nodes] of their ids, or their places in the file
    int *order;                 // [nodes] in which they run
    int *first, *from;          // operands of node i: from[first[i]] .. from[first[i + 1] - 1]
    Description *described;     // [nodes]
    const struct Kind **kind;   // [nodes]
    bool *label;                // [nodes] read by losses alone
    const struct Kind **reader; // [nodes] the kind of the first that reads it; NULL: nobody
    Tensor **parts;             // [nodes] of a tuple, PARTS of them; NULL: it is one tensor
    Absent *absent;             // [nodes]
    Tensor *made;               // [nodes]
    bool in_order;              // the file's nodes stand as they ran, and so its edges
    int joined;                 // nodes whose operands' order the file does not tell
    const ProfileNode *first_joined;
} Importer;

// A node that becomes calls.
typedef struct Maker {
    Importer *im;
    int index;
    const ProfileNode *node;
    const Description *d;
    const int *from; // nodes that it reads
    int n;
} Maker;

typedef struct Kind {
    const char *name;  // "Conv2d"
    const char *layer; // of one operand, in the model language; NULL: there is no single one
    int fewest, most;  // operands; most -1: any number
    bool makes_tensor; // else it is part of what reads it
    Tensor (*make)(Maker *m);
} Kind;

// kinds.c
const Kind *kind_find(const char *name); // "Input0" is an Input; NULL: not known
bool kind_is_loss(const Kind *k);
const char *kind_names(Arena *a); // all, for a message

// sequences.c: as in the table of kinds.c
Tensor make_embedding(Maker *m);
Tensor make_lstm(Maker *m);
Tensor make_bidirectional(Maker *m);
Tensor make_attention(Maker *m);
Tensor make_classifier(Maker *m);

// line.c: a call, from its arguments to its result. Options that have their default are left out.
Line *line_begin(Importer *im, const ProfileNode *node, const char *kind, const char *name);
Line *
maker_line(Maker *m,
           const char *kind); // named after the node, which operand 0 is the first argument of
void line_tensor(Line *l, const Importer *im, Tensor t);
void line_int(Line *l, const Importer *im, int64_t v);
void line_real(Line *l, const Importer *im, double v);
void line_option(Line *l, const Importer *im, const char *name, int64_t v, int64_t fallback);
void line_given(Line *l, const Importer *im, const char *name, Tensor t);
void line_flag(Line *l, const Importer *im, const char *name, bool v, bool fallback);
void line_number(Line *l, const Importer *im, const char *name, double v, double fallback);
void line_pair(Line *l, const Importer *im, const char *name, const int64_t v[2],
               const int64_t *fallback); // NULL: always said
Tensor line_make(Importer *im, Line *l);
Tensor maker_wrong(const Maker *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// sizes.c
bool sizes_find_input(Importer *im); // false: reported
void sizes_check(Importer *im);      // of all nodes against their shapes

// loss.c: cross entropy of what nobody reads.
Tensor label_make(Importer *im, const ProfileNode *node, Loc loc, Shape logits);
void loss_add(Importer *im);

#endif
