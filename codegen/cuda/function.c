#include "codegen/cuda/cuda.h"
#include "codegen/kernel_text.h"

const char *cuda_type(const Node *n)
{
    return emit_ctype(n->dtype);
}

int64_t cuda_elements(const Node *n)
{
    return shape_count(n->shape);
}

int64_t cuda_last(const Node *n)
{
    return n->shape.rank ? n->shape.dim[n->shape.rank - 1] : 1;
}

int64_t cuda_rows(const Node *n)
{
    return cuda_elements(n) / cuda_last(n);
}

Function function_new(Emit *e, const char *op, const char *sizes)
{
    return (Function){.e = e,
                      .stem = arena_printf(e->scratch, "cu_%s_%s", op, sizes),
                      .head = "",
                      .call = "",
                      .pass = "",
                      .before = ""};
}

void function_pass(Function *f, const char *text)
{
    f->pass = arena_printf(f->e->scratch, "%s, %s", f->pass, text);
}

void function_pass_int(Function *f, int64_t number)
{
    function_pass(f, arena_printf(f->e->scratch, "%lld", (long long)number));
}

void function_argument(Function *f, const char *declared, const char *name, const char *value)
{
    Arena *a = f->e->scratch;
    f->head = arena_printf(a, "%s, %s%s", f->head, declared, name);
    f->call = arena_printf(a, "%s, %s", f->call, value);
    function_pass(f, name);
}

static void tensor(Function *f, const char *qualifier, const char *name, const Node *n)
{
    if (!n) {
        function_pass(f, "NULL");
        return;
    }
    const char *type = arena_printf(f->e->scratch, "%s%s *", qualifier, cuda_type(n));
    function_argument(f, type, name, emit_value(f->e, n));
}

void function_in(Function *f, const char *name, const Node *n)
{
    tensor(f, "const ", name, n);
}

void function_out(Function *f, const char *name, const Node *n)
{
    tensor(f, "", name, n);
}

void function_captured_argument(Function *f, const char *declared, const char *name,
                                const char *value)
{
    const char *pass = f->pass;
    function_argument(f, declared, name, value);
    f->pass = pass;
}

void function_captured(Function *f, const char *name, const Node *n)
{
    const char *pass = f->pass;
    function_in(f, name, n);
    f->pass = pass;
}

void function_room(Function *f, const char *type, const char *bytes)
{
    f->room = bytes;
    function_pass(f, arena_printf(f->e->scratch, "(%s *)rt_cuda_room(s)", type));
}

void function_end_with(Function *f, const char *body)
{
    Arena *a = f->e->scratch;
    KernelText text = {
        .stem = f->stem,
        .head = arena_printf(a, "void @name(rt_stage *s%s)", f->head),
        .code = arena_printf(a, "%sextern \"C\" @head\n{\n%s}\n", f->before, body),
        .room = f->room,
    };
    emit(f->e, "$name(s$call);\n", "name", EMIT_TEXT, emit_kernel(f->e, text), "call",
         EMIT_TEXT, f->call, NULL);
}

void function_end(Function *f, const char *what)
{
    function_end_with(f,
                      arena_printf(f->e->scratch, "    %s(cu_stream(s)%s);\n", what, f->pass));
}
