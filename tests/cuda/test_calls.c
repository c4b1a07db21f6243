// What a call hands to cuDNN. Nothing runs: where it would execute, the test looks at what it is given.
#include "tests/cuda/dnn_test.h"

static rt_stage stage;
static Dnn dnn;
static DnnKernel kernel;

static void make(const DnnMaker *m, const rt_kernel *row)
{
    if (rt__dnn_convolution_kernel(m, row, &kernel))
        fail_msg("%s", m->stage->message);
}

// A device that records
// ----------------------------------------------------------------------------------------

// What is set of a variant pack cannot be asked for.
typedef struct Pack {
    DnnDesc pack;
    int64_t numbers[16], n;
    void *at[16], *workspace;
} Pack;

typedef struct Call {
    cudnnHandle_t handle;
    DnnDesc plan;
    const Pack *pack;
} Call;

static Cudnn real; // while a device records
static Pack packs[8];
static Call calls[8];
static void *streams[8];
static int n_packs, n_calls, n_streams;

static Pack *pack_of(DnnDesc d)
{
    for (int i = 0; i < n_packs; i++)
        if (packs[i].pack == d)
            return &packs[i];
    packs[n_packs] = (Pack){.pack = d};
    return &packs[n_packs++];
}

static cudnnStatus_t record_attribute(DnnDesc d, cudnnBackendAttributeName_t name,
                                      cudnnBackendAttributeType_t type, int64_t n,
                                      const void *values)
{
    if (name == CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS) {
        pack_of(d)->n = n;
        memcpy(pack_of(d)->numbers, values, (size_t)n * sizeof(int64_t));
    } else if (name == CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS) {
        assert_int_equal(n, pack_of(d)->n);
        memcpy(pack_of(d)->at, values, (size_t)n * sizeof(void *));
    } else if (name == CUDNN_ATTR_VARIANT_PACK_WORKSPACE) {
        memcpy(&pack_of(d)->workspace, values, sizeof(void *));
    }
    return real.BackendSetAttribute(d, name, type, n, values);
}

static cudnnStatus_t record(cudnnHandle_t handle, DnnDesc plan, DnnDesc pack)
{
    calls[n_calls++] = (Call){handle, plan, pack_of(pack)};
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t record_stream(cudnnHandle_t handle, cudaStream_t stream)
{
    (void)handle;
    streams[n_streams++] = stream;
    return CUDNN_STATUS_SUCCESS;
}

static cudnnStatus_t refuse(cudnnHandle_t handle, DnnDesc plan, DnnDesc pack)
{
    (void)handle, (void)plan, (void)pack;
    return CUDNN_STATUS_EXECUTION_FAILED;
}

// The table is put back by `leave`.
static Dnn enter(void)
{
    static char device;
    real = cudnn;
    cudnn.BackendExecute = record;
    cudnn.SetStream = record_stream;
    cudnn.BackendSetAttribute = record_attribute;
    n_packs = n_calls = n_streams = 0;
    Dnn d = dnn;
    d.handle = (cudnnHandle_t)(void *)&device;
    return d;
}

static void leave(void)
{
    cudnn = real;
    rt__dnn_unmake(&kernel);
}

static void *given(const Call *c, int64_t number)
{
    for (int64_t i = 0; i < c->pack->n; i++)
        if (c->pack->numbers[i] == number)
            return c->pack->at[i];
    return NULL;
}

// Addresses that are read by nobody.
static void *somewhere(int i)
{
    static uint8_t memory[64];
    return memory + i;
}

static void calls_hand_in_tensors(void **state)
{
    DnnMaker m = {.stage = &stage, .dnn = &dnn};
    rt_kernel row = dnn_split_row();
    void *tensors[DNN_TENSORS] = {somewhere(1), somewhere(2), somewhere(3), somewhere(4)};
    uint8_t *workspace = somewhere(32);
    (void)state;
    make(&m, &row);
    Dnn d = enter();
    assert_int_equal(rt__dnn_run(&stage, &d, &kernel, tensors, workspace, somewhere(9)), 0);
    assert_int_equal(n_calls, 2);
    assert_ptr_equal(calls[0].handle, d.handle);
    assert_ptr_equal(calls[0].plan, kernel.plans[0].plan);
    assert_ptr_equal(calls[1].plan, kernel.plans[1].plan);
    assert_int_equal(calls[0].pack->n, 3);
    assert_ptr_equal(given(&calls[0], DNN_X), somewhere(1));
    assert_ptr_equal(given(&calls[0], DNN_W), somewhere(2));
    assert_null(given(&calls[0], DNN_Y));
    assert_int_equal(calls[1].pack->n, 3);
    assert_ptr_equal(given(&calls[1], DNN_Y), somewhere(3));
    assert_ptr_equal(given(&calls[1], DNN_B), somewhere(4));
    for (int i = 0; i < 2; i++) { // the convolution's result lies behind what engines need
        assert_ptr_equal(calls[i].pack->workspace, workspace);
        assert_ptr_equal(given(&calls[i], DNN_OWN), workspace + kernel.own_at);
        assert_true(kernel.own_at >= kernel.plans[i].workspace_bytes);
    }
    assert_true(kernel.workspace_bytes >= kernel.own_at + 4L * 32 * 12 * 12 * 2);
    assert_int_equal(n_streams, 1);
    assert_ptr_equal(streams[0], somewhere(9));
    leave();
}

static void packs_are_made_once(void **state)
{
    DnnMaker m = {.stage = &stage, .dnn = &dnn};
    rt_kernel row = dnn_exact_row();
    void *first[DNN_TENSORS] = {somewhere(1), somewhere(2), somewhere(3)};
    void *second[DNN_TENSORS] = {somewhere(1), somewhere(2), somewhere(4)};
    (void)state;
    make(&m, &row);
    Dnn d = enter();
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rt__dnn_run(&stage, &d, &kernel, first, NULL, somewhere(9)), 0);
        assert_int_equal(rt__dnn_run(&stage, &d, &kernel, second, NULL, somewhere(9)), 0);
    }
    assert_int_equal(rt__dnn_run(&stage, &d, &kernel, first, somewhere(32), somewhere(8)), 0);
    assert_ptr_equal(calls[0].pack, calls[2].pack);
    assert_ptr_equal(calls[1].pack, calls[3].pack);
    assert_ptr_not_equal(calls[0].pack, calls[1].pack);
    assert_ptr_not_equal(calls[0].pack, calls[4].pack);
    assert_ptr_equal(given(&calls[3], DNN_Y), somewhere(4));
    assert_int_equal(n_streams, 2); // told when it changes
    leave();
}

