// One phase of a stage as C: its routines, and the function that calls them. Calls that repeat become
// a loop over the rows of their tables.
#include "codegen/program.h"
#include "plan/schedule.h"

#include <string.h>

static void write_call(Emit *e, const Piece *p, int indent, const char *row)
{
    const Routine *r = p->routine;
    const char *mb = r->uses_mb ? ", mb" : "", *layers = piece_layers(e, p);
    bool several = strchr(layers, ' ') != NULL && *row != 'i' && !strchr(row, '+');
    text_printf(e->out, "%*s%s(s%s", indent, "", r->name, mb);
    if (r->pieces.n > 1)
        text_printf(e->out, ", &%s_calls[%s]", r->name, row);
    text_printf(e->out, several ? "); // %s\n" : ");\n", layers);
}

// How often the loop's body calls p's routine.
static int calls_in(const PieceList *pieces, int i, int length, const Routine *r)
{
    int n = 0;
    for (int k = 0; k < length; k++)
        n += pieces->items[i + k]->routine == r;
    return n;
}

static const char *row_text(Emit *e, int row, int stride)
{
    const char *times = stride > 1 ? arena_printf(e->scratch, "%d * i", stride) : "i";
    return row ? arena_printf(e->scratch, "%d + %s", row, times) : times;
}

static void write_calls(Emit *e, const PieceList *pieces)
{
    for (int i = 0, length, times; i < pieces->n; i += length * times) {
        pieces_repeat(pieces, i, &length, &times);
        if (times == 1) {
            const Piece *p = pieces->items[i];
            write_call(e, p, 4, arena_printf(e->scratch, "%d", p->row));
            continue;
        }
        text_printf(e->out, "    for (int i = 0; i < %d; i++)%s\n", times,
                    length > 1 ? " {" : "");
        for (int k = i; k < i + length; k++) {
            const Piece *p = pieces->items[k];
            int stride = calls_in(pieces, i, length, p->routine);
            write_call(e, p, 8, row_text(e, p->row, stride));
        }
        if (length > 1)
            text_puts(e->out, "    }\n");
    }
}

// Called after the user's function, the layer, or the op.
static const char *routine_base(Emit *e, const Routine *r)
{
    const Item *first = &r->like->items.items[0];
    if (r->like->function)
        return r->like->function;
    const char *name = first->layer ? first->layer->name : op_info[first->nodes[0]->op].name;
    return r->pieces.n > 1 ? name_stem(e->scratch, name) : name;
}

#define RULE                                                                                   \
    "------------------------------------------------"                                         \
    "------------------------------------------------"
const char *const phase_function[N_PHASES] = {"forward", "backward", "backward_weight",
                                              "update", "eval_forward"};
static const char *const phase_title[N_PHASES] = {"Forward", "Backward", "Gradients of weights",
                                                  "Update", "Evaluation"};
static const char *const phase_suffix[N_PHASES] = {"forward", "backward", "backward_weight",
                                                   "update", "eval"};

bool phase_runs(const Plan *p, Phase phase)
{
    return phase != PHASE_BACKWARD_WEIGHT || schedule_splits(&p->options);
}

static bool uses_mb(const PieceList *pieces)
{
    bool used = false;
    for (int i = 0; i < pieces->n; i++)
        used |= pieces->items[i]->routine->uses_mb;
    return used;
}

static void write_function(Emit *e, const char *name, const PieceList *pieces, bool mb)
{
    text_printf(e->out, "static void %s(rt_stage *s%s)\n{\n%s%s", name, mb ? ", int mb" : "",
                pieces->n ? "" : "    (void)s;\n",
                mb && !uses_mb(pieces) ? "    (void)mb;\n" : "");
    write_calls(e, pieces);
    text_puts(e->out, "}\n\n");
}

// Behind each of them the gradients of a bucket are done.
static void write_parts(Emit *e, const char *name, const PieceList *pieces)
{
    int n = e->stage->n_parts;
    for (int part = 0, first = 0, end; part < n; part++, first = end) {
        for (end = first; end < pieces->n && pieces->items[end]->part == part;)
            end++;
        PieceList own = {.items = pieces->items + first, .n = end - first, .cap = end - first};
        write_function(e, arena_printf(e->scratch, "%s_%d", name, part), &own, true);
    }
    text_puts(e->out, "static void (*const parts[])(rt_stage *s, int mb) = {");
    for (int part = 0; part < n; part++)
        text_printf(e->out, "%s%s_%d",
                    part % 4 ? ", "
                    : part   ? ",\n    "
                             : "\n    ",
                    name, part);
    text_printf(e->out,
                "};\n\nstatic void %s(rt_stage *s, int mb)\n{\n"
                "    for (int i = 0; i < %d; i++)\n        parts[i](s, mb);\n}\n\n",
                name, n);
}

void phase_write(Emit *e, Phase phase, Names *names)
{
    RoutineList routines = {0};
    PieceList pieces = pieces_of(e, phase, &routines);
    text_printf(e->out, "// %s %.*s\n\n", phase_title[phase],
                COLUMNS - 4 - (int)strlen(phase_title[phase]), RULE);
    for (int i = 0; i < routines.n; i++) {
        const char *base = routine_base(e, routines.items[i]), *suffix = phase_suffix[phase];
        routines.items[i]->name =
            names_add(names, arena_printf(e->scratch, "%s_%s", base, suffix));
        routine_write(e, routines.items[i]);
    }
    if (phase_has_parts(e, phase))
        write_parts(e, phase_function[phase], &pieces);
    else
        write_function(e, phase_function[phase], &pieces, phase != PHASE_UPDATE);
}
