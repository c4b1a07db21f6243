// The reader of the text form: one line, one definition. A line that is wrong is reported and
// given up, its node stays known without a type, so that its users are silent and further
// errors show.
//
// While reading, a node's place is its line of the text, so that errors point there. The place
// it names (@model.c:7:9) becomes its own at the end; a node that names none keeps its line.
#include "ir/text.h"

#include "ir/parse.h"
#include "ir/verify.h"

#include <string.h>

enum { MAX_ERRORS = 20 };

// `in N`, or nothing: a call read before.
static bool optional_call(Reader *r, const Call **out)
{
    int64_t i;
    *out = NULL;
    if (!parse_accept(r, "in"))
        return true;
    Loc loc = r->token.loc;
    if (!parse_integer(r, 0, INT32_MAX, &i))
        return false;
    if (i >= r->calls.n) {
        error_at(loc, "no call %d stands before this line", (int)i);
        return false;
    }
    *out = r->calls.items[i];
    return true;
}

// The lines that are no nodes.

static bool read_call(Reader *r, Loc loc)
{
    Token function;
    int number;
    Call *c = arena_new(r->g->arena, Call);
    if (!parse_small_integer(r, 0, &number))
        return false;
    if (number != r->calls.n) {
        error_at(loc, "calls are numbered in order: this one is %d", r->calls.n);
        return false;
    }
    if (!parse_symbol(r, "a function", &function) || !optional_call(r, &c->caller))
        return false;
    c->function = arena_strdup(r->g->arena, function.text);
    parse_place(r, loc, &c->loc);
    vec_push(&r->scratch, &r->calls, c);
    return parse_line_end(r);
}

static bool read_layer(Reader *r, Loc loc)
{
    Token name, kind;
    if (!parse_symbol(r, "the layer's name", &name) ||
        !parse_symbol(r, "the layer's kind", &kind))
        return false;
    if (parse_lookup(&r->layers, name.text)) {
        error_at(name.loc, "there is a layer %s already", name.text);
        return false;
    }
    Layer *l = graph_layer(r->g, name.text, kind.text, loc, NULL);
    parse_bind(&r->scratch, &r->layers, name.text, l);
    if (strcmp(l->name, name.text) != 0 || strcmp(l->kind, kind.text) != 0) {
        error_at(name.loc, "names and kinds of layers must be identifiers");
        return false;
    }
    if (!optional_call(r, &l->caller) ||
        (parse_accept(r, "stage") && !parse_small_integer(r, 0, &l->stage)))
        return false;
    parse_place(r, loc, &l->loc);
    return parse_line_end(r);
}

static bool read_train(Reader *r, Loc loc)
{
    Token name, value;
    TrainSetting t;
    if (!parse_symbol(r, "an option", &name) || !parse_symbol(r, "the option's value", &value))
        return false;
    t.name = arena_strdup(r->g->arena, name.text);
    t.value = arena_strdup(r->g->arena, value.text);
    parse_place(r, loc, &t.loc);
    vec_push(r->g->arena, &r->g->train, t);
    return parse_line_end(r);
}

static bool read_root(Reader *r, Token *root)
{
    if (root->kind != TOKEN_END) {
        error_at(r->token.loc, "given twice");
        return false;
    }
    return parse_symbol(r, "a node", root) && parse_line_end(r);
}

static bool read_loss(Reader *r, Loc loc)
{
    (void)loc;
    return read_root(r, &r->loss);
}

static bool read_output(Reader *r, Loc loc)
{
    (void)loc;
    return read_root(r, &r->output);
}

static const struct LineKind {
    const char *word;
    bool (*read)(Reader *r, Loc loc);
} line_kinds[] = {{"call", read_call},
                  {"layer", read_layer},
                  {"train", read_train},
                  {"loss", read_loss},
                  {"output", read_output}};

static bool read_graph(Reader *r, Arena *a)
{
    Token name, file;
    int64_t micro_batch;
    r->g = graph_new(a, "none", 1);
    if (!parse_expect(r, "graph") || !parse_symbol(r, "the graph's name", &name) ||
        !parse_expect(r, "micro_batch") || !parse_integer(r, 1, INT64_C(1) << 40, &micro_batch))
        return false;
    r->g = graph_new(a, name.text, micro_batch);
    if (strcmp(r->g->name, name.text) != 0) {
        error_at(name.loc, "the name of a graph must be an identifier");
        return false;
    }
    if (parse_accept(r, "block") && !parse_small_integer(r, 1, &r->g->block))
        return false;
    if (parse_accept(r, "file")) {
        if (!parse_symbol(r, "a file name", &file))
            return false;
        r->g->file = arena_strdup(a, file.text);
    }
    return parse_line_end(r);
}

