// Statements. A condition that is poisoned (its error was reported) ends the evaluation: nobody
// knows which way the model would go.
#include "frontend/clang/layers.h"
#include "frontend/clang/machine.h"

bool step(Machine *m, Ast *at)
{
    if (m->stop)
        return false;
    if (++m->steps > MAX_STEPS) {
        give_up(m, m->loop ? m->loop : at, "the model takes more than %d steps%s", MAX_STEPS,
                m->loop ? ": does this loop end?" : "");
        return false;
    }
    if (m->nesting > MAX_NESTING) {
        give_up(m, at, "expressions, statements and calls are nested more than %d deep",
                MAX_NESTING);
        return false;
    }
    return true;
}

// The value of an expression that ends with its statement.
static Value whole(Machine *m, Ast *e)
{
    int64_t mark = m->temporaries_used;
    Value v = eval(m, e);
    m->temporaries_used = mark;
    return v;
}

static bool condition(Machine *m, Ast *e, bool *yes)
{
    if (truth(m, e, whole(m, e), yes))
        return true;
    m->stop = true;
    return false;
}

static Flow declare(Machine *m, Ast *s)
{
    Variable *v = s->variable;
    if (layers_is_train(v)) {
        layers_train(m, v);
        return FLOW_NEXT;
    }
    if (v->is_static)
        return FLOW_NEXT;
    if (v->type->kind == C_UNSUPPORTED) {
        complain(m, s, "%s is not supported in models", v->type->name);
        return FLOW_NEXT;
    }
    uint64_t object = variable_object(m, s, v);
    if (!object)
        return FLOW_STOP;
    object_forget(m, object);
    int64_t mark = m->temporaries_used;
    m->hint = v->calls == 1 ? v->name : NULL;
    if (v->init)
        initialise(m, object, v->type, v->init);
    m->hint = NULL;
    m->temporaries_used = mark;
    return FLOW_NEXT;
}

static Flow run_from(Machine *m, Ast *block, int i)
{
    for (; i < block->n; i++) {
        Flow flow = execute(m, block->child[i]);
        if (flow != FLOW_NEXT)
            return flow;
    }
    return FLOW_NEXT;
}

// One turn of a loop's body; true: another turn may follow.
static bool turn(Machine *m, Ast *body, Flow *flow)
{
    Flow f = execute(m, body);
    *flow = f == FLOW_RETURN || f == FLOW_STOP ? f : FLOW_NEXT;
    return f == FLOW_NEXT || f == FLOW_CONTINUE;
}

static Flow loop(Machine *m, Ast *s)
{
    bool is_for = s->kind == AST_FOR;
    Ast *test = s->child[is_for ? 1 : 0], *body = s->child[s->n - 1];
    bool yes = true, first = s->kind == AST_DO;
    Flow flow = is_for && s->child[0] ? execute(m, s->child[0]) : FLOW_NEXT;
    while (flow == FLOW_NEXT) {
        m->loop = s; // inner loops have set their own
        if (!step(m, s) || (test && !first && !condition(m, test, &yes)))
            return FLOW_STOP;
        first = false;
        if (!yes || !turn(m, body, &flow))
            break;
        if (is_for && s->child[2])
            flow = execute(m, s->child[2]);
    }
    return flow;
}

static Flow run_loop(Machine *m, Ast *s)
{
    Ast *outer = m->loop;
    Flow flow = loop(m, s);
    m->loop = outer;
    return flow;
}

// ---- switch

static bool label_fits(Machine *m, Ast *label, Value v)
{
    Value low = eval(m, label->child[0]);
    Value high = label->child[1] ? eval(m, label->child[1]) : low;
    if (!low.type || !high.type || !v.type)
        return false;
    if (!v.type->is_signed)
        return v.bits >= low.bits && v.bits <= high.bits;
    return (int64_t)v.bits >= (int64_t)low.bits && (int64_t)v.bits <= (int64_t)high.bits;
}

static bool is_label(const Ast *s)
{
    return s->kind == AST_CASE || s->kind == AST_DEFAULT;
}

static Ast *labelled(Ast *label)
{
    return label->child[label->n - 1];
}

