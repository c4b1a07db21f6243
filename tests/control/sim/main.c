// Deterministic simulation of control's cores.
//   simulate_control SEED [-v]       one seed's story (-v: every line of it)
//   simulate_control FIRST COUNT     so many seeds; what one violates is shown with the end of its story
#include "tests/control/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static World world; // large

static void begin(World *w, uint64_t seed)
{
    Arena arena = w->arena;
    bool verbose = w->verbose, remember = w->remember;
    arena_reset(&arena);
    memset(w, 0, sizeof *w);
    w->arena = arena;
    w->verbose = verbose;
    w->remember = remember;
    w->random = seed;
    w->journal = arena_array(&w->arena, Record, MOST_RECORDS);
    w->story = arena_alloc(&w->arena, STORY_LINES * sizeof *w->story);
    w->n_hosts = (int)between(w, 3, MOST_HOSTS);
    w->min_workers = (uint32_t)between(w, 1, w->n_hosts - 1);
    w->most_ranks = (uint32_t)between(w, 2, 5);
    w->slots = (uint32_t)between(w, 1, 2);
    w->faults_wanted = (int)between(w, 24, 32);
    w->last_step = (uint64_t)between(w, 340, 400); // not over before the last fault
    w->lossy = chance(w, 60);
}

static void run_seed(World *w, uint64_t seed)
{
    begin(w, seed);
    story(w, "seed %llu: %d hosts, at least %u, %u ranks at most, %u slots, %d faults%s",
          (unsigned long long)seed, w->n_hosts, w->min_workers, w->most_ranks, w->slots,
          w->faults_wanted, w->lossy ? ", more than is survived" : "");
    oracle_ran(w, 0, 0, value_of(0, 0, 0), 0);
    start_master(w);
    for (int i = 0; i < w->n_hosts; i++)
        if (i < (int)w->min_workers || chance(w, 700))
            start_worker(w, i);
    plan_faults(w);
    run_world(w);
    if (!w->violation && !w->lost && w->committed != w->last_step)
        violated(w, "training has ended behind step %d of %d", (int)w->committed,
                 (int)w->last_step);
    story(w, "the end: step %d of %d, epoch %d, %d faults%s", (int)w->committed,
          (int)w->last_step, (int)w->epochs, w->faults, w->lost ? ", state lost" : "");
}

static void show_worker(World *w, int host)
{
    static const char *const phases[] = {"stopped", "prepares", "ready", "runs"};
    const Process *p = &w->processes[host];
    const Worker *c = &p->core;
    printf("w%d %s in epoch %d, committed %d; says (step, made, parts)", host,
           p->alive ? phases[c->phase] : "is dead", (int)c->epoch.number, (int)c->committed);
    for (uint32_t i = 0; i < c->n_held; i++)
        printf(" (%d, %d, %x)", (int)c->held[i].step, (int)c->held[i].made,
               (unsigned)c->held[i].parts);
    printf("; has (part, step, made)");
    for (uint32_t part = 0; part < PARTS; part++)
        for (int i = 0; i < 2 + BLOCKS; i++) {
            const State *s = i < 2 ? &p->images[part][i] : &p->blocks[part][i - 2];
            if (s->there)
                printf(" (%u, %d, %d)", part, (int)s->step, (int)s->made);
        }
    puts("");
}

static void show_violation(World *w, uint64_t seed)
{
    w->remember = true;
    run_seed(w, seed); // the same again
    long first = w->n_story > STORY_LINES ? w->n_story - STORY_LINES : 0;
    for (long i = first; i < w->n_story; i++)
        puts(w->story[i % STORY_LINES]);
    w->remember = false;
    for (int i = 0; i < w->n_hosts; i++)
        show_worker(w, i);
    printf("seed %llu: %s\n", (unsigned long long)seed,
           w->violation ? w->violation : "nothing is violated");
}

static int run_many(World *w, uint64_t first, uint64_t count)
{
    int bad = 0, least = 1 << 30, lost = 0;
    int64_t faults = 0, epochs = 0, steps = 0;
    double simulated = 0;
    clock_t begun = clock();
    uint64_t seed = first;
    for (; seed < first + count && bad < 5; seed++) {
        run_seed(w, seed);
        faults += w->faults;
        least = w->faults < least ? w->faults : least;
        epochs += (int64_t)w->epochs;
        steps += (int64_t)w->committed;
        lost += w->lost;
        simulated += (double)w->now / (double)SECOND;
        bad += w->violation != NULL;
        if (w->violation)
            show_violation(w, seed);
    }
    printf("%llu seeds: %lld faults, at least %d each; %lld epochs, %lld steps, %d states lost "
           "(on purpose), %.0f simulated s in %.1f s of processor\n",
           (unsigned long long)(seed - first), (long long)faults, least, (long long)epochs,
           (long long)steps, lost, simulated, (double)(clock() - begun) / CLOCKS_PER_SEC);
    return bad || least < 20;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "simulate_control SEED [-v] | FIRST COUNT\n");
        return 1;
    }
    uint64_t seed = strtoull(argv[1], NULL, 10);
    world.verbose = argc > 2 && !strcmp(argv[2], "-v");
    int status;
    if (argc > 2 && !world.verbose) {
        status = run_many(&world, seed, strtoull(argv[2], NULL, 10));
    } else if (world.verbose) {
        run_seed(&world, seed);
        status = world.violation != NULL;
    } else {
        show_violation(&world, seed);
        status = world.violation != NULL;
    }
    arena_release(&world.arena);
    return status;
}
