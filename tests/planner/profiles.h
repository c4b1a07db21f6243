// Public profiles as problems, and the reference's command lines as machines and options. The files are
// not part of the project: profiles_at() is NULL where they are absent.
#ifndef STAGECC_TESTS_PROFILES_H
#define STAGECC_TESTS_PROFILES_H

#include "base/text.h"
#include "frontend/profile/profile.h"
#include "passes/planner/planner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static inline const char *profiles_at(void)
{
    static const char *const place[] = {SOURCE_DIR "/../shared/data/profiles"};
    return access(place[0], R_OK) ? NULL : place[0];
}

static inline Problem *problem_of_profile(Arena *a, const Profile *profile)
{
    Problem *p = arena_new(a, Problem);
    p->n = p->n_tensors = profile->nodes.n;
    p->n_profiles = 1;
    p->nodes = arena_array(a, ProblemNode, p->n + 1);
    p->tensors = arena_array(a, ProblemTensor, p->n + 1);
    for (int i = 0; i < p->n; i++) {
        const ProfileNode *n = &profile->nodes.items[i];
        p->nodes[i] = (ProblemNode){.name = n->id,
                                    .kind = n->description,
                                    .forward_s = {n->forward_ms / 1000},
                                    .backward_s = {n->backward_ms / 1000},
                                    .parameter_bytes = n->parameter_bytes,
                                    .activation_bytes = n->activation_bytes};
        p->tensors[i] = (ProblemTensor){.producer = i, .bytes = n->activation_bytes};
    }
    for (int i = 0; i < profile->edges.n; i++)
        p->tensors[profile->edges.items[i].from].n_users++;
    for (int i = 0; i < p->n; i++) {
        p->tensors[i].users = arena_array(a, int, p->tensors[i].n_users + 1);
        p->tensors[i].n_users = 0;
    }
    for (int i = 0; i < profile->edges.n; i++) {
        ProblemTensor *t = &p->tensors[profile->edges.items[i].from];
        bool known = false;
        for (int u = 0; u < t->n_users; u++)
            known |= t->users[u] == profile->edges.items[i].to;
        if (!known)
            t->users[t->n_users++] = profile->edges.items[i].to;
    }
    return p;
}

// Without nodes that read data, as `stagecc plan` sees a graph.
static inline Profile *profile_planned(Arena *a, const Profile *profile)
{
    Profile *kept = arena_new(a, Profile);
    int *at = arena_array(a, int, profile->nodes.n + 1);
    for (int i = 0; i < profile->nodes.n; i++) {
        at[i] = str_starts(profile->nodes.items[i].description, "Input") ? -1 : kept->nodes.n;
        if (at[i] >= 0)
            vec_push(a, &kept->nodes, profile->nodes.items[i]);
    }
    for (int i = 0; i < profile->edges.n; i++) {
        ProfileEdge e = profile->edges.items[i];
        e.from = at[e.from];
        e.to = at[e.to];
        if (e.from >= 0 && e.to >= 0)
            vec_push(a, &kept->edges, e);
    }
    return kept;
}

static inline Problem *problem_named(Arena *a, const char *model)
{
    const char *path = arena_printf(a, "%s/%s.graph.txt", profiles_at(), model);
    char *text = file_read(path, NULL);
    Profile *profile = text ? profile_read(a, path, text) : NULL;
    free(text);
    return profile ? problem_of_profile(a, profile_planned(a, profile)) : NULL;
}

static inline Machines *machines_of(Arena *a, const int *sizes, const double *bytes_per_s,
                                    int levels)
{
    Machines *m = arena_new(a, Machines);
    m->n = 1;
    m->n_levels = levels;
    for (int i = 0; i < levels; i++) {
        m->levels[i] = (MachineLevel){.size = sizes[i], .bytes_per_s = bytes_per_s[i]};
        m->n *= sizes[i];
    }
    m->n_types = 1;
    m->types = arena_new(a, MachineType);
    m->types[0].speed = 1;
    m->type = arena_array(a, int, m->n);
    return m;
}

// "-n 4 2 -b 1e10 1e9 --straight_pipeline ...". Without -b all levels have 1e9 (the reference's
// default, of which it has one, so that it fails with two levels).
static inline Machines *machines_of_args(Arena *a, const char *args, CostOptions *o)
{
    int sizes[MAX_LEVELS], n = 0, n_b = 0;
    double b[MAX_LEVELS], memory = 16e9;
    bool limit = false;
    char option = 0, *copy = arena_strdup(a, args), *save = NULL;
    *o = (CostOptions){.model = "pipedream", .schedule = "1f1b"};
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        o->straight |= !strcmp(w, "--straight_pipeline");
        o->fewer |= !strcmp(w, "--use_fewer_machines");
        limit |= !strcmp(w, "--use_memory_constraint");
        if (*w == '-') {
            option = w[1] == '-' ? w[2] : w[1];
            continue;
        }
        double x = strtod(w, NULL);
        if (option == 'n')
            sizes[n++] = (int)x;
        else if (option == 'b')
            b[n_b++] = x;
        else if (option == 's')
            memory = x;
        else
            o->compression = x;
    }
    while (n_b < n)
        b[n_b++] = 1e9;
    o->memory_bytes = limit ? memory : 0;
    return machines_of(a, sizes, b, n);
}

#endif
