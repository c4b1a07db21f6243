// FUZZ: runtime/safetensors.c runtime/plain.c
// safetensors: any bytes are read or refused; of what is read every tensor lies inside the file, is found
// by its name, and no byte belongs to two.
#include "tests/fuzz/files.h"

#include "plan/crc32c.h"
#include "runtime/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile uint32_t checked;

static void check(const rt__st_file *f)
{
    uint64_t bytes = 0;
    uint32_t crc = 0;
    for (int i = 0; i < f->n_tensors; i++) {
        const rt__st_tensor *t = &f->tensors[i];
        crc = crc32c(crc, t->data, t->bytes); // touches every byte
        bytes += t->bytes;
        if (rt__st_find(f, t->name) != t || !t->type || t->rank > RT_MAX_RANK)
            abort();
    }
    if (rt__st_data_start(f) + bytes != f->file.size)
        abort();
    checked = crc;
}

static void try_file(const uint8_t *data, size_t size)
{
    rt__st_file f;
    rt__why why;
    fuzz_files[0] = (FuzzFile){"x", data, size};
    int status = rt__st_open(&f, "x", &why);
    if (status == 0) {
        check(&f);
        rt__st_verify(&f, &why);
        rt__st_close(&f);
    } else if (strncmp(why.text, "x: ", 3) != 0 || f.header || f.tensors) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *fixed = fuzz_fit_header(data, size);
    try_file(data, size);
    if (fixed)
        try_file(fixed, size);
    free(fixed);
    return 0;
}