// One node's line.
typedef struct NodeLine {
    Token name;
    Op op;
    NodeList inputs;
    bool poisoned; // an input is unknown: reported
    Attr attrs[N_ATTRS];
    int n_attrs;
    bool typed;
    DType dtype;
    Shape shape;
    Phase phase;
    Layer *layer;
    Token from;
    int group, unit;
    Layout layout;
    int64_t bytes;
    Loc place;
} NodeLine;

static bool tail_word(const Token *t)
{
    static const char *const words[] = {"of", "from", "group", "unit", "layout", "bytes"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (token_is(t, words[i]))
            return true;
    for (int i = 0; i < N_PHASES; i++)
        if (token_is(t, phase_name[i]))
            return true;
    return false;
}

static bool read_inputs(Reader *r, NodeLine *line)
{
    while (parse_is_symbol(r) && !tail_word(&r->token)) {
        Node *input = parse_lookup(&r->nodes, r->token.text);
        if (input)
            vec_push(&r->scratch, &line->inputs, input);
        else
            error_at(r->token.loc, "no node %s stands before this line", r->token.text);
        line->poisoned |= !input;
        parse_advance(r);
    }
    return true;
}

static bool attr_value(Reader *r, AttrKey key, Attr *a)
{
    Token text;
    *a = (Attr){.key = key, .kind = attr_info[key].kind};
    switch (a->kind) {
    case ATTR_INT: return parse_integer(r, INT64_MIN, INT64_MAX, &a->i);
    case ATTR_REAL: return parse_real(r, &a->r);
    case ATTR_INTS: return parse_integers(r, &a->n, a->ints);
    case ATTR_STRING:
        if (r->token.kind != TOKEN_STRING || !parse_symbol(r, "a string", &text))
            return parse_expected(r, "a string");
        a->s = arena_strdup(r->g->arena, text.text);
        return true;
    }
    return false;
}

static bool read_attrs(Reader *r, NodeLine *line)
{
    if (!parse_accept(r, "{"))
        return true;
    while (!token_is(&r->token, "}")) {
        if (line->n_attrs && !parse_expect(r, ","))
            return false;
        int key = 0;
        while (key < N_ATTRS && !token_is(&r->token, attr_info[key].name))
            key++;
        if (key == N_ATTRS && r->token.kind == TOKEN_WORD) {
            error_at(r->token.loc, "no attribute is called %s", r->token.text);
            return false;
        }
        if (key == N_ATTRS)
            return parse_expected(r, "an attribute");
        for (int i = 0; i < line->n_attrs; i++) {
            if (line->attrs[i].key != (AttrKey)key)
                continue;
            error_at(r->token.loc, "%s is given twice", r->token.text);
            return false;
        }
        parse_advance(r);
        if (!parse_expect(r, "=") ||
            !attr_value(r, (AttrKey)key, &line->attrs[line->n_attrs++]))
            return false;
    }
    return parse_expect(r, "}");
}

static bool read_type(Reader *r, NodeLine *line)
{
    if (!parse_accept(r, ":"))
        return true;
    if (r->token.kind != TOKEN_WORD)
        return parse_expected(r, "a type");
    line->dtype = dtype_parse(r->token.text);
    if (line->dtype == DTYPE_ERROR) {
        error_at(r->token.loc, "no element type is called %s", r->token.text);
        return false;
    }
    parse_advance(r);
    line->typed = true;
    return parse_integers(r, &line->shape.rank, line->shape.dim);
}

static bool read_of(Reader *r, NodeLine *line)
{
    Token name;
    if (!parse_symbol(r, "a layer", &name))
        return false;
    line->layer = parse_lookup(&r->layers, name.text);
    if (!line->layer)
        error_at(name.loc, "no layer %s stands before this line", name.text);
    return line->layer;
}

static bool read_layout(Reader *r, NodeLine *line)
{
    for (int i = 0; i < N_LAYOUTS; i++)
        if (parse_accept(r, layout_name[i])) {
            line->layout = (Layout)i;
            return true;
        }
    return parse_expected(r, "plain, blocked, channels_last, kernel or pitched");
}

// What follows the type, in any order.
static bool read_tail(Reader *r, NodeLine *line)
{
    while (tail_word(&r->token)) {
        bool good = true;
        for (int i = 0; i < N_PHASES; i++)
            if (token_is(&r->token, phase_name[i]))
                line->phase = (Phase)i;
        Token word = r->token;
        parse_advance(r);
        if (token_is(&word, "of"))
            good = read_of(r, line);
        else if (token_is(&word, "from"))
            good = parse_symbol(r, "a node", &line->from);
        else if (token_is(&word, "group"))
            good = parse_small_integer(r, 0, &line->group);
        else if (token_is(&word, "unit"))
            good = parse_small_integer(r, 0, &line->unit);
        else if (token_is(&word, "layout"))
            good = read_layout(r, line);
        else if (token_is(&word, "bytes"))
            good = parse_integer(r, 0, INT64_C(1) << 62, &line->bytes);
        if (!good)
            return false;
    }
    parse_place(r, line->name.loc, &line->place);
    return parse_line_end(r);
}

static void check_given_type(const NodeLine *line, const Node *n, Arena *scratch)
{
    if (!line->typed || n->dtype == DTYPE_ERROR ||
        (n->dtype == line->dtype && shape_equal(n->shape, line->shape)))
        return;
    error_at(line->name.loc, "%s: type %s%s is given, but the inputs make it %s%s", n->name,
             dtype_name(line->dtype), shape_text(scratch, line->shape), dtype_name(n->dtype),
             shape_text(scratch, n->shape));
}

// Appends the node of a line; `whole`: the line was read to its end.
static void add_node(Reader *r, NodeLine *line, bool whole)
{
    if (!whole || line->poisoned) { // known, but without a type: its users stay silent
        Node *unknown = arena_new(&r->scratch, Node);
        parse_bind(&r->scratch, &r->nodes, line->name.text, unknown);
        return;
    }
    Node *n =
        graph_add(r->g, line->op, line->layer, line->name.loc, line->name.text,
                  (NodeArgs){line->inputs.items, line->inputs.n, line->attrs, line->n_attrs});
    parse_bind(&r->scratch, &r->nodes, line->name.text, n);
    if (strcmp(n->name, line->name.text) != 0)
        error_at(line->name.loc, "%s cannot be the name of a node", line->name.text);
    check_given_type(line, n, &r->scratch);
    n->phase = line->phase;
    n->group = line->group;
    n->unit = line->unit;
    n->layout = line->layout;
    n->bytes = line->bytes;
    vec_push(&r->scratch, &r->places, line->place);
    vec_push(&r->scratch, &r->from, line->from);
}

static void read_node(Reader *r, Token name)
{
    NodeLine line = {.name = name, .op = N_OPS, .group = -1, .unit = -1};
    if (parse_lookup(&r->nodes, name.text)) {
        error_at(name.loc, "there is a node %s already", name.text);
        return;
    }
    if (r->token.kind == TOKEN_WORD)
        line.op = op_find(r->token.text);
    if (line.op == N_OPS) {
        if (r->token.kind == TOKEN_WORD)
            error_at(r->token.loc, "no op is called %s", r->token.text);
        else
            parse_expected(r, "an op");
        add_node(r, &line, false);
        return;
    }
    parse_advance(r);
    add_node(r, &line,
             read_inputs(r, &line) && read_attrs(r, &line) && read_type(r, &line) &&
                 read_tail(r, &line));
}

static void read_line(Reader *r)
{
    Token first;
    parse_advance(r);
    if (!parse_symbol(r, "a node, call, layer, train, loss or output", &first))
        return;
    if (parse_accept(r, "=")) {
        read_node(r, first);
        return;
    }
    for (size_t i = 0; i < sizeof line_kinds / sizeof *line_kinds; i++)
        if (token_is(&first, line_kinds[i].word)) {
            line_kinds[i].read(r, first.loc);
            return;
        }
    parse_expected(r,
                   "= (a node), or a line that begins with call, layer, train, loss or output");
}

static Node *named(Reader *r, const Token *t)
{
    if (t->kind == TOKEN_END)
        return NULL;
    Node *n = parse_lookup(&r->nodes, t->text);
    if (!n)
        error_at(t->loc, "no node is called %s", t->text);
    return n;
}

static void report_violation(void *user, const Node *n, const char *message)
{
    const Reader *r = user;
    error_at(n ? n->loc : (Loc){r->lexer.file, 0, 0}, "%s", message);
}

// Everything is read: names that may stand before their node, rules of the whole graph, places.
static void finish(Reader *r)
{
    Graph *g = r->g;
    g->loss = named(r, &r->loss);
    g->output = named(r, &r->output);
    for (int i = 0; i < r->from.n; i++)
        g->nodes.items[i]->forward = named(r, &r->from.items[i]);
    if (diag_errors() == r->errors_before)
        ir_verify_each(g, report_violation, r);
    for (int i = 0; i < g->nodes.n; i++)
        g->nodes.items[i]->loc = r->places.items[i];
}

Graph *ir_read(Arena *a, const char *file, const char *text)
{
    Reader r = {.errors_before = diag_errors()};
    lexer_init(&r.lexer, &r.scratch, arena_strdup(a, file), text);
    bool begun = lexer_line(&r.lexer);
    parse_advance(&r);
    if (!begun)
        error_at((Loc){r.lexer.file, 0, 0}, "there is no graph in it");
    else if (read_graph(&r, a)) {
        while (diag_errors() - r.errors_before < MAX_ERRORS && lexer_line(&r.lexer))
            read_line(&r);
        finish(&r);
    }
    arena_release(&r.scratch);
    return diag_errors() == r.errors_before ? r.g : NULL;
}
