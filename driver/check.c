// stagecc check: everything that can be said without planning.
#include "driver/driver.h"

#include "ir/dot.h"
#include "ir/text.h"
#include "passes/schedule.h"

#include <jansson.h>
#include <string.h>

// The tables that were asked for. false: none was.
static bool list_tables(const Args *args)
{
    for (int i = 0; args->list_ops && i < N_OPS; i++)
        printf("%-22s %s\n", op_info[i].name, op_info[i].meaning);
    for (int i = 0; args->list_passes && i < n_passes; i++)
        printf("%-10s %s\n", pass_info[i].name, pass_info[i].meaning);
    for (int i = 0; args->list_schedules && i < n_schedules; i++)
        printf("%-10s %s\n", schedule_info[i].name, schedule_info[i].meaning);
    return args->list_ops || args->list_passes || args->list_schedules;
}

typedef struct Summary {
    int layers, nodes;
    int64_t parameters, parameter_bytes;
} Summary;

static Summary summarize(const Graph *g)
{
    Summary s = {.layers = g->layers.n, .nodes = g->nodes.n};
    for (int i = 0; i < g->nodes.n; i++)
        if (g->nodes.items[i]->op == OP_PARAM) {
            s.parameters += shape_count(g->nodes.items[i]->shape);
            s.parameter_bytes += node_logical_bytes(g->nodes.items[i]);
        }
    return s;
}

static void print_summary(const Graph *g, const Args *args)
{
    Summary s = summarize(g);
    char bytes[32];
    if (args->json)
        printf(
            "{\"model\": \"%s\", \"layers\": %d, \"parameters\": %lld, \"parameter_bytes\": %lld, "
            "\"warnings\": %d}\n",
            g->name, s.layers, (long long)s.parameters, (long long)s.parameter_bytes,
            diag_warnings());
    else
        printf("%s: %d layers, %lld parameters (%s), no errors%s\n", g->name, s.layers,
               (long long)s.parameters, human_bytes(bytes, s.parameter_bytes),
               diag_warnings() ? ", see the warnings" : "");
}

int command_check(Arena *a, Args *args)
{
    if (list_tables(args))
        return EXIT_DONE;
    if (args->emit && !strcmp(args->emit, "graph") && graph_file_given(args))
        return graph_file_print(a, args);
    bool no_passes = args->passes && !*args->passes;
    Job j;
    int status = job_load(&j, a, args);
    bool emits = args->emit || args->dump_after;
    if (!status && !no_passes)
        status = job_compile(&j, 0);
    Text out = {0};
    if (!status && args->emit && !strcmp(args->emit, "ir"))
        ir_print(&out, j.graph);
    else if (!status && args->emit && !strcmp(args->emit, "dot"))
        dot_print(&out, j.graph, &(DotOptions){0});
    else if (!status && args->emit) {
        error_at(NO_LOC, "--emit takes ir or dot, not `%s`", args->emit);
        status = EXIT_INPUT;
    } else if (!status && !emits && j.profiled)
        status = graph_file_summary(a, args, j.graph);
    else if (!status && !emits)
        print_summary(j.graph, args);
    if (out.data)
        fputs(out.data, stdout);
    text_release(&out);
    job_release(&j);
    return status;
}
