// The driver: the only room that sees all others. One file per subcommand.
#ifndef STAGECC_DRIVER_DRIVER_H
#define STAGECC_DRIVER_DRIVER_H

#include "base/arena.h"
#include "base/vec.h"
#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "frontend/profile/profile.h"
#include "passes/pass.h"
#include "plan/devices.h"
#include "plan/options.h"

#include <jansson.h>
#include <stdio.h>
#include <sys/types.h>

enum ArgGroup {
    MODEL = 1,
    PASSES = 2,
    TARGET = 4,
    CUT = 8,
    OUT = 16,
    REPORT = 32,
    RUN = 64,
    PLANNER = 128,
    SIMULATE = 256,
    HOSTS = 512,
    GRAPH = 1024,
    EMIT = 2048,
    DEPLOY = 4096,
    MACHINES = 8192, // -n counts machines: replicas are chosen
    KEYS = 16384,
    SERVE = 32768, // a master
    ASK = 65536,   // of one
    WORKER = 131072,
    LAUNCH = 262144
};

typedef VEC(int64_t) Counts;
typedef VEC(double) Rates;

typedef struct Given {        // an option of the command line
    const char *name, *value; // NULL: it has none
    int groups;
} Given;

typedef struct Args {
    const char *command; // "check"
    VEC(Given) given;    // all of them, in order
    const char *line;    // the whole command line, quoted as a shell needs it
    const char *operand; // MODEL, GRAPH or DIR
    Options options;
    VEC(const char *) defines, includes;
    const char *passes, *stop_after, *dump_after, *emit;
    bool time_passes, list_passes, list_ops, list_schedules;
    const char *backend, *architectures;
    Counts machines;      // -n, innermost level first; their product is at most 1 << 20
    Rates bandwidths;     // -b of `plan`, one for each of machines: 1e9 where there is no -b
    bool has_bandwidth;   // -b was given
    int64_t stages;       // product of machines; 0: no -n
    int64_t memory_bytes; // -s; 0: no limit
    const char *ranks, *plan, *profile, *out, *parts;
    const char *cost_model, *overlap; // one of their choices (driver/args_value.c)
    const char *devices;              // FILE; NULL: machines are alike
    double compression, rehearse;     // 0: not given
    bool choose_replicas;             // of the command, and nobody wants a straight pipeline
    bool straight, memory_constraint, fewer_machines, explain;
    VEC(const char *) pins, together, no_cut; // shell patterns
    bool no_svg, json, dry_run, eval_only;
    const char *data, *test_data, *steps, *epochs, *init, *resume, *checkpoint,
        *checkpoint_every;
    const char *eval_every, *random_shift, *log_json, *trace;
    const char *state, *restarts;
    const char *sim_micro_batches, *cores, *svg; // of simulate
    const char *hostfile, *model; // hostfile: also of run and deploy; model: of devices
    VEC(const char *) names;      // operands of keygen; of launch those behind `--`
    const char *workers;          // of keygen and master
    const char *listen, *journal, *page, *copy_every; // of master
    int listening_fd;                 // of master: where it says its endpoint; 0: nowhere
    const char *master, *key, *drain; // of status, rescale and worker; key: of master, too
    bool watch, stop;                 // of status; of rescale
    bool replace;
    const char *slots, *device, *dir, *name, *give_up; // of worker
    bool tied;                                         // likewise
    const char *nodes;                                 // of launch
    bool slurm;                                        // likewise
    Shape input;                                       // of a profiled graph; rank 0: not given
    const char *lr, *seed; // also passed on to programs when given on the command line
} Args;

typedef struct CommandInfo {
    const char *name, *operand, *meaning, *example;
    int groups;
    int (*run)(Arena *a, Args *args); // exit status
} CommandInfo;
extern const CommandInfo command_info[];
extern const int n_commands;

// driver/args.c: 0, or the exit status after the message was printed; *done: help was asked for.
int args_parse(Arena *a, const CommandInfo *command, int argc, char **argv, Args *args,
               bool *done);

