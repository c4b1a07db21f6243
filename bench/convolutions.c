// What a convolution costs in each form that oneDNN offers: blocked, channels-last, and blocked by
// Winograd's algorithm. The rules of passes/layout.c and passes/algorithms.c come from this table.
// Prints GFLOP/s of the direct convolution's work for forward, gradient of the input, gradient of
// the weight, and how far the results are from those of the first form (largest difference by largest element).
//   convolutions [ROUNDS]                    OMP_NUM_THREADS says on how many threads
#include <dnnl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH = 16, SLOTS = 3 };

typedef struct Conv {
    int c, k, image, kernel, stride;
} Conv;

static const Conv convs[] = {{64, 64, 56, 3, 1},  {128, 128, 28, 3, 1},  {256, 256, 14, 3, 1},
                             {512, 512, 7, 3, 1}, {128, 128, 56, 3, 2},  {64, 256, 56, 1, 1},
                             {256, 64, 56, 1, 1}, {1024, 256, 14, 1, 1}, {32, 32, 10, 3, 1},
                             {64, 64, 6, 3, 1},   {64, 64, 5, 3, 1}};

static const struct Form {
    const char *name;
    dnnl_format_tag_t image;
    dnnl_alg_kind_t algorithm;
} forms[] = {{"blocked", dnnl_nChw16c, dnnl_convolution_direct},
             {"channels-last", dnnl_nhwc, dnnl_convolution_direct},
             {"Winograd", dnnl_nChw16c, dnnl_convolution_winograd}};

typedef enum Direction { FORWARD, GRAD_INPUT, GRAD_WEIGHT, N_DIRECTIONS } Direction;

static dnnl_engine_t engine;
static dnnl_stream_t stream;

typedef struct Tensor { // x, w or y: plain values, and the library's view of them
    dnnl_memory_desc_t plain, wish;
    float *values;
    size_t bytes;
} Tensor;

static void check(dnnl_status_t status, const char *what)
{
    if (!status)
        return;
    fprintf(stderr, "convolutions: oneDNN cannot %s (status %d)\n", what, (int)status);
    exit(1);
}

