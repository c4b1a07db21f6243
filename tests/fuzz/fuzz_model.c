// FUZZ: base/*.c ir/*.c frontend/layers/*.c frontend/clang/*.c -DMAX_STEPS=500000 LIBCLANG
// The evaluator: the bytes choose productions of a small grammar, so that what comes out is C that
// parses; what it computes may be anything. It is evaluated in this process, and a graph that comes
// of it prints and reads back.
#include "frontend/clang/read.h"
#include "ir/text.h"
#include "tests/fuzz/silent.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct Bytes {
    const uint8_t *at, *end;
    Text out;
} Bytes;

static unsigned choose(Bytes *b, unsigned n)
{
    return b->at < b->end ? *b->at++ % n : 0;
}

static void integer(Bytes *b, int depth);

// `$` is an integer expression, `@` a lvalue, `%` a number; everything else stands for itself.
static void put(Bytes *b, const char *text, int depth)
{
    static const char *const places[] = {"a",        "u",    "l",    "c",       "arr[$]",
                                         "*p",       "p[$]", "s.x",  "q->y",    "g",
                                         "t2[$][$]", "flag", "un.i", "s.in[$]", "h"};
    static const char *const numbers[] = {"0",   "1",          "2",  "-1", "7",     "31", "63",
                                          "100", "2147483647", "1u", "3L", "~0ull", "'a'"};
    for (; *text; text++) {
        if (*text == '$')
            integer(b, depth + 1);
        else if (*text == '@')
            put(b, places[depth > 6 ? choose(b, 4) : choose(b, 15)], depth + 1);
        else if (*text == '%')
            text_puts(&b->out, numbers[choose(b, 13)]);
        else
            text_append(&b->out, text, 1);
    }
}

static void integer(Bytes *b, int depth)
{
    static const char *const forms[] = {"%",
                                        "@",
                                        "($ + $)",
                                        "($ - $)",
                                        "($ * $)",
                                        "($ / $)",
                                        "($ ?: $)",
                                        "($ << $)",
                                        "($ >> $)",
                                        "($ & $)",
                                        "($ ^ ~$)",
                                        "($ < $)",
                                        "($ == $)",
                                        "($ && $)",
                                        "($ || !$)",
                                        "($ ? $ : $)",
                                        "(@ = $)",
                                        "(@ += $)",
                                        "(@ -= $)",
                                        "(@ <<= $)",
                                        "(@ *= $)",
                                        "@++",
                                        "--@",
                                        "f($)",
                                        "fp($)",
                                        "(int)d",
                                        "(int)($ * 0.5)",
                                        "(unsigned char)$",
                                        "(short)$",
                                        "(int)sizeof(@)",
                                        "($, $)",
                                        "r($).y",
                                        "(struct pt){$, $}.x",
                                        "(int)(p - arr)",
                                        "(p == &arr[$])",
                                        "({ a = $; $; })",
                                        "(long)fmod($, 7)",
                                        "strlen(\"abc\" + ($ & 3))",
                                        "*(arr + $)",
                                        "(int)dim(x, $)",
                                        "sum(&s)"};
    put(b, forms[depth > 6 ? choose(b, 2) : choose(b, sizeof forms / sizeof *forms)], depth);
}

static void statement(Bytes *b, int depth)
{
    static const char *const forms[] = {"$;\n",
                                        "@ = $;\n",
                                        "x = relu(x);\n",
                                        "x = linear(x, 1 + ($ & 7));\n",
                                        "p = &arr[$];\n",
                                        "x = scale(x, $);\n",
                                        "d = $ / 3.0;\n",
                                        "s = (struct pt){.y = $, .in = {[1] = $}};\n",
                                        "un.f = $;\n",
                                        "q = r2(q);\n",
                                        "x = add(x, linear(x, $));\n",
                                        "x = reshape(x, $, -1);\n",
                                        "x = dropout(x, d);\n",
                                        "break;\n",
                                        "continue;\n",
                                        "s = r($);\n",
                                        "parameter(format(\"p%d_%s\", $, \"q\"), $, $);\n",
                                        "x = layer_norm(x, .eps = d);\n"};
    static const char *const open[] = {
        "if ($) {\n",     "for (int i = 0; i < ($ & 15); i++) {\n",
        "while ($) {\n",  "switch ($) { case 1: case 3: ;\n",
        "{ int a = $;\n", "do {\n"};
    unsigned n = sizeof forms / sizeof *forms, k = choose(b, n + 6);
    if (k < n) {
        bool jump = !strncmp(forms[k], "break", 5) || !strncmp(forms[k], "cont", 4);
        put(b, jump && depth == 0 ? ";\n" : jump ? "if ($) ; \n" : forms[k], 0);
        return;
    }
    if (depth > 3)
        return;
    put(b, open[k - n], 0);
    for (unsigned i = choose(b, 4); i-- > 0;)
        statement(b, depth + 1);
    put(b, k - n == 5 ? "} while ($);\n" : "}\n", 0);
}

static const char before[] =
    "#include <stagecc/model.h>\n#include <string.h>\n"
    "struct pt { int x, y; int in[2]; };\n"
    "static int g = 3, h; static const int t2[3][2] = {{1}, {2, 3}};\n"
    "static int depth;\n"
    "static int f(int n) { return depth++ > 9 ? n : f(n / 2) + 1; }\n"
    "static struct pt r(int n) { struct pt s = {n}; return s; }\n"
    "static struct pt *r2(struct pt *q) { struct pt own = *q; return g ? q : &own; }\n"
    "static int sum(const struct pt *s) { return s->x + s->in[1]; }\n"
    "MODEL(m) {\n"
    "Tensor x = input(\"x\", F32, 4); int a = 1; unsigned u = 2; long l; char c = 'c';\n"
    "int arr[4] = {1, 2}; int *p = arr; struct pt s = {1, 2}, *q = &s; double d = 0.5;\n"
    "_Bool flag = 1; union { int i; float f; } un; int (*fp)(int) = f;\n";
static const char after[] = "loss(mse(x, x));\n}\n";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    silent();
    Bytes b = {data, data + size, {0}};
    text_puts(&b.out, before);
    for (int i = 0; i < 40 && b.at < b.end; i++)
        statement(&b, 0);
    text_puts(&b.out, after);
    if (getenv("SHOW_MODEL"))
        fputs(b.out.data, stderr);
    char headers[4096];
    ssize_t n = readlink("/proc/self/exe", headers, sizeof headers - 32); // build/fuzz/model
    headers[n > 0 ? n : 0] = 0;
    for (int i = 0; i < 2 && strrchr(headers, '/'); i++)
        *strrchr(headers, '/') = 0;
    strcat(headers, "/release/include");
    Arena arena = {0};
    ModelOptions options = {.micro_batch = 2, .header_dir = headers, .real = F32};
    Graph *g = model_read(&arena, "fuzz.c", b.out.data, &options);
    if (g) {
        Text text = {0};
        ir_print(&text, g);
        if (!ir_read(&arena, "printed", text.data))
            abort();
        text_release(&text);
    }
    text_release(&b.out);
    diag_reset();
    arena_release(&arena);
    return 0;
}
