// Calls: of the model's own functions, each with a frame and a prefix for its layers' names, and of
// what stagecc knows itself.
#include "frontend/clang/builtin.h"
#include "frontend/clang/layers.h"
#include "frontend/clang/machine.h"

#include <string.h>

enum { MAX_ARGUMENTS = 64 };

const Builtin *builtin_find(const char *name)
{
    const Builtin *b = layer_find(name);
    return b ? b : library_find(name);
}

static bool bind_parameters(Machine *m, Ast *at, Frame *frame, const Value *args, int n)
{
    Function *f = frame->function;
    for (int i = 0; i < f->n_parameters && i < n; i++) {
        Variable *v = f->parameters[i];
        uint64_t object = object_new(m, at, v->type->size, v->name, false);
        if (!object)
            return false;
        frame->objects[v->slot] = object;
        store(m, at, object, v->type, args[i]);
    }
    return true;
}

// A record lives on among the caller's temporaries when the callee's variables are gone.
static Value survive(Machine *m, Ast *at, Value v)
{
    if (!v.type || v.type->kind != C_RECORD)
        return v;
    uint8_t *copy = temporary(m, at, 2 * v.type->size);
    if (!copy)
        return POISON;
    memcpy(copy, v.data, (size_t)v.type->size);
    memcpy(copy + v.type->size, v.shadow, (size_t)v.type->size);
    return (Value){.type = v.type, .data = copy, .shadow = copy + v.type->size};
}

static Value run_body(Machine *m, Ast *at, Frame *frame, const Value *args, int n)
{
    Function *f = frame->function;
    m->frame = frame;
    Value result = POISON;
    if (bind_parameters(m, at, frame, args, n)) {
        Flow flow = execute(m, f->body);
        if (flow == FLOW_RETURN)
            result = frame->result;
        else if (f->result->kind == C_VOID)
            result = (Value){.type = f->result};
        else if (flow != FLOW_STOP)
            complain(m, at, "`%s` ends without giving a value", f->name);
        result = survive(m, at, result);
    }
    m->frame = frame->caller;
    return result;
}

Value call_function(Machine *m, Ast *at, Function *f, const Value *args, int n,
                    const char *hint)
{
    if (m->calls >= MAX_CALLS)
        return give_up(m, at, "calls are nested more than %d deep: does `%s` end?", MAX_CALLS,
                       f->name);
    convert_body(m->converter, f);
    Frame frame = {.function = f, .caller = m->frame, .called = at->spot};
    frame.scope = m->frame ? layers_scope(m, hint ? hint : f->name, hint != NULL) : "";
    int64_t mark = m->stack_used, slots = (int64_t)sizeof *frame.objects * (f->n_slots + 1);
    int64_t room = (slots + 15) / 16 * 16;
    if (m->stack_used + room > MAX_STACK)
        return give_up(m, at, "the model's variables take more than %d bytes", MAX_STACK);
    frame.objects = (uint64_t *)(void *)(m->stack + m->stack_used);
    m->stack_used += room;
    memset(frame.objects, 0, (size_t)slots);
    Ast *loop = m->loop;
    m->calls++;
    Value result = run_body(m, at, &frame, args, n);
    m->calls--;
    m->loop = loop;
    for (int i = 0; i < f->n_slots; i++)
        object_free(m, frame.objects[i]);
    m->stack_used = mark;
    return result;
}

static bool is_poisoned(Value v)
{
    if (!v.type)
        return true;
    return v.type->kind == C_RECORD && memchr(v.shadow, POISONED, (size_t)v.type->size) != NULL;
}

static Value call_builtin(Machine *m, Ast *at, Function *f, const Value *args, int n,
                          const char *hint)
{
    for (int i = 0; i < n; i++)
        if (is_poisoned(args[i]))
            return POISON;
    BuiltinCall c = {m, at, args, n, f->builtin, hint};
    return f->builtin->run(&c);
}

static Function *callee_of(Machine *m, Ast *e)
{
    if (e->child[0]->kind == AST_FUNCTION)
        return e->child[0]->function;
    Value v = eval(m, e->child[0]);
    if (!v.type)
        return NULL;
    uint64_t i = v.bits & ~POINTER_FUNCTION;
    if (v.bits & POINTER_FUNCTION && i < (uint64_t)m->functions.n)
        return m->functions.items[i];
    complain(m, e, "this pointer leads to no function");
    return NULL;
}

Value eval_call(Machine *m, Ast *e)
{
    const char *hint = m->hint;
    m->hint = NULL;
    Function *f = callee_of(m, e);
    if (!f)
        return POISON;
    int n = e->n - 1;
    if (n > MAX_ARGUMENTS)
        return complain(m, e, "a call takes at most %d arguments", MAX_ARGUMENTS);
    Value args[MAX_ARGUMENTS];
    for (int i = 0; i < n; i++)
        args[i] = eval(m, e->child[i + 1]);
    if (m->stop)
        return POISON;
    if (f->builtin)
        return call_builtin(m, e, f, args, n, hint);
    if (libclang.Cursor_isNull(f->cursor))
        return complain(m, e,
                        "`%s` cannot be called: a model calls its own functions, layers, and "
                        "the C library's mathematics",
                        f->name);
    return call_function(m, e, f, args, n, hint);
}
