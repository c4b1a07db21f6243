// Checkpoints: saved under one cut and loaded under others, damaged in every way, interrupted at every
// point. The model is four layers of a weight that a "library" keeps backwards, a statistic, and a
// momentum; stages hold some layers each.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
// cmocka wants the three above
#include <cmocka.h>

#include "plan/crc32c.h"
#include "runtime/checkpoint.h"
#include "tests/runtime/files.h"

#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <sys/resource.h>

enum { LAYERS = 4, KINDS = 4, ELEMENTS = 6, SPACE = 64 };

static rt__why why;

// The model
// ----------------------------------------------------------------------------------------------

static int reverse(rt_stage *s, const rt_tensor *t, const void *from, void *to)
{
    (void)s;
    for (int64_t i = 0; i < t->bytes; i++)
        ((uint8_t *)to)[i] = ((const uint8_t *)from)[t->bytes - 1 - i];
    return 0;
}

static const rt_backend backward = {.name = "backward", .pack = reverse, .unpack = reverse};

typedef struct Part {
    rt_tensor tensors[LAYERS * KINDS];
    char names[LAYERS * KINDS][32];
    rt__memory memory;
    uint8_t bytes[LAYERS * KINDS * SPACE];
} Part;

// What a layer has: name, role, and whether the library keeps it.
static const struct {
    const char *name;
    rt_role role;
    rt_dtype dtype;
    int kernel;
} kinds[KINDS] = {{"weight", RT_PARAM, RT_F32, 0},
                  {"mean", RT_BUFFER, RT_F64, -1},
                  {"weight.momentum", RT_STATE, RT_F32, 0},
                  {"weight.grad", RT_ACCUMULATOR, RT_F32, 0}};

static void part_init(Part *p, int first, int last)
{
    memset(p, 0, sizeof *p);
    int n = 0;
    for (int layer = first; layer <= last; layer++)
        for (int k = 0; k < KINDS; k++, n++) {
            snprintf(p->names[n], sizeof p->names[n], "layer%d.%s", layer, kinds[k].name);
            p->tensors[n] = (rt_tensor){.name = p->names[n],
                                        .role = kinds[k].role,
                                        .dtype = kinds[k].dtype,
                                        .rank = 2,
                                        .dim = {2, ELEMENTS / 2},
                                        .offset = n * SPACE,
                                        .kernel = kinds[k].kernel};
            p->tensors[n].bytes = rt__plain_bytes(&p->tensors[n]);
        }
    p->memory = (rt__memory){
        .tensors = p->tensors, .n_tensors = n, .base = p->bytes, .backend = &backward};
}

// Every tensor's value follows from its name and a generation; accumulators are zero.
static void value_of(const rt_tensor *t, int generation, uint8_t *plain)
{
    uint32_t key = crc32c((uint32_t)generation, t->name, strlen(t->name));
    for (int64_t i = 0; i < rt__plain_bytes(t); i++)
        plain[i] = (uint8_t)(t->role == RT_ACCUMULATOR ? 0 : key >> i % 24);
}

static void part_fill(Part *p, int generation)
{
    uint8_t plain[SPACE];
    for (int i = 0; i < p->memory.n_tensors; i++) {
        value_of(&p->tensors[i], generation, plain);
        assert_int_equal(rt__plain_put(&p->memory, &p->tensors[i], plain, &why), 0);
    }
}

static void part_check(Part *p, int generation)
{
    uint8_t plain[SPACE], room[SPACE];
    for (int i = 0; i < p->memory.n_tensors; i++) {
        const rt_tensor *t = &p->tensors[i];
        value_of(t, generation, plain);
        assert_memory_equal(rt__plain_get(&p->memory, t, room, &why), plain,
                            (size_t)rt__plain_bytes(t));
    }
}

// Stage s of n has the layers from s * LAYERS / n on.
static void part_of_stage(Part *p, int stage, int n_stages)
{
    part_init(p, stage * LAYERS / n_stages, (stage + 1) * LAYERS / n_stages - 1);
}

// Saving and loading
// ----------------------------------------------------------------------------------------------

static rt_program program_of(int n_stages)
{
    return (rt_program){.abi = RT_ABI,
                        .model = "tower",
                        .plan_hash = "0123456789abcdef",
                        .n_stages = n_stages,
                        .micro_batch = 4,
                        .micro_batches = 2,
                        .threads = 1,
                        .isa = "avx2",
                        .compiler = "12.2.0",
                        .real = RT_F32,
                        .backend = &backward};
}

