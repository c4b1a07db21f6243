// The abstract machine that a model runs on: objects made of bytes, each byte knowing whether it was
// written; values; frames. Every limit on a model is here.
#ifndef STAGECC_FRONTEND_CLANG_MACHINE_H
#define STAGECC_FRONTEND_CLANG_MACHINE_H

#include "frontend/clang/convert.h"
#include "frontend/layers/layers.h"

#ifndef MAX_STEPS // nodes of the tree that are visited; a fuzzer has less patience
#define MAX_STEPS 10000000
#endif

enum {
    MAX_CALLS = 200,      // calls inside calls
    MAX_NESTING = 6000,   // expressions and statements inside each other, calls included
    MAX_OBJECT = 1 << 24, // bytes of one variable
    MAX_STACK = 1 << 26,  // bytes of all live variables
    MAX_STATIC = 1 << 26, // bytes of static variables and strings
    MAX_OBJECTS = 1 << 20,
    MAX_ERRORS = 20, // of a run
};

// What is known of a byte.
typedef enum Shadow {
    UNSET,
    SET,
    IMPLICIT, // zero because an initialiser left it out: an option that was not given
    POISONED, // what an error that was reported has left
} Shadow;

// A pointer is 64 bits: offset 0..31, object 32..51, its generation 52..61; or a mark:
#define POINTER_FUNCTION (UINT64_C(1) << 62) // or'ed to the index of Machine.functions
#define POINTER_TENSOR (UINT64_C(1) << 63)   // or'ed to the index of Machine.tensors

typedef struct Object {
    uint8_t *data, *shadow;
    int64_t size;
    uint32_t generation;
    bool live;
    const char *name; // the variable's; "" for none
} Object;

typedef struct Value {
    const CType *type; // NULL: poisoned, an error was reported
    union {
        uint64_t bits; // integers, extended to 64 bits as their type says; pointers
        double real;
        struct {
            const uint8_t *data, *shadow; // a record: bytes of an object or of a temporary
        };
    };
} Value;

#define POISON ((Value){0})

typedef struct Named {
    Loc loc;
    const char *name;
} Named;

// Counts what has no name of its own: bottleneck1, bottleneck2.
typedef struct Counter {
    const char *stem;
    int n;
} Counter;

typedef struct Frame {
    Function *function;
    struct Frame *caller;
    Spot called;       // where
    uint64_t *objects; // of the function's slots; 0: none yet
    const char *scope; // prefix of layer names; "" at top level
    VEC(Counter) counters;
    const Call *call; // for the graph; made when a layer asks
    Value result;
} Frame;

typedef struct Machine {
    Arena *arena;
    Converter *converter;
    Source *source;
    Draft draft;
    VEC(Object) objects; // 0 is no object
    VEC(int) free_objects;
    VEC(Function *) functions;
    VEC(Tensor) tensors;
    uint8_t *stack, *stack_shadow, *statics, *statics_shadow, *temporaries;
    int64_t stack_used, statics_used, temporaries_used;
    Frame *frame;
    int64_t steps;
    int calls, nesting;
    const char *hint; // the variable that gets the next call's result
    Ast *loop;        // the innermost loop
    bool stop;        // give up: a limit, or nobody knows how to go on
    Loc loss_made, output_made;
    const CType *type_int, *type_uint, *type_long, *type_ulong, *type_double, *type_float;
    VEC(Named) named; // layers whose name the model chose
} Machine;

void machine_init(Machine *m, Arena *a, Converter *c, Graph *g, const ModelOptions *options);
void machine_release(Machine *m);

// report.c: an error at a node, once; then where its macro is and who called. Returns POISON.
Value complain(Machine *m, Ast *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
// The notes alone, after an error that somebody else reported.
void explain(Machine *m, const Ast *at);
// The same as complain, and nothing more is evaluated.
Value give_up(Machine *m, Ast *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

// memory.c
uint64_t object_new(Machine *m, Ast *at, int64_t size, const char *name, bool is_static);
void object_free(Machine *m, uint64_t pointer);
void object_forget(Machine *m, uint64_t pointer); // nothing of it is written any more
// The bytes behind a pointer, `size` of them; NULL: reported.
Object *object_at(Machine *m, Ast *at, uint64_t pointer, int64_t size, int64_t *offset);
bool pointer_move(Machine *m, Ast *at, uint64_t *pointer, int64_t bytes);
Value load(Machine *m, Ast *at, uint64_t pointer, const CType *type);
Value load_bytes(Machine *m, Ast *at, const uint8_t *data, const uint8_t *shadow,
                 const CType *type);
void store(Machine *m, Ast *at, uint64_t pointer, const CType *type, Value v);
uint8_t *temporary(Machine *m, Ast *at, int64_t bytes);       // zeroed; NULL: reported
const char *string_at(Machine *m, Ast *at, uint64_t pointer); // terminated; NULL: reported
uint64_t string_new(Machine *m, Ast *at, const char *bytes, int64_t n);

// arith.c
Value value_integer(const CType *type, uint64_t bits); // wrapped to the type
Value value_real(const CType *type, double v);
Value convert(Machine *m, Ast *at, Value v, const CType *to);
Value apply(Machine *m, Ast *at, enum CXBinaryOperatorKind op, Value a, Value b);
Value apply_unary(Machine *m, Ast *at, enum CXUnaryOperatorKind op, Value v);
bool truth(Machine *m, Ast *at, Value v, bool *answer); // false: poisoned
const CType *usual_type(Machine *m, const CType *a, const CType *b);

// expression.c
Value eval(Machine *m, Ast *e);
bool place(Machine *m, Ast *e, uint64_t *pointer); // false: reported
uint64_t variable_object(Machine *m, Ast *at, Variable *v);

// initialise.c
void initialise(Machine *m, uint64_t pointer, const CType *type, Ast *init);

// statement.c
typedef enum Flow { FLOW_NEXT, FLOW_BREAK, FLOW_CONTINUE, FLOW_RETURN, FLOW_STOP } Flow;
Flow execute(Machine *m, Ast *s);
bool step(Machine *m, Ast *at); // count one; false: stop

// call.c
Value call_function(Machine *m, Ast *at, Function *f, const Value *args, int n,
                    const char *hint);
Value eval_call(Machine *m, Ast *e);

#endif
