// FUZZ: runtime/data.c runtime/data_crew.c runtime/data_[inost]*.c runtime/plain.c
// Data sets of every kind: any bytes are read or refused, and what is read stays in the files and below
// the limit. Byte 0 picks the kind, 1 to 3 the shape that the model takes, 4 and 5 the size of the first
// file; the rest is the second.
#include "tests/fuzz/files.h"

#include "runtime/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { HEAD = 6, BATCH = 2, LIMIT = 300 };

static const char *const specs[] = {"idx:x",       "npy:x-images,x-labels", "npy:x-images",
                                    "text:images", "tokens:images",         "cifar10:x"};
enum { SPECS = sizeof specs / sizeof *specs };

// A target, or samples of shapes that some of the kinds take.
static rt_input input_of(const uint8_t *head, int target)
{
    static const rt_dtype types[] = {RT_F32, RT_I32, RT_F64, RT_U8, RT_BF16};
    rt_input in = {.name = target ? "y" : "x", .is_target = target, .limit = LIMIT};
    bool sequence = head[0] % SPECS >= 3 && head[0] % SPECS < 5;
    in.dtype = target || sequence ? RT_I32 : types[head[1] % 5];
    in.rank = sequence ? 2 : target ? 1 : 2 + head[1] / 5 % 3;
    in.dim[0] = BATCH;
    for (int i = 1; i < in.rank; i++)
        in.dim[i] = 1 + (i == in.rank - 1 ? head[2] : head[3]) % 9;
    return in;
}

static void read_all(rt__data *d, const rt_input *in, int i)
{
    rt__why why;
    int64_t elements = 1;
    for (int k = 0; k < in->rank; k++)
        elements *= in->dim[k];
    size_t bytes = (size_t)(elements * rt__dtype_bytes(in->dtype));
    void *batch = malloc(bytes);
    uint64_t n = rt__data_samples(d);
    for (uint64_t s = 0; s < n + 1 && s < 32; s++) {
        int status = rt__data_eval(d, i, s, batch, &why);
        for (int64_t e = 0; status == 0 && in->dtype == RT_I32 && e < elements; e++)
            if (((int32_t *)batch)[e] >= LIMIT || (!in->is_target && ((int32_t *)batch)[e] < 0))
                abort();
    }
    if (n > 0)
        rt__data_train(d, i, (rt__cursor){n, n - 1}, 1, batch, &why);
    if (n > 0)
        rt__data_alone(d, i, n - 1, batch, &why);
    free(batch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < HEAD)
        return 0;
    size_t rest = size - HEAD, first = (size_t)(data[4] | data[5] << 8);
    first = first > rest ? rest : first;
    fuzz_files[0] = (FuzzFile){"images", data + HEAD, first};
    fuzz_files[1] = (FuzzFile){"images.idx3-ubyte", data + HEAD, first};
    fuzz_files[2] = (FuzzFile){"", data + HEAD + first, rest - first};
    rt_input inputs[2] = {input_of(data, 0), input_of(data, 1)};
    rt__data_options o = {
        .spec = specs[data[0] % SPECS], .inputs = inputs, .n_inputs = 2, .seed = 1};
    o.n_inputs = data[0] % SPECS == 2 ? 1 : 2;
    rt__data *d;
    rt__why why;
    if (rt__data_open(&d, &o, &why) == 0) {
        for (int i = 0; i < o.n_inputs; i++)
            read_all(d, &inputs[i], i);
        rt__data_close(d);
    } else if (why.text[0] == 0) {
        abort();
    }
    return 0;
}
