// Command lines by table: driver/args.def and plan/options.def give the rows, getopt_long does the
// parsing, the groups of driver/commands.def say which rows a command knows.
#include "driver/driver.h"

#include "base/text.h"

#include <getopt.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum ArgKind { FLAG, TEXT, LIST, COUNTS, RATES, BYTES, RATIO, DIMS } ArgKind;

static const struct Row {
    ArgKind kind;
    size_t offset;
    const char *name;
    int letter, groups;
    const char *meaning;
} rows[] = {
#define ARG(kind, field, name, letter, groups, meaning)                                        \
    {kind, offsetof(Args, field), name, letter, groups, meaning},
#include "driver/args.def"
};

enum { N_ROWS = sizeof rows / sizeof *rows, MAX_LONG = 128, FIRST_OPTION = 1000, HELP = 2000 };

// plan/options.def belongs to every command that reads a model; `run` passes on the few that
// programs know.
static bool option_belongs(const CommandInfo *c, const char *name)
{
    return c->groups & MODEL ||
           (c->groups & RUN && (!strcmp(name, "lr") || !strcmp(name, "seed")));
}

static int make_long_options(const CommandInfo *c, struct option *out, char *letters)
{
    int n = 0;
    *letters++ = ':';
    for (int i = 0; i < N_ROWS; i++) {
        if (!(rows[i].groups & c->groups))
            continue;
        out[n++] = (struct option){rows[i].name, rows[i].kind != FLAG, NULL, i + 256};
        if (rows[i].letter) {
            *letters++ = (char)rows[i].letter;
            if (rows[i].kind != FLAG)
                *letters++ = ':';
        }
    }
    for (int i = 0; option_name(i); i++)
        if (option_belongs(c, option_name(i)))
            out[n++] = (struct option){option_name(i), 1, NULL, FIRST_OPTION + i};
    out[n++] = (struct option){"help", 0, NULL, HELP};
    out[n] = (struct option){0};
    *letters = 0;
    return n;
}

static void help(const CommandInfo *c)
{
    printf("usage: stagecc %s [OPTIONS] %s\n\n%s.\n\n", c->name, c->operand, c->meaning);
    printf("example:\n  %s\n\noptions:\n", c->example);
    for (int i = 0; i < N_ROWS; i++)
        if (rows[i].groups & c->groups && *rows[i].meaning) {
            if (rows[i].letter)
                printf("  -%c, --%-18s %s\n", rows[i].letter, rows[i].name, rows[i].meaning);
            else
                printf("      --%-18s %s\n", rows[i].name, rows[i].meaning);
        }
    Options fallback = options_default();
    char value[64];
    for (int i = 0; option_name(i); i++)
        if (option_belongs(c, option_name(i)))
            printf("      --%-18s %s [%s]\n", option_name(i), option_meaning(i),
                   option_value(&fallback, i, value));
}

static bool set_row(Arena *a, Args *args, const struct Row *r, const char *value)
{
    void *field = (char *)args + r->offset;
    switch (r->kind) {
    case FLAG: *(bool *)field = true; return true;
    case TEXT: *(const char **)field = value; return true;
    case LIST: vec_push(a, (__typeof__(&args->defines))field, value); return true;
    case COUNTS: return counts_add(a, r->name, value, field);
    case RATES: return rates_add(a, r->name, value, field);
    case BYTES: return bytes_value(r->name, value, field);
    case RATIO: return ratio_value(r->name, value, field);
    case DIMS: return dims_value(r->name, value, field);
    }
    return false;
}

static const struct Row *row_of_letter(const CommandInfo *c, int letter)
{
    for (int i = 0; i < N_ROWS; i++)
        if (rows[i].letter == letter && rows[i].groups & c->groups)
            return &rows[i];
    return NULL;
}

static bool set_option(Args *args, int index, const char *value)
{
    const char *name = option_name(index);
    if (!strcmp(name, "lr"))
        args->lr = value;
    if (!strcmp(name, "seed"))
        args->seed = value;
    return options_set(&args->options, name, value, FROM_COMMAND_LINE, NO_LOC);
}

