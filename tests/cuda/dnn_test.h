// What the tests of cuDNN's part share: an H200 that is not there, a driver that runs nothing, rows of kernels.
#ifndef STAGECC_TESTS_DNN_TEST_H
#define STAGECC_TESTS_DNN_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "runtime/cuda/card/attention.h"
#include "runtime/cuda/card/convolutions.h"

#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The properties of the card (tests/cuda/h200.json). The caller frees them.
static inline char *dnn_h200(void)
{
    FILE *f = fopen(SOURCE_DIR "/tests/cuda/h200.json", "r");
    char *text = calloc(1, 4096);
    assert_non_null(f);
    assert_true(fread(text, 1, 4095, f) > 0);
    fclose(f);
    return text;
}

static inline void dnn_stage(rt_stage *s)
{
    static const rt_program program = {.model = "test", .micro_batches = 1};
    rt__stage_init(s, &program, 0);
    s->quiet = true;
}

// Is there a library for which plans can be made? false: why is printed.
static inline bool dnn_is_there(void)
{
    rt_stage s;
    Dnn d;
    // cuDNN finds this one when it asks for libcuda.so.1.
    if (!dlopen(FAKE_DRIVER, RTLD_NOW | RTLD_GLOBAL)) {
        printf("%s\n", dlerror());
        return true; // and the tests fail
    }
    dnn_stage(&s);
    char *card = dnn_h200();
    int error = rt__dnn_open(&s, &d, card);
    free(card);
    if (!error)
        rt__dnn_close(&d);
    bool absent =
        error && (strstr(s.message, "was not found") || strstr(s.message, "older than"));
    if (error)
        printf("%s\n", s.message);
    return !absent;
}

// Descriptors that were made and not destroyed. The library keeps memory of its own for good, so sanitizers cannot tell
// what we leave behind.
static int dnn_left;
static Cudnn dnn_real;

static inline cudnnStatus_t dnn_create(cudnnBackendDescriptorType_t type, DnnDesc *d)
{
    cudnnStatus_t bad = dnn_real.BackendCreateDescriptor(type, d);
    dnn_left += !bad;
    return bad;
}

static inline cudnnStatus_t dnn_destroy(DnnDesc d)
{
    dnn_left--;
    return dnn_real.BackendDestroyDescriptor(d);
}

static inline int dnn_begin(void **state)
{
    (void)state;
    dnn_real = cudnn;
    cudnn.BackendCreateDescriptor = dnn_create;
    cudnn.BackendDestroyDescriptor = dnn_destroy;
    return 0;
}

static inline int dnn_end(void **state)
{
    int left = dnn_left;
    (void)state;
    cudnn = dnn_real;
    dnn_left = 0;
    if (left)
        printf("descriptors left behind: %d\n", left);
    return left;
}

#define DNN_TEST(name) cmocka_unit_test_setup_teardown(name, dnn_begin, dnn_end)

typedef struct DnnRow {
    const char *name;
    rt_conv conv;
    bool relu;
} DnnRow;

// x [n,c,h,w] by k filters of r x s, channels last, without padding.
static inline rt_conv dnn_conv(int64_t n, int64_t c, int64_t h, int64_t k, int64_t r)
{
    return (rt_conv){.n = n,
                     .c = c,
                     .h = h,
                     .w = h,
                     .k = k,
                     .r = r,
                     .s = r,
                     .groups = 1,
                     .stride = {1, 1},
                     .dilation = {1, 1},
                     .channels_last = 1};
}

// The size of the result.
static inline void dnn_settle(rt_conv *c)
{
    c->p =
        (c->h + c->padding[0] + c->padding[2] - (c->r - 1) * c->dilation[0] - 1) / c->stride[0];
    c->q =
        (c->w + c->padding[1] + c->padding[3] - (c->s - 1) * c->dilation[1] - 1) / c->stride[1];
    c->p++;
    c->q++;
}

// Beside bf16 a weight and its gradient are float, as in programs.
static inline rt_kernel dnn_row(const char *key, rt_kernel_op op, rt_conv conv, rt_dtype type)
{
    rt_kernel row = {.key = key, .op = op, .conv = conv};
    if (type == RT_BF16) {
        row.types[0] = RT_BF16;
        row.types[1] = op == RT_CONV2D_GRAD_WEIGHT ? RT_BF16 : RT_F32;
        row.types[2] = op == RT_CONV2D_GRAD_WEIGHT ? RT_F32 : RT_BF16;
    }
    dnn_settle(&row.conv);
    return row;
}

// A row that an engine which is noted exact does all at once.
static inline rt_kernel dnn_exact_row(void)
{
    rt_conv c = dnn_conv(4, 16, 12, 24, 3);
    return dnn_row("exact", RT_CONV2D, c, RT_F32);
}

// A row whose bias needs a graph of its own.
static inline rt_kernel dnn_split_row(void)
{
    rt_conv c = dnn_conv(4, 32, 14, 32, 3);
    c.groups = 32;
    c.bias = 1;
    return dnn_row("split", RT_CONV2D, c, RT_BF16);
}

#endif
