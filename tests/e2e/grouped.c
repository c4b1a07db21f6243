// What replicated stages must compute, in one process: the program of one stage trains with the micro-batches
// of a step in groups. A tensor of a stage with m replicas is added up in m groups, micro-batch mb in group
// mb mod m, and the groups in ascending order; running statistics are averaged over them. Only the kernels
// and the reading of data are the runtime's.
#define main stage_main
#include PROGRAM
#undef main

#include "runtime/loop.h"
#include "runtime/lr.h"
#include "runtime/norm.h"
#include "runtime/report.h"
#include "runtime/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 8 };
static uint8_t *begin, *after[MOST + 1][MOST]; // persistent memory: before a step; [m][group]
static int groups[4096];                       // of every tensor
static bool wanted[MOST + 1];

// Lines of a tensor's name and m; 1 for all that are not there.
static void read_groups(const char *file)
{
    char name[512];
    int m;
    FILE *f = fopen(file, "r");
    for (int i = 0; i < program.n_tensors; i++)
        groups[i] = 1;
    while (f && fscanf(f, "%511s %d", name, &m) == 2)
        for (int i = 0; i < program.n_tensors; i++)
            if (!strcmp(program.tensors[i].name, name))
                groups[i] = m;
    fclose(f);
    for (int i = 0; i < program.n_tensors; i++)
        wanted[groups[i]] = true;
}

static void train_mb(rt_stage *s, int mb)
{
    rt__why why;
    s->mb = mb;
    for (int k = 0; k < program.n_inputs; k++) {
        void *to = rt_act(s, mb, program.inputs[k].offset);
        rt__cursor first = rt__cursor_mb(s->cursor, mb, program.micro_batch);
        if (rt__data_train(s->data, k, first, program.micro_batch, to, &why))
            abort();
    }
    program.forward(s, mb);
    s->losses[mb] = rt__real_at(rt_act(s, mb, program.loss_offset), program.real);
    program.backward(s, mb);
    if (program.backward_weight)
        program.backward_weight(s, mb);
}

// A first micro-batch other than 0 adds to what is there: -0 changes no bit of it.
static void clear(rt_stage *s)
{
    for (int i = 0; i < program.n_tensors; i++) {
        const rt_tensor *t = &program.tensors[i];
        for (int64_t k = 0; t->role == RT_ACCUMULATOR && k < t->bytes / 4; k++)
            ((float *)(void *)(s->arena + t->offset))[k] = -0.0f;
    }
}

static void combine(rt_stage *s, const rt_tensor *t, int m)
{
    float *to = (float *)(void *)(s->arena + t->offset);
    bool changed = memcmp(begin + t->offset, after[m][0] + t->offset, (size_t)t->bytes);
    if (t->role != RT_ACCUMULATOR && !(t->role == RT_BUFFER && changed))
        return;
    for (int64_t i = 0; i < t->bytes / 4; i++) {
        float sum = ((float *)(void *)(after[m][0] + t->offset))[i];
        for (int r = 1; r < m; r++)
            sum += ((float *)(void *)(after[m][r] + t->offset))[i];
        to[i] = t->role == RT_BUFFER ? sum / (float)m : sum;
    }
}

static void step(rt_stage *s)
{
    size_t bytes = (size_t)program.persistent_bytes;
    double sum = 0;
    memcpy(begin, s->arena, bytes);
    for (int m = 1; m <= MOST; m++)
        for (int r = 0; r < m && wanted[m]; r++) {
            memcpy(s->arena, begin, bytes);
            clear(s);
            for (int mb = r; mb < program.micro_batches; mb += m)
                train_mb(s, mb);
            memcpy(after[m][r], s->arena, bytes);
        }
    memcpy(s->arena, begin, bytes);
    for (int i = 0; i < program.n_tensors; i++)
        combine(s, &program.tensors[i], groups[i]);
    if (program.norm_parts && (rt__norm_gather(s) || rt__norm_apply(s)))
        abort();
    program.update(s);
    for (int mb = 0; mb < program.micro_batches; mb++)
        sum += s->losses[mb];
    float loss = (float)(sum / program.micro_batches);
    uint32_t bits;
    memcpy(&bits, &loss, sizeof bits);
    s->step++;
    s->run_step++;
    s->cursor = rt__cursor_next(s->data, s->cursor, rt__portions(&program));
    printf("%" PRId64 " %08" PRIx32 "\n", s->step, bits);
}

int main(int argc, char **argv)
{
    rt_stage s;
    rt__why why;
    rt__stage_init(&s, &program, 0);
    s.quiet = true;
    if (rt__options_parse(&s.options, argc, argv, &why) || rt__stage_open(&s, -1) ||
        rt__prepare(&s)) {
        fprintf(stderr, "%s\n", s.message);
        return 1;
    }
    read_groups(getenv("GROUPS"));
    begin = malloc((size_t)program.persistent_bytes);
    for (int m = 1; m <= MOST; m++)
        for (int r = 0; r < m && wanted[m]; r++)
            after[m][r] = malloc((size_t)program.persistent_bytes);
    s.lr = program.lr;
    while (s.step < s.options.steps)
        step(&s);
    int error = rt__save(&s);
    rt__data_close(s.data);
    rt__data_close(s.test);
    rt__stage_close(&s);
    return error;
}
