// stagecc launch and Slurm. A batch script is the same command without --slurm: within the allocation it takes the
// nodes, and reaches them by srun (control/remote.h).
#include "driver/launch.h"

#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef STAGECC_ZMQ

enum { MOST_NODES = 64, BEFORE_END_S = 120 };

// The nodes
// ------------------------------------------------------------------------------------------------

const Hosts *slurm_nodes(const Launcher *l)
{
    Arena *a = l->arena;
    const char *list = getenv("SLURM_JOB_NODELIST"), *tasks = getenv("SLURM_NTASKS_PER_NODE");
    const char *file = arena_printf(a, "%s/nodes", l->journal);
    int slots = 1;
    if (launch_journal(l))
        return NULL;
    if (process_run(
            (const char *const[]){"scontrol", "show", "hostnames", list ? list : "", NULL},
            file)) {
        error_at(NO_LOC, "`scontrol show hostnames %s` does not say which nodes there are",
                 list ? list : "");
        return NULL;
    }
    if (!whole_number("ntasks-per-node", tasks, MOST_NODES, &slots))
        return NULL;
    Hosts *nodes = hostfile_read(a, file);
    const char *backend = l->args->backend;
    for (int i = 0; nodes && i < nodes->n; i++) {
        nodes->items[i].slots = slots;
        nodes->items[i].cuda = backend && !strcmp(backend, "cuda");
    }
    return nodes;
}

// The batch script
// ------------------------------------------------------------------------------------------------

// This command line without what is Slurm's business.
static void put_command(Text *t, const Launcher *l)
{
    static const char *const not_there[] = {"slurm", "nodes", "dry-run"};
    const Args *args = l->args;
    text_puts(t, "exec ");
    text_put_word(t, own_executable(l->arena));
    text_puts(t, " launch ");
    text_put_word(t, args->operand);
    for (int i = 0; i < args->given.n; i++) {
        const Given *g = &args->given.items[i];
        bool skip = false;
        for (size_t k = 0; k < sizeof not_there / sizeof *not_there; k++)
            skip |= !strcmp(g->name, not_there[k]);
        if (skip)
            continue;
        text_printf(t, " --%s", g->name);
        if (g->value) {
            text_puts(t, " ");
            text_put_word(t, g->value);
        }
    }
    text_puts(t, "\n");
}

static void put_script(Text *t, const Launcher *l, int nodes)
{
    char cwd[4096] = ".";
    const Args *args = l->args;
    if (!getcwd(cwd, sizeof cwd))
        *cwd = 0;
    text_printf(
        t,
        "#!/bin/sh\n"
        "# Made by `stagecc launch --slurm`; `sbatch` takes it again as it is.\n"
        "#SBATCH --job-name=stagecc\n"
        "#SBATCH --nodes=%d\n"
        "#SBATCH --ntasks-per-node=1\n"
        "#SBATCH --output=%s/launch-%%j.log\n"
        "# Before its time is over the job gets SIGTERM: training ends behind the next steps,\n"
        "# and saves where --checkpoint says. What else stands here was given behind `--`.\n"
        "#SBATCH --signal=B:TERM@%d\n",
        nodes, l->journal, BEFORE_END_S);
    for (int i = 0; i < args->names.n; i++)
        text_printf(t, "#SBATCH %s\n", args->names.items[i]);
    text_puts(t, "\n# The master runs on the first node, a worker on every one.\ncd ");
    text_put_word(t, cwd);
    text_puts(t, " || exit 1\n");
    put_command(t, l);
}

static bool options_good(const Args *args)
{
    for (int i = 0; i < args->names.n; i++) {
        const char *option = args->names.items[i];
        if (*option == '-' && !strpbrk(option, "\n #"))
            continue;
        error_at(
            NO_LOC,
            "`%s` is no option of sbatch: behind `--` stand such as --time=2:00:00, each one "
            "word",
            option);
        return false;
    }
    return true;
}

int slurm_submit(Launcher *l)
{
    Text t = {0};
    int nodes = 2;
    const char *file = arena_printf(l->arena, "%s/launch.sbatch", l->journal);
    if (!whole_number("nodes", l->args->nodes, MOST_NODES, &nodes) || !options_good(l->args))
        return EXIT_INPUT;
    int status = launch_journal(l);
    if (status)
        return status;
    put_script(&t, l, nodes);
    bool good = !file_write(file, t.data, t.length);
    if (!good)
        error_at((Loc){file, 0, 0}, "cannot be written: %s", strerror(errno));
    text_release(&t);
    if (good && l->args->dry_run)
        printf("%s: written; `sbatch %s` submits it\n", file, file);
    if (!good || l->args->dry_run)
        return good ? EXIT_DONE : EXIT_ENVIRONMENT;
    if (!process_run((const char *const[]){"sbatch", file, NULL}, NULL))
        return EXIT_DONE;
    error_at(NO_LOC, "sbatch did not take %s", file);
    return EXIT_ENVIRONMENT;
}
#endif
