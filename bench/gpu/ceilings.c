// What a device is, and what it does at most: figures that programs are measured by (tools/gpu-check). A line of JSON each.
//
//   ceilings info | copy MIB | products N
//
// A figure is the median of rounds that end with a wait; a round is as many calls as take some milliseconds. Numbers are
// random: products of zeros need less power, and run faster.
#include "runtime/cuda/card/library.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WARM = 3, ROUNDS = 9, CALLS = 4, NO_DEVICE = 2 };

static cudaStream_t stream;

static void check(const char *what, int status, const char *why)
{
    if (!status)
        return;
    fprintf(stderr, "%s: %s\n", what, why);
    exit(status == cudaErrorNoDevice || status == cudaErrorInsufficientDriver ? NO_DEVICE : 1);
}

static void check_cuda(const char *what, cudaError_t status)
{
    check(what, (int)status, status ? cudaGetErrorString(status) : "");
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Seconds of a call.
static double time_of(void (*call)(void *), void *argument)
{
    double s[ROUNDS];
    for (int i = 0; i < WARM; i++)
        call(argument);
    check_cuda("wait", cudaStreamSynchronize(stream));
    for (int r = 0; r < ROUNDS; r++) {
        double begin = now_s();
        for (int i = 0; i < CALLS; i++)
            call(argument);
        check_cuda("wait", cudaStreamSynchronize(stream));
        s[r] = (now_s() - begin) / CALLS;
    }
    qsort(s, ROUNDS, sizeof *s, by_size);
    return s[ROUNDS / 2];
}

static void *device_memory(size_t n)
{
    void *at = NULL;
    check_cuda("memory", cudaMalloc(&at, n));
    return at;
}

// Versions
// ----------------------------------------------------------------------------------------------

static void tell_library(const char *name, const char *file, const char *symbol)
{
    static rt_stage stage;
    void *function = NULL;
    size_t (*version)(void);
    const CudaLibrary library = {file, name};
    const CudaFunction wanted = {symbol, 0};
    stage.error = 0;
    if (rt__cuda_load(&stage, &library, &wanted, 1, &function)) {
        printf("{\"library\": \"%s\", \"missing\": \"%s\"}\n", name, stage.message);
        return;
    }
    memcpy(&version, &function, sizeof version);
    printf("{\"library\": \"%s\", \"version\": %zu}\n", name, version());
}

#define NAME(library, major) "lib" library ".so." #major
#define FILE_OF(library, major) NAME(library, major)

static int tell_info(void)
{
    int driver = 0, runtime = 0, n = 0;
    size_t left = 0, total = 0;
    struct cudaDeviceProp card;
    cudaDriverGetVersion(&driver);
    if (!driver) {
        fprintf(stderr, "no driver\n");
        return NO_DEVICE;
    }
    check_cuda("devices", cudaGetDeviceCount(&n));
    check_cuda("device", cudaSetDevice(0));
    check_cuda("properties", cudaGetDeviceProperties(&card, 0));
    check_cuda("memory", cudaMemGetInfo(&left, &total));
    runtime = CUDART_VERSION;
    printf(
        "{\"device\": \"%s\", \"devices\": %d, \"capability\": \"%d.%d\", \"processors\": %d, \"driver\": %d, "
        "\"runtime\": %d, \"free_mib\": %zu, \"mib\": %zu}\n",
        card.name, n, card.major, card.minor, card.multiProcessorCount, driver, runtime,
        left >> 20, total >> 20);
    tell_library("cublasLt", FILE_OF("cublasLt", CUBLAS_VER_MAJOR), "cublasLtGetVersion");
    tell_library("cuDNN", "libcudnn.so.9", "cudnnGetVersion");
    return 0;
}

// Copies
// ----------------------------------------------------------------------------------------------

typedef struct Copy {
    void *to, *from;
    size_t n;
    enum cudaMemcpyKind kind;
} Copy;

static void copy(void *argument)
{
    const Copy *c = argument;
    check_cuda("copy", cudaMemcpyAsync(c->to, c->from, c->n, c->kind, stream));
}

static int tell_copies(size_t mib)
{
    size_t n = mib << 20, some = n / 4;
    void *pinned = NULL, *a = device_memory(n), *b = device_memory(n);
    check_cuda("pinned memory", cudaMallocHost(&pinned, some));
    memset(pinned, 1, some);
    check_cuda("fill", cudaMemsetAsync(b, 1, n, stream));
    const struct {
        const char *name;
        Copy copy;
        double moved; // bytes read and written, of the device's memory
    } rows[] = {
        {"copy within the device", {a, b, n, cudaMemcpyDeviceToDevice}, 2 * (double)n},
        {"copy to the device", {a, pinned, some, cudaMemcpyHostToDevice}, (double)some},
        {"copy from the device", {pinned, a, some, cudaMemcpyDeviceToHost}, (double)some},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        Copy c = rows[i].copy;
        printf("{\"name\": \"%s\", \"gb_per_s\": %.1f}\n", rows[i].name,
               1e-9 * rows[i].moved / time_of(copy, &c));
    }
    return 0;
}

// Products
// ----------------------------------------------------------------------------------------------

static const CudaLibrary cublas = {FILE_OF("cublasLt", CUBLAS_VER_MAJOR), "cuBLAS"};

static struct Lt {
#define FUNCTION(name) __typeof__(&cublasLt##name) name;
#include "runtime/cuda/card/cublaslt.def"
#undef FUNCTION
} lt;

static const CudaFunction functions[] = {
#define FUNCTION(name) {"cublasLt" #name, offsetof(struct Lt, name)},
#include "runtime/cuda/card/cublaslt.def"
#undef FUNCTION
};

static const size_t WORKSPACE = (size_t)32 << 20;

typedef struct Product {
    cublasLtHandle_t handle;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t layout;
    cublasLtMatmulHeuristicResult_t found;
    void *a, *b, *c, *workspace;
} Product;

static void check_lt(const char *what, cublasStatus_t status)
{
    if (status) {
        fprintf(stderr, "cublasLt cannot %s: %s\n", what, lt.GetStatusName(status));
        exit(1);
    }
}

static void multiply(void *argument)
{
    const Product *p = argument;
    const float one = 1, zero = 0;
    check_lt("multiply", lt.Matmul(p->handle, p->desc, &one, p->a, p->layout, p->b, p->layout,
                                   &zero, p->c, p->layout, p->c, p->layout, &p->found.algo,
                                   p->workspace, p->found.workspaceSize, stream));
}

// c = a^T b of n by n, as a linear layer's forward.
static double time_of_product(Product *p, int64_t n, cudaDataType_t type,
                              cublasComputeType_t compute)
{
    const cublasOperation_t turned = CUBLAS_OP_T;
    cublasLtMatmulPreference_t preference;
    int found = 0;
    check_lt("describe", lt.MatmulDescCreate(&p->desc, compute, CUDA_R_32F));
    check_lt("turn", lt.MatmulDescSetAttribute(p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &turned,
                                               sizeof turned));
    check_lt("lay out", lt.MatrixLayoutCreate(&p->layout, type, (uint64_t)n, (uint64_t)n, n));
    check_lt("prefer", lt.MatmulPreferenceCreate(&preference));
    check_lt("prefer", lt.MatmulPreferenceSetAttribute(preference,
                                                       CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                                       &WORKSPACE, sizeof WORKSPACE));
    check_lt("choose",
             lt.MatmulAlgoGetHeuristic(p->handle, p->desc, p->layout, p->layout, p->layout,
                                       p->layout, preference, 1, &p->found, &found));
    double seconds = time_of(multiply, p);
    lt.MatmulPreferenceDestroy(preference);
    lt.MatrixLayoutDestroy(p->layout);
    lt.MatmulDescDestroy(p->desc);
    return seconds;
}

// n numbers in [-1, 1), as float or in bf16.
static void fill(void *at, int64_t n, cudaDataType_t type)
{
    size_t size = type == CUDA_R_16BF ? 2 : 4;
    uint8_t *numbers = malloc((size_t)n * size);
    uint64_t state = 88172645463325252u;
    if (!numbers)
        check("numbers", 1, "no memory");
    for (int64_t i = 0; i < n; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        float x = (float)(state >> 40) * 0x1p-23f - 1;
        memcpy(numbers + (size_t)i * size, (char *)&x + (sizeof x - size),
               size); // cut off, in bf16
    }
    check_cuda("numbers",
               cudaMemcpyAsync(at, numbers, (size_t)n * size, cudaMemcpyHostToDevice, stream));
    check_cuda("numbers", cudaStreamSynchronize(stream));
    free(numbers);
}

static int tell_products(int64_t n)
{
    static const struct {
        const char *name;
        cudaDataType_t type;
        cublasComputeType_t compute;
    } rows[] = {
        {"products in bf16", CUDA_R_16BF, CUBLAS_COMPUTE_32F},
        {"products in f32 by tf32", CUDA_R_32F, CUBLAS_COMPUTE_32F_FAST_TF32},
        {"products in f32", CUDA_R_32F, CUBLAS_COMPUTE_32F},
    };
    static rt_stage stage;
    Product p = {0};
    if (rt__cuda_load(&stage, &cublas, functions, sizeof functions / sizeof *functions, &lt))
        check("cublasLt", 1, stage.message);
    check_lt("start", lt.Create(&p.handle));
    size_t bytes = (size_t)(n * n) * 4;
    p.a = device_memory(bytes), p.b = device_memory(bytes), p.c = device_memory(bytes);
    p.workspace = device_memory(WORKSPACE);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fill(p.a, n * n, rows[i].type);
        fill(p.b, n * n, rows[i].type);
        printf("{\"name\": \"%s\", \"tflop_per_s\": %.3f}\n", rows[i].name,
               2e-12 * (double)n * (double)n * (double)n /
                   time_of_product(&p, n, rows[i].type, rows[i].compute));
    }
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "info";
    if (!strcmp(what, "info"))
        return tell_info();
    check_cuda("device", cudaSetDevice(0));
    check_cuda("stream", cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    if (!strcmp(what, "copy") && argc > 2)
        return tell_copies((size_t)atol(argv[2]));
    if (!strcmp(what, "products") && argc > 2)
        return tell_products(atol(argv[2]));
    fprintf(stderr, "usage: ceilings info | copy MIB | products N\n");
    return 1;
}