static const char *home(void)
{
    return files_path("ckpt");
}

static int save_all(int generation, int n_stages)
{
    rt__shard shards[LAYERS];
    rt_program program = program_of(n_stages);
    rt__progress progress = {.step = generation, .cursor = {1, 8}, .seed = 42};
    for (int s = 0; s < n_stages; s++) {
        Part p;
        part_of_stage(&p, s, n_stages);
        part_fill(&p, generation);
        int status = rt__checkpoint_write(home(), generation, s, &p.memory, &shards[s], &why);
        if (status)
            return status;
    }
    return rt__checkpoint_commit(home(), &program, &progress, shards, &why);
}

// A step of the generation's number, under so many stages. 0 or the first failure.
static int save(int generation, int n_stages)
{
    int status = save_all(generation, n_stages);
    if (status)
        rt__checkpoint_discard(home(), generation);
    return status;
}

static int load_stage(const char *path, int stage, int n_stages, Part *p)
{
    rt__checkpoint *c;
    part_of_stage(p, stage, n_stages);
    int status = rt__checkpoint_open(&c, path, &why);
    if (status == 0)
        status = rt__checkpoint_load(c, &p->memory, &why);
    rt__checkpoint_close(c);
    return status;
}

static void loads(const char *path, int generation, int n_stages)
{
    for (int s = 0; s < n_stages; s++) {
        Part p;
        if (load_stage(path, s, n_stages, &p))
            fail_msg("%s", why.text);
        part_check(&p, generation);
    }
}

// Refused, nothing loaded; the text begins with this (the folder as DIR).
static void refused(const char *path, const char *text)
{
    static const uint8_t zeros[sizeof((Part *)0)->bytes];
    Part p;
    assert_int_equal(load_stage(path, 0, 1, &p), RT__INPUT);
    if (strncmp(files_neutral(why.text), text, strlen(text)) != 0)
        fail_msg("expected \"%s…\", got \"%s\"", text, why.text);
    assert_memory_equal(p.bytes, zeros, sizeof zeros);
}

static int begin(void **state)
{
    (void)state;
    files_delete(home());
    return 0;
}

// Tests
// ----------------------------------------------------------------------------------------------

static void test_other_cuts(void **state)
{
    (void)state;
    for (int saved = 1; saved <= LAYERS; saved++) {
        assert_int_equal(save(saved, saved), 0);
        for (int loaded = 1; loaded <= LAYERS; loaded++)
            loads(home(), saved, loaded);
        assert_int_equal(files_count(home()), saved); // no temporary directory
    }
    rt__checkpoint *c;
    assert_int_equal(rt__checkpoint_open(&c, home(), &why), 0);
    assert_string_equal(files_neutral(rt__checkpoint_name(c)), "DIR/ckpt/step-000004");
    rt__progress p = rt__checkpoint_progress(c);
    assert_int_equal(p.step, 4);
    assert_int_equal(p.cursor.epoch, 1);
    assert_int_equal(p.cursor.index, 8);
    assert_int_equal(p.seed, 42);
    rt__checkpoint_close(c);
}

static void test_same_bytes_again(void **state)
{
    (void)state;
    assert_int_equal(save(7, 1), 0);
    size_t n, m;
    uint8_t *whole = files_read(files_path("ckpt/step-000007/stage-0.safetensors"), &n);
    assert_int_equal(save(7, 1), 0);
    uint8_t *again = files_read(files_path("ckpt/step-000007/stage-0.safetensors"), &m);
    assert_int_equal(n, m);
    assert_memory_equal(whole, again, n);
    free(whole);
    free(again);
}

static void test_index(void **state)
{
    (void)state;
    assert_int_equal(save(3, 2), 0);
    json_t *index =
        json_load_file(files_path("ckpt/step-000003/model.safetensors.index.json"), 0, NULL);
    json_t *map = json_object_get(index, "weight_map");
    assert_int_equal(json_object_size(map), 2 * LAYERS);
    assert_string_equal(json_string_value(json_object_get(map, "layer0.weight")),
                        "stage-0.safetensors");
    assert_string_equal(json_string_value(json_object_get(map, "layer3.mean")),
                        "stage-1.safetensors");
    json_t *total = json_object_get(json_object_get(index, "metadata"), "total_size");
    assert_int_equal(json_integer_value(total), LAYERS * (24 + 48));
    json_decref(index);
}

