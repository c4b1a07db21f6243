// stagecc-card: what the CUDA devices of a host have and how fast they are at best, as `stagecc devices` and `stagecc
// worker` want to know. A program of its own, small enough to be sent to a host; it prints a line of JSON a device.
//   stagecc-card memory N    the first N: names, free memory
//   stagecc-card measure N   beside that, one after the other: products by the runtime's own way to cublasLt, copies in
//                            the device's memory, and between it and pinned memory of the host
//   stagecc-card info        all: what they are; and a line for each library that programs load, with its version
// Work grows until one call takes long enough to be timed by the host's clock; medians of several count.
#include "runtime/cuda/card/library.h"
#include "runtime/cuda/card/no_device.h"
#include "runtime/cuda/card/products.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    LONGEST_S = 90, // whatever happens, the program ends by then
    SAMPLES = 9,
    LEAST_SIDE = 128,
    MOST_SIDE = 16384,
    ENVIRONMENT = 2, // exit status
};
#define MIB (INT64_C(1) << 20)
#define LEAST_BYTES (4 * MIB)
#define MOST_BYTES (1024 * MIB)
#define MOST_PINNED (256 * MIB)
static const double enough_s = 2e-3; // of a call

typedef struct Card {
    int number;
    size_t left, total;
    cudaStream_t stream;
} Card;

static _Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static _Noreturn void fail(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vfprintf(stderr, format, ap);
    va_end(ap);
    fputc('\n', stderr);
    exit(ENVIRONMENT);
}