static float *memory(size_t bytes)
{
    float *m = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!m) {
        fprintf(stderr, "convolutions: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return m;
}

// dims in the order of plain memory; values of both signs, times scale.
static Tensor tensor(const dnnl_dims_t dims, dnnl_format_tag_t wish, float scale)
{
    Tensor t;
    check(dnnl_memory_desc_init_by_tag(&t.plain, 4, dims, dnnl_f32, dnnl_abcd), "describe");
    check(dnnl_memory_desc_init_by_tag(&t.wish, 4, dims, dnnl_f32, wish), "describe");
    t.bytes = dnnl_memory_desc_get_size(&t.plain);
    t.values = memory(t.bytes);
    for (size_t i = 0; i < t.bytes / sizeof(float); i++)
        t.values[i] = (float)(rand() % 2001 - 1000) * 1e-3f * scale;
    return t;
}

static dnnl_memory_t place(const dnnl_memory_desc_t *desc)
{
    dnnl_memory_t m;
    check(dnnl_memory_create(&m, desc, engine, memory(dnnl_memory_desc_get_size(desc))),
          "place a tensor");
    return m;
}

static void copy(dnnl_memory_t from, dnnl_memory_t to)
{
    const dnnl_memory_desc_t *a, *b;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t reorder;
    check(dnnl_memory_get_memory_desc(from, &a), "look");
    check(dnnl_memory_get_memory_desc(to, &b), "look");
    check(dnnl_reorder_primitive_desc_create(&desc, a, engine, b, engine, NULL), "reorder");
    check(dnnl_primitive_create(&reorder, desc), "reorder");
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    check(dnnl_primitive_execute(reorder, stream, 2, args), "reorder");
    check(dnnl_stream_wait(stream), "reorder");
    dnnl_primitive_destroy(reorder);
    dnnl_primitive_desc_destroy(desc);
}

static void drop(dnnl_memory_t m)
{
    void *values = NULL;
    dnnl_memory_get_data_handle(m, &values);
    dnnl_memory_destroy(m);
    free(values);
}

// What a direction reads and writes: indices of t (x, w, y), the last one is the result.
static const struct Roles {
    int tensor[SLOTS], arg[SLOTS];
    dnnl_query_t query[SLOTS];
} roles[N_DIRECTIONS] = {
    {{0, 1, 2},
     {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST},
     {dnnl_query_src_md, dnnl_query_weights_md, dnnl_query_dst_md}},
    {{2, 1, 0},
     {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC},
     {dnnl_query_diff_dst_md, dnnl_query_weights_md, dnnl_query_diff_src_md}},
    {{0, 2, 1},
     {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS},
     {dnnl_query_src_md, dnnl_query_diff_dst_md, dnnl_query_diff_weights_md}}};

static dnnl_status_t describe(const Conv *v, Direction d, dnnl_alg_kind_t algorithm,
                              const Tensor *t, dnnl_convolution_desc_t *desc)
{
    dnnl_dims_t stride = {v->stride, v->stride}, dense = {0, 0};
    dnnl_dims_t pad = {v->kernel / 2, v->kernel / 2};
    const dnnl_memory_desc_t *x = &t[0].wish, *w = &t[1].wish, *y = &t[2].wish;
    switch (d) {
    case FORWARD:
        return dnnl_dilated_convolution_forward_desc_init(
            desc, dnnl_forward_training, algorithm, x, w, NULL, y, stride, dense, pad, pad);
    case GRAD_INPUT:
        return dnnl_dilated_convolution_backward_data_desc_init(desc, algorithm, x, w, y,
                                                                stride, dense, pad, pad);
    case GRAD_WEIGHT:
        return dnnl_dilated_convolution_backward_weights_desc_init(desc, algorithm, x, w, NULL,
                                                                   y, stride, dense, pad, pad);
    case N_DIRECTIONS: break;
    }
    return dnnl_invalid_arguments;
}

// NULL: the library has no such kernel.
static dnnl_primitive_desc_t choose(const Conv *v, Direction d, dnnl_alg_kind_t algorithm,
                                    const Tensor *t)
{
    dnnl_convolution_desc_t desc;
    dnnl_primitive_desc_t hint = NULL, chosen = NULL;
    if (d != FORWARD) {
        check(describe(v, FORWARD, dnnl_convolution_direct, t, &desc), "describe");
        check(dnnl_primitive_desc_create(&hint, &desc, NULL, engine, NULL), "choose");
    }
    check(describe(v, d, algorithm, t, &desc), "describe");
    if (dnnl_primitive_desc_create(&chosen, &desc, NULL, engine, hint))
        chosen = NULL;
    if (hint)
        dnnl_primitive_desc_destroy(hint);
    return chosen;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// The fastest call; its result as plain values in `result`. Negative: no such kernel.
static double measure(const Conv *v, Direction d, dnnl_alg_kind_t algorithm, const Tensor *t,
                      int rounds, float *result)
{
    dnnl_primitive_desc_t chosen = choose(v, d, algorithm, t);
    if (!chosen)
        return -1;
    dnnl_primitive_t primitive;
    check(dnnl_primitive_create(&primitive, chosen), "make a kernel");
    dnnl_exec_arg_t args[SLOTS];
    dnnl_memory_t plain[SLOTS];
    for (int i = 0; i < SLOTS; i++) {
        const Tensor *own = &t[roles[d].tensor[i]];
        args[i] = (dnnl_exec_arg_t){
            roles[d].arg[i], place(dnnl_primitive_desc_query_md(chosen, roles[d].query[i], 0))};
        float *values = i == SLOTS - 1 ? result : own->values;
        check(dnnl_memory_create(&plain[i], &own->plain, engine, values), "place a tensor");
        if (i < SLOTS - 1)
            copy(plain[i], args[i].memory);
    }
    double best = INFINITY;
    for (int i = 0; i <= rounds; i++) {
        double begin = seconds_now();
        check(dnnl_primitive_execute(primitive, stream, SLOTS, args), "run a kernel");
        check(dnnl_stream_wait(stream), "run a kernel");
        best = fmin(best, seconds_now() - begin);
    }
    copy(args[SLOTS - 1].memory, plain[SLOTS - 1]);
    for (int i = 0; i < SLOTS; i++) {
        drop(args[i].memory);
        dnnl_memory_destroy(plain[i]);
    }
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(chosen);
    return best;
}

static double distance(const float *a, const float *b, size_t n)
{
    double most = 0, scale = 0;
    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
        scale = fmax(scale, fabs((double)b[i]));
    }
    return most / scale;
}

static void compare(const Conv *v, int rounds)
{
    int out = (v->image + 2 * (v->kernel / 2) - v->kernel) / v->stride + 1;
    dnnl_dims_t x = {BATCH, v->c, v->image, v->image}, y = {BATCH, v->k, out, out};
    dnnl_dims_t w = {v->k, v->c, v->kernel, v->kernel};
    Tensor t[SLOTS] = {tensor(x, dnnl_nChw16c, 1),
                       tensor(w, dnnl_format_tag_any, 1 / sqrtf((float)(v->c * v->kernel))),
                       tensor(y, dnnl_nChw16c, 1)};
    double work = 2e-9 * BATCH * v->k * out * out * v->c * v->kernel * v->kernel;
    float *first[N_DIRECTIONS];
    for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
        check(dnnl_memory_desc_init_by_tag(&t[0].wish, 4, x, dnnl_f32, forms[f].image),
              "describe");
        check(dnnl_memory_desc_init_by_tag(&t[2].wish, 4, y, dnnl_f32, forms[f].image),
              "describe");
        printf("%4d to %4d, %2dx%-2d, %dx%d, stride %d  %-14s", v->c, v->k, v->image, v->image,
               v->kernel, v->kernel, v->stride, forms[f].name);
        for (Direction d = FORWARD; d < N_DIRECTIONS; d++) {
            size_t bytes = t[roles[d].tensor[SLOTS - 1]].bytes;
            float *result = memory(bytes);
            double s = measure(v, d, forms[f].algorithm, t, rounds, result);
            if (f == 0)
                first[d] = result;
            if (s < 0)
                printf("        -          ");
            else
                printf("  %6.1f (%.1e)", work / s,
                       distance(result, first[d], bytes / sizeof *result));
            if (f > 0)
                free(result);
        }
        putchar('\n');
        fflush(stdout);
    }
    for (int i = 0; i < SLOTS; i++) {
        free(t[i].values);
        free(first[i]);
    }
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 5;
    check(dnnl_engine_create(&engine, dnnl_cpu, 0), "start");
    check(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "start");
    puts("GFLOP/s (difference) of forward, gradient of the input, gradient of the weight");
    for (size_t i = 0; i < sizeof convs / sizeof *convs; i++)
        compare(&convs[i], rounds);
    return 0;
}
