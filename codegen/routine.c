// A routine as C. Its body is written first, by the emitters of its nodes; what they asked for on the
// way becomes its declarations, and the fields of its table where it is shared.
#include "codegen/program.h"

#include <ctype.h>
#include <string.h>

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

const char *emit_place(Emit *e, const Node *n)
{
    if (!n->loc.file || !n->loc.line)
        return "";
    return emit_comment(e,
                        arena_printf(e->scratch, "%s:%d", base_name(n->loc.file), n->loc.line));
}

// Bodies
// ----------------------------------------------------------------------------------------------

// "conv2d + relu", for groups.
static const char *item_ops(Emit *e, const Item *item)
{
    const char *ops = op_info[item->nodes[0]->op].name;
    if (item->updates)
        return arena_printf(e->scratch, "%s of %d parameter%s", ops, item->n,
                            item->n > 1 ? "s" : "");
    for (int i = 1; i < item->n; i++)
        ops = arena_printf(e->scratch, "%s + %s", ops, op_info[item->nodes[i]->op].name);
    return ops;
}

// Length of the code's next part that stays together: up to and with a comma, but one in a string or
// in braces within braces, or to the end.
static size_t part_length(const char *code, size_t n)
{
    bool quoted = false;
    int braces = 0;
    for (size_t i = 0; i < n; i++) {
        quoted ^= code[i] == '"' && (i == 0 || code[i - 1] != '\\');
        braces += (code[i] == '{') - (code[i] == '}');
        bool opens = i > 0 && code[i] == '{' && code[i - 1] == ')'; // a compound literal
        braces -= opens;
        if (!quoted && braces <= 0 && code[i] == ',' && i + 1 < n && code[i + 1] == ' ')
            return i + 1;
    }
    return n;
}

// Where the arguments of the first call begin, or those of the first parenthesis.
static const char *first_arguments(const char *line, size_t n)
{
    const char *open = memchr(line, '(', n);
    for (const char *c = open; c && c < line + n; c++)
        if (*c == '(' && c > line &&
            (isalnum((unsigned char)c[-1]) || c[-1] == '_' || c[-1] == '>'))
            return c;
    return open;
}

// Arguments line up, and a literal of several members begins a line.
void code_wrapped(Text *out, const char *line, size_t n)
{
    const char *open = first_arguments(line, n);
    size_t column = 0,
           hang = open && open - line < COLUMNS / 2 ? (size_t)(open - line) + 1 : 12;
    while (n) {
        size_t length = part_length(line, n);
        bool literal = n > 2 && !strncmp(line, " &(", 3);
        bool fits = column + (literal ? n : length) <= COLUMNS;
        if (column && *line == ' ' && !fits) {
            line++;
            n--;
            length--;
            text_printf(out, "\n%*s", (int)hang, "");
            column = hang;
        }
        text_append(out, line, length);
        column += length;
        line += length;
        n -= length;
    }
}

// Does the code declare something outside of its own loops? Such a line begins with `const` or `static const`.
static bool declares(const Emit *e, const char *code)
{
    for (const char *line = code; line && *line; line = strchr(line, '\n') + 1) {
        const char *word = line + strspn(line, " ");
        if (word - line == e->indent &&
            (str_starts(word, "const ") || str_starts(word, "static const ")))
            return true;
    }
    return false;
}

static void write_lines(Emit *e, const char *code, int deeper, const char *behind)
{
    for (const char *end = strchr(code, '\n'); end; code = end + 1, end = strchr(code, '\n')) {
        const char *line =
            *code == '#' || end == code
                ? arena_strndup(e->scratch, code, (size_t)(end - code))
                : arena_printf(e->scratch, "%*s%.*s", deeper, "", (int)(end - code), code);
        if (*line == '#')
            text_puts(e->out, line);
        else
            code_wrapped(e->out, line, strlen(line));
        text_printf(e->out, "%s\n", behind);
    }
}

