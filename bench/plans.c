// Plans of the public profiles by PipeDream's optimizer (pipedream_solve: its decisions) and by ours, both
// in the cost model `stagecc`. One JSON object a line for every profile, machines and variant; plans.py
// makes the tables. Nothing is measured but the time of planning.
//   plans [PROFILE]
#include "passes/planner/pipedream.h"
#include "tests/planner/profiles.h"

#include <dirent.h>
#include <time.h>

typedef struct Setting {
    int sizes[3];
    double bytes_per_s[3];
} Setting;

static const Setting settings[] = {
    {{2}, {1e9}},          {{3}, {1e9}},          {{4}, {1e9}},
    {{8}, {1e9}},          {{16}, {1e9}},         {{2}, {1e10}},
    {{3}, {1e10}},         {{4}, {1e10}},         {{8}, {1e10}},
    {{16}, {1e10}},        {{4, 2}, {1e10, 1e9}}, {{4, 4}, {1e10, 1e9}},
    {{8, 2}, {1e10, 1e9}}, {{2, 8}, {1e10, 1e9}}, {{4, 2, 2}, {1e10, 1e9, 1e8}},
};

typedef struct Variant {
    const char *name;
    double compression; // of the reference: 0 as it is, 1 to count transfers
    bool straight;
} Variant;

static const Variant variants[] = {
    {"transfers ignored", 0, false}, // the reference's default
    {"transfers counted", 1, false},
    {"straight", 1, true},
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void print_list(const char *key, const double *x, int n)
{
    printf(", \"%s\": [", key);
    for (int i = 0; i < n; i++)
        printf("%s%g", i ? ", " : "", x[i]);
    printf("]");
}

static void print_reference(Arena *a, const Problem *p, const Machines *m, const Variant *v)
{
    CostOptions own = {
        .model = "pipedream", .compression = v->compression, .straight = v->straight};
    CostOptions corrected = {
        .model = "stagecc", .straight = v->straight, .overlap = OVERLAP_TRANSFERS};
    PlanResult *r = pipedream_solve(a, p, m, &own);
    if (!r || !r->feasible) {
        printf(", \"reference_failed\": \"%s\"", r ? "no plan" : "too many cuts");
        return;
    }
    const char *why = planner_evaluate(a, p, m, &corrected, r->stages, r->n_stages);
    if (why) {
        fprintf(stderr, "the reference's plan: %s\n", why);
        exit(1);
    }
    double t = stages_time_s(r->stages, r->n_stages);
    printf(", \"reference_own_s\": %.12g, \"reference_s\": %.12g, \"reference_stages\": %d, "
           "\"reference_machines\": %d",
           r->pipeline_time_s, t, r->n_stages, r->machines_used);
}

static void print_row(const char *model, const Setting *s, const Variant *v)
{
    Arena a = {0};
    Problem *p = problem_named(&a, model);
    int levels = 0;
    double sizes[3] = {0};
    for (; levels < 3 && s->sizes[levels]; levels++)
        sizes[levels] = s->sizes[levels];
    Machines *m = machines_alike(&a, s->sizes, s->bytes_per_s, levels);
    printf("{\"model\": \"%s\", \"variant\": \"%s\"", model, v->name);
    print_list("machines", sizes, levels);
    print_list("bandwidths", s->bytes_per_s, levels);
    print_reference(&a, p, m, v);
    CostOptions o = {.model = "stagecc", .straight = v->straight, .overlap = OVERLAP_TRANSFERS};
    double begin = now_s();
    PlanResult *r = planner_solve(&a, p, m, &o);
    double planning = now_s() - begin;
    if (r->feasible)
        printf(", \"ours_s\": %.12g, \"lower_bound_s\": %.12g, \"exact\": %s, \"stages\": %d, "
               "\"machines_used\": %d, \"data_parallel_s\": %.12g, \"method\": \"%s\"",
               r->pipeline_time_s, r->lower_bound_s, r->exact ? "true" : "false", r->n_stages,
               r->machines_used, r->data_parallel_time_s, r->method);
    printf(", \"planning_s\": %.4f}\n", planning);
    fflush(stdout);
    arena_release(&a);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_profile(const struct dirent *e)
{
    return str_ends(e->d_name, ".graph.txt");
}

int main(int argc, char **argv)
{
    struct dirent **files;
    int n = profiles_at() ? scandir(profiles_at(), &files, is_profile, by_name) : -1;
    if (n < 0) {
        fprintf(stderr, "no public profiles beside the sources\n");
        return 77;
    }
    const int n_settings = sizeof settings / sizeof *settings;
    const int n_variants = sizeof variants / sizeof *variants;
    for (int i = 0; i < n; i++) {
        files[i]->d_name[strlen(files[i]->d_name) - strlen(".graph.txt")] = 0;
        if (argc > 1 && strcmp(argv[1], files[i]->d_name) != 0)
            continue;
        for (int s = 0; s < n_settings; s++)
            for (int v = 0; v < n_variants; v++)
                print_row(files[i]->d_name, &settings[s], &variants[v]);
    }
    return 0;
}