static void test_newest_complete(void **state)
{
    (void)state;
    assert_int_equal(save(9, 1), 0);
    assert_int_equal(save(10, 1), 0);
    mkdir(files_path("ckpt/step-000011"), 0777); // copied in part: no manifest
    mkdir(files_path("ckpt/.step-000012.tmp"), 0777);
    mkdir(files_path("ckpt/step-13x"), 0777); // not ours
    files_write("ckpt/step-13x/manifest.json", "{}", 2);
    loads(home(), 10, 1);
    loads(files_path("ckpt/step-000009"), 9, 1);
    refused(files_path("ckpt/step-000011"),
            "DIR/ckpt/step-000011: no checkpoint here: neither manifest.json nor a complete "
            "step-*");
    refused(files_path("none"), "DIR/none: No such file or directory");
    refused(files_write("file", "x", 1),
            "DIR/file: Not a directory (a checkpoint is a directory; --init takes a file)");
}

static void test_same_step_again(void **state)
{
    (void)state;
    assert_int_equal(save(5, 3), 0);
    assert_int_equal(save(5, 1), 0);
    loads(home(), 5, 2);
    assert_int_equal(files_count(home()), 1);
    assert_int_equal(files_count(files_path("ckpt/step-000005")), 4);
}

// A run of more stages died here; what it left does not get into the checkpoint.
static void test_left_by_a_crash(void **state)
{
    (void)state;
    Part p;
    rt__shard shard;
    part_of_stage(&p, 3, 4);
    assert_int_equal(rt__checkpoint_write(home(), 5, 3, &p.memory, &shard, &why), 0);
    refused(home(), "DIR/ckpt: no checkpoint here");
    assert_int_equal(save(5, 2), 0);
    loads(home(), 5, 1);
    assert_int_equal(files_count(files_path("ckpt/step-000005")), 6);
    rt__checkpoint_discard(home(), 5); // nothing there: fine
    assert_int_equal(files_count(home()), 1);
}

static void test_discard(void **state)
{
    (void)state;
    Part p;
    rt__shard shard;
    assert_int_equal(save(4, 1), 0);
    part_of_stage(&p, 0, 1);
    assert_int_equal(rt__checkpoint_write(home(), 5, 0, &p.memory, &shard, &why), 0);
    assert_int_equal(files_count(home()), 2);
    rt__checkpoint_discard(home(), 5);
    assert_int_equal(files_count(home()), 1);
    loads(home(), 4, 1);
}

// Damage
// ----------------------------------------------------------------------------------------------

static const char *const files[] = {"stage-0.safetensors",          "optim-0.safetensors",
                                    "stage-1.safetensors",          "optim-1.safetensors",
                                    "model.safetensors.index.json", "manifest.json"};
enum { FILES = sizeof files / sizeof *files };

static void test_every_byte_altered(void **state)
{
    (void)state;
    assert_int_equal(save(1, 2), 0);
    for (int f = 0; f < FILES; f++) {
        char name[128], text[160];
        size_t n;
        snprintf(name, sizeof name, "ckpt/step-000001/%s", files[f]);
        snprintf(text, sizeof text, "DIR/%s: ", name);
        uint8_t *bytes = files_read(files_path(name), &n);
        for (size_t i = 0; i < n; i++) {
            bytes[i] ^= 1;
            files_write(name, bytes, n);
            refused(home(), text);
            bytes[i] ^= 1;
        }
        files_write(name, bytes, n);
        free(bytes);
    }
    loads(home(), 1, 2);
}

static void test_every_file_truncated(void **state)
{
    (void)state;
    assert_int_equal(save(1, 2), 0);
    for (int f = 0; f < FILES; f++) {
        char name[128], text[160];
        size_t n;
        snprintf(name, sizeof name, "ckpt/step-000001/%s", files[f]);
        snprintf(text, sizeof text, "DIR/%s: ", name);
        uint8_t *bytes = files_read(files_path(name), &n);
        for (size_t i = 0; i < n; i += 1 + n / 50) {
            files_write(name, bytes, i);
            refused(home(), text);
        }
        unlink(files_path(name));
        if (f + 1 < FILES)
            refused(home(), text);
        else
            refused(home(), "DIR/ckpt: no checkpoint here");
        files_write(name, bytes, n);
        free(bytes);
    }
    loads(home(), 1, 2);
}