static const char *quoted_line(Arena *a, int argc, char **argv)
{
    Text line = {0};
    text_puts(&line, "stagecc");
    for (int i = 0; i < argc; i++) {
        text_puts(&line, " ");
        text_put_word(&line, argv[i]);
    }
    const char *kept = arena_strdup(a, line.data);
    text_release(&line);
    return kept;
}

// `-n 4 4 -b 1e10 1e9`: the numbers behind the first value belong to it, as for argparse's nargs="+".
// An option that is given again begins anew.
static bool set_list(Arena *a, Args *args, const struct Row *r, int argc, char **argv)
{
    void *field = (char *)args + r->offset;
    if (r->kind == COUNTS)
        *(Counts *)field = (Counts){0};
    else
        *(Rates *)field = (Rates){0};
    bool good = set_row(a, args, r, optarg);
    while (optind < argc && looks_like_number(argv[optind]))
        good = good && set_row(a, args, r, argv[optind]), optind++;
    return good;
}

static bool take(Arena *a, const CommandInfo *c, int got, Args *args, int argc, char **argv)
{
    if (got == '?' || got == ':') {
        const char *what = argv[optind - 1];
        if (got == ':')
            error_at(NO_LOC, "%s takes a value; `stagecc %s --help` shows it", what, c->name);
        else
            error_at(NO_LOC,
                     "stagecc %s does not know `%s`; `stagecc %s --help` lists its options",
                     c->name, what, c->name);
        return false;
    }
    if (got >= FIRST_OPTION) {
        vec_push(a, &args->given, ((Given){option_name(got - FIRST_OPTION), optarg, MODEL}));
        return set_option(args, got - FIRST_OPTION, optarg);
    }
    const struct Row *r = got >= 256 ? &rows[got - 256] : row_of_letter(c, got);
    vec_push(a, &args->given, ((Given){r->name, r->kind == FLAG ? NULL : optarg, r->groups}));
    return r->kind == COUNTS || r->kind == RATES ? set_list(a, args, r, argc, argv)
                                                 : set_row(a, args, r, optarg);
}

static bool set_operand(Arena *a, const CommandInfo *c, int n, char **operands, Args *args)
{
    if (str_ends(c->operand, " ...]")) { // any number, behind the first where that is no `[`
        int first = *c->operand != '[';
        for (int i = first; i < n; i++)
            vec_push(a, &args->names, operands[i]);
        if (!first)
            return true;
        n = n > 1 ? 1 : n;
    }
    n += args->operand != NULL; // -f FILE
    if (!*c->operand && n) {
        error_at(NO_LOC, "stagecc %s takes options only, not `%s`", c->name, *operands);
        return false;
    }
    if (*c->operand && n != 1) {
        error_at(NO_LOC,
                 n ? "stagecc %s takes one %s; `stagecc %s --help` has an example"
                   : "stagecc %s needs a %s; `stagecc %s --help` has an example",
                 c->name, c->operand, c->name);
        return false;
    }
    if (n && !args->operand)
        args->operand = *operands;
    return true;
}

int args_parse(Arena *a, const CommandInfo *command, int argc, char **argv, Args *args,
               bool *done)
{
    struct option long_options[MAX_LONG];
    char letters[64];
    make_long_options(command, long_options, letters);
    args->options = options_default();
    args->command = command->name;
    args->line = quoted_line(a, argc, argv);
    bool good = true;
    opterr = 0;
    optind = 1;
    for (int got; (got = getopt_long(argc, argv, letters, long_options, NULL)) != -1;) {
        if (got == HELP) {
            help(command);
            *done = true;
            return EXIT_DONE;
        }
        good &= take(a, command, got, args, argc, argv);
    }
    if (args->list_passes || args->list_ops || args->list_schedules)
        return good ? EXIT_DONE : EXIT_INPUT;
    good = set_operand(a, command, argc - optind, argv + optind, args) && good;
    return good && args_agree(a, command, args) ? EXIT_DONE : EXIT_INPUT;
}
