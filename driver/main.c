// stagecc: one executable, one subcommand per step (driver/commands.def).
#include "driver/driver.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

const CommandInfo command_info[] = {
#define COMMAND(name, groups, operand, meaning, example)                                       \
    {#name, operand, meaning, example, groups, command_##name},
#define COMMAND_AS(name, spelled, groups, operand, meaning, example)                           \
    {spelled, operand, meaning, example, groups, command_##name},
#include "driver/commands.def"
};
const int n_commands = sizeof command_info / sizeof *command_info;

static void usage(FILE *out)
{
    fputs(
        "usage: stagecc COMMAND [OPTIONS] ...\n\n"
        "A source-to-source compiler for pipeline-parallel training: a model in C becomes one\n"
        "C program per stage, and the programs train together.\n\ncommands:\n",
        out);
    for (int i = 0; i < n_commands; i++)
        fprintf(out, "  %-10s %s\n", command_info[i].name, command_info[i].meaning);
    fputs("\n`stagecc COMMAND --help` shows its options and an example.\n", out);
}

static const CommandInfo *find(const char *name)
{
    for (int i = 0; i < n_commands; i++)
        if (!strcmp(command_info[i].name, name))
            return &command_info[i];
    return NULL;
}

int main(int argc, char **argv)
{
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
        usage(argc < 2 ? stderr : stdout);
        return argc < 2 ? EXIT_INPUT : EXIT_DONE;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("stagecc %s (libclang %s, jansson %s, oneDNN %s, ZeroMQ %s)\n", STAGECC_VERSION,
               STAGECC_LIBCLANG_VERSION, JANSSON_VERSION,
               *STAGECC_DNNL_VERSION ? STAGECC_DNNL_VERSION : "none",
               *STAGECC_ZMQ_VERSION ? STAGECC_ZMQ_VERSION : "none");
        return EXIT_DONE;
    }
    const CommandInfo *command = find(argv[1]);
    if (!command) {
        error_at(NO_LOC, "unknown command `%s`; `stagecc --help` lists them", argv[1]);
        return EXIT_INPUT;
    }
    Arena arena = {0};
    Args args = {0};
    bool done = false;
    int status = args_parse(&arena, command, argc - 1, argv + 1, &args, &done);
    if (!status && !done)
        status = command->run(&arena, &args);
    diag_reset();
    arena_release(&arena);
    return status;
}
