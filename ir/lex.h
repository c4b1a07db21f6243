// Tokens of the text form, one line at a time. Private to ir/.
#ifndef STAGECC_IR_LEX_H
#define STAGECC_IR_LEX_H

#include "base/arena.h"
#include "base/diag.h"

#include <stdint.h>

typedef enum TokenKind {
    TOKEN_END,    // of the line
    TOKEN_WORD,   // fc1.weight
    TOKEN_NUMBER, // -1, 1e-5; not yet checked
    TOKEN_STRING, // "a b", text is without quotes and escapes
    TOKEN_PLACE,  // @file:line:col, @?
    TOKEN_SIGN,   // = { } [ ] , :
    TOKEN_WRONG,  // reported already
} TokenKind;

typedef struct Token {
    TokenKind kind;
    Loc loc;
    const char *text; // terminated; of a sign, its one character
    Loc place;        // TOKEN_PLACE
} Token;

typedef struct Lexer {
    Arena *arena; // for the tokens' texts
    const char *file, *at, *line;
    int line_number;
} Lexer;

void lexer_init(Lexer *l, Arena *a, const char *file, const char *text);
// To the beginning of the next line that is not blank. false: the text ends.
bool lexer_line(Lexer *l);
Token lexer_next(Lexer *l);
bool token_is(const Token *t, const char *text); // this word or sign

#endif