static void attention_hands_in_numbers(void **state)
{
    DnnMaker m = {.stage = &stage, .dnn = &dnn};
    rt_kernel row = {.key = "attention",
                     .op = RT_ATTENTION_GRAD,
                     .attention = {2, 2, 128, 64, 0.125f, true}};
    void *tensors[DNN_TENSORS];
    (void)state;
    for (int i = 0; i < DNN_TENSORS; i++)
        tensors[i] = somewhere(i + 1);
    if (rt__dnn_attention(&m, &row, &kernel))
        fail_msg("%s", stage.message);
    Dnn d = enter();
    assert_int_equal(rt__dnn_run(&stage, &d, &kernel, tensors, somewhere(32), NULL), 0);
    for (int i = DNN_Q; i <= DNN_DV; i++)
        assert_ptr_equal(given(&calls[0], i), somewhere(i));
    assert_ptr_equal(given(&calls[0], DNN_OWN), (uint8_t *)somewhere(32) + kernel.own_at);
    const float *scale = given(&calls[0], DNN_SCALAR),
                *hidden = given(&calls[0], DNN_SCALAR + 1);
    const float *one = given(&calls[0], DNN_SCALAR + 2);
    assert_true(*scale == 0.125f && *hidden < -1e38f && *one == 1);
    leave();
}

static void failures_are_told(void **state)
{
    rt_stage s;
    DnnMaker m = {.stage = &stage, .dnn = &dnn};
    rt_kernel row = dnn_exact_row();
    void *tensors[DNN_TENSORS] = {somewhere(1), somewhere(2), somewhere(3)};
    char want[1024];
    (void)state;
    dnn_stage(&s);
    make(&m, &row);
    Dnn d = enter();
    cudnn.BackendExecute = refuse;
    assert_int_equal(rt__dnn_run(&s, &d, &kernel, tensors, NULL, NULL), RT_E_KERNEL);
    snprintf(want, sizeof want, "cuDNN's `%s` failed: CUDNN_STATUS_EXECUTION_FAILED",
             kernel.implementation);
    assert_non_null(strstr(s.message, want));
    leave();
}

int main(void)
{
    if (!dnn_is_there())
        return 77;
    dnn_stage(&stage);
    char *card = dnn_h200();
    int error = rt__dnn_open(&stage, &dnn, card);
    free(card);
    if (error)
        return 1;
    const struct CMUnitTest tests[] = {
        DNN_TEST(calls_hand_in_tensors),
        DNN_TEST(packs_are_made_once),
        DNN_TEST(attention_hands_in_numbers),
        DNN_TEST(failures_are_told),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    rt__dnn_close(&dnn);
    return failures;
}