static void test_exact_texts(void **state)
{
    (void)state;
    assert_int_equal(save(1, 1), 0);
    const char *name = "ckpt/step-000001/stage-0.safetensors";
    size_t n;
    uint8_t *bytes = files_read(files_path(name), &n);
    files_write(name, bytes, n - 10);
    char text[512];
    snprintf(text, sizeof text,
             "DIR/%s: offset %zu: truncated here, manifest.json says %zu bytes", name, n - 10,
             n);
    refused(home(), text);
    bytes[n] = 0;
    files_write(name, bytes, n + 1);
    snprintf(text, sizeof text, "DIR/%s: offset %zu: 1 bytes more than manifest.json says",
             name, n);
    refused(home(), text);
    bytes[n - 48] ^= 1; // the first byte of the last tensor
    files_write(name, bytes, n);
    snprintf(text, sizeof text, "DIR/%s: offset %zu: tensor layer3.mean was altered (CRC32C ",
             name, n - 48);
    refused(home(), text);
    bytes[n - 48] ^= 1;
    char *space = memchr(bytes + 8, ' ', n - 8); // "crc32c":"12345678 12345678"
    space[-1] = space[-1] == '0' ? '1' : '0';
    files_write(name, bytes, n);
    snprintf(text, sizeof text, "DIR/%s: offset ", name);
    refused(home(), text);
    free(bytes);
}

// A manifest that was written by hand, without or with the right checksum, but wrong.
static void test_hostile_manifest(void **state)
{
    (void)state;
    static const struct {
        const char *member, *value, *text;
    } cases[] = {
        {"format", "\"zip\"", "format is not \"stagecc checkpoint\""},
        {"version", "2", "version is not 1: it was written by another version of stagecc"},
        {"step", "-1", "step is missing or no number from 0 on"},
        {"step", "\"1\"", "step is missing or no number from 0 on"},
        {"model", "null", "model is missing or no text"},
        {"cursor", "[]", "epoch is missing or no number from 0 on"},
        {"files", "{}", "files is missing or no list"},
        {"files", "[1]", "name is missing or no text"},
        {"files", "[{\"name\":\"../x\",\"bytes\":1,\"crc32c\":\"00000000\"}]",
         "name of a file is not the name of a file in the same directory"},
        {"files", "[{\"name\":\"\",\"bytes\":1,\"crc32c\":\"00000000\"}]",
         "name of a file is not the name of a file in the same directory"},
        {"files", "[{\"name\":\"x\",\"bytes\":1,\"crc32c\":\"0x000000\"}]",
         "crc32c is not 8 hexadecimal digits"},
    };
    assert_int_equal(save(1, 1), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *o = json_load_file(files_path("ckpt/step-000001/manifest.json"), 0, NULL);
        json_object_set_new(o, cases[i].member,
                            json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        json_object_del(o, "crc32c");
        char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS), crc[16], expected[256];
        snprintf(crc, sizeof crc, "%08" PRIx32, crc32c(0, text, strlen(text)));
        json_object_set_new(o, "crc32c", json_string(crc));
        mkdir(files_path("bad"), 0777);
        json_dump_file(o, files_path("bad/manifest.json"), 0);
        snprintf(expected, sizeof expected, "DIR/bad/manifest.json: %s", cases[i].text);
        refused(files_path("bad"), expected);
        json_decref(o);
        free(text);
    }
}

