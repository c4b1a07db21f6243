// The pass manager: one loop over the table of passes. What every pass would have to remember is done
// here once: ids equal positions again, the graph is well-formed (a violation is a bug of the pass that
// just ran), scratch memory is reset, errors of the model stop the run.
#include "passes/pass.h"

#include "base/clock.h"

#include "ir/text.h"
#include "ir/verify.h"

#include <stdio.h>
#include <string.h>

const PassInfo pass_info[] = {
#define PASS(name, meaning) {#name, meaning, pass_##name},
#include "passes/passes.def"
};
const int n_passes = sizeof pass_info / sizeof *pass_info;

enum { MAX_PASSES = 32 };
_Static_assert(sizeof pass_info / sizeof *pass_info <= MAX_PASSES, "a bit for every pass");

static int find_pass(const char *name, size_t length)
{
    for (int i = 0; i < n_passes; i++)
        if (strlen(pass_info[i].name) == length && !memcmp(pass_info[i].name, name, length))
            return i;
    return -1;
}

static void unknown_pass(const char *option, const char *name, size_t length)
{
    Text names = {0};
    for (int i = 0; i < n_passes; i++)
        text_printf(&names, "%s%s", i ? ", " : "", pass_info[i].name);
    error_at(NO_LOC, "%s: there is no pass `%.*s`", option, (int)length, name);
    note_at(NO_LOC, "the passes are %s", names.data);
    text_release(&names);
}

// The passes of a comma list as bits; NULL means `missing`. Every unknown name is reported.
static uint32_t parse_list(const char *option, const char *list, uint32_t missing)
{
    uint32_t bits = 0;
    if (!list)
        return missing;
    if (!*list) // "--passes=": none
        return 0;
    for (const char *name = list;;) {
        size_t length = strcspn(name, ",");
        int pass = find_pass(name, length);
        if (pass >= 0)
            bits |= UINT32_C(1) << pass;
        else
            unknown_pass(option, name, length);
        if (!name[length])
            return bits;
        name += length + 1;
    }
}

static void verify(const Graph *g, const char *pass)
{
    Text why = {0};
    if (!ir_verify(g, &why))
        BUG(pass, "the pass left a graph that breaks the rules:\n%s", why.data);
    text_release(&why);
}

static void dump(const Graph *g, const char *pass)
{
    Text out = {0};
    ir_print(&out, g);
    printf("# after %s\n%s", pass, out.data);
    fflush(stdout);
    text_release(&out);
}

typedef struct Timing {
    double run_s, verify_s;
    int nodes;
} Timing;

static void print_timings(const Timing *t, uint32_t ran)
{
    double all = 0;
    fprintf(stderr, "%-10s %9s %9s %8s\n", "pass", "run ms", "verify ms", "nodes");
    for (int i = 0; i < n_passes; i++) {
        if (!(ran >> i & 1))
            continue;
        fprintf(stderr, "%-10s %9.3f %9.3f %8d\n", pass_info[i].name, 1e3 * t[i].run_s,
                1e3 * t[i].verify_s, t[i].nodes);
        all += t[i].run_s + t[i].verify_s;
    }
    fprintf(stderr, "%-10s %9.3f\n", "all", 1e3 * all);
}

static void run_one(Compile *c, int pass, Timing *t)
{
    double begin = clock_seconds();
    pass_info[pass].run(c);
    graph_renumber(c->graph);
    arena_reset(c->scratch);
    double end = clock_seconds();
    if (!diag_errors())
        verify(c->graph, pass_info[pass].name);
    *t = (Timing){end - begin, clock_seconds() - end, c->graph->nodes.n};
}

bool passes_run(Compile *c, const PassOptions *o)
{
    Timing timings[MAX_PASSES];
    uint32_t all = (UINT32_C(1) << n_passes) - 1, ran = 0;
    bool dump_all = o->dump_after && !strcmp(o->dump_after, "all");
    uint32_t only = parse_list("--passes", o->only, all);
    uint32_t stop = parse_list("--stop-after", o->stop_after, 0);
    uint32_t dumps = dump_all ? all : parse_list("--dump-after", o->dump_after, 0);
    for (int i = 0; i < n_passes && !diag_errors(); i++) {
        uint32_t bit = UINT32_C(1) << i;
        if (only & bit) {
            run_one(c, i, &timings[i]);
            ran |= bit;
            if (dumps & bit)
                dump(c->graph, pass_info[i].name);
        }
        if (stop & bit)
            break;
    }
    if (o->timings)
        print_timings(timings, ran);
    return !diag_errors();
}
