// The reader's state and the small parsers that its files share. Private to ir/.
//
// Functions that return bool have reported what is wrong when they return false.
#ifndef STAGECC_IR_PARSE_H
#define STAGECC_IR_PARSE_H

#include "base/text.h"
#include "ir/graph.h"
#include "ir/lex.h"

// Definitions by name: nodes and layers in a table each.
typedef struct Binding {
    const char *name;
    void *what; // Node or Layer
} Binding;

typedef struct Bindings {
    Binding *items;
    int n, size;
} Bindings;

typedef struct Reader {
    Lexer lexer;
    Token token; // the next one
    Arena scratch;
    Graph *g;
    Bindings nodes, layers;
    VEC(Call *) calls;
    VEC(Loc) places; // what every node's place will be, by id
    VEC(Token) from; // the forward node of every node, by id; TOKEN_END: none
    Token loss, output;
    int errors_before;
    const char *last_file; // that a place named
} Reader;

void *parse_lookup(const Bindings *b, const char *name); // NULL: unknown
void parse_bind(Arena *a, Bindings *b, const char *name, void *what);

void parse_advance(Reader *r);
bool parse_expected(Reader *r, const char *what); // reports; always false
bool parse_accept(Reader *r,
                  const char *text); // silent: is it this word or sign? then consume it
bool parse_expect(Reader *r, const char *text);
bool parse_line_end(Reader *r);
bool parse_is_symbol(const Reader *r);
bool parse_symbol(Reader *r, const char *what, Token *out); // a name: a word, or a string
bool parse_integer(Reader *r, int64_t low, int64_t high, int64_t *out);
bool parse_small_integer(Reader *r, int low, int *out);
bool parse_real(Reader *r, double *out);
bool parse_integers(Reader *r, int *n, int64_t out[MAX_RANK]); // [1,2,3]
void parse_place(Reader *r, Loc here, Loc *out); // `@place`, or nothing: then `here`

#endif