static void check(const Card *c, cudaError_t status, const char *what)
{
    if (status)
        fail("device %d cannot %s: CUDA: %s (%s)", c->number, what, cudaGetErrorString(status),
             cudaGetErrorName(status));
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

// Timing
// ---------------------------------------------------------------------------------------

typedef struct Work {
    void (*call)(const Card *c, void *of); // puts it into the stream
    void *of;
} Work;

static double seconds_of(const Card *c, const Work *w)
{
    double begin = now_s();
    w->call(c, w->of);
    check(c, cudaStreamSynchronize(c->stream), "work");
    return now_s() - begin;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_of(const Card *c, const Work *w)
{
    double samples[SAMPLES];
    for (int i = 0; i < SAMPLES; i++)
        samples[i] = seconds_of(c, w);
    qsort(samples, SAMPLES, sizeof *samples, compare);
    return samples[SAMPLES / 2];
}

// Memory
// ---------------------------------------------------------------------------------------

static void *device_memory(const Card *c, int64_t bytes)
{
    void *at = NULL;
    check(c, cudaMalloc(&at, (size_t)bytes), "get memory");
    return at;
}

// Numbers of magnitude 1, whether they are read as float or as bf16: zeros would cost less power.
static void fill(const Card *c, void *to, int64_t bytes)
{
    enum { WORDS = 1 << 16 };
    static uint16_t some[WORDS];
    uint32_t state = 1;
    for (int i = 0; i < WORDS; i++) {
        state = state * 1664525u + 1013904223u;
        some[i] = (uint16_t)(0x3f00 | (state >> 16 & 0x807f));
    }
    for (int64_t at = 0; at < bytes; at += (int64_t)sizeof some) {
        int64_t n = bytes - at < (int64_t)sizeof some ? bytes - at : (int64_t)sizeof some;
        check(c,
              cudaMemcpyAsync((uint8_t *)to + at, some, (size_t)n, cudaMemcpyHostToDevice,
                              c->stream),
              "copy");
    }
}

// Products
// -------------------------------------------------------------------------------------

typedef struct Gemm {
    rt_kernel row;
    rt_cuda_kernels kernels;
    rt_program program;
    rt_stage stage;
    rt__products *made;
    uint8_t *a, *b, *out, *workspace;
} Gemm;

static void multiply(const Card *c, void *of)
{
    Gemm *g = of;
    const rt__operands of_row = {.a = g->a, .b = g->b, .c = g->out};
    rt__products_run(&g->stage, g->made, 0, &of_row, g->workspace, c->stream);
    if (g->stage.error)
        fail("device %d: %s", c->number, g->stage.message);
}

// out[n,n] = a[n,n] b[n,n], of which b is turned as the weight of a linear layer.
static void make_gemm(const Card *c, Gemm *g, int64_t n, rt_dtype type, int tf32)
{
    int64_t bytes = n * n * (type == RT_BF16 ? 2 : 4);
    *g = (Gemm){.row = {.key = "a product",
                        .op = RT_MATMUL,
                        .types = {type, type, type},
                        .product = {.batch = {1, 1},
                                    .m = n,
                                    .n = n,
                                    .k = n,
                                    .a = {n * n, n * n, n, 1},
                                    .b = {n * n, n * n, 1, n},
                                    .c = {n * n, n * n, n, 1}}}};
    g->kernels.rows = &g->row;
    g->kernels.tf32 = tf32;
    g->program.n_kernels = 1;
    g->program.kernels = &g->kernels;
    g->stage.program = &g->program;
    g->a = device_memory(c, bytes);
    g->b = device_memory(c, bytes);
    g->out = device_memory(c, bytes);
    g->workspace = device_memory(c, RT__PRODUCT_WORKSPACE);
    fill(c, g->a, bytes);
    fill(c, g->b, bytes);
    if (rt__products_open(&g->stage, &g->made, true))
        fail("device %d: %s", c->number, g->stage.message);
}

static void drop_gemm(const Card *c, Gemm *g)
{
    rt__products_close(g->made);
    check(c, cudaFree(g->a), "free memory");
    check(c, cudaFree(g->b), "free memory");
    check(c, cudaFree(g->out), "free memory");
    check(c, cudaFree(g->workspace), "free memory");
}

static double measure_products(const Card *c, rt_dtype type, int tf32)
{
    static Gemm g; // its row and program are pointed to
    double flops = 0, rooms = (double)c->left / 4 - RT__PRODUCT_WORKSPACE;
    for (int64_t n = LEAST_SIDE; !(flops > 0); n *= 2) {
        bool last = n == MOST_SIDE || 3.0 * 4 * (double)(4 * n * n) > rooms;
        make_gemm(c, &g, n, type, tf32);
        Work w = {multiply, &g};
        seconds_of(c, &w); // the first one loads what it needs
        if (last || seconds_of(c, &w) >= enough_s)
            flops = 2.0 * (double)n * (double)n * (double)n / median_of(c, &w);
        drop_gemm(c, &g);
    }
    return flops;
}

// Copies
// ----------------------------------------------------------------------------------------

typedef struct Copy {
    void *to;
    const void *from;
    int64_t bytes;
    enum cudaMemcpyKind kind;
} Copy;

static void move(const Card *c, void *of)
{
    const Copy *m = of;
    check(c, cudaMemcpyAsync(m->to, m->from, (size_t)m->bytes, m->kind, c->stream), "copy");
}

static void *pinned(const Card *c, int64_t bytes)
{
    void *at = NULL;
    check(c, cudaMallocHost(&at, (size_t)bytes), "pin memory of the host");
    memset(at, 1, (size_t)bytes);
    return at;
}

// Bytes that are moved in a second.
static double measure_copy(const Card *c, enum cudaMemcpyKind kind)
{
    bool inside = kind == cudaMemcpyDeviceToDevice;
    int64_t most = inside ? MOST_BYTES : MOST_PINNED;
    most = most < (int64_t)(c->left / 4) ? most : (int64_t)(c->left / 4);
    double rate = 0;
    for (int64_t bytes = LEAST_BYTES; !(rate > 0); bytes *= 2) {
        void *here = device_memory(c, bytes),
             *other = inside ? device_memory(c, bytes) : pinned(c, bytes);
        bool out = kind == cudaMemcpyDeviceToHost;
        Copy m = {out ? other : here, out ? here : other, bytes, kind};
        Work w = {move, &m};
        fill(c, here, bytes);
        seconds_of(c, &w);
        if (2 * bytes > most || seconds_of(c, &w) >= enough_s)
            rate = (double)bytes / median_of(c, &w);
        check(c, cudaFree(here), "free memory");
        check(c, inside ? cudaFree(other) : cudaFreeHost(other), "free memory");
    }
    return rate;
}

// Devices
// --------------------------------------------------------------------------------------

static void look(Card *c, struct cudaDeviceProp *of)
{
    check(c, cudaSetDevice(c->number), "be used");
    check(c, cudaStreamCreateWithFlags(&c->stream, cudaStreamNonBlocking), "make a stream");
    check(c, cudaMemGetInfo(&c->left, &c->total), "say its free memory");
    check(c, cudaGetDeviceProperties(of, c->number), "say what it is");
    for (char *at = of->name; *at; at++) // as it stands in JSON
        if (*at < ' ' || *at == '"' || *at == '\\')
            *at = '?';
}

static void tell_what(const struct cudaDeviceProp *of)
{
    int driver = 0;
    cudaDriverGetVersion(&driver);
    printf(", \"capability\": \"%d.%d\", \"processors\": %d, \"driver\": %d, \"runtime\": %d",
           of->major, of->minor, of->multiProcessorCount, driver, CUDART_VERSION);
}

static void tell_rates(const Card *c)
{
    printf(
        ", \"flops\": %.4g, \"tf32_flops\": %.4g, \"bf16_flops\": %.4g, \"bytes_per_s\": %.4g"
        ", \"to_bytes_per_s\": %.4g, \"from_bytes_per_s\": %.4g",
        measure_products(c, RT_F32, 0), measure_products(c, RT_F32, 1),
        measure_products(c, RT_BF16, 0),
        2 * measure_copy(c, cudaMemcpyDeviceToDevice), // read and written
        measure_copy(c, cudaMemcpyHostToDevice), measure_copy(c, cudaMemcpyDeviceToHost));
}

typedef enum Mode { MEMORY, MEASURE, INFO, MODES } Mode;

static const char *const modes[] = {"memory", "measure", "info"};

static void tell(int number, Mode mode)
{
    Card c = {.number = number};
    struct cudaDeviceProp of;
    look(&c, &of);
    printf("{\"device\": %d, \"name\": \"%s\", \"memory_bytes\": %" PRIu64
           ", \"total_bytes\": %" PRIu64,
           number, of.name, (uint64_t)c.left, (uint64_t)c.total);
    if (mode == MEASURE)
        tell_rates(&c);
    if (mode == INFO)
        tell_what(&of);
    puts("}");
    fflush(stdout);
    check(&c, cudaStreamDestroy(c.stream), "end");
}

// How many there are.
static int need(int wanted)
{
    int n = 0;
    cudaError_t status = cudaGetDeviceCount(&n);
    if (status || n < 1)
        fail("there is no CUDA device: %s", rt__card_why_none(status));
    if (n < wanted)
        fail("there %s %d CUDA device%s for %d slots: a slot is a device of its own",
             n > 1 ? "are" : "is", n, n > 1 ? "s" : "", wanted);
    return n;
}

// Libraries
// ------------------------------------------------------------------------------------

#define NAME(library, major) "lib" library ".so." #major
#define FILE_OF(library, major) NAME(library, major)

static int64_t version_of(const void *function, bool into)
{
    size_t (*plain)(void);
    int (*write)(int *version), version = 0;
    if (!into) {
        memcpy(&plain, function, sizeof plain);
        return (int64_t)plain();
    }
    memcpy(&write, function, sizeof write);
    write(&version);
    return version;
}

static void tell_libraries(void)
{
    static const struct {
        CudaLibrary of;
        const char *symbol;
        bool into; // a pointer, instead of returning it
    } rows[] = {
        {{FILE_OF("cublasLt", CUBLAS_VER_MAJOR), "cublasLt"}, "cublasLtGetVersion", false},
        {{"libcudnn.so.9", "cuDNN"}, "cudnnGetVersion", false},
        {{"libnccl.so.2", "NCCL"}, "ncclGetVersion", true}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        static rt_stage stage;
        const CudaFunction wanted = {rows[i].symbol, 0};
        void *function = NULL;
        stage.error = 0;
        if (rt__cuda_load(&stage, &rows[i].of, &wanted, 1, &function))
            printf("{\"library\": \"%s\", \"missing\": \"%s\"}\n", rows[i].of.package,
                   stage.message);
        else
            printf("{\"library\": \"%s\", \"version\": %" PRId64 "}\n", rows[i].of.package,
                   version_of(&function, rows[i].into));
    }
}

static void usage(void)
{
    fprintf(stderr, "usage: stagecc-card memory|measure N | info\n");
    exit(1);
}

int main(int argc, char **argv)
{
    Mode mode = MEMORY;
    while (mode < MODES && (argc < 2 || strcmp(argv[1], modes[mode]) != 0))
        mode++;
    int n = argc == 3 ? atoi(argv[2]) : 0;
    if (mode == MODES || (mode == INFO ? argc != 2 : n < 1))
        usage();
    alarm(LONGEST_S);
    int there = need(n);
    for (int i = 0; i < (mode == INFO ? there : n); i++)
        tell(i, mode);
    if (mode == INFO)
        tell_libraries();
    return 0;
}