// driver/args_value.c: values of the command line; false: reported with the option's name.
bool counts_add(Arena *a, const char *option, const char *text, Counts *out); // "4", "4,4"
// NULL leaves *out as it is.
bool whole_number(const char *option, const char *text, int most, int *out);
bool rates_add(Arena *a, const char *option, const char *text, Rates *out); // "1e10", "10G,1G"
bool bytes_value(const char *option, const char *text, int64_t *out);       // "1e9", "16G"
bool ratio_value(const char *option, const char *text, double *out);
bool dims_value(const char *option, const char *text, Shape *out); // "3x224x224"
bool looks_like_number(const char *text); // what follows -n 4 or -b 1e9 as one more value
bool args_agree(Arena *a, const CommandInfo *command,
                Args *args); // fills what follows of others

// driver/toolchain.c: where headers and libraries of this stagecc are (build tree or prefix), and
// what compiles stage programs.
typedef struct Toolchain {
    const char *cc, *include_dir, *lib_dir;
    const char *links, *host; // the programs stagecc-links and stagecc-host
    const char *card;         // stagecc-card, which may be missing
    const char *nvcc, *cxx;   // for kernels: of a device, of this processor; NULL: not here
    const char *cuda_lib_dir; // of libcudart_static.a; NULL: where the linker looks in any case
    bool emulated;            // STAGECC_CUDA=emulated: kernels are to be for this processor
    bool has_c_backend;
} Toolchain;
Toolchain toolchain_find(Arena *a);
// driver/kernel_tools.c: fills in nvcc, cxx, cuda_lib_dir and emulated.
void kernel_tools_find(Arena *a, Toolchain *t);
// Is there what compiles the kernels of this backend, if it has any? 0, or an exit status after it was said what is
// missing.
int kernel_tools_check(const Toolchain *t, const Backend *backend);
const char *own_executable(Arena *a); // its path
CodegenPaths toolchain_paths(const Toolchain *t, const Args *args);
// Compile the sources of all stages in dir, side by side. 0, or an exit status after the compiler's own output
// was shown.
int toolchain_build(Arena *a, const Plan *plan, const Backend *backend,
                    const CodegenPaths *paths, const char *dir);
// driver/process.c. A program in a process group of its own, which ends with the command; its stderr is ours. cpu_s:
// killed after so many seconds of computing; 0: no limit.
pid_t process_start(const char *const *argv, const char *stdout_file, unsigned cpu_s);
int process_wait(
    pid_t pid); // exit status as a shell's; EXIT_INTERRUPTED: the command handles it
// Run a program and wait.
int process_run(const char *const *argv, const char *stdout_file);
// Likewise, n programs at once; the first status that is not 0.
int process_run_all(const char *const *const *argv, int n, const char *stdout_file);
void draw_svg(const char *dot_file,
              const char *svg_file); // by `dot`; a warning when it is missing

// driver/compile.c: from files to a planned graph, as check, plan, build and train share it.
typedef struct Job {
    Arena *arena, scratch;
    Args *args;
    const Backend *backend; // of all stages but those that have one of their own
    bool mixed;             // by their devices stages have several
    Graph *graph;
    uint64_t graph_hash; // as it was read
    Plan plan;
    const Plan *stored;           // --plan DIR; NULL: none
    bool profiled;                // the operand is a profiled graph
    const NodeStage *node_stages; // of it, by a plan; n_node_stages, 0: none
    int n_node_stages;
    const Devices *devices; // --devices FILE; NULL: none
    Compile compile;
    const char *kernels; // kernels.json of this machine; NULL: bounds are used
    const char *
        kernel_plans; // what a device's library made of them, which programs find beside them; NULL, or not there
    bool recompute_chosen;
} Job;
// The text of args->operand. NULL: reported.
const char *operand_read(Arena *a, const Args *args);
// Read the stored plan, whose options stand where the command line says nothing; read args->operand,
// apply TRAIN settings. 0 or exit status (reported).
int job_load(Job *j, Arena *a, Args *args);
// This processor's instruction set as plans name it; those of bf16 only where that is asked for.
const char *native_isa(bool bf16);
// Run the passes for this many stages (0: no plan). 0 or exit status.
int job_compile(Job *j, int stages);
void job_release(Job *j);
// driver/choose.c: what `auto` in the options of a job that was loaded stands for. The number of stages becomes that
// of machines where the schedule has one on each. 0 or exit status.
int choose_schedule(Job *j, int *stages);
void choose_recompute(Job *j, int stages);
const char *job_dir(const Job *j, const char *fallback); // args->out, made if absent