// Labels that stand inside other statements: reachable in C, not here.
static Ast *hidden_label(Ast *s, bool hidden)
{
    if (!s || s->kind == AST_SWITCH)
        return NULL;
    if (is_label(s))
        return hidden ? s : hidden_label(labelled(s), false);
    bool inside = s->kind == AST_BLOCK || s->kind == AST_IF || s->kind == AST_WHILE ||
                  s->kind == AST_DO || s->kind == AST_FOR;
    for (int i = 0; inside && i < s->n; i++) {
        Ast *found = hidden_label(s->child[i], true);
        if (found)
            return found;
    }
    return NULL;
}

static Flow run_switch(Machine *m, Ast *s)
{
    Value v = whole(m, s->child[0]);
    Ast *body = s->child[1];
    if (!v.type) {
        m->stop = true;
        return FLOW_STOP;
    }
    if (body->kind != AST_BLOCK)
        return FLOW_NEXT;
    int start = -1, otherwise = -1;
    for (int i = 0; i < body->n && start < 0; i++) {
        Ast *l = body->child[i], *hidden = hidden_label(l, false);
        if (hidden) {
            give_up(m, hidden,
                    "a case label inside another statement is not supported in models");
            return FLOW_STOP;
        }
        for (; is_label(l); l = labelled(l)) {
            if (l->kind == AST_DEFAULT)
                otherwise = i;
            else if (start < 0 && label_fits(m, l, v))
                start = i;
        }
    }
    if (start < 0)
        start = otherwise;
    Flow flow = start < 0 ? FLOW_NEXT : run_from(m, body, start);
    return flow == FLOW_BREAK ? FLOW_NEXT : flow;
}

static Flow run_if(Machine *m, Ast *s)
{
    bool yes;
    if (!condition(m, s->child[0], &yes))
        return FLOW_STOP;
    if (yes)
        return execute(m, s->child[1]);
    return s->n > 2 ? execute(m, s->child[2]) : FLOW_NEXT;
}

static Flow run_return(Machine *m, Ast *s)
{
    m->frame->result =
        s->n ? eval(m, s->child[0]) : (Value){.type = m->frame->function->result};
    return FLOW_RETURN;
}

static Flow dispatch(Machine *m, Ast *s)
{
    switch (s->kind) {
    case AST_BLOCK: return run_from(m, s, 0);
    case AST_DECLARE: return declare(m, s);
    case AST_EXPRESSION: whole(m, s->child[0]); return FLOW_NEXT;
    case AST_IF: return run_if(m, s);
    case AST_WHILE:
    case AST_DO:
    case AST_FOR: return run_loop(m, s);
    case AST_SWITCH: return run_switch(m, s);
    case AST_CASE:
    case AST_DEFAULT: return execute(m, labelled(s));
    case AST_BREAK: return FLOW_BREAK;
    case AST_CONTINUE: return FLOW_CONTINUE;
    case AST_RETURN: return run_return(m, s);
    case AST_NOTHING: return FLOW_NEXT;
    case AST_UNSUPPORTED:
        give_up(m, s, "%s is not supported in models", s->text);
        return FLOW_STOP;
    case AST_VARIABLE:
    case AST_MEMBER:
    case AST_ARROW:
    case AST_INDEX:
    case AST_DEREFERENCE:
    case AST_STRING:
    case AST_LITERAL:
    case AST_INTEGER:
    case AST_REAL:
    case AST_FUNCTION:
    case AST_CALL:
    case AST_CONVERT:
    case AST_ADDRESS:
    case AST_UNARY:
    case AST_STEP:
    case AST_BINARY:
    case AST_LOGICAL:
    case AST_ASSIGN:
    case AST_UPDATE:
    case AST_CONDITIONAL:
    case AST_COMMA:
    case AST_STATEMENTS:
    case AST_LIST:
    case AST_DESIGNATED:
    case AST_FIELD: break;
    }
    whole(m, s);
    return FLOW_NEXT;
}

Flow execute(Machine *m, Ast *s)
{
    if (!step(m, s))
        return FLOW_STOP;
    m->nesting++;
    Flow flow = dispatch(m, s);
    m->nesting--;
    return m->stop ? FLOW_STOP : flow;
}