// Code of a line gets its place behind it, longer code gets what and where on top, and a block of its
// own where it declares something.
static void add_with_place(Emit *e, const Item *item, const char *code)
{
    const char *place = item->updates ? "" : emit_place(e, item->nodes[0]);
    const char *end = strchr(code, '\n');
    if (!end) // nothing to do at run time
        return;
    if (!end[1]) {
        write_lines(e, code, 0, *place ? arena_printf(e->scratch, " // %s", place) : "");
        return;
    }
    bool block = declares(e, code);
    text_printf(e->out, "%*s// %s%s%s\n", e->indent, "", item_ops(e, item), *place ? "  " : "",
                place);
    text_printf(e->out, block ? "%*s{\n" : "", e->indent, "");
    write_lines(e, code, block ? 4 : 0, "");
    text_printf(e->out, block ? "%*s}\n" : "", e->indent, "");
}

static void write_item(Emit *e, const Item *item)
{
    Text code = {0}, *out = e->out;
    e->out = &code;
    if (item->updates)
        e->backend->emit_updates(e, item->nodes, item->n);
    else if (item->n > 1)
        e->backend->emit_group(e, item->nodes, item->n);
    else
        e->backend->emit[item->nodes[0]->op](e, item->nodes[0]);
    e->out = out;
    add_with_place(e, item, code.data ? code.data : "");
    text_release(&code);
}

static void write_mark(Emit *e, const Routine *r, int item)
{
    const Item *items = r->like->items.items;
    int index = item_layer(e, &items[item]), offset = index - item_layer(e, items);
    if (r->pieces.n == 1)
        text_printf(e->out, "%*srt_at(s, %d); // %s\n", e->indent, "", index,
                    emit_comment(e, items[item].layer->name));
    else if (offset == 0)
        text_printf(e->out, "%*srt_at(s, call->layer);\n", e->indent, "");
    else
        text_printf(e->out, "%*srt_at(s, call->layer %c %d);\n", e->indent, "",
                    offset < 0 ? '-' : '+', offset < 0 ? -offset : offset);
}

static void write_body(Emit *e, Routine *r)
{
    const Layer *last = NULL;
    e->routine = r;
    e->indent = 4;
    for (int i = 0; i < r->like->items.n; i++) {
        const Item *item = &r->like->items.items[i];
        if (item->layer && item->layer != last)
            write_mark(e, r, i);
        last = item->layer ? item->layer : last;
        write_item(e, item);
    }
    e->routine = NULL;
    e->indent = 0;
}

// Declarations
// ----------------------------------------------------------------------------------------------

static bool effect_writes(const Node *n, const Node *root)
{
    bool state = root->op == OP_STATE || root->op == OP_BUFFER;
    for (int i = 0; i < n->n_inputs; i++)
        if (emit_root(n->inputs[i]) == root && (i == 0 || state))
            return true;
    return false;
}

static bool writes(const Node *n, const Node *root)
{
    if (node_is(n, 'X'))
        return effect_writes(n, root);
    return n == root || (root->op == OP_RESULT && root->inputs[0] == n);
}

static bool written(const Routine *r, const Node *root)
{
    for (int i = 0; i < r->like->items.n; i++)
        for (int k = 0; k < r->like->items.items[i].n; k++)
            if (writes(r->like->items.items[i].nodes[k], root))
                return true;
    return false;
}

static const char *place_text(Emit *e, const Node *n, bool in_table)
{
    const Place *p = &e->stage->places[n->id];
    long long at = (long long)p->offset;
    const char *mb = n->phase == PHASE_UPDATE ? "0" : "mb";
    switch (p->kind) {
    case PLACE_PERSISTENT:
        return arena_printf(e->scratch,
                            in_table ? "RT_IN_PERSISTENT(%lld)" : "rt_persistent(s, %lld)", at);
    case PLACE_WEIGHT:
        return arena_printf(e->scratch, in_table ? "RT_IN_WEIGHT(%lld)" : "rt_weight(s, %lld)",
                            at);
    case PLACE_SCRATCH:
        return arena_printf(e->scratch,
                            in_table ? "RT_IN_SCRATCH(%lld)" : "rt_scratch(s, %lld)", at);
    case PLACE_SLOT:
        return in_table ? arena_printf(e->scratch, "RT_IN_ACT(%lld)", at)
                        : arena_printf(e->scratch, "rt_act(s, %s, %lld)", mb, at);
    case PLACE_EDGE:
        return in_table ? arena_printf(e->scratch, "RT_IN_EDGE(%d)", p->edge)
                        : arena_printf(e->scratch, "rt_slot(s, %d, %s)", p->edge, mb);
    case PLACE_NONE: break;
    }
    BUG("codegen", "%s has no memory in stage %d", n->name, e->stage->id);
}

