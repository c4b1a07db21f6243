// A world for control's cores in one process: clock, network, disk, processes and programs, all drawn from one seed, so that a
// seed replays exactly. What happens is an Event in a queue; nothing else moves time.
#ifndef STAGECC_TESTS_CONTROL_SIM_WORLD_H
#define STAGECC_TESTS_CONTROL_SIM_WORLD_H

#include "base/arena.h"
#include "control/master_core.h"
#include "control/worker_core.h"

#define MS INT64_C(1000000) // in ns, like all times
#define SECOND (1000 * MS)

enum {
    MOST_HOSTS = 6,
    MASTER = MOST_HOSTS, // its number among the processes
    N_PROCESSES,
    PARTS = 8,
    MOST_RECORDS = 1000,
    STORY_LINES = 60,
    BLOCKS = 4, // of memory for other states of a part
};

typedef struct World World;
typedef struct Event Event;
typedef void Happen(World *w, const Event *e);

struct Event {
    int64_t at;
    uint64_t order; // of those at one time
    Happen *happen;
    Happen *lost;  // instead, where its process has died
    int process;   // that it happens to; -1: the world
    uint32_t life; // of that process
    int from;
    uint32_t rank, part, connection;
    uint64_t epoch, step, made, value;
    uint64_t values[PARTS];
    const void *frame;
    size_t bytes;
};

typedef struct State { // in memory: what a worker really has
    bool there;
    uint64_t step, made, value;
} State;

typedef enum Stage { AT_BEGIN, IN_FORWARD, AFTER_FORWARD, IN_BACKWARD, AT_UPDATE } Stage;

typedef struct Program {
    bool there, listens, runs;
    uint32_t number; // another one for each start
    Stage stage;
    uint64_t epoch;
    uint64_t step, value;            // behind which it is; what all programs have there
    uint64_t begin, update;          // limits
    uint64_t last;                   // the step to end behind, as it knows
    uint64_t forward_in, forward_of; // step, value of the newest message
    uint64_t backward_in, backward_of;
    uint64_t wanted; // parts that are still on their way
    int64_t stands_until;
} Program;

typedef struct Process {
    bool alive;
    uint32_t life;
    int64_t stands_until; // stopped, as by SIGSTOP
    int64_t slow_until;
    int dies_in; // so many actions of its core; 0: does not
    // Of a worker
    Worker core;
    uint32_t connection; // that it believes in; 0: none
    int64_t connected_at;
    State images[PARTS][2]; // where its program works, or worked: it writes over the older one
    State blocks[PARTS][BLOCKS]; // snapshots, and copies of what others own
    Program programs[MOST_RANKS];
} Process;

typedef struct Link { // of a worker with the master
    bool up;
    uint32_t connection; // the newest
    uint32_t masters;    // that the master believes in
    int64_t last[2];     // delivered, to worker and to master
    int64_t cut_until;
} Link;

typedef struct Label {
    uint64_t step, made, value, before; // value: of the state that it comes of
    uint64_t had[PARTS];                // workers that have ever had it
} Label;

struct World {
    uint64_t random;
    int64_t now;
    Arena arena;
    Event **queue; // a heap
    int n_queue, queue_room;
    uint64_t order;
    Event *unused;
    // Processes and what is between them
    int n_hosts;
    Process processes[N_PROCESSES];
    Master master;
    Record *journal; // [MOST_RECORDS]
    int n_journal, n_synced;
    Link links[MOST_HOSTS];
    int64_t data_cut_until[MOST_HOSTS][MOST_HOSTS], data_last[MOST_HOSTS][MOST_HOSTS];
    int64_t slow_network_until, slow_disk_until;
    uint32_t plan, most_ranks, min_workers, slots, copy_every;
    uint64_t last_step;
    bool cut; // it was brought forward, by command
    // Faults
    int faults, faults_wanted;
    uint64_t fault_at; // not before so many steps are committed, or
    int64_t fault_by;  // it is that late
    bool lossy;        // more than is promised to be survived
    int64_t healed_at; // 0: not yet
    bool ended;
    // Oracle
    Label labels[2000];
    int n_labels, n_seen; // records
    uint64_t committed, committed_made, epochs;
    uint64_t ran,
        ran_made; // the newest step that was ended, by the newest epoch that has ended one
    int64_t committed_at, epoch_at;
    bool lost; // a committed state, in a lossy world
    const char *violation;
    char violation_text[200];
    // Story
    bool verbose, remember;
    char (*story)[160];
    long n_story;
};

// world.c: time, chance, story
uint64_t draw(World *w);
int64_t between(World *w, int64_t least, int64_t most);
bool chance(World *w, int per_mille);
Event *happen_in(World *w, int64_t ns, Happen *happen, int process);
void story(World *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void run_world(World *w);

// network.c: the control connections, and data between workers
void send_to_master(World *w, int host, const Message *m);
void send_to_worker(World *w, int host, const Message *m);
void connect_soon(World *w, int host);
void cut_link(World *w, int host, int64_t most_unnoticed_ns);
void send_data(World *w, Event *data, int from);

// master_process.c, worker_process.c, program.c
void start_master(World *w);
void kill_master(World *w);
void tell_master(World *w, const MasterEvent *event);
void start_worker(World *w, int host);
void kill_worker(World *w, int host);
void tell_worker(World *w, int host, const WorkerEvent *event);
const State *find_state(const Process *p, uint32_t part, uint64_t step, uint64_t made);
void begin_image(World *w, int host, uint32_t part, const State *state); // with this state
void write_image(World *w, int host, uint32_t part, const State *state); // behind a step
void prepare_program(World *w, int host, uint32_t rank);
void drop_programs(World *w, int host);
void wake_program(World *w, int host, uint32_t rank);
void limit_programs(World *w, int host, const WorkerAction *limit);
void end_program(World *w, int host, uint32_t rank, int64_t in_ns, const char *why);
bool find_program(World *w, int *host, uint32_t *rank); // any that runs

// faults.c
void plan_faults(World *w);
PlanAnswer sim_planner(void *user, const PlanMember *members, uint32_t n, const Epoch *now,
                       Epoch *e);

// oracle.c
uint64_t value_of(uint64_t before, uint64_t step, uint64_t made); // of a state behind a step
uint64_t part_value(uint64_t value, uint32_t part);
void violated(World *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
Label *label_of(World *w, uint64_t step, uint64_t made); // NULL: nobody has run that
void oracle_ran(World *w, uint64_t step, uint64_t made, uint64_t value, uint64_t before);
void oracle_saved(World *w, int host, uint32_t part, const State *state);
void oracle_appended(World *w, const Record *r);
void oracle_durable(World *w, const Record *r);
void oracle_told(World *w, int host, const Message *m);
void oracle_accepts(World *w, const Event *e, const Program *p);
void oracle_changes(World *w); // the plan, at the end of an epoch that was meant
void oracle_look(World *w, int process);
bool survivable(World *w, int host); // would its end leave the committed state with others?

#endif