// driver/measure.c: what the generated code of this model takes on this machine. Exit status.
int measure(Job *j, const char *dir); // into dir/kernels.json and dir/times.json, and loaded
int measured_load(Job *j, const char *dir); // what `measure` left there

// driver/profile_graph.c: a model's layers as graph.txt, with the times that were measured and, in a
// plan of several stages, the stage of each.
Profile *profile_of_graph(Arena *a, const Graph *g, const Compile *c);

// driver/graph_file.c: plan of a profiled graph (graph.txt), and what it holds.
bool graph_file_given(const Args *args); // told by the operand's content
int graph_file_summary(Arena *a, const Args *args, const Graph *model); // of `check`
int graph_file_print(Arena *a, const Args *args);                       // --emit=graph
int graph_file_plan(Arena *a, const Args *args);

// driver/report.c: files and tables that people look at. Exit status.
void report_plan_table(Text *out, const Plan *plan);
int report_write(const char *path, Text *t); // the text is released
int report_write_plan(
    const Job *j,
    const char *dir); // plan.json origin.json listing.txt gpus=N.txt gpus=N.dot gpus=N.svg
int report_write_profile(const Job *j, const char *dir); // graph.txt graph.dot graph.svg

// driver/listing.c: every line of the model's source with the stage and cost of the layers it makes.
void listing(Text *out, const Job *j);
// driver/explain_model.c: why this cut, and other plans. Sets j->plan.explain (JSON); the same as text into out.
void explain_model(Job *j, Text *out);

// driver/run.c: start the programs of dir (made for this plan) with the RUN options.
int run_programs(const Plan *plan, const char *dir, const Args *args);
// What programs are told of them: [*n].
const char *const *program_options(Arena *a, const Args *args, int *n);
// driver/run_log.c: --log-json and --json of what programs report.
typedef struct RunLog {
    const char *name; // of --log-json; NULL: none
    FILE *file;
    bool show_json;          // --json: the last line on stdout
    json_t *result;          // of the event "done"
    bool goes_on;            // behind what is there: what comes again is left out
    int64_t step, evaluated; // the last ones that are in it
} RunLog;
int run_log_open(RunLog *log, const Args *args,
                 bool go_on); // exit status; behind what is there, or anew
void run_log_event(void *log, int rank, const json_t *event); // Launch.event
int run_log_close(RunLog *log, int status); // status, or what became of writing
// driver/hosts.c: the hosts of --hostfile that have something to do, and which stage each runs.
typedef struct Placement {
    const struct HubPlace *places; // [n]
    int n;
    int *place_of; // [n_ranks], index of places
    int *cards;    // [n_ranks], Launch.cards
} Placement;
// Exit status (reported). The programs of dir must have been deployed to hosts other than this one.
int hosts_place(Arena *a, const Plan *plan, const char *dir, const char *hostfile,
                Placement *out);
struct Hosts;
// Which of them, and which of its CUDA devices (Launch.cards): [n_ranks]. Exit status (reported).
int hosts_choose(Arena *a, const Plan *plan, const char *hostfile, const struct Hosts **out,
                 int **host_of, int **cards);
// The bundle's manifest in dir, and its name on hosts: the beginning of the manifest's SHA-256.
const char *hosts_manifest(Arena *a, const char *dir);
// The SHA-256 of a file as 64 hexadecimal digits; NULL: it cannot be read.
const char *hosts_sha256(Arena *a, const char *file);
// driver/keygen.c: keys in dir for a master and these workers, where they have none. Exit status (reported).
int keygen_missing(Arena *a, const char *dir, const char *const *names, int n);
// driver/master.c: does the command line have what a master needs, whatever lies on the disk? false: reported.
bool master_asked_well(const Args *args);
// driver/build.c: sources and executables of a planned job into dir.
int build_programs(Job *j, const char *dir);
// How many stages the command line asks for: -n, --stage_to_num_ranks or --plan; else those of a profiled
// graph's stage_ids; else fallback. Of -n and devices machines, where replicas are chosen.
int stages_wanted(Job *j, int fallback, int *stages);

#define COMMAND(name, groups, operand, meaning, example)                                       \
    int command_##name(Arena *a, Args *args);
#define COMMAND_AS(name, spelled, ...) int command_##name(Arena *a, Args *args);
#include "driver/commands.def"

#endif
