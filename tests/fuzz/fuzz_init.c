// FUZZ: runtime/init_load.c runtime/tensor_load.c runtime/safetensors.c runtime/plain.c runtime/disk.c
// --init: an index and a shard of any bytes load into a small model or are refused, and then nothing was
// loaded. The first two bytes are the size of the index; without one the shard is loaded alone.
#include "tests/fuzz/files.h"

#include "runtime/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SPACE = 64, TENSORS = 3 };
static const rt_tensor model[TENSORS] = {
    {.name = "w", .role = RT_PARAM, .dtype = RT_F32, .rank = 2, .dim = {2, 3}, .kernel = -1},
    {.name = "b",
     .role = RT_PARAM,
     .dtype = RT_F64,
     .rank = 1,
     .dim = {3},
     .offset = SPACE,
     .kernel = -1},
    {.name = "n",
     .role = RT_BUFFER,
     .dtype = RT_BF16,
     .rank = 0,
     .offset = 2 * SPACE,
     .kernel = -1},
};

static void try_load(const char *path)
{
    uint8_t *memory = calloc(TENSORS, SPACE);
    rt__memory m = {.tensors = model, .n_tensors = TENSORS, .base = memory};
    rt__why extra, why;
    int status = rt__init_load(path, &m, true, &extra, &why);
    for (int i = 0; status && i < TENSORS * SPACE; i++)
        if (memory[i])
            abort();
    if (status && strncmp(why.text, "dir/", 4) != 0)
        abort();
    free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t index = size < 2 ? 0 : (size_t)(data[0] | data[1] << 8);
    size_t head = size < 2 ? size : 2;
    index = index > size - head ? size - head : index;
    const uint8_t *shard = data + head + index;
    size_t n = size - head - index;
    const char *path = index ? "dir/x.index.json" : "dir/x";
    uint8_t *fixed = fuzz_fit_header(shard, n);
    fuzz_files[0] = (FuzzFile){".index.json", data + head, index};
    fuzz_files[1] = (FuzzFile){"", shard, n};
    try_load(path);
    fuzz_files[1].bytes = fixed;
    if (fixed)
        try_load(path);
    free(fixed);
    return 0;
}