const char *emit_table_place(Emit *e, const Node *n)
{
    return place_text(e, emit_root(n), true);
}

static const char *shape_comment(Emit *e, const Node *n)
{
    const char *shape = shape_text(e->scratch, n->shape);
    switch (n->layout) {
    case LAYOUT_PLAIN: return shape;
    case LAYOUT_BLOCKED:
        return arena_printf(e->scratch, "%s in blocks of %d channels", shape, e->graph->block);
    case LAYOUT_CHANNELS_LAST: return arena_printf(e->scratch, "%s channels last", shape);
    case LAYOUT_KERNEL: return arena_printf(e->scratch, "%s as its kernel wants it", shape);
    case LAYOUT_PITCHED:
        return arena_printf(e->scratch, "%s in rows of %lld", shape, (long long)node_row(n));
    case N_LAYOUTS: break;
    }
    return shape;
}

static const char *declaration(Emit *e, const Routine *r, int value)
{
    const Node *n = r->like->values.items[value];
    const char *mb = r->like->phase == PHASE_UPDATE ? "0" : "mb", *name = r->local[value];
    const char *at = r->pieces.n == 1
                         ? place_text(e, n, false)
                         : arena_printf(e->scratch, "rt_pointer(s, %s, call->%s)", mb, name);
    return arena_printf(e->scratch, "    %s%s *%s = %s;", written(r, n) ? "" : "const ",
                        emit_ctype(n->dtype), name, at);
}

static void write_declarations(Emit *e, const Routine *r)
{
    const char **text = arena_array(e->scratch, const char *, r->order.n + 1);
    int width = 0;
    for (int i = 0; i < r->order.n; i++) {
        text[i] = declaration(e, r, r->order.items[i]);
        int n = (int)strlen(text[i]);
        width = n > width && n <= COLUMNS - 16 ? n : width;
    }
    for (int i = 0; i < r->order.n; i++)
        text_printf(e->out, "%-*s // %s\n", width, text[i],
                    shape_comment(e, r->like->values.items[r->order.items[i]]));
    if (r->order.n)
        text_puts(e->out, "\n");
}

// Tables
// ----------------------------------------------------------------------------------------------

// A list of words that breaks lines before COLUMNS.
typedef struct Wrap {
    Text *out;
    int indent, column;
} Wrap;

static void wrap_word(Wrap *w, const char *word)
{
    int n = (int)strlen(word);
    bool fits = w->column + 1 + n <= COLUMNS;
    if (!fits)
        text_printf(w->out, "\n%*s", w->indent, "");
    else if (w->column > w->indent)
        text_puts(w->out, " ");
    w->column = fits ? w->column + n + (w->column > w->indent) : w->indent + n;
    text_puts(w->out, word);
}

static void write_fields(Emit *e, const Routine *r)
{
    text_printf(
        e->out,
        "// Where the tensors of one call lie.\nstruct %s_call {\n    int layer;\n    int64_t",
        r->name);
    Wrap w = {e->out, 8, 11};
    int n = r->order.n + r->streams.n;
    for (int i = 0; i < n; i++) {
        const char *field = i < r->order.n ? r->local[r->order.items[i]]
                                           : arena_printf(e->scratch, "stream_%d",
                                                          r->streams.items[i - r->order.n] + 1);
        wrap_word(&w, arena_printf(e->scratch, "%s%s", field, i < n - 1 ? "," : ";"));
    }
    text_puts(e->out, "\n};\n\n");
}

static const Layer *piece_layer(const Piece *p, int item)
{
    return p->items.items[item].layer;
}

static bool only_updates(const Piece *p)
{
    return p->items.n == 1 && p->items.items[0].updates;
}

