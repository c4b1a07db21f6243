// The model as the evaluator walks it: a syntax tree and types of our own, made from libclang's
// cursors once, so that a loop of a million turns asks libclang nothing.
#ifndef STAGECC_FRONTEND_CLANG_TREE_H
#define STAGECC_FRONTEND_CLANG_TREE_H

#include "base/arena.h"
#include "base/diag.h"
#include "base/vec.h"
#include "frontend/clang/libclang.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct CType CType;
typedef struct Ast Ast;
typedef struct Variable Variable;
typedef struct Function Function;

typedef enum CKind {
    C_VOID,
    C_INTEGER, // bool, char, enums and all others
    C_REAL,    // float, double
    C_POINTER,
    C_ARRAY,
    C_RECORD, // struct, union
    C_FUNCTION,
    C_UNSUPPORTED, // long double, complex, vectors, ...; an error when a value is made
} CKind;

typedef struct Field {
    const char *name; // "" for an anonymous struct or union
    const CType *type;
    int64_t offset; // bytes
    bool bits;      // a bit-field
} Field;

struct CType { // one per type: equal types are equal pointers, qualifiers do not count
    CKind kind;
    const char *name;
    int64_t size; // bytes; 0: none
    bool is_signed, is_bool, is_union;
    bool is_tensor;  // the pointer type Tensor
    const CType *of; // C_POINTER: target; C_ARRAY: element; C_FUNCTION: result
    int64_t count;   // C_ARRAY
    Field *fields;   // C_RECORD
    int n_fields;
};

typedef enum AstKind {
    // expressions that name an object
    AST_VARIABLE,
    AST_MEMBER, // child.field
    AST_ARROW,  // child->field
    AST_INDEX,  // child[child], the pointer first
    AST_DEREFERENCE,
    AST_STRING,
    AST_LITERAL, // (type){child}
    // expressions that are values
    AST_INTEGER,
    AST_REAL,
    AST_FUNCTION,
    AST_CALL,    // child(child, ...)
    AST_CONVERT, // to `type`, written or implied; arrays decay
    AST_ADDRESS,
    AST_UNARY,       // + - ~ !
    AST_STEP,        // ++ --
    AST_BINARY,      // operands already converted
    AST_LOGICAL,     // && ||
    AST_ASSIGN,      // child = child
    AST_UPDATE,      // child op= child
    AST_CONDITIONAL, // child ? child : child; two children: child ?: child
    AST_COMMA,
    AST_STATEMENTS, // ({ child })
    // initialisers
    AST_LIST,       // { child, ... }
    AST_DESIGNATED, // designators, then the value
    AST_FIELD,      // the designator .text
    // statements
    AST_BLOCK,
    AST_DECLARE, // the variable; one node each
    AST_EXPRESSION,
    AST_IF,
    AST_WHILE,
    AST_DO,
    AST_FOR, // init, condition, step, body; NULL where absent
    AST_SWITCH,
    AST_CASE, // low, high or NULL, statement
    AST_DEFAULT,
    AST_BREAK,
    AST_CONTINUE,
    AST_RETURN,
    AST_NOTHING,
    AST_UNSUPPORTED, // text names the construct; an error when it is reached
} AstKind;

// Where a user reads it, and the line of a macro's definition that it stands in (line 0: none).
typedef struct Spot {
    Loc loc, macro;
    unsigned offset; // of loc in its file; meaningful for layer calls
} Spot;

struct Ast {
    AstKind kind;
    int op;            // enum CXBinaryOperatorKind or CXUnaryOperatorKind
    bool complained;   // an error was reported here; say it once
    const CType *type; // expressions
    Spot spot;
    Ast **child;
    int n;
    int slot; // AST_LITERAL: its place in the frame
    union {
        uint64_t integer;
        double real;
        const char *text; // AST_STRING: `length` bytes; AST_FIELD, AST_UNSUPPORTED
        Variable *variable;
        Function *function;
        const Field *field;
    };
    int64_t length;
    uint64_t block; // AST_STRING: where it lies once it was needed
};

struct Variable {
    const char *name;
    const CType *type;
    Loc loc;
    Ast *init;      // NULL: none
    bool is_static; // one object for the whole model
    bool undefined; // extern without a definition
    int slot;       // of the frame, where it is not static
    int calls;      // how often a call's result is given to it in the source
    uint64_t block; // static: where it lies; 0 before the first use
};

struct Function {
    const char *name;
    CXCursor cursor; // the definition; a null cursor: none
    const CType *result;
    Variable **parameters;
    int n_parameters;
    Ast *body; // converted at the first call
    int n_slots;
    bool variadic, converted;
    const struct Builtin *builtin; // what stagecc knows itself; NULL: the user's
};

#endif