static void test_other_model(void **state)
{
    (void)state;
    assert_int_equal(save(1, 1), 0);
    rt__checkpoint *c;
    Part p;
    assert_int_equal(rt__checkpoint_open(&c, home(), &why), 0);
    part_init(&p, 0, 3);
    p.tensors[12].dim[0] = 3;
    assert_int_equal(rt__checkpoint_load(c, &p.memory, &why), RT__INPUT);
    assert_string_equal(
        files_neutral(why.text),
        "DIR/ckpt/step-000001: tensor layer3.weight is [2,3], the model wants [3,3]");
    part_init(&p, 0, 3);
    p.tensors[13].dtype = RT_F32;
    assert_int_equal(rt__checkpoint_load(c, &p.memory, &why), RT__INPUT);
    assert_string_equal(
        files_neutral(why.text),
        "DIR/ckpt/step-000001: tensor layer3.mean is of type F64, the model wants F32");
    part_init(&p, 0, 3);
    p.tensors[13].name = "layer9.mean";
    assert_int_equal(rt__checkpoint_load(c, &p.memory, &why), RT__INPUT);
    assert_string_equal(files_neutral(why.text), "DIR/ckpt/step-000001: has no tensor "
                                                 "layer9.mean: it was made by another model");
    p.tensors[13].name = "layer3.mean";
    p.tensors[14].name = "layer3.weight.exp_avg";
    assert_int_equal(rt__checkpoint_load(c, &p.memory, &why), RT__INPUT);
    assert_string_equal(
        files_neutral(why.text),
        "DIR/ckpt/step-000001: has no tensor layer3.weight.exp_avg: it was made "
        "by another optimizer or another model");
    for (size_t i = 0; i < sizeof p.bytes; i++)
        assert_int_equal(p.bytes[i], 0); // the sound ones were not loaded either
    rt__checkpoint_close(c);
}

static void test_contract(void **state)
{
    (void)state;
    assert_int_equal(save(1, 2), 0);
    rt__checkpoint *c;
    assert_int_equal(rt__checkpoint_open(&c, home(), &why), 0);
    rt_program program = program_of(4);
    assert_true(rt__checkpoint_same_contract(c, &program, &why));
    program.threads = 2;
    program.isa = "avx512";
    program.staleness = "pipedream before fc";
    assert_false(rt__checkpoint_same_contract(c, &program, &why));
    assert_string_equal(
        files_neutral(why.text),
        "DIR/ckpt/step-000001: the run goes on, but not with the same bits: "
        "instruction set avx512 here, avx2 in the checkpoint; staleness pipedream before fc "
        "here, none in the checkpoint; threads 2 here, 1 in the checkpoint");
    rt__checkpoint_close(c);
}

// A full disk
// ----------------------------------------------------------------------------------------------

static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

// No file may be longer than `limit`: wherever writing stops, nothing new is left.
static void test_disk_full(void **state)
{
    (void)state;
    signal(SIGXFSZ, SIG_IGN); // write returns EFBIG
    assert_int_equal(save(1, 2), 0);
    int failures = 0;
    for (rlim_t limit = 0; limit < 4096; limit += 37) {
        limit_files(limit);
        int status = save(2, 2);
        limit_files(RLIM_INFINITY);
        if (status == 0)
            break;
        failures++;
        assert_int_equal(status, RT__ENVIRONMENT);
        assert_int_equal(files_count(home()), 1);
        loads(home(), 1, 2);
    }
    assert_true(failures > 10);
    loads(home(), 2, 2);
    limit_files(100);
    assert_int_equal(save(3, 2), RT__ENVIRONMENT);
    limit_files(RLIM_INFINITY);
    assert_string_equal(files_neutral(why.text),
                        "DIR/ckpt/.step-000003.tmp/stage-0.safetensors: write: File too large; "
                        "the checkpoint of step 3 was given up, older ones are as they were");
}

static void test_no_place_to_write(void **state)
{
    (void)state;
    files_write("ckpt", "x", 1);
    assert_int_equal(save(3, 1), RT__ENVIRONMENT);
    assert_string_equal(files_neutral(why.text),
                        "DIR/ckpt/.step-000003.tmp: cannot be made: Not a directory; the "
                        "checkpoint of step 3 was given up, older ones are as they were");
    unlink(home());
}

#define TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_other_cuts),
        TEST(test_same_bytes_again),
        TEST(test_index),
        TEST(test_newest_complete),
        TEST(test_same_step_again),
        TEST(test_left_by_a_crash),
        TEST(test_discard),
        TEST(test_every_byte_altered),
        TEST(test_every_file_truncated),
        TEST(test_exact_texts),
        TEST(test_hostile_manifest),
        TEST(test_other_model),
        TEST(test_contract),
        TEST(test_disk_full),
        TEST(test_no_place_to_write),
    };
    return cmocka_run_group_tests(tests, files_begin, files_end);
}