const char *piece_layers(Emit *e, const Piece *p)
{
    const Layer *first = piece_layer(p, 0), *last = piece_layer(p, p->items.n - 1);
    if (only_updates(p))
        return item_ops(e, &p->items.items[0]);
    if (!first || !last)
        return emit_comment(e, p->items.items[0].nodes[0]->name);
    const char *text = first == last
                           ? first->name
                           : arena_printf(e->scratch, "%s .. %s", first->name, last->name);
    return emit_comment(e, text);
}

static void write_row(Emit *e, const Routine *r, const Piece *p)
{
    text_printf(e->out, "    // %s\n    {", piece_layers(e, p));
    Wrap w = {e->out, 5, 5};
    int n = r->order.n + r->streams.n;
    wrap_word(&w,
              arena_printf(e->scratch, "%d%s", item_layer(e, p->items.items), n ? "," : ""));
    for (int i = 0; i < n; i++) {
        const char *text =
            i < r->order.n
                ? place_text(e, p->values.items[r->order.items[i]], true)
                : arena_printf(
                      e->scratch, "%lld",
                      (long long)node_int(p->streams.items[r->streams.items[i - r->order.n]],
                                          A_STREAM));
        wrap_word(&w, arena_printf(e->scratch, "%s%s", text, i < n - 1 ? "," : ""));
    }
    text_puts(e->out, "},\n");
}

static void write_table(Emit *e, const Routine *r)
{
    write_fields(e, r);
    text_printf(e->out, "static const struct %s_call %s_calls[%d] = {\n", r->name, r->name,
                r->pieces.n);
    for (int i = 0; i < r->pieces.n; i++)
        write_row(e, r, r->pieces.items[i]);
    text_puts(e->out, "};\n\n");
}

// Functions
// ----------------------------------------------------------------------------------------------

static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);
    for (const char *s = text; (s = strstr(s, word)); s += n) {
        bool begins = s == text || !(isalnum((unsigned char)s[-1]) || s[-1] == '_');
        if (begins && !isalnum((unsigned char)s[n]) && s[n] != '_')
            return true;
    }
    return false;
}

static void write_signature(Emit *e, const Routine *r)
{
    const char *call = r->pieces.n > 1
                           ? arena_printf(e->scratch, ", const struct %s_call *call", r->name)
                           : "";
    const char *line = arena_printf(e->scratch, "static void %s(rt_stage *s%s%s)", r->name,
                                    r->uses_mb ? ", int mb" : "", call);
    code_wrapped(e->out, line, strlen(line));
    text_puts(e->out, "\n{\n");
}

// "bottleneck: conv2d_2 .. relu_5, and 2 more alike  resnet.c:12", "fc1: linear  mlp.c:5"
static void write_title(Emit *e, const Routine *r)
{
    const Piece *p = r->like;
    const Layer *layer = piece_layer(p, 0);
    const char *place = emit_place(e, p->items.items[0].nodes[0]);
    if (only_updates(p)) {
        text_printf(e->out, "// %s\n", piece_layers(e, p));
        return;
    }
    if (p->function)
        text_printf(e->out, "// %s: %s", emit_comment(e, p->function), piece_layers(e, p));
    else
        text_printf(e->out, "// %s: %s", piece_layers(e, p),
                    layer ? emit_comment(e, layer->kind)
                          : op_info[p->items.items[0].nodes[0]->op].name);
    if (r->pieces.n > 1)
        text_printf(e->out, ", and %d more alike", r->pieces.n - 1);
    text_printf(e->out, "%s%s\n", *place ? "  " : "", place);
}

void routine_write(Emit *e, Routine *r)
{
    Text whole = {0}, body = {0}, *out = e->out;
    routine_name_locals(r, e->graph);
    e->out = &body;
    write_body(e, r);
    e->out = &whole;
    write_declarations(e, r);
    text_puts(&whole, body.data ? body.data : "");
    e->out = out;
    const char *code = whole.data ? whole.data : "";
    r->uses_mb = has_word(code, "mb");
    if (r->pieces.n > 1)
        write_table(e, r);
    write_title(e, r);
    write_signature(e, r);
    if (!has_word(code, "s"))
        text_puts(out, "    (void)s;\n");
    if (r->pieces.n > 1 && !has_word(code, "call"))
        text_puts(out, "    (void)call;\n");
    text_printf(out, "%s}\n\n", code);
    text_release(&whole);
    text_release(&body);
}
